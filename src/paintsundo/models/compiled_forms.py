"""Layers written so that a compiler makes fast kernels of them; the same mathematics and the same tensors.

Measured where they matter, in training on GPUs: the usual GroupNorm copies channels-last activations to the other
layout and back, and the gradient of one matrix product that is then cut in two is put together in a slow kernel.
Outside `torch.compile` the layers compute what their parent class does, without gradients by the functions of `fused`
where those are switched on; diffusers' blocks keep the layout there too.
"""

from __future__ import annotations

import torch
from diffusers.models.activations import GEGLU
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.upsampling import Upsample2D
from torch import nn
from torch.nn import functional as F

from paintsundo.models import fused
from paintsundo.models.layers import is_channels_last, repeated


def use_compiled_forms(network: nn.Module) -> None:
    """Let the layers of a network that have a form for compilers use it, in place; weights and names stay.

    Layers of other classes, derived ones included, are left alone.
    """
    forms = (
        ChannelsLastGroupNorm,
        ChannelsLastResnetBlock2D,
        ChannelsLastTransformer2D,
        ChannelsLastUpsample2D,
        TwoProductGEGLU,
    )
    for module in network.modules():
        for form in forms:
            if type(module) is form.__bases__[0]:
                module.__class__ = form


class ChannelsLastGroupNorm(nn.GroupNorm):
    """GroupNorm (Wu and He 2018) of channels-last activations that stays in their layout when compiled.

    So does it at inference with GPU kernels (`fused`), for the blocks that call their norm themselves.
    """

    fused = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, …) → the same; tokens (B, C, n) that lie in memory as (B, n, C) are channels last too."""
        if torch.compiler.is_compiling():
            if self.affine and is_channels_last(x):
                return channels_last_group_norm(x, self.num_groups, self.weight, self.bias, self.eps)
        elif self.affine and fused.has_kernels(x):
            frames = x[..., None] if x.dim() == 3 else x
            if fused.fast(self, frames):
                return fused.kernel_norm(self, frames).view_as(x)
        return super().forward(x)


def channels_last_group_norm(
    x: torch.Tensor, groups: int, weight: torch.Tensor, bias: torch.Tensor, eps: float
) -> torch.Tensor:
    """`F.group_norm` by sums over each channel alone, which in this layout is a plain sum over rows.

    Args:
        x: (B, C, …).
        groups: G, a divisor of C.
        weight: (C,).
        bias: (C,).
        eps: added to the variance.

    Returns:
        x's shape; float32 under autocast, as GroupNorm gives it on GPUs, else x's dtype.
    """
    positions = tuple(range(2, x.dim()))
    tail = (...,) + (None,) * len(positions)
    values = x.float()
    # Sums of squares lose digits where the mean is large beside the deviation: one value of each channel is taken
    # off first. It cancels out of mean and variance, so that no gradient is due to it.
    pivot = values.flatten(2)[:, :, 0].detach()
    shifted = values - pivot[tail]
    count = x[0, 0].numel()
    mean = shifted.sum(positions) / count
    variance = (shifted.square().sum(positions) / count - mean.square()).unflatten(1, (groups, -1))
    mean = (mean + pivot).unflatten(1, (groups, -1))
    group_mean = mean.mean(-1, keepdim=True)
    group_variance = (variance + (mean - group_mean).square()).mean(-1, keepdim=True).clamp_min(0)
    scale = ((group_variance + eps).rsqrt() * weight.float().unflatten(0, (groups, -1))).flatten(1)
    centre = group_mean.expand_as(mean).flatten(1)
    # Expanded before they meet the positions, all three have gradients of one shape: one kernel sums them.
    offset = bias.float().expand_as(scale)
    out = (values - centre[tail]) * scale[tail] + offset[tail]
    in_full = x.device.type != "cpu" and torch.is_autocast_enabled(x.device.type)
    return out if in_full else out.to(x.dtype)


class TwoProductGEGLU(GEGLU):
    """GEGLU (Shazeer 2020) whose value and gate are two products when compiled for training.

    The gradients of both come then from one kernel that meets each element once. At inference (`fused`) they are two
    products on a processor, whose activation functions are several times slower on halves of rows, and one product
    and one pass with GPU kernels.
    """

    fused = False

    def forward(self, hidden_states: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        """(…, C) → (…, C')."""
        layer = self.proj
        # Adapters, hooks and weights that are gathered layer by layer need the layer itself to be called.
        plain = type(layer) is nn.Linear and layer.weight.dim() == 2 and not layer._forward_pre_hooks
        plain = plain and "forward" not in vars(layer)
        compiling = torch.compiler.is_compiling()
        inferring = self.fused and not compiling and not torch.is_grad_enabled()
        if inferring and fused.has_kernels(hidden_states) and not torch.is_autocast_enabled(hidden_states.device.type):
            return fused.geglu(layer(hidden_states))
        if not plain or not (
            hidden_states.device.type == "cpu" if inferring else compiling and torch.is_grad_enabled()
        ):
            return super().forward(hidden_states, *args, **kwargs)
        biases = (None, None) if layer.bias is None else layer.bias.chunk(2)
        value, gate = (F.linear(hidden_states, w, b) for w, b in zip(layer.weight.chunk(2), biases, strict=True))
        return value.mul_(F.gelu(gate)) if inferring else value * F.gelu(gate)


class ChannelsLastTransformer2D(Transformer2DModel):
    """diffusers' transformer of pictures without its change of memory layout after the last block."""

    def _get_output_for_continuous_inputs(
        self,
        hidden_states: torch.Tensor,
        residual: torch.Tensor,
        batch_size: int,
        height: int,
        width: int,
        inner_dim: int,
    ) -> torch.Tensor:
        rows = len(hidden_states)  # more than those of the input where words part them (`picture_forms`)
        residual = repeated(residual, rows)
        if not is_channels_last(residual):
            return super()._get_output_for_continuous_inputs(hidden_states, residual, rows, height, width, inner_dim)
        if self.use_linear_projection:
            hidden_states = self.proj_out(hidden_states)
        frames = hidden_states.unflatten(1, (height, width)).permute(0, 3, 1, 2)
        return residual + (frames if self.use_linear_projection else self.proj_out(frames))


class ChannelsLastResnetBlock2D(ResnetBlock2D):
    """diffusers' residual block without the change of memory layout before its skip connection in training."""

    fused = False

    def forward(
        self, input_tensor: torch.Tensor, temb: torch.Tensor | None, *args: object, **kwargs: object
    ) -> torch.Tensor:
        """(B, C, h, w), embedding (B, E) or None → (B, C', h, w); an embedding of fewer rows is repeated."""
        if temb is not None:
            temb = repeated(temb, len(input_tensor))
        same_size = self.upsample is None and self.downsample is None
        if not (same_size and self.time_embedding_norm != "scale_shift" and is_channels_last(input_tensor)):
            return super().forward(input_tensor, temb, *args, **kwargs)
        if self.time_embedding_norm != "default":  # "group" in the decoder of `AutoencoderKL`: no embedding is added
            temb = None
        if fused.fast(self, input_tensor) and self.output_scale_factor == 1 and isinstance(self.nonlinearity, nn.SiLU):
            return self._fused(input_tensor, temb)
        hidden = self.conv1(self.nonlinearity(self.norm1(input_tensor)))
        if self.time_emb_proj is not None:
            temb = self.time_emb_proj(temb if self.skip_time_act else self.nonlinearity(temb))[..., None, None]
        if temb is not None:
            hidden = hidden + temb
        hidden = self.conv2(self.dropout(self.nonlinearity(self.norm2(hidden))))
        skip = input_tensor if self.conv_shortcut is None else self.conv_shortcut(input_tensor)
        return (skip + hidden) / self.output_scale_factor

    def _fused(self, frames: torch.Tensor, temb: torch.Tensor | None) -> torch.Tensor:
        hidden, shift = fused.convolve(self.conv1, fused.normalise(self.norm1, frames, silu=True))
        shift = None if shift is None else shift[None]
        if self.time_emb_proj is not None:
            temb = self.time_emb_proj(temb if self.skip_time_act else self.nonlinearity(temb))
        if temb is not None:
            shift = temb if shift is None else temb + shift
        hidden, bias = fused.convolve(self.conv2, fused.normalise(self.norm2, hidden, shift, silu=True))
        skip = frames if self.conv_shortcut is None else fused.pointwise(self.conv_shortcut, frames)
        return fused.add(skip, hidden, bias)


class ChannelsLastUpsample2D(Upsample2D):
    """diffusers' upsampling; at inference (`fused`) the doubled picture before its convolution is never made."""

    fused = False

    def forward(
        self,
        hidden_states: torch.Tensor,
        output_size: tuple[int, int] | None = None,
        *args: object,
        **kwargs: object,
    ) -> torch.Tensor:
        """(B, C, h, w) → (B, C', 2·h, 2·w), or of the size (h', w') that is asked for."""
        height, width = hidden_states.shape[-2:]
        plain = self.use_conv and self.name == "conv" and self.interpolate and self.norm is None
        doubled = output_size is None or tuple(output_size) == (2 * height, 2 * width)
        if plain and doubled and fused.can_upsample(self, self.conv, hidden_states):
            return fused.upsample_convolve(self.conv, hidden_states)
        return super().forward(hidden_states, output_size, *args, **kwargs)
