"""Lightning module of the multi-frame model's temporal autoencoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from paintsundo.data.samples import ClipRule
from paintsundo.models import VideoAutoencoderKL, use_channels_last
from paintsundo.training.bank import ProcessBank, to_signed
from paintsundo.training.batches import StateClips, clip_work
from paintsundo.training.module import PaintsUndoModule
from paintsundo.training.reconstruction import (
    fold_latent_scale,
    moment_penalty,
    psnr,
    reconstruction_loss,
    to_bytes,
)


class VideoAutoencoderModule(PaintsUndoModule):
    """Trains the temporal autoencoder on clips; its decoder sees the encoder's states of both ends.

    Args:
        network: configuration of `VideoAutoencoderKL`.
        start: folder whose `vae/` training goes on from; `network` then says what is to differ from its configuration.
        train_encoder: also change the encoder; without it the latent space stays as it is, and with it every
            network trained on those latents.
        crop: side in pixels of a random square cut from every clip, a multiple of 16; None takes whole pictures.
        static_start: begin with temporal kernels collapsed onto their middle (`collapse_temporal_kernels`).
        decode_group: written into the exported configuration, see `VideoAutoencoderKL`.
        train_between: train on the ends of clips of `frames` and so many neighbours between them alone, as many as the
            decoder will see with `decode_group`, or any number where they do not depend on each other; 0: whole clips.
        channels_last: keep weights channels-last, which is faster on processors.
        frames: clip length in training; decoding works for any length.
        span: shortest and longest interval of a clip, in shares of the whole work.
        kl_weight, moment_weight, latent_noise: as for the image autoencoder.
    """

    def __init__(
        self,
        network: dict[str, Any],
        start: str | None = None,
        train_encoder: bool = True,
        crop: int | None = None,
        static_start: bool = False,
        decode_group: int = 0,
        train_between: int = 0,
        channels_last: bool = False,
        frames: int = 8,
        span: tuple[float, float] = (0.08, 0.4),
        kl_weight: float = 1e-4,
        moment_weight: float = 0.02,
        latent_noise: float = 0.08,
    ) -> None:
        super().__init__()
        self.vae = (
            VideoAutoencoderKL(**network)
            if start is None
            else VideoAutoencoderKL.from_pretrained(Path(start) / "vae", changes=network).train()
        )
        self.train_encoder, self.crop = train_encoder, crop
        self.decode_group, self.between = decode_group, train_between
        self.vae.register_to_config(decode_group=self.between)  # such clips are decoded whole, sheets in groups
        if static_start:
            collapse_temporal_kernels(self.vae.decoder)
        if channels_last:
            use_channels_last(self.vae)
        if not train_encoder:
            self.vae.encoder.requires_grad_(False)
            self.vae.quant_conv.requires_grad_(False)
        self.noise_unit = 1.0 if start is None else 1.0 / self.vae.scale_factor
        self.frames, self.span = frames, span
        self.kl_weight, self.moment_weight, self.latent_noise = kl_weight, moment_weight, latent_noise

    def trained_networks(self) -> list[nn.Module]:
        return [self.vae]

    def compiled_networks(self) -> list[nn.Module]:
        return [self.vae.encoder, self.vae.decoder]

    def stream_rule(self) -> ClipRule:
        return ClipRule(self.frames, (float(self.span[0]), float(self.span[1])))

    def make_batches(self, bank: ProcessBank, batch_size: int) -> StateClips:
        return StateClips(bank, batch_size, self.frames, self.span, crop=self.crop, group=self.between)

    def step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        clips = batch["clips"]
        clips = to_signed(clips).transpose(1, 2) if clips.dtype == torch.uint8 else clips
        posterior, hidden = self.vae.encode_distribution(clips)
        noise = self.latent_noise * torch.randn_like(posterior.mean)
        # latents read from a file are scaled; only freshly trained ones have unit deviation as they come
        latents = posterior.sample() + noise * self.noise_unit
        output = self._decode(latents, hidden, clips.shape[2]).float()
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        loss = reconstruction_loss(_frames(output), _frames(clips))
        total = loss
        if self.train_encoder:
            total = loss + self.kl_weight * kl + self.moment_weight * moment_penalty(posterior.mean / self.noise_unit)
        inner = slice(1, -1)
        figures = {
            "loss": total,
            "psnr_ends": psnr(_frames(output.detach()[:, :, [0, -1]]), _frames(clips[:, :, [0, -1]])),
            "psnr_between": psnr(_frames(output.detach()[:, :, inner]), _frames(clips[:, :, inner])),
            "kl": kl,
        }
        self.record(figures)
        return total

    def _decode(self, latents: Tensor, hidden: list[Tensor], frames: int) -> Tensor:
        """Unscaled per-frame latents (B·T, z, h, w) → clip (B, 3, T, H, W)."""
        clip = latents.unflatten(0, (-1, frames)).transpose(1, 2)
        return self.vae.decode(clip * self.vae.scale_factor, hidden)

    @torch.no_grad()
    def sample_pictures(self, bank: ProcessBank, count: int, seed: int) -> tuple[Tensor, dict[str, float]]:
        generator = torch.Generator(bank.device).manual_seed(seed)
        index = torch.arange(count, device=bank.device) % len(bank)
        states = bank.states(index, clip_work(count, self.frames, self.span, generator))
        clips = to_signed(states).transpose(1, 2)
        latents, hidden = self.vae.encode(clips)
        decoded = self.vae.decode(latents, hidden).float()
        figures = {
            "held_out_psnr_ends": float(psnr(_frames(decoded[:, :, [0, -1]]), _frames(clips[:, :, [0, -1]]))),
            "held_out_psnr_between": float(psnr(_frames(decoded[:, :, 1:-1]), _frames(clips[:, :, 1:-1]))),
        }
        rows = torch.stack([states, to_bytes(decoded).transpose(1, 2)], dim=1)
        return rows.flatten(0, 1), figures

    @torch.no_grad()
    def export(self, folder: Path, state: Mapping[str, Tensor], bank: ProcessBank | None) -> None:
        """Write `vae/`, after training from scratch with latents × scale factor of unit deviation."""
        assert bank is not None
        self.load_state_dict(state, strict=False)
        self.to(bank.device)
        self.vae.register_to_config(decode_group=self.decode_group)
        if not self.train_encoder:
            self.vae.save_pretrained(folder / "vae")
            return
        generator = torch.Generator(bank.device).manual_seed(0)
        clips = StateClips(bank, 32, self.frames, self.span)(generator)["clips"]
        mean = torch.cat([self.vae.encode_distribution(piece)[0].mean for piece in clips.split(4)])
        std = mean.transpose(0, 1).flatten(1).float().std(1)
        fold_latent_scale(self.vae.quant_conv, self.vae.decoder.conv_in, std, self.vae.scale_factor)
        self.vae.save_pretrained(folder / "vae")


def _frames(clips: Tensor) -> Tensor:
    """(B, C, T, H, W) → (B·T, C, H, W)."""
    return clips.transpose(1, 2).flatten(0, 1)


@torch.no_grad()
def collapse_temporal_kernels(network: nn.Module) -> None:
    """Move every temporal kernel (…, 3, 1, 1) onto its middle tap, in place.

    Still pictures decode as before, but for the first and last frame; no frame sees its neighbours any more. Without
    it an autoencoder learns first to mix neighbours, and frames of abrupt changes come out as ghosts of each other.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            total = module.weight.sum(2)
            module.weight.zero_()
            module.weight[:, :, module.weight.shape[2] // 2] = total
