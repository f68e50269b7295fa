"""Averages of trained parameters during training: kept in the checkpoint, used for samples and exports."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from paintsundo.errors import UserError
from paintsundo.training.averages import PowerAverage, StandardAverage, local
from paintsundo.training.parameters import full_tensors, master_tensors, replaced
from paintsundo.training.snapshots import label, set_aside, write_snapshot


class AverageWeights(lightning.Callback):
    """Averages of every trained parameter, after each optimiser step; used for samples and the export.

    It goes before the callbacks that use it or save checkpoints. Where each process holds only a share of the
    parameters, Lightning would write the averages of the first process alone: there they are left out of the
    checkpoint's callback state, and `write_shard` and `read_shard` keep them beside it.

    Args:
        kind: "standard" (one exponential average), "power" (one power-function average per width) or "none".
        decay: of the standard average.
        stds: relative widths of the power-function averages. The first is the one that samples and exports show.
        snapshot_every: steps between snapshots of the power-function averages, from which
            `python -m paintsundo.training.posthoc` reconstructs other widths.
        folder: of the run; snapshots go into its `averages/`. None: there are none.

    Attributes:
        faults: snapshots that could not be written, one line each; training goes on without them.

    Raises:
        UserError: a setting is impossible.
    """

    def __init__(
        self,
        kind: str = "standard",
        decay: float = 0.999,
        stds: Sequence[float] = (0.05, 0.10),
        snapshot_every: int = 1000,
        folder: Path | None = None,
    ) -> None:
        if kind not in ("standard", "power", "none"):
            raise UserError(f"ema.kind is standard, power or none, not {kind}")
        if snapshot_every < 1:
            raise UserError(f"ema.snapshot_every must be at least 1, not {snapshot_every}")
        self.kind, self.snapshot_every, self.folder = kind, snapshot_every, folder
        self.standard = StandardAverage(decay) if kind == "standard" else None
        self.powers = {label(std): PowerAverage(std) for std in stds} if kind == "power" else {}
        if kind == "power" and not 0 < len(self.powers) == len(stds):
            raise UserError(f"ema.stds needs widths that differ in three decimals, not {list(stds)}")
        self.faults: list[str] = []
        self.sharded = False
        self._step = 0
        self._last_snapshot = -1

    @property
    def members(self) -> dict[str, StandardAverage | PowerAverage]:
        """All averages, by label."""
        return {"standard": self.standard} if self.standard is not None else {**self.powers}

    def current(self) -> dict[str, Tensor] | None:
        """The average for samples and exports, keys as `master_tensors`; None where none is kept."""
        return next((member.averages for member in self.members.values()), None)

    @contextmanager
    def swapped(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> Iterator[None]:
        """Run with the averaged parameters in place of the trained ones. All processes must call it."""
        averages = self.current()
        if averages is None:
            yield
        else:
            with replaced(trainer, module, averages):
                yield

    # Not on_fit_start: some strategies read the checkpoint only after it.
    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.sharded = isinstance(trainer.strategy, (DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy))
        masters = master_tensors(trainer, pl_module) if self.members else {}
        for member in self.members.values():
            member.start(masters)
        self._step = trainer.global_step
        if self.powers and self.folder is not None and trainer.is_global_zero:
            set_aside(self.folder, trainer.global_step)

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *args: Any) -> None:
        # Batches that only add to the gradients are no steps.
        if not self.members or trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        masters = master_tensors(trainer, pl_module)
        for member in self.members.values():
            member.update(masters)
        if self._step % self.snapshot_every == 0:
            self.snapshot(trainer, pl_module)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self._step != self._last_snapshot:
            self.snapshot(trainer, pl_module)

    def snapshot(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Write the power-function averages as they are now. All processes must call it."""
        if self.folder is None:
            return
        self._last_snapshot = self._step
        for name, member in self.powers.items():
            if not member.updates:
                continue
            tensors = full_tensors(trainer, module, member.averages)
            if not trainer.is_global_zero:
                continue
            try:
                write_snapshot(self.folder, tensors, member.std, self._step, member.updates)
            except (OSError, SafetensorError) as error:
                self.faults.append(f"snapshot {name} of step {self._step} could not be written: {error}")
                warnings.warn(self.faults[-1], stacklevel=2)

    def state_dict(self) -> dict[str, Any]:
        states = {name: member.state_dict() for name, member in self.members.items()}
        if self.sharded:
            states = {name: {"updates": state["updates"]} for name, state in states.items()}
        return {"kind": self.kind, "members": states}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        members = self.members
        if state["members"].keys() != members.keys():
            before = ", ".join(state["members"]) or "none"
            raise UserError(
                f"the checkpoint keeps other averages ({before}) than ema.kind and ema.stds ask for "
                f"({', '.join(members) or 'none'}): they cannot change when a run goes on"
            )
        for name, member in members.items():
            if "averages" in state["members"][name]:
                member.load_state_dict(state["members"][name])

    def write_shard(self, folder: Path, trainer: lightning.Trainer) -> None:
        """Write this process's share into a checkpoint's folder; nothing where the checkpoint itself has it."""
        if not (self.sharded and self.members):
            return
        file = _shard(folder, trainer)
        file.parent.mkdir(parents=True, exist_ok=True)
        tensors = {
            f"{name}/{key}": local(tensor).detach().cpu().contiguous()
            for name, member in self.members.items()
            for key, tensor in member.averages.items()
        }
        updates = {name: str(member.updates) for name, member in self.members.items()}
        save_file(tensors, file, metadata=updates)

    def read_shard(self, folder: Path, trainer: lightning.Trainer) -> bool:
        """Take over this process's share from a checkpoint's folder, before training starts; whether there was one.

        Raises:
            UserError: they were written by another number of processes, or are other averages.
        """
        if not self.members or not (folder / "averages").is_dir():
            return False
        file = _shard(folder, trainer)
        if not file.is_file():
            raise UserError(f"{file} is missing: a sharded run goes on with as many processes as before")
        with safe_open(file, "pt") as opened:
            updates = opened.metadata()
            if updates.keys() != self.members.keys():
                raise UserError(
                    f"{file} holds other averages ({', '.join(updates)}) than ema.kind and ema.stds ask for"
                )
            for name, member in self.members.items():
                keys = [key for key in opened.keys() if key.startswith(f"{name}/")]  # noqa: SIM118 (no mapping)
                tensors = {key.removeprefix(f"{name}/"): opened.get_tensor(key) for key in keys}
                member.load_state_dict({"averages": tensors, "updates": updates[name]})
        return True


def _shard(folder: Path, trainer: lightning.Trainer) -> Path:
    return folder / "averages" / f"rank-{trainer.global_rank:05d}-of-{trainer.world_size:05d}.safetensors"
