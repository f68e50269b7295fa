"""Lightning module of the multi-frame model's temporal autoencoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from paintsundo.models import VideoAutoencoderKL
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
        frames: clip length in training; decoding works for any length.
        span: shortest and longest interval of a clip, in shares of the whole work.
        kl_weight, moment_weight, latent_noise: as for the image autoencoder.
    """

    def __init__(
        self,
        network: dict[str, Any],
        frames: int = 8,
        span: tuple[float, float] = (0.08, 0.4),
        kl_weight: float = 1e-4,
        moment_weight: float = 0.02,
        latent_noise: float = 0.08,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.vae = VideoAutoencoderKL(**network)
        self.frames, self.span = frames, span
        self.kl_weight, self.moment_weight, self.latent_noise = kl_weight, moment_weight, latent_noise

    def trained_networks(self) -> list[nn.Module]:
        return [self.vae]

    def compiled_networks(self) -> list[nn.Module]:
        return [self.vae.encoder, self.vae.decoder]

    def make_batches(self, bank: ProcessBank, batch_size: int) -> StateClips:
        return StateClips(bank, batch_size, self.frames, self.span)

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        clips = batch["clips"]
        posterior, hidden = self.vae.encode_distribution(clips)
        latents = posterior.sample() + self.latent_noise * torch.randn_like(posterior.mean)
        output = self._decode(latents, hidden, clips.shape[2]).float()
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        loss = reconstruction_loss(_frames(output), _frames(clips))
        total = loss + self.kl_weight * kl + self.moment_weight * moment_penalty(posterior.mean)
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
    def export(self, folder: Path, bank: ProcessBank) -> None:
        """Write `vae/` with latents × scale factor of unit deviation."""
        generator = torch.Generator(bank.device).manual_seed(0)
        clips = StateClips(bank, 32, self.frames, self.span)(generator)["clips"]
        mean = torch.cat([self.vae.encode_distribution(piece)[0].mean for piece in clips.split(4)])
        std = mean.transpose(0, 1).flatten(1).float().std(1)
        fold_latent_scale(self.vae.quant_conv, self.vae.decoder.conv_in, std, self.vae.scale_factor)
        self.vae.save_pretrained(folder / "vae")


def _frames(clips: Tensor) -> Tensor:
    """(B, C, T, H, W) → (B·T, C, H, W)."""
    return clips.transpose(1, 2).flatten(0, 1)
