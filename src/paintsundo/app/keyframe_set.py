"""The keyframes in a run's record: planned, chosen, counted, put back."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from paintsundo.app.record import Attempt, Earlier, Keyframe, Record, Task
from paintsundo.app.run_settings import RunSettings
from paintsundo.errors import UserError


class KeyframeSet:
    """What a run knows of its keyframes; its pictures lie in `folder`/states."""

    folder: Path
    record: Record

    def begin_keyframes(self, made_with: RunSettings, seeds: list[int]) -> None:
        """Put keyframes still to be made in the place of the run's: one set, or several to choose from.

        Those that were there are kept until the new ones are made.
        """

        def blank_set(seed: int) -> Attempt:
            steps = sorted(set(made_with.operation_steps))
            generated = [Keyframe.new("generated", step, seed) for step in steps]
            return Attempt(seed, [Keyframe.new("picture"), *generated, Keyframe.new("blank")])

        record = self.record
        whole = record.keyframes or [each for attempt in record.candidates for each in attempt.keyframes]
        if record.made_with is not None and whole and all(keyframe.done for keyframe in whole):
            names = [each.name for each in fields(Earlier)]
            record.earlier = Earlier(**{name: getattr(record, name) for name in names})
        attempts = [blank_set(seed) for seed in seeds]
        record.made_with = made_with
        record.candidates = attempts if len(attempts) > 1 else []
        record.chosen = None
        record.keyframes = [] if len(attempts) > 1 else attempts[0].keyframes
        record.original = [keyframe.id for keyframe in record.keyframes]
        record.task = Task("keyframes", list(seeds))

    def choose(self, number: int) -> None:
        """Take a candidate's keyframes."""
        record = self.record
        if not 0 <= number < len(record.candidates):
            raise UserError("there is no such candidate")
        attempt = record.candidates[number]
        if not attempt.done or record.made_with is None:
            raise UserError("these keyframes are not finished yet")
        record.keyframes = list(attempt.keyframes)
        record.original = [keyframe.id for keyframe in attempt.keyframes]
        record.chosen = attempt.seed
        record.made_with.seed = record.settings.seed = attempt.seed

    def inner(self, index: int) -> Keyframe:
        """A keyframe that is neither the finished picture nor the blank canvas."""
        keyframe = self.keyframe(index)
        if index in (0, len(self.record.keyframes) - 1):
            raise UserError("the finished picture and the blank canvas stay at the ends: they can only be replaced")
        return keyframe

    def keyframe(self, index: int) -> Keyframe:
        """The keyframe at a place, 0 (finished) …"""
        if not 0 <= index < len(self.record.keyframes):
            raise UserError(f"there is no keyframe {index}: this run has {len(self.record.keyframes)}")
        return self.record.keyframes[index]

    def give_up_unmade(self) -> None:
        """Put back what keyframes that were not made should have replaced; take out those that were added."""
        restored = []
        for keyframe in self.record.keyframes:
            put_back: Keyframe | None = keyframe
            while put_back is not None and not put_back.done:
                put_back = put_back.before
            if put_back is not None:
                restored.append(put_back)
        self.record.keyframes = restored

    def back_to_earlier(self) -> bool:
        """Take back the keyframes that others were to replace, if none of these was made; whether it was so."""
        record = self.record
        earlier = record.earlier
        if earlier is None or any(keyframe.done for keyframe in _all_of(record)):
            return False
        for each in fields(Earlier):
            setattr(record, each.name, getattr(earlier, each.name))
        record.earlier = None
        return True

    def remove_unused(self) -> None:
        """Remove pictures of keyframes that nothing refers to any more."""
        used = set()
        for keyframe in [*_all_of(self.record), *_all_of(self.record.earlier)]:
            known: Keyframe | None = keyframe
            while known is not None:
                used.add(known.id)
                known = known.before
        for file in (self.folder / "states").glob("*.png"):
            if file.stem not in used:
                file.unlink(missing_ok=True)


def _all_of(record: Record | Earlier | None) -> list[Keyframe]:
    if record is None:
        return []
    return [*record.keyframes, *(keyframe for attempt in record.candidates for keyframe in attempt.keyframes)]
