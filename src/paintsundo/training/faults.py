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
        """Faults of the whole run by kind: of all processes, and of parts before an interruption, too.

        A step that was not finite counts once, whoever told it; others count again where steps were done again.
        """
        if self.file is None:
            return dict(sorted(self.counts.items()))
        counts, bad_steps = Counter(self._unwritten), set[int]()
        for line in self.file.read_text(encoding="utf-8").splitlines() if self.file.is_file() else ():
            try:
                fault = json.loads(line)
            except json.JSONDecodeError:  # cut off by an interruption
                continue
            if fault["kind"] == FaultKind.NON_FINITE:
                if fault["step"] in bad_steps:
                    continue
                bad_steps.add(fault["step"])
            counts[fault["kind"]] += 1
        return dict(sorted(counts.items()))


@dataclass
class _Flags:
    """What is to be known of a step, on its way from the device: bool (2,), step bad, loss of this process bad."""

    bad: Tensor
    step: int
    keys: Sequence[str]
    arrived: torch.cuda.Event | None


class NonFinite(lightning.Callback):
    """Counts steps whose gradients or loss were not finite, and ends training after `limit` of them in a row.

    The module says so in `step_is_finite`, a bool tensor () on the device; where it has none, the loss is looked at.
    The flag is fetched without waiting for the device: on a GPU it is read a step or two later, and before a
    checkpoint is saved. Every process counts; the first one names the step, others only where their own loss was bad.

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
        self._flags: deque[_Flags] = deque()
        self._bad_loss: Tensor | None = None
        self._keys: list[str] = []
        self._step = 0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor):
            bad = ~torch.isfinite(loss.detach()).all()
            self._bad_loss = bad if self._bad_loss is None else self._bad_loss | bad
        if isinstance(batch, Mapping):
            self._keys += [str(key) for key in batch.get("keys", ())]
        if trainer.global_step == self._step:  # gradients are added up: the step is still to come
            return
        self._step = trainer.global_step
        finite = getattr(pl_module, "step_is_finite", None)
        bad_loss, keys, self._bad_loss, self._keys = self._bad_loss, self._keys, None, []
        bad_step = bad_loss if finite is None else ~finite.detach()
        if bad_step is not None:
            self.watch(bad_step, bad_step if bad_loss is None else bad_loss, self._step, keys)

    def watch(self, bad_step: Tensor, bad_loss: Tensor, step: int, keys: Sequence[str] = ()) -> None:
        """Note the flags of a step, and look at those that have arrived.

        Args:
            bad_step: bool (), the step was not finite.
            bad_loss: bool (), the loss of this process was not.
            step: its number.
            keys: names of the samples in its batch.
        """
        flags, arrived = torch.stack([bad_step.reshape(()), bad_loss.reshape(())]), None
        if flags.is_cuda:
            device = flags.device
            host = torch.empty(2, dtype=torch.bool, pin_memory=True)
            flags = host.copy_(flags, non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record(torch.cuda.current_stream(device))
        self._flags.append(_Flags(flags, step, keys, arrived))
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

    def _judge(self, flags: _Flags) -> None:
        bad_step, bad_loss = flags.bad.tolist()
        if not bad_step:
            self.in_a_row = 0
            return
        self.in_a_row += 1
        named = ", ".join(flags.keys[:8]) + (" …" if len(flags.keys) > 8 else "")
        what = "the loss" if bad_loss else "gradients"
        detail = f"{what} of the batch {named}" if named else f"{what} of a batch without names"
        if self.faults.rank == 0 or bad_loss:
            self.faults.add(FaultKind.NON_FINITE, detail, flags.step, keys=list(flags.keys))
        if self.in_a_row >= self.limit:
            raise FloatingPointError(
                f"not finite in {self.in_a_row} steps in a row, last at step {flags.step}: {detail}; a lower "
                "optimizer.learning_rate or runtime.precision=bf16-mixed may help, "
                "and the same command goes on from the last checkpoint"
            )

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._look(0)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._look(0)
