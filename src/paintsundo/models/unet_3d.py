"""The multi-frame network: a UNet over clips with spatial and temporal attention (DynamiCrafter's)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.loaders import PeftAdapterMixin
from diffusers.models.embeddings import Timesteps
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

from paintsundo.errors import UserError
from paintsundo.models import fused
from paintsundo.models.attention import TextImageAttention
from paintsundo.models.attention_window import AttentionWindow, check_attention_window
from paintsundo.models.context_keys import ContextKeys
from paintsundo.models.feature_reuse import InnerFeatures
from paintsundo.models.gradient_checkpointing import GradientCheckpointingMixin
from paintsundo.models.layers import SiLU, group_norm, repeated
from paintsundo.models.official_layout import OfficialLayoutMixin
from paintsundo.models.resblock_3d import Downsample, ResBlock, Upsample
from paintsundo.models.transformer_3d import SpatialTransformer, TemporalTransformer

# Configuration keys of the published file whose other values this network does not compute.
_ONLY = {
    "conv_resample": True,
    "dims": 2,
    "resblock_updown": False,
    "temporal_selfatt_only": True,
    "tempspatial_aware": False,
    "use_linear": True,
    "use_relative_position": False,
    "use_scale_shift_norm": False,
}
_INIT_ATTENTION_HEADS = 8


class UNet3DModel(OfficialLayoutMixin, GradientCheckpointingMixin, ModelMixin, ConfigMixin, PeftAdapterMixin):
    """Denoiser of clips of any number of frames.

    The keys are those of the published `config.json`, with the published values as defaults, plus two
    optional ones, which are written only where they differ from their default: `norm_num_groups` (groups of
    every GroupNorm) and `attention_window` (the window that holds until `set_attention_window`).

    Args:
        in_channels: channels of the noisy latents and of the concatenated ones together.
        out_channels: channels of the prediction.
        model_channels: channels of level 0; those of level i are model_channels · channel_mult[i].
        attention_resolutions: downsampling factors whose levels have transformers.
        num_head_channels: width of a head, or −1 to give `num_heads` instead.
        context_dim: width of text and image embeddings.
        fs_condition: add an embedding of the frame stride.
        addition_attention: a temporal transformer of 8 heads after the first convolution.
        default_fs: the frame stride where none is given.
        dropout: of the residual blocks, in training.

    Raises:
        UserError: a value that this network does not compute, or groups that do not divide the channels.
    """

    config_name = "config.json"
    weights_file = "model.safetensors"
    optional_config: ClassVar[dict[str, Any]] = {"norm_num_groups": 32, "attention_window": "none"}
    # Not `ResBlock`: its many channel counts would each be compiled anew.
    _repeated_blocks: ClassVar[list[str]] = ["SpatialTransformerBlock", "TemporalTransformerBlock"]
    _no_split_modules: ClassVar[list[str]] = ["ResBlock", "SpatialTransformer", "TemporalTransformer"]

    @register_to_config
    def __init__(
        self,
        in_channels: int = 8,
        out_channels: int = 4,
        model_channels: int = 320,
        channel_mult: tuple[int, ...] = (1, 2, 4, 4),
        num_res_blocks: int = 2,
        attention_resolutions: tuple[int, ...] = (4, 2, 1),
        num_heads: int = -1,
        num_head_channels: int = 64,
        transformer_depth: int = 1,
        context_dim: int = 1024,
        dropout: float = 0.1,
        temporal_conv: bool = True,
        temporal_attention: bool = True,
        temporal_length: int = 16,
        temporal_selfatt_only: bool = True,
        use_causal_attention: bool = False,
        use_relative_position: bool = False,
        image_cross_attention: bool = True,
        image_cross_attention_scale_learnable: bool = False,
        addition_attention: bool = True,
        fs_condition: bool = True,
        default_fs: int = 24,
        conv_resample: bool = True,
        dims: int = 2,
        resblock_updown: bool = False,
        tempspatial_aware: bool = False,
        use_linear: bool = True,
        use_scale_shift_norm: bool = False,
        norm_num_groups: int = 32,
        attention_window: str = "none",
    ) -> None:
        super().__init__()
        for name, value in _ONLY.items():
            if self.config[name] != value:
                raise UserError(f"UNet3DModel computes {name}={value} only, not {self.config[name]}")
        if num_heads < 1 and num_head_channels < 1:
            raise UserError("UNet3DModel needs num_heads or num_head_channels")
        self.gradient_checkpointing = False
        self.fused = False
        self.set_attention_window(attention_window)
        self.default_fs = default_fs

        embedding_dim = 4 * model_channels
        self.sinusoid = Timesteps(model_channels, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.time_embed = _embedding_mlp(model_channels, embedding_dim)
        self.fps_embedding = _embedding_mlp(model_channels, embedding_dim) if fs_condition else None

        def res_block(in_ch: int, out_ch: int) -> ResBlock:
            return ResBlock(in_ch, out_ch, embedding_dim, dropout, temporal_conv, norm_num_groups)

        def transformers(ch: int) -> list[nn.Module]:
            heads, head_dim = _head_layout(ch, num_heads, num_head_channels)
            modules: list[nn.Module] = [
                SpatialTransformer(
                    ch,
                    heads,
                    head_dim,
                    transformer_depth,
                    context_dim,
                    image_cross_attention,
                    image_cross_attention_scale_learnable,
                    norm_num_groups,
                )
            ]
            if temporal_attention:
                modules.append(
                    TemporalTransformer(ch, heads, head_dim, transformer_depth, norm_num_groups, use_causal_attention)
                )
            return modules

        self.input_blocks = nn.ModuleList([nn.ModuleList([nn.Conv2d(in_channels, model_channels, 3, padding=1)])])
        self.init_attn = None
        if addition_attention:
            head_dim = num_head_channels if num_head_channels > 0 else model_channels // _INIT_ATTENTION_HEADS
            self.init_attn = nn.ModuleList(
                [
                    TemporalTransformer(
                        model_channels,
                        _INIT_ATTENTION_HEADS,
                        head_dim,
                        transformer_depth,
                        norm_num_groups,
                        use_causal_attention,
                        pointwise_conv=True,
                    )
                ]
            )

        channels, factor = model_channels, 1
        skips = [channels]
        for level, multiplier in enumerate(channel_mult):
            for _ in range(num_res_blocks):
                block: list[nn.Module] = [res_block(channels, multiplier * model_channels)]
                channels = multiplier * model_channels
                if factor in attention_resolutions:
                    block += transformers(channels)
                self.input_blocks.append(nn.ModuleList(block))
                skips.append(channels)
            if level < len(channel_mult) - 1:
                self.input_blocks.append(nn.ModuleList([Downsample(channels)]))
                skips.append(channels)
                factor *= 2

        self.middle_block = nn.ModuleList(
            [res_block(channels, channels), *transformers(channels), res_block(channels, channels)]
        )

        self.output_blocks = nn.ModuleList()
        for level, multiplier in reversed(list(enumerate(channel_mult))):
            for i in range(num_res_blocks + 1):
                block = [res_block(channels + skips.pop(), multiplier * model_channels)]
                channels = multiplier * model_channels
                if factor in attention_resolutions:
                    block += transformers(channels)
                if level > 0 and i == num_res_blocks:
                    block.append(Upsample(channels))
                    factor //= 2
                self.output_blocks.append(nn.ModuleList(block))

        self.out = nn.Sequential(
            group_norm(norm_num_groups, channels, eps=1e-5),
            SiLU(),
            nn.Conv2d(channels, out_channels, 3, padding=1),
        )

    @property
    def attention_window(self) -> AttentionWindow:
        """The temporal window of spatial self-attention where `forward` is not given one."""
        return self._attention_window

    def set_attention_window(self, window: str) -> None:
        """Choose the temporal window: `none`, `prv`, `first` or `roll`; `ValueError` on any other."""
        self._attention_window = check_attention_window(window)

    def embed(self, timesteps: torch.Tensor, fs: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor:
        """Timesteps (B,) and frame strides (B,) → (B, 4·model_channels)."""
        embedding = self.time_embed(self.sinusoid(timesteps).to(dtype))
        if self.fps_embedding is not None:
            fs = torch.full_like(timesteps, self.default_fs) if fs is None else fs
            embedding = embedding + self.fps_embedding(self.sinusoid(fs).to(dtype))
        return embedding

    def forward(
        self,
        x: torch.Tensor,
        timesteps: torch.Tensor,
        context_text: torch.Tensor | ContextKeys,
        context_img: torch.Tensor | None = None,
        fs: torch.Tensor | None = None,
        concat_cond: torch.Tensor | None = None,
        attention_window: str | None = None,
        features: InnerFeatures | None = None,
    ) -> torch.Tensor:
        """Predict v for a noisy clip.

        Args:
            x: noisy latents (B, C, T, h, w).
            timesteps: (B,), 0 … 999.
            context_text: words (B, 77, context_dim), the same for every frame; or what `project_context` made of them
                and the image embeddings. With k·B rows, the clips are repeated k times as a whole, and layers that see
                no words yet are computed once for all.
            context_img: image embeddings (B, T, L, context_dim), a set for each frame.
            fs: frame strides (B,); `default_fs` without it.
            concat_cond: latents (B, in_channels − C, T, h, w) concatenated to x: those of the given frames,
                zeros elsewhere.
            attention_window: `none`, `prv`, `first` or `roll` for this call; that of the network without it.
            features: of the inner blocks at earlier steps; all blocks are computed without it.

        Returns:
            (B, out_channels, T, h, w), or (k·B, …).
        """
        window = self._attention_window if attention_window is None else check_attention_window(attention_window)
        num_frames, batch = x.shape[2], len(context_text)
        if batch % len(x):
            raise ValueError(f"{batch} rows of words for {len(x)} clips")
        if context_img is not None:
            if context_img.shape[1] != num_frames:
                raise ValueError(f"{context_img.shape[1]} sets of image embeddings for {num_frames} frames")
            context_img = context_img.flatten(0, 1)
        if concat_cond is not None:
            x = torch.cat([x, concat_cond], dim=1)
        embedding = self.embed(timesteps, fs, x.dtype)
        # For the clips before they are repeated and after.
        embeddings = {rows: repeated(embedding, rows) for rows in (len(x), batch)}
        frames = x.transpose(1, 2).flatten(0, 1)
        context = (context_text, context_img, window, num_frames)

        frames = self.input_blocks[0][0](frames)
        if self.init_attn is not None:
            frames = self._run(self.init_attn[0], frames, num_frames)
        skips = [frames]
        blocks = len(self.input_blocks)
        outer = blocks if features is None else min(features.blocks, blocks)
        kept = None if features is None else features.recall(batch * num_frames)
        for block in self.input_blocks[1 : blocks if kept is None else outer]:
            frames = self._run_block(block, frames, embeddings, context)
            skips.append(frames)
        if kept is None:
            frames = inner = self._run_block(self.middle_block, frames, embeddings, context)
        else:
            frames = inner = kept
        for block in self.output_blocks[-len(skips) :]:
            if len(skips) == outer:
                inner = frames
            frames = repeated(frames, batch * num_frames)
            frames = torch.cat([frames, repeated(skips.pop(), len(frames))], dim=1)
            size = skips[-1].shape[-2:] if skips else frames.shape[-2:]
            frames = self._run_block(block, frames, embeddings, context, size)
        if features is not None:
            features.keep(inner if kept is None else None)
        if fused.fast(self, frames):
            frames = self.out[2](fused.normalise(self.out[0], frames, silu=True))
        else:
            frames = self.out(frames)
        return frames.unflatten(0, (batch, num_frames)).transpose(1, 2)

    def project_context(self, context_text: torch.Tensor, context_img: torch.Tensor | None) -> ContextKeys:
        """Keys and values of all cross-attentions, to be given to many calls in place of words and image embeddings."""
        image = None if context_img is None else context_img.flatten(0, 1)
        layers = {
            layer: layer.project_context(context_text, image)
            for layer in self.modules()
            if isinstance(layer, TextImageAttention)
        }
        return ContextKeys(layers, len(context_text))

    def _run_block(
        self,
        block: nn.ModuleList,
        frames: torch.Tensor,
        embeddings: dict[int, torch.Tensor],
        context: tuple[torch.Tensor | ContextKeys, torch.Tensor | None, AttentionWindow, int],
        size: tuple[int, int] | None = None,
    ) -> torch.Tensor:
        """One entry of the skeleton: its layers in order, each with the arguments of its kind.

        The embeddings (B, E) are those for each number B of clips.
        """
        for layer in block:
            if isinstance(layer, ResBlock):
                frames = self._run(layer, frames, embeddings[len(frames) // context[-1]], context[-1])
            elif isinstance(layer, SpatialTransformer):
                frames = self._run(layer, frames, *context)
            elif isinstance(layer, TemporalTransformer):
                frames = self._run(layer, frames, context[-1])
            elif isinstance(layer, Upsample):
                frames = layer(frames, size)
            else:
                frames = layer(frames)
        return frames

    def _run(self, layer: nn.Module, *args: Any) -> torch.Tensor:
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return self._gradient_checkpointing_func(layer, *args)
        return layer(*args)


def _embedding_mlp(in_dim: int, out_dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(in_dim, out_dim), nn.SiLU(), nn.Linear(out_dim, out_dim))


def _head_layout(channels: int, num_heads: int, head_channels: int) -> tuple[int, int]:
    """(heads, width of a head) for a number of channels."""
    if head_channels > 0:
        num_heads = channels // head_channels
    if num_heads < 1 or channels % num_heads or (head_channels > 0 and channels % head_channels):
        kind = f"heads of width {head_channels}" if head_channels > 0 else f"{num_heads} heads"
        raise UserError(f"{channels} channels cannot be split into {kind}")
    return num_heads, channels // num_heads
