"""The single-frame network: SD 1.5's UNet, also given the finished picture and the operation step."""

from __future__ import annotations

import functools
import inspect
import json
from typing import Any, ClassVar, Literal, get_args

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from torch import nn

from paintsundo.errors import UserError
from paintsundo.models.context_keys import ContextKeys
from paintsundo.models.feature_reuse import InnerFeatures
from paintsundo.models.gradient_checkpointing import GradientCheckpointingMixin
from paintsundo.models.layers import repeated
from paintsundo.models.official_layout import OfficialLayoutMixin
from paintsundo.models.picture_forms import SharedAttention, use_picture_forms

_OPERATION_SINUSOID_DIM = 256
NO_OPERATION_STEP = -1  # given in place of an operation step, adds nothing: for training with the step left out

OperationEmbedding = Literal["added", "none", "token"]
OPERATION_EMBEDDINGS: tuple[OperationEmbedding, ...] = get_args(OperationEmbedding)


def _with_operation_embedding(init: Any) -> inspect.Signature:
    """The signature of diffusers' constructor, with our one more key."""
    own = inspect.Parameter("operation_embedding", inspect.Parameter.KEYWORD_ONLY, default="added")
    signature = inspect.signature(init)
    return signature.replace(parameters=[*signature.parameters.values(), own])


