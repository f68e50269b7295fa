"""Which behaviours of people at their canvas are added to processes, how often, and how strongly."""

from __future__ import annotations

from dataclasses import dataclass, field

from paintsundo.errors import UserError

OPERATIONS = ("transform", "undo", "erase", "hide", "show", "colours", "flip")  # names of the stages that are added


@dataclass
class Behaviour:
    """How likely a behaviour is in a process, 0 ... 1, and how much of it is changed, 0 ... 1."""

    probability: float = 0.0
    strength: float = 0.5


@dataclass
class BehaviourOptions:
    """Schema of `configs/behaviours/*.yaml`.

    `flip`: the canvas is mirrored for a while. `transform`: a part is drawn at another place, size or angle and then
    moved. `second_thoughts`: a part is drawn, removed and drawn again. `visibility`: a layer is hidden for a while.
    `colour_curves`: colours are off for a while and then corrected. `most_stages`: what would lead to more stages is
    not done, since loaders that hold a data set in memory give every process as many stages as the longest has.
    """

    flip: Behaviour = field(default_factory=Behaviour)
    transform: Behaviour = field(default_factory=Behaviour)
    second_thoughts: Behaviour = field(default_factory=Behaviour)
    visibility: Behaviour = field(default_factory=Behaviour)
    colour_curves: Behaviour = field(default_factory=Behaviour)
    most_stages: int = 12

    def check(self) -> None:
        """Raises UserError for values that cannot be."""
        for name, value in vars(self).items():
            if isinstance(value, Behaviour):
                for part in ("probability", "strength"):
                    if not 0 <= getattr(value, part) <= 1:
                        raise UserError(f"behaviours.{name}.{part}={getattr(value, part)}: choose 0 to 1")
        if self.most_stages < 2:
            raise UserError(f"behaviours.most_stages={self.most_stages}: choose at least 2")
