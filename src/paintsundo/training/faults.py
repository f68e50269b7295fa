"""What went wrong on the way, named and counted: nothing is skipped silently."""

from __future__ import annotations

import json
import sys
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

FILE = "faults.jsonl"


class FaultKind(StrEnum):
    """Kinds of faults that a run survives."""

    BROKEN_SAMPLE = "broken sample"
    MISSING_KEY = "missing key"
    TRUNCATED_SHARD = "truncated shard"
    NON_FINITE = "non-finite loss"
    FAILED_SAVE = "failed save"
    FAILED_SAMPLES = "failed samples"


class Faults:
    """Names faults in `DIR/faults.jsonl`, a line each, and counts them.

    Args:
        folder: the run's folder; None counts in memory only.
        rank: number of this process; each writes its own lines.
        told: lines on stderr per kind before only the file tells more.
    """

    def __init__(self, folder: Path | None, rank: int = 0, told: int = 3) -> None:
        self.file = None if folder is None else Path(folder) / FILE
        self.rank, self.told = rank, told
        self.counts: Counter[str] = Counter()
        self._unwritten: Counter[str] = Counter()

    def add(self, kind: str, detail: str, step: int | None = None, **more: Any) -> None:
        """One fault.

        Args:
            kind: what kind, one of `FaultKind` or another short name.
            detail: where and what, one line.
            step: optimiser steps done.
            more: further values for the file, of JSON's types.
        """
        self.counts[str(kind)] += 1
        count = self.counts[str(kind)]
        if count <= self.told:
            place = "" if step is None else f" at step {step}"
            last = "; further ones are told in faults.jsonl only" if count == self.told and self.file else ""
            print(f"{kind}{place}: {detail}{last}", file=sys.stderr, flush=True)
        if self.file is None:
            return
        now = datetime.now(UTC).isoformat(timespec="seconds")
        line = {"kind": str(kind), "detail": detail, "step": step, "rank": self.rank, "time": now, **more}
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")
        except OSError:  # a full disk is one of the faults
            self._unwritten[str(kind)] += 1

    def totals(self) -> dict[str, int]:
        """Faults of the whole run by kind: of all processes, and of parts before an interruption, too (steps that
        were done twice count twice)."""
        counts = Counter(self._unwritten)
        if self.file is None:
            counts = Counter(self.counts)
        elif self.file.is_file():
            for line in self.file.read_text(encoding="utf-8").splitlines():
                try:
                    counts[json.loads(line)["kind"]] += 1
                except (json.JSONDecodeError, KeyError):
                    continue  # cut off by an interruption
        return dict(sorted(counts.items()))


@dataclass
class _Flag:
    """A flag of one step on its way from the device."""

    bad: Tensor
    step: int
    keys: Sequence[str]
    arrived: torch.cuda.Event | None


class NonFinite(lightning.Callback):
    """Counts steps whose loss or gradients were not finite, and ends training after `limit` of them in a row.

    The module says so in `module.non_finite`, a bool tensor () of this step on the device; without one, the loss is
    looked at. The flag is fetched without waiting for the device: on a GPU it is read a step or two later, and before
    a checkpoint is saved.

    Args:
        limit: steps in a row.
        faults: where they are named.

    Raises (from the hooks):
        FloatingPointError: `limit` steps in a row, one clear line.
    """

    BEHIND = 2  # steps after which a flag is waited for

    def __init__(self, limit: int, faults: Faults) -> None:
        self.limit, self.faults = limit, faults
        self.in_a_row = 0
        self._flags: deque[_Flag] = deque()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        bad = getattr(pl_module, "non_finite", None)
        if bad is None:
            loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
            if not isinstance(loss, Tensor):
                return
            bad = ~torch.isfinite(loss.detach()).all()
        keys = list(batch.get("keys", ())) if isinstance(batch, Mapping) else []
        self.watch(bad.detach(), trainer.global_step, keys)

    def watch(self, bad: Tensor, step: int, keys: Sequence[str] = ()) -> None:
        """Note the flag of a step, and look at those that have arrived.

        Args:
            bad: bool (), the step was not finite.
            step: its number.
            keys: names of the samples in its batch.
        """
        arrived = None
        if bad.is_cuda:
            host = torch.empty((), dtype=torch.bool, pin_memory=True)
            host.copy_(bad, non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record(torch.cuda.current_stream(bad.device))
            bad = host
        else:
            bad = bad.clone()
        self._flags.append(_Flag(bad, step, keys, arrived))
        self._look(self.BEHIND)

    def _look(self, behind: int) -> None:
        """Look at the flags that have arrived; wait for all but the last `behind`."""
        while self._flags:
            arrived = self._flags[0].arrived
            if arrived is not None and not arrived.query():
                if len(self._flags) <= behind:
                    return
                arrived.synchronize()
            self._judge(self._flags.popleft())

    def _judge(self, flag: _Flag) -> None:
        if not bool(flag.bad):
            self.in_a_row = 0
            return
        self.in_a_row += 1
        named = ", ".join(map(str, flag.keys[:8])) + (" …" if len(flag.keys) > 8 else "")
        detail = f"the batch of {named}" if named else "a batch without names"
        self.faults.add(FaultKind.NON_FINITE, detail, flag.step, keys=[str(key) for key in flag.keys])
        if self.in_a_row >= self.limit:
            raise FloatingPointError(
                f"the loss or its gradients were not finite in {self.in_a_row} steps in a row, last at step "
                f"{flag.step} in {detail}; a lower optimizer.learning_rate or runtime.precision=bf16-mixed may help, "
                "and the same command goes on from the last checkpoint"
            )

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._look(0)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._look(0)
