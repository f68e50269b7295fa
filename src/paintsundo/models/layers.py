"""Small layers shared by the 3D UNet and the temporal VAE."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from paintsundo.errors import UserError


def group_norm(groups: int, channels: int, eps: float) -> nn.GroupNorm:
    """GroupNorm; a `UserError` where the number of groups does not divide the channels."""
    if channels % groups:
        raise UserError(f"{groups} groups do not divide {channels} channels: set norm_num_groups in the configuration")
    return nn.GroupNorm(groups, channels, eps=eps)


class SiLU(nn.SiLU):
    """SiLU that overwrites its input, a fresh result of the layer before it, where no gradient is wanted."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Any shape → the same."""
        return F.silu(x, inplace=not torch.is_grad_enabled())


def zero_initialised(module: nn.Module) -> nn.Module:
    """The same module with all parameters zero, so that its residual branch starts as nothing."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


class TemporalConv(nn.Conv3d):
    """Convolution over time alone: a `Conv3d` of kernel (k, 1, 1), stride 1 (see `temporal_conv`).

    It is computed as a two-dimensional convolution with kernel (k, 1) over (time, space), the same sums, for which
    libraries have faster kernels and whose channels-last layout is that of the frames themselves. The arguments are
    those of `Conv3d`, because low-rank adapters make layers of the same class.
    """

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        """(B, C, T, h, w) → (B, C', T, h, w), or (B, C, T, h·w) → (B, C', T, h·w)."""
        if clip.dim() == 4:
            return F.conv2d(clip, self.weight.squeeze(-1), self.bias, padding=self.padding[:2])
        out = F.conv2d(clip.flatten(3), self.weight.squeeze(-1), self.bias, padding=self.padding[:2])
        return out.unflatten(3, clip.shape[3:])


def temporal_conv(in_channels: int, out_channels: int, ends: bool = False) -> TemporalConv:
    """Kernel (3, 1, 1), padded to keep the number of frames; an `EndsConv` with `ends`."""
    return (EndsConv if ends else TemporalConv)(in_channels, out_channels, kernel_size=(3, 1, 1), padding=(1, 0, 0))


class EndsConv(TemporalConv):
    """`TemporalConv` of kernel 3 whose outer taps fall on the first and last frame of the clip, not on neighbours.

    Frames between the ends then do not depend on each other nor on their place. Clips of one or two frames come out as
    those of `TemporalConv`.
    """

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        """(B, C, T, h, w) → (B, C', T, h, w), or (B, C, T, h·w) → (B, C', T, h·w)."""
        timeline = clip if clip.dim() == 4 else clip.flatten(3)
        before, own, after = self.weight.squeeze(-1).split(1, dim=2)
        out = F.conv2d(timeline, own, self.bias)
        out[:, :, 1:] += F.conv2d(timeline[:, :, :1], before)
        out[:, :, :-1] += F.conv2d(timeline[:, :, -1:], after)
        return out if clip.dim() == 4 else out.unflatten(3, clip.shape[3:])


def is_channels_last(x: torch.Tensor) -> bool:
    """Whether frames (B, C, h, w) or clips (B, C, T, h, w) lie in memory with their channels last."""
    if x.dim() == 4:
        return x.is_contiguous(memory_format=torch.channels_last)
    return x.dim() == 5 and x.is_contiguous(memory_format=torch.channels_last_3d)


def stack_ends(first: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    """Two frames (B, C, h, w) → (B, C, 2, h, w), a copy in their memory layout."""
    if is_channels_last(first) and is_channels_last(last):
        places = torch.stack([frame.permute(0, 2, 3, 1) for frame in (first, last)], dim=1)
        return places.permute(0, 4, 1, 2, 3)
    return torch.stack([first, last], dim=2)


def frames_to_timeline(frames: torch.Tensor, num_frames: int) -> torch.Tensor:
    """(B·T, C, h, w), T fastest → (B, C, T, h·w), channels last in memory; a view of frames that are."""
    rows, channels, height, width = frames.shape
    places = frames.permute(0, 2, 3, 1).reshape(rows // num_frames, num_frames, height * width, channels)
    return places.permute(0, 3, 1, 2)


def timeline_to_frames(timeline: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """(B, C, T, h·w) → (B·T, C, h, w), channels last in memory; a view of a timeline that is."""
    batch, channels, num_frames, _ = timeline.shape
    places = timeline.permute(0, 2, 3, 1).reshape(batch * num_frames, height, width, channels)
    return places.permute(0, 3, 1, 2)


def frames_to_clip(frames: torch.Tensor, num_frames: int) -> torch.Tensor:
    """(B·T, C, h, w), T fastest → (B, C, T, h, w), a view."""
    return frames.unflatten(0, (-1, num_frames)).transpose(1, 2)


def clip_to_frames(clip: torch.Tensor) -> torch.Tensor:
    """(B, C, T, h, w) → (B·T, C, h, w); a view where the memory layout allows it."""
    return clip.transpose(1, 2).flatten(0, 1)


def repeated(x: torch.Tensor, rows: int) -> torch.Tensor:
    """x (N, …) as a whole again and again until it has `rows` rows; x itself if it has."""
    return x if len(x) == rows else x.repeat(rows // len(x), *[1] * (x.dim() - 1)).contiguous(**_layout(x))


def _layout(x: torch.Tensor) -> dict[str, torch.memory_format]:
    return {"memory_format": torch.channels_last} if x.dim() == 4 and is_channels_last(x) else {}
