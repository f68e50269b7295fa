"""What both diffusion modules share: the noise, the loss, their starting point, adapters and the export."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paintsundo.checkpoints.adapters import add_adapter, load_adapter, save_lora
from paintsundo.checkpoints.starting_points import StartingPoint, find_starting_point
from paintsundo.checkpoints.tensor_files import safetensors_metadata
from paintsundo.diffusion.loss_weights import UniformWeight
from paintsundo.diffusion.stages import Stage
from paintsundo.diffusion.targets import noisy_and_target
from paintsundo.errors import UserError
from paintsundo.models.official_layout import write_network
from paintsundo.training.graphs import RecordedPasses
from paintsundo.training.module import PaintsUndoModule, component_state

LossWeight = Callable[[Any, Tensor, str], Tensor]


class DiffusionModule(PaintsUndoModule):
    """Base of the single-frame and the multi-frame module.

    Args:
        stage: noise and prediction type to train with.
        loss_weight: weight per timestep, one of `diffusion.loss_weights`; none if left out.
        start: where weights come from (`checkpoints.starting_points`); None begins with random ones.

    Attributes:
        recorded: the passes of `step` as CUDA graphs, where they are wanted.

    Subclasses have `unet`, and give batches with "latents" (B, …) and whatever their `predict` needs.
    """

    kind: str  # "single_frame" or "multi_frame"

    def __init__(self, stage: Stage, loss_weight: LossWeight | None, start: str | None) -> None:
        super().__init__()
        self.stage, self.schedule = stage, stage.schedule()
        self.loss_weight: LossWeight = loss_weight or UniformWeight()
        self.start = start
        self.start_point: StartingPoint | None = None if start is None else find_starting_point(start, self.kind)
        self.lora: dict[str, Any] | None = None
        self.recorded: RecordedPasses | None = None
        self.unet: nn.Module

    @property
    def num_train_timesteps(self) -> int:
        """Timesteps run from 0 to this, exclusive."""
        return self.stage.num_train_timesteps

    def component(self, name: str, make: Callable[[], Any], needed: str | None = None) -> Any:
        """A network of the starting point, or else a new one.

        Args:
            name: of the component.
            make: the new one; may give None.
            needed: what to say where there is neither.

        Raises:
            UserError: there is neither.
        """
        found = None if self.start_point is None else self.start_point.load(name)
        found = make() if found is None else found
        if found is None and needed is not None:
            raise UserError(needed)
        return found

    def add_lora(self, rank: int, alpha: float | None, targets: list[str], start: str | None = None) -> int:
        """Train low-rank adapters of the UNet in place of all weights; returns the number of adapted layers.

        Args:
            rank, alpha, targets: as `checkpoints.adapters.add_adapter` has them.
            start: a LoRA file to go on from, or else that of the starting point; its own rank, alpha and layers hold.

        Raises:
            UserError: they are impossible, or the file does not fit.
        """
        file = Path(start) if start else None if self.start_point is None else self.start_point.lora
        self.requires_grad_(False)
        if file is None:
            layers = add_adapter(self.unet, rank, alpha, targets)
            self.lora = {"rank": rank, "alpha": rank if alpha is None else alpha}
        else:
            rank, alpha, layers = load_adapter(self.unet, file)
            self.lora = {"rank": rank, "alpha": alpha}
        return len(layers)

    # -- the loss ------------------------------------------------------------------------------------------------

    def encoded(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch with latents, whatever the loader gave."""
        return batch

    def predict(self, batch: dict[str, Any], noisy: Tensor, t: Tensor, dropped: Mapping[str, Tensor]) -> Tensor:
        """The network's output for noisy latents; `dropped`: bool (B,) by condition."""
        raise NotImplementedError

    def variant(self) -> Hashable:
        """What `predict` depends on besides tensors and weights."""
        return None

    def rows(self, count: int) -> tuple[int, slice]:
        """Rows of all processes' batches together, and which of them are this one's.

        Random numbers are drawn for all of them and this process takes its part: the same samples get the same noise
        however many processes there are.
        """
        rank, world = (self.global_rank, self.trainer.world_size) if self._trainer is not None else (0, 1)
        return count * world, slice(rank * count, (rank + 1) * count)

    def draw_dropped(self, count: int) -> dict[str, Tensor]:
        """Which rows lose which condition in this step, bool (B,) by condition."""
        return {}

    def latent_shape(self, batch: dict[str, Any]) -> torch.Size:
        """Shape of the noise for a batch."""
        return batch["latents"].shape

    def errors(
        self, batch: dict[str, Any], t: Tensor, noise: Tensor, dropped: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Mean squared error of each sample, float32 (B,), unweighted.

        Args:
            batch: with latents.
            t: timesteps, int64 (B,).
            noise: standard normal, of `latent_shape`.
            dropped: conditions left out; none by default.
        """
        noisy, target = noisy_and_target(
            self.schedule, batch["latents"], noise, t, self.stage.prediction_type, self.stage.dynamic_scale
        )
        dropped = dropped or {}
        if self.recorded is not None and torch.is_grad_enabled():
            output = self.recorded(self.predict, self.variant(), batch, noisy, t, dropped)
        else:
            output = self.predict(batch, noisy, t, dropped)
        return F.mse_loss(output.float(), target, reduction="none").flatten(1).mean(1)

    def step(self, batch: dict[str, Any], batch_index: int) -> Tensor:
        batch = self.encoded(batch)
        count, device = len(batch["latents"]), batch["latents"].device
        everyone, own = self.rows(count)
        dropped = {name: rows[own] for name, rows in self.draw_dropped(everyone).items()}
        t = torch.randint(self.num_train_timesteps, (everyone,), device=device)[own]
        noise = torch.randn((everyone, *self.latent_shape(batch)[1:]), device=device)[own]
        error = self.errors(batch, t, noise, dropped)
        loss = (self.loss_weight(self.schedule, t, self.stage.prediction_type) * error).mean()
        self.record({"loss": loss, "error": error.mean()})
        return loss

    # -- the export ----------------------------------------------------------------------------------------------

    def write_component(self, folder: Path, name: str, state: Mapping[str, Tensor]) -> None:
        """Write a trained network with the tensors of `state` in place of its own."""
        network = getattr(self, name)
        own = set(network.state_dict())
        tensors = {key: value for key, value in component_state(state, name).items() if key in own}
        write_network(folder / name, network.to_json_string(), tensors, network.weights_file)

    def write_lora(self, folder: Path, state: Mapping[str, Tensor]) -> None:
        """Write `lora.safetensors`, which `infer.py models.lora=` takes."""
        assert self.lora is not None
        adapter = component_state(state, "unet")
        file = folder / "lora.safetensors"
        save_lora(file, {"unet": adapter}, base=self.base_name(), kind=self.kind, **self.lora)

    def base_name(self) -> str:
        """What a LoRA is a change of, as `start` names it."""
        if self.start_point is not None and self.start_point.lora is not None:
            return safetensors_metadata(self.start_point.lora).get("paintsundo.base", "")
        return self.start or ""

    def write_schedule(self, folder: Path) -> None:
        """Write `scheduler/scheduler_config.json` where noise or prediction type are not the published ones."""
        name = {"single_frame": "keyframes", "multi_frame": "video"}[self.kind]
        if self.stage != Stage.named(name):
            self.stage.save(folder / "scheduler")
