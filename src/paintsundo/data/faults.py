"""Damaged data: named by shard, key and reason, counted, and never passed over in silence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from paintsundo.errors import UserError

ON_FAULT = ("skip", "stop")


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a data set. `shard` is SET/FILE, `key` a sample (None: the shard as a whole), `samples`
    how many samples are lost by it.
    """

    shard: str
    key: str | None
    reason: str
    samples: int = 1

    def __str__(self) -> str:
        return f"{self.shard}{'' if self.key is None else ' ' + self.key}: {self.reason}"

    def as_dict(self) -> dict[str, Any]:
        """For files and batches."""
        return asdict(self)


class FaultyData(Exception):
    """A sample that cannot be used; carries its fault."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault

    def __str__(self) -> str:
        return str(self.fault)


class FaultTally:
    """Counts samples lost, each once however often it is met.

    Args:
        samples: how many there should be (those lost included).
        on_fault: "stop" refuses the first fault, "skip" goes on up to `max_faults`.
        max_faults: the largest share of samples, 0 … 1, that may be lost.

    Raises:
        UserError: `on_fault` or `max_faults` is no such value.
    """

    def __init__(self, samples: int, on_fault: str = "skip", max_faults: float = 0.01) -> None:
        if on_fault not in ON_FAULT:
            raise UserError(f"on_fault={on_fault}: choose one of {', '.join(ON_FAULT)}")
        if not 0 <= max_faults <= 1:
            raise UserError(f"max_faults={max_faults}: choose a share between 0 and 1")
        self.samples, self.on_fault, self.max_faults = samples, on_fault, max_faults
        self._lost: dict[tuple[str, str | None], int] = {}

    @property
    def lost(self) -> int:
        """Samples lost so far."""
        return sum(self._lost.values())

    def add(self, faults: Iterable[Fault | Mapping[str, Any]]) -> list[Fault]:
        """Count faults; returns those not met before.

        Raises:
            UserError: naming the fault, at the first one under "stop", or when too large a share is lost.
        """
        new = []
        for found in faults:
            fault = found if isinstance(found, Fault) else Fault(**found)
            if (fault.shard, fault.key) not in self._lost:
                self._lost[fault.shard, fault.key] = fault.samples
                new.append(fault)
        if new and self.on_fault == "stop":
            more = f" (and {len(new) - 1} more)" if len(new) > 1 else ""
            raise UserError(f"damaged data: {new[0]}{more}; mend it, or say data.on_fault=skip to go on without it")
        if new and self.lost > self.max_faults * self.samples:
            raise UserError(
                f"damaged data: {self.lost} of {self.samples} samples cannot be used, more than "
                f"data.max_faults={self.max_faults:g} allows; the last: {new[-1]}"
            )
        return new
