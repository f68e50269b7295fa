"""The temporal VAE: every frame encoded alone, clips decoded with reference to their first and last frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

from paintsundo.errors import UserError
from paintsundo.models.gradient_checkpointing import GradientCheckpointingMixin
from paintsundo.models.layers import stack_ends
from paintsundo.models.official_layout import OfficialLayoutMixin
from paintsundo.models.video_vae_decoder import Decoder
from paintsundo.models.video_vae_encoder import Encoder


class VideoAutoencoderKL(OfficialLayoutMixin, GradientCheckpointingMixin, ModelMixin, ConfigMixin):
    """ToonCrafter's autoencoder of clips (Xing et al. 2024).

    The keys are those of the published `config.json`, with the published values as defaults, plus optional
    ones, which are written only where they differ from their default.

    Args:
        ch: channels of level 0 and of the first convolution.
        ch_mult: channels of level i are ch · ch_mult[i]; each level after the first halves height and width.
        num_res_blocks: residual blocks of a level in the encoder; the decoder has one more.
        in_channels: channels of a frame given.
        out_ch: channels of a frame returned.
        z_channels: latent channels.
        resolution: that of training; for information.
        norm_num_groups: groups of every GroupNorm (optional).
        mid_attention: attention at the smallest resolution (optional).
        combiner_levels: levels whose kept states are merged by attention; others by a convolution (optional).
        combiner_heads: heads of that attention (optional).
        combiner_head_dim: width of such a head (optional).
        scale_factor: latents are the encoder's mode times this (optional).
        decode_group: frames between the ends that are decoded at a time, as a clip of their own with both ends around
            them; 0, as published, decodes the whole clip at once (optional). For decoders trained on short clips.
        decode_sliding: decode every frame at each place of a group and take the mean (optional), in `decode_group`
            times the time: what a place does to colours then does not alternate from frame to frame.
        time_context: what the decoder's convolutions over time see around a frame: its "neighbours", as published, or
            the clip's "ends" in their place, each frame being normalised alone; then frames between the ends do not
            depend on each other, and `decode_group` has no meaning (optional).

    Raises:
        UserError: a value that this network does not compute, or groups that do not divide the channels.
    """

    config_name = "config.json"
    weights_file = "model.safetensors"
    optional_config: ClassVar[dict[str, Any]] = {
        "norm_num_groups": 32,
        "mid_attention": True,
        "combiner_levels": (2, 3),
        "combiner_heads": 8,
        "combiner_head_dim": 64,
        "scale_factor": 0.18215,
        "decode_group": 0,
        "decode_sliding": False,
        "time_context": "neighbours",
    }
    _repeated_blocks: ClassVar[list[str]] = ["ResnetBlock", "VideoResnetBlock"]
    _no_split_modules: ClassVar[list[str]] = [
        "ResnetBlock",
        "VideoResnetBlock",
        "AttnBlock",
        "AttentionCombiner",
    ]

    @register_to_config
    def __init__(
        self,
        ch: int = 128,
        ch_mult: tuple[int, ...] = (1, 2, 4, 4),
        num_res_blocks: int = 2,
        in_channels: int = 3,
        out_ch: int = 3,
        z_channels: int = 4,
        double_z: bool = True,
        attn_resolutions: tuple[int, ...] = (),
        dropout: float = 0.0,
        resolution: int = 256,
        norm_num_groups: int = 32,
        mid_attention: bool = True,
        combiner_levels: tuple[int, ...] = (2, 3),
        combiner_heads: int = 8,
        combiner_head_dim: int = 64,
        scale_factor: float = 0.18215,
        decode_group: int = 0,
        decode_sliding: bool = False,
        time_context: str = "neighbours",
    ) -> None:
        super().__init__()
        if not double_z or len(attn_resolutions):
            raise UserError("VideoAutoencoderKL computes double_z=True and attn_resolutions=[] only")
        if time_context not in ("neighbours", "ends"):
            raise UserError(f"time_context is neighbours or ends, not {time_context}")
        channels = tuple(ch * multiplier for multiplier in ch_mult)
        shared: dict[str, Any] = {
            "channels": channels,
            "stem_channels": ch,
            "num_res_blocks": num_res_blocks,
            "z_channels": z_channels,
            "dropout": dropout,
            "mid_attention": mid_attention,
            "norm_groups": norm_num_groups,
        }
        self.encoder = Encoder(in_channels=in_channels, **shared)
        self.decoder = Decoder(
            out_channels=out_ch,
            combiner_levels=combiner_levels,
            combiner_heads=combiner_heads,
            combiner_head_dim=combiner_head_dim,
            ends=time_context == "ends",
            **shared,
        )
        self.quant_conv = nn.Conv2d(2 * z_channels, 2 * z_channels, 1)
        # Stored in the published weights and never applied on this path.
        self.post_quant_conv = nn.Conv2d(z_channels, z_channels, 1)

    @property
    def scale_factor(self) -> float:
        """Latents are the encoder's mode (or a sample) times this."""
        return self.config["scale_factor"]

    @property
    def downsampling(self) -> int:
        """Height and width of frames over those of latents."""
        return 2 ** (len(self.config["ch_mult"]) - 1)

    def enable_slicing(self, num_frames: int = 1) -> None:
        """Without gradients, encode and decode a few frames at a time: the same values in a third of the memory."""
        self._set_slicing(num_frames)

    def disable_slicing(self) -> None:
        """Compute all frames of a clip at once again."""
        self._set_slicing(None)

    def _set_slicing(self, num_frames: int | None) -> None:
        for module in self.modules():
            if hasattr(module, "slice_frames"):
                module.slice_frames = num_frames

    def encode_distribution(self, frames: torch.Tensor) -> tuple[DiagonalGaussianDistribution, list[torch.Tensor]]:
        """The posterior of every frame.

        Args:
            frames: (B, 3, T, H, W) in [−1, 1]; H and W multiples of `downsampling`.

        Returns:
            the distribution, unscaled, with frames folded into its batch (parameters (B·T, 2·z, h, w), T
            fastest, log-variance clamped to [−30, 20]), and the kept states as `encode` returns them.
        """
        factor = self.downsampling
        if frames.shape[-2] % factor or frames.shape[-1] % factor:
            raise ValueError(f"{frames.shape[-2]} × {frames.shape[-1]} frames: sides must be multiples of {factor}")
        moments, hidden = self.encoder(frames.transpose(1, 2).flatten(0, 1), frames.shape[2])
        return DiagonalGaussianDistribution(self.quant_conv(moments)), hidden

    def encode(
        self,
        frames: torch.Tensor,
        sample_posterior: bool = False,
        generator: torch.Generator | None = None,
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Encode every frame.

        Args:
            frames: (B, 3, T, H, W) in [−1, 1]; H and W multiples of `downsampling`.
            sample_posterior: draw from the posterior instead of taking its mode.
            generator: for that draw.

        Returns:
            scaled latents (B, z, T, h, w), and the kept states of the first and last frame (B, C, 2, H', W'):
            those of each level, level 0 first, then that of the first convolution.
        """
        posterior, hidden = self.encode_distribution(frames)
        latents = posterior.sample(generator) if sample_posterior else posterior.mode()
        latents = latents.unflatten(0, (frames.shape[0], -1)).transpose(1, 2)
        return latents * self.scale_factor, hidden

    def decode(self, latents: torch.Tensor, hidden: Sequence[torch.Tensor]) -> torch.Tensor:
        """Decode a clip of any number of frames.

        Args:
            latents: scaled, (B, z, T, h, w).
            hidden: kept states of the clip's first and last frame, from `encode`.

        Returns:
            frames (B, 3, T, H, W), about [−1, 1], not clamped.
        """
        if len(hidden) != len(self.decoder.attn_refinement):
            raise ValueError(f"{len(hidden)} kept states for {len(self.decoder.attn_refinement)} merges")
        dtype = self.decoder.conv_in.weight.dtype
        if dtype != self.encoder.conv_in.weight.dtype:  # the decoder alone may be of another type
            latents, hidden = latents.to(dtype), [state.to(dtype) for state in hidden]
        group = self.config["decode_group"]
        if group and self.config["time_context"] == "neighbours" and latents.shape[2] > group + 2:
            return self._decode_groups(latents, hidden, group)
        frames = self._decode_whole(latents, hidden)
        if self.config["time_context"] == "ends" and latents.shape[2] > 2 and not torch.is_grad_enabled():
            frames = self._with_ends_alone(frames, latents, hidden)
        return frames

    def _decode_whole(self, latents: torch.Tensor, hidden: Sequence[torch.Tensor]) -> torch.Tensor:
        batch, _, num_frames = latents.shape[:3]
        latents = (latents / self.scale_factor).transpose(1, 2).flatten(0, 1)
        frames = self.decoder(latents, hidden, num_frames)
        return frames.unflatten(0, (batch, num_frames)).transpose(1, 2)

    def _with_ends_alone(
        self, frames: torch.Tensor, latents: torch.Tensor, hidden: Sequence[torch.Tensor]
    ) -> torch.Tensor:
        """The first and last frame as they are where the other end is the same picture: known, they need no context,
        and what another end adds to them is error."""

        def alone(x: torch.Tensor) -> torch.Tensor:  # (B, C, T, h, w) → (2·B, C, 2, h, w)
            return torch.cat([stack_ends(end, end) for end in (x[:, :, 0], x[:, :, -1])])

        first, last = self._decode_whole(alone(latents), [alone(state) for state in hidden]).chunk(2)
        return torch.cat([first[:, :, :1], frames[:, :, 1:-1], last[:, :, 1:]], dim=2)

    def _decode_groups(self, latents: torch.Tensor, hidden: Sequence[torch.Tensor], group: int) -> torch.Tensor:
        """`decode`, some frames between the ends at a time; the ends are those of the first group."""
        first, inner, last = latents[:, :, :1], latents[:, :, 1:-1], latents[:, :, -1:]

        def around(piece: torch.Tensor) -> torch.Tensor:
            return self.decode(torch.cat([first, piece, last], dim=2), hidden)

        if not self.config["decode_sliding"]:
            clips = [around(piece) for piece in inner.split(group, dim=2)]
            between = [clip[:, :, 1:-1] for clip in clips]
            return torch.cat([clips[0][:, :, :1], *between, clips[0][:, :, -1:]], dim=2)
        count = inner.shape[2]
        padded = torch.cat([inner[:, :, :1]] * (group - 1) + [inner] + [inner[:, :, -1:]] * (group - 1), dim=2)
        ends, total = None, None
        for start in range(count + group - 1):
            clip = around(padded[:, :, start : start + group])
            if ends is None or total is None:
                ends, total = clip, clip.new_zeros(*clip.shape[:2], padded.shape[2], *clip.shape[3:])
            total[:, :, start : start + group] += clip[:, :, 1:-1]
        assert ends is not None
        assert total is not None
        between = [total[:, :, group - 1 : group - 1 + count] / group]
        return torch.cat([ends[:, :, :1], *between, ends[:, :, -1:]], dim=2)

    def forward(
        self, frames: torch.Tensor, sample_posterior: bool = False, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Encode and decode: (B, 3, T, H, W) → the same."""
        latents, hidden = self.encode(frames, sample_posterior, generator)
        return self.decode(latents, hidden)