class SingleFrameUNet(OfficialLayoutMixin, GradientCheckpointingMixin, UNet2DConditionModel):
    """`UNet2DConditionModel` with two more conditions; configured by the same keys.

    `config.in_channels` is the number of latent channels, as in the published `config.json`; `conv_in` takes
    twice as many, [noisy latent, latent of the finished picture]. The operation step, 0 (finished) … 999
    (first stroke), is embedded like a timestep and, by `config.operation_embedding`,

    - "added" (as published): added to the timestep's embedding, where SDXL adds its conditions;
    - "token": given to cross-attention as one more token after the words;
    - "none": not given at all; the network has no `add_embedding`.
    """

    weights_file = "diffusion_pytorch_model.safetensors"
    published_class_name: ClassVar[str] = "ModifiedUNet"

    # The signature is what diffusers' configuration machinery reads its keys from.
    @functools.wraps(UNet2DConditionModel.__init__)  # type: ignore[misc]
    def __init__(self, *args: Any, operation_embedding: OperationEmbedding = "added", **kwargs: Any) -> None:
        if operation_embedding not in OPERATION_EMBEDDINGS:
            known = ", ".join(OPERATION_EMBEDDINGS)
            raise UserError(f"operation_embedding cannot be {operation_embedding!r}: choose from {known}")
        super().__init__(*args, **kwargs)
        self.register_to_config(operation_embedding=operation_embedding)
        conv: nn.Conv2d = self.conv_in  # type: ignore[has-type]
        self.conv_in = nn.Conv2d(2 * self.config.in_channels, conv.out_channels, conv.kernel_size, padding=conv.padding)
        self.repeats_rows = False
        if operation_embedding == "none":
            return
        time_dim, word_dim = self.time_embedding.linear_2.out_features, self.config.cross_attention_dim
        self.operation_proj = Timesteps(_OPERATION_SINUSOID_DIM, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.add_embedding = TimestepEmbedding(
            _OPERATION_SINUSOID_DIM, time_dim if operation_embedding == "added" else word_dim
        )

    # diffusers looks for the keys of a configuration here, and follows `functools.wraps` past ours otherwise.
    __init__.__signature__ = _with_operation_embedding(UNet2DConditionModel.__init__)  # type: ignore[attr-defined]

    def with_operation_embedding(self, choice: OperationEmbedding) -> SingleFrameUNet:
        """This network with another `operation_embedding`: all weights but those of a new embedding are the same.

        Raises:
            UserError: there is no such choice.
        """
        if choice == self.config.operation_embedding:
            return self
        config = {key: value for key, value in self.config.items() if key[0] != "_"}
        other = SingleFrameUNet(**{**config, "operation_embedding": choice})
        kept = {name: t for name, t in self.state_dict().items() if not name.startswith("add_embedding.")}
        other.load_state_dict(kept, strict=False)
        return other.to(self.device, self.dtype).train(self.training)

    def embed_operation_steps(self, steps: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """Operation steps (B,) or (1,) → embeddings (B, E) for `like` (B, …); zeros for NO_OPERATION_STEP."""
        steps = repeated(steps, like.shape[0])
        embedding = self.add_embedding(self.operation_proj(steps).to(like.dtype))
        return embedding.masked_fill((steps == NO_OPERATION_STEP)[:, None], 0.0)

    def repeat_rows(self) -> None:
        """Let the network take more rows of words than of pictures, in place; weights, names and results stay.

        Its convolutions have to be laid out channels last (`use_channels_last`).
        """
        use_picture_forms(self)
        self.repeats_rows = True

    def project_context(self, words: torch.Tensor) -> torch.Tensor | ContextKeys:
        """Keys and values of words (B, n, D) in all cross-attentions, to be given to many calls in their place.

        The words themselves come back where some layer has to see them, as each does when the operation step is one.
        """
        layers = [m for m in self.modules() if isinstance(m, SharedAttention) and m.is_cross_attention]
        if self.config.operation_embedding == "token" or not layers or not all(m.takes_keys() for m in layers):
            return words
        return ContextKeys({layer: layer.project_context(words) for layer in layers}, len(words))

    def get_aug_embed(
        self, emb: torch.Tensor, encoder_hidden_states: torch.Tensor, added_cond_kwargs: dict[str, Any]
    ) -> torch.Tensor | None:
        """The embedding (B, E) of the operation steps that diffusers' `forward` adds to the timestep's, if any."""
        if self.config.operation_embedding != "added":
            return None
        return self.embed_operation_steps(added_cond_kwargs["operation_steps"], emb)

    def process_encoder_hidden_states(
        self, encoder_hidden_states: torch.Tensor, added_cond_kwargs: dict[str, Any]
    ) -> torch.Tensor:
        """Words (B, n, D) as diffusers' `forward` hands them on; with "token", (B, n + 1, D)."""
        words = super().process_encoder_hidden_states(encoder_hidden_states, added_cond_kwargs)
        if self.config.operation_embedding != "token":
            return words
        token = self.embed_operation_steps(added_cond_kwargs["operation_steps"], words)
        return torch.cat([words, token[:, None]], dim=1)

    def forward(  # type: ignore[override]
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor | float | int,
        encoder_hidden_states: torch.Tensor | ContextKeys,
        operation_steps: torch.Tensor,
        concat_conds: torch.Tensor,
        *,
        return_dict: bool = True,
        features: InnerFeatures | None = None,
        **kwargs: Any,
    ) -> UNet2DConditionOutput | tuple[torch.Tensor]:
        """Predict the noise of partly finished pictures.

        Args:
            sample: noisy latents (B, C, h, w).
            timestep: (B,) or one number, 0 … 999.
            encoder_hidden_states: words (B, 77, D); after `repeat_rows` also what `project_context` made of them, and
                k·B rows, for which the pictures are repeated k times as a whole: what sees no words yet is computed
                once for all.
            operation_steps: (B,) or (1,), 0 (finished) … 999 (first stroke), or NO_OPERATION_STEP.
            concat_conds: latents of the finished pictures (B, C, h, w), or (1, C, h, w) for all.
            return_dict: as in diffusers.
            features: of the inner levels at earlier steps, of which all but the outermost are taken; all levels are
                computed without it.
            kwargs: other arguments of `UNet2DConditionModel.forward`.

        Returns:
            `UNet2DConditionOutput` with `sample` (B, C, h, w), or (k·B, …).
        """
        concat_conds = concat_conds.expand(sample.shape[0], -1, -1, -1)
        both = torch.cat([sample, concat_conds], dim=1)
        conditions = {"operation_steps": operation_steps}
        kept = None if features is None else features.recall(len(encoder_hidden_states))
        if features is None:
            return super().forward(
                both, timestep, encoder_hidden_states, added_cond_kwargs=conditions, return_dict=return_dict, **kwargs
            )
        if kept is not None:
            out = self._outermost_level(both, timestep, encoder_hidden_states, conditions, kept)
            features.keep()
            return UNet2DConditionOutput(sample=out) if return_dict else (out,)
        seen: list[torch.Tensor] = []

        def see(module: nn.Module, args: tuple[Any, ...], inputs: dict[str, Any]) -> None:
            seen.append(inputs["hidden_states"])

        handle = self.up_blocks[-1].register_forward_pre_hook(see, with_kwargs=True)
        try:
            result = super().forward(
                both, timestep, encoder_hidden_states, added_cond_kwargs=conditions, return_dict=return_dict, **kwargs
            )
        finally:
            handle.remove()
        features.keep(seen[0])
        return result

    def _outermost_level(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor | float | int,
        words: torch.Tensor | ContextKeys,
        conditions: dict[str, Any],
        inner: torch.Tensor,
    ) -> torch.Tensor:
        """The prediction (B, C, h, w) with `inner` (B, C', h, w) for what all levels below the first would give."""
        embedding = self.time_embedding(self.get_time_embed(sample=sample, timestep=timestep))
        added = self.get_aug_embed(emb=embedding, encoder_hidden_states=words, added_cond_kwargs=conditions)
        embedding = embedding if added is None else embedding + added
        words = self.process_encoder_hidden_states(encoder_hidden_states=words, added_cond_kwargs=conditions)
        first, last = self.down_blocks[0], self.up_blocks[-1]

        def attended(block: nn.Module) -> dict[str, torch.Tensor]:
            return {"encoder_hidden_states": words} if getattr(block, "has_cross_attention", False) else {}

        frames = self.conv_in(sample)
        _, skips = first(hidden_states=frames, temb=embedding, **attended(first))
        skips = (frames, *skips)[: len(last.resnets)]  # what follows them belongs to the next level
        frames = last(hidden_states=inner, temb=embedding, res_hidden_states_tuple=skips, **attended(last))
        if self.conv_norm_out is not None:
            frames = self.conv_act(self.conv_norm_out(frames))
        return self.conv_out(frames)

    def to_json_string(self) -> str:
        """The configuration as published, `_class_name` included."""
        config = json.loads(UNet2DConditionModel.to_json_string(self))
        config = {k: v for k, v in config.items() if k in ("_class_name", "_diffusers_version") or k[0] != "_"}
        if config.get("operation_embedding") == "added":
            del config["operation_embedding"]  # the published file has no such key
        return json.dumps(config | {"_class_name": self.published_class_name}, indent=2, sort_keys=True) + "\n"
