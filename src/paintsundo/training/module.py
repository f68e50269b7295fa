"""What all our Lightning modules share: the optimiser, its schedule, gradients, frozen networks and the export."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from paintsundo.data.samples import ClipRule, StateRule
from paintsundo.errors import UserError
from paintsundo.training.bank import ProcessBank
from paintsundo.training.banks import BankSet
from paintsundo.training.batches import BatchMaker
from paintsundo.training.flops import batch_signature
from paintsundo.training.gradients import apply_gradient_policy, gradient_norm
from paintsundo.training.optimizer import build_optimizer, warmup_constant, warmup_cosine
from paintsundo.training.options import OptimizerOptions


class TrainingClock:
    """Minutes of training, those before an interruption included, without the first step of each size of batch, which
    compiles.
    """

    def __init__(self) -> None:
        self.before = 0.0
        self.started: float | None = None

    def start(self) -> None:
        """Begin counting; later calls change nothing."""
        self.started = time.monotonic() if self.started is None else self.started

    def stop(self) -> None:
        """Stop counting, until it starts again."""
        self.before, self.started = self.minutes(), None

    def minutes(self) -> float:
        """Minutes counted so far."""
        return self.before + (0.0 if self.started is None else (time.monotonic() - self.started) / 60)


class PaintsUndoModule(lightning.LightningModule):
    """Base of the trainable parts.

    Attributes:
        optimizer_settings: of the optimiser.
        gradient_clip: longest gradient norm; 0 does not clip.
        max_minutes: training time, or None.
        gradient_norm: of the last step, a scalar on the device.
        step_is_finite: whether the last step counted, a bool scalar on the device; None where DeepSpeed decides.
        frozen_dtype: of frozen networks on a GPU.
        autocast_dtype: to compute in inside `training_step`, where the strategy switches autocast off around it.
        shard_dtype: of weights gathered by FSDP2; None keeps float32.
        shardable: names of the block classes that FSDP2 gathers one at a time; empty where it is not supported.
    """

    shardable: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self.optimizer_settings = OptimizerOptions()
        self.gradient_clip = 1.0
        self.max_minutes: float | None = None
        self.clock = TrainingClock()
        self.gradient_norm: Tensor | None = None
        self.step_is_finite: Tensor | None = None
        self.frozen_dtype = torch.float32
        self.autocast_dtype: torch.dtype | None = None
        self.shard_dtype: torch.dtype | None = None
        self._seen: set[tuple[Any, ...]] = set()  # shapes of batches
        self._frozen: dict[str, nn.Module] = {}
        self._frozen_state: dict[str, dict[str, Tensor]] = {}
        # Checkpoints hold what is trained; the rest comes from where it came from the first time.
        self.strict_loading = False

    # -- networks ------------------------------------------------------------------------------------------------

    def trained_networks(self) -> list[nn.Module]:
        """The networks whose parameters the optimiser changes."""
        raise NotImplementedError

    def compiled_networks(self) -> list[nn.Module]:
        """The networks worth compiling."""
        return self.trained_networks()

    def keep_frozen(self, name: str, network: nn.Module) -> None:
        """Make a network an attribute that is used but never trained.

        It is no submodule: strategies neither copy, spread nor save it. `place_frozen` moves it.
        """
        network.requires_grad_(False).eval()
        self._frozen[name] = network
        object.__setattr__(self, name, network)

    def is_frozen(self, name: str) -> bool:
        """Whether `keep_frozen` was given a network of that name."""
        return name in self._frozen

    def place_frozen(self, device: torch.device | str) -> None:
        """Move the frozen networks; on a GPU, where half of their numbers' bits do not matter, in `frozen_dtype`."""
        dtype = self.frozen_dtype if torch.device(device).type == "cuda" else torch.float32
        for name, network in self._frozen.items():
            if dtype != torch.float32 and name not in self._frozen_state:
                # Exports hand on what was given, not what it was rounded to.
                self._frozen_state[name] = {key: value.cpu() for key, value in network.state_dict().items()}
            _move(network, device, dtype)

    def restore_frozen(self) -> None:
        """Bring the frozen networks back to the processor as they were given."""
        for name, network in self._frozen.items():
            _move(network, "cpu", torch.float32)
            if name in self._frozen_state:
                network.load_state_dict(self._frozen_state.pop(name))

    def train_only(self, patterns: Sequence[str]) -> list[str]:
        """Freeze every parameter but those whose name one of the regular expressions is found in.

        Returns:
            the names that are trained.

        Raises:
            UserError: a pattern is no regular expression, or finds nothing.
        """
        names = [name for name, p in self.named_parameters() if p.requires_grad]
        chosen = set()
        for pattern in patterns:
            try:
                found = [name for name in names if re.search(pattern, name)]
            except re.error as error:
                raise UserError(f"train_parts: {pattern!r} is no regular expression ({error})") from None
            if not found:
                raise UserError(f"train_parts: {pattern!r} is in no parameter's name, such as {names[0]}")
            chosen |= set(found)
        for name, p in self.named_parameters():
            p.requires_grad_(name in chosen)
        return sorted(chosen)

    def configure_model(self) -> None:
        from lightning.pytorch.strategies import ModelParallelStrategy

        if self._trainer is not None and isinstance(self.trainer.strategy, ModelParallelStrategy):
            from paintsundo.training.strategies import shard

            assert self.device_mesh is not None
            for network in self.trained_networks():
                shard(network, self.device_mesh["data_parallel"], self.shardable, self.shard_dtype)

    def on_fit_start(self) -> None:
        self.place_frozen(self.device)

    # -- optimiser -----------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> dict[str, Any]:
        settings = self.optimizer_settings
        parameters = [p for p in self.parameters() if p.requires_grad]
        strategy = self.trainer.strategy
        zero = getattr(strategy, "config", None)
        offloaded = bool(isinstance(zero, dict) and zero.get("zero_optimization", {}).get("offload_optimizer"))
        optimizer = build_optimizer(parameters, settings, strategy.root_device, offloaded)

        def factor(step: int) -> float:
            if settings.schedule == "constant":
                return warmup_constant(step, settings.warmup_steps)
            return warmup_cosine(step, settings.warmup_steps, self.share_done(step))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        # DeepSpeed clips by itself, and its gradients are not in `p.grad`.
        if hasattr(self.trainer.strategy, "deepspeed_engine"):
            return
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.gradient_norm = gradient_norm(parameters)
        self.step_is_finite = apply_gradient_policy(optimizer, self.gradient_norm, self.gradient_clip)

    def on_before_zero_grad(self, optimizer: Any) -> None:
        engine = getattr(self.trainer.strategy, "deepspeed_engine", None)
        if engine is not None and engine.get_global_grad_norm() is not None:
            self.gradient_norm = torch.as_tensor(engine.get_global_grad_norm(), device=self.device)

    # -- progress ------------------------------------------------------------------------------------------------

    def share_done(self, step: int) -> float:
        """How much of the training is over: by steps, or by time where `max_minutes` comes first."""
        done = step / self.trainer.max_steps
        if self.max_minutes:
            done = max(done, self._minutes() / self.max_minutes)
        return done

    def _minutes(self) -> float:
        """The first process's clock, so that all have the same learning rate and stop together."""
        minutes = self.clock.minutes()
        if self.trainer.world_size > 1:
            shared = torch.tensor(minutes, dtype=torch.float64, device=self.device)
            torch.distributed.broadcast(shared, 0)
            minutes = float(shared)
        return minutes

    def record(self, figures: dict[str, Tensor]) -> None:
        """Log figures of this step; the progress bar shows them too."""
        self.log_dict({name: value.detach() for name, value in figures.items()}, prog_bar=True)

    def step(self, batch: Any, batch_index: int) -> Tensor:
        """The loss of a batch; figures go to `record`."""
        raise NotImplementedError

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        with nullcontext() if self.autocast_dtype is None else torch.autocast(self.device.type, self.autocast_dtype):
            return self.step(batch, batch_index)

    def on_train_batch_start(self, batch: Any, batch_index: int) -> int | None:
        if self.max_minutes and self._minutes() >= self.max_minutes:
            self.trainer.should_stop = True
        signature = batch_signature(batch)
        if signature not in self._seen:
            self._seen.add(signature)
            self.clock.stop()
        return None

    def on_train_batch_end(self, *args: Any) -> None:
        self.clock.start()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["training_minutes"] = self.clock.minutes()
        frozen = {name for name, p in self.named_parameters() if not p.requires_grad}
        checkpoint["state_dict"] = {k: v for k, v in checkpoint.get("state_dict", {}).items() if k not in frozen}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.clock.before = float(checkpoint["training_minutes"])

    # -- what a kind of model supplies ---------------------------------------------------------------------------

    @property
    def picture_multiple(self) -> int:
        """Heights and widths of pictures must be multiples of this, in pixels."""
        return 8

    def prepare(self, train: BankSet) -> None:
        """Last preparations that need the data, before training (encoding latents, say)."""

    def stream_rule(self) -> StateRule | ClipRule | None:
        """How samples are drawn from processes read by workers; None where that is not supported."""
        return None

    def make_batches(self, bank: ProcessBank, batch_size: int) -> BatchMaker:
        """What makes training batches of one size."""
        raise NotImplementedError

    def sample_pictures(self, bank: ProcessBank, count: int, seed: int) -> tuple[Tensor, dict[str, float]]:
        """uint8 (rows, columns, 3, H, W) to look at, from `count` held-out processes, and figures measured on them."""
        raise NotImplementedError

    def export(self, folder: Path, state: Mapping[str, Tensor], bank: ProcessBank | None) -> None:
        """Write the trained part into `folder` in the official layout.

        Args:
            folder: made where it does not exist.
            state: parameters and buffers to write, by the module's names (`parameters.full_state`).
            bank: processes to measure on, where the part needs that.
        """
        raise NotImplementedError


def _move(network: nn.Module, device: torch.device | str, dtype: torch.dtype) -> None:
    network.to(device)
    if any(p.dtype != dtype for p in network.parameters()):
        network.to(dtype)


def component_state(state: Mapping[str, Tensor], component: str) -> dict[str, Tensor]:
    """The entries of one submodule, under that submodule's own names."""
    prefix = component + "."
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
