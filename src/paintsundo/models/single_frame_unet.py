"""The single-frame network: SD 1.5's UNet, also given the finished picture and the operation step."""

from __future__ import annotations

import functools
import json
from typing import Any, ClassVar

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from torch import nn

from paintsundo.models.gradient_checkpointing import GradientCheckpointingMixin
from paintsundo.models.official_layout import OfficialLayoutMixin

_OPERATION_SINUSOID_DIM = 256
NO_OPERATION_STEP = -1  # given in place of an operation step, adds nothing: for training with the step left out


class SingleFrameUNet(OfficialLayoutMixin, GradientCheckpointingMixin, UNet2DConditionModel):
    """`UNet2DConditionModel` with two more conditions; configured by the same keys.

    `config.in_channels` is the number of latent channels, as in the published `config.json`; `conv_in` takes
    twice as many, [noisy latent, latent of the finished picture]. The operation step, 0 (finished) … 999
    (first stroke), is embedded like a timestep and added to its embedding, where SDXL adds its conditions.
    """

    weights_file = "diffusion_pytorch_model.safetensors"
    published_class_name: ClassVar[str] = "ModifiedUNet"

    # The signature is what diffusers' configuration machinery reads its keys from.
    @functools.wraps(UNet2DConditionModel.__init__)  # type: ignore[misc]
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        conv: nn.Conv2d = self.conv_in  # type: ignore[has-type]
        self.conv_in = nn.Conv2d(2 * self.config.in_channels, conv.out_channels, conv.kernel_size, padding=conv.padding)
        embedding_dim = self.time_embedding.linear_2.out_features
        self.operation_proj = Timesteps(_OPERATION_SINUSOID_DIM, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.add_embedding = TimestepEmbedding(_OPERATION_SINUSOID_DIM, embedding_dim)

    def get_aug_embed(
        self, emb: torch.Tensor, encoder_hidden_states: torch.Tensor, added_cond_kwargs: dict[str, Any]
    ) -> torch.Tensor:
        """The embedding (B, E) of the operation steps, which diffusers' `forward` adds to the timestep's."""
        steps = added_cond_kwargs["operation_steps"].expand(emb.shape[0])
        embedding = self.add_embedding(self.operation_proj(steps).to(emb.dtype))
        return embedding.masked_fill((steps == NO_OPERATION_STEP)[:, None], 0.0)

    def forward(  # type: ignore[override]
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor | float | int,
        encoder_hidden_states: torch.Tensor,
        operation_steps: torch.Tensor,
        concat_conds: torch.Tensor,
        *,
        return_dict: bool = True,
        **kwargs: Any,
    ) -> UNet2DConditionOutput | tuple[torch.Tensor]:
        """Predict the noise of partly finished pictures.

        Args:
            sample: noisy latents (B, C, h, w).
            timestep: (B,) or one number, 0 … 999.
            encoder_hidden_states: words (B, 77, D).
            operation_steps: (B,) or (1,), 0 (finished) … 999 (first stroke), or NO_OPERATION_STEP.
            concat_conds: latents of the finished pictures (B, C, h, w), or (1, C, h, w) for all.
            return_dict: as in diffusers.
            kwargs: other arguments of `UNet2DConditionModel.forward`.

        Returns:
            `UNet2DConditionOutput` with `sample` (B, C, h, w).
        """
        concat_conds = concat_conds.expand(sample.shape[0], -1, -1, -1)
        return super().forward(
            torch.cat([sample, concat_conds], dim=1),
            timestep,
            encoder_hidden_states,
            added_cond_kwargs={"operation_steps": operation_steps},
            return_dict=return_dict,
            **kwargs,
        )

    def to_json_string(self) -> str:
        """The configuration as published, `_class_name` included."""
        config = json.loads(UNet2DConditionModel.to_json_string(self))
        config = {k: v for k, v in config.items() if k in ("_class_name", "_diffusers_version") or k[0] != "_"}
        return json.dumps(config | {"_class_name": self.published_class_name}, indent=2, sort_keys=True) + "\n"
