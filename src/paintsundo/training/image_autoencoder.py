"""Lightning module of the single-frame model's autoencoder (diffusers' AutoencoderKL)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

from paintsundo.data.samples import StateRule
from paintsundo.training.bank import ProcessBank, to_signed
from paintsundo.training.batches import StatePictures
from paintsundo.training.module import PaintsUndoModule
from paintsundo.training.reconstruction import (
    fold_latent_scale,
    moment_penalty,
    psnr,
    reconstruction_loss,
    to_bytes,
)


class ImageAutoencoderModule(PaintsUndoModule):
    """Trains the autoencoder on states and finished pictures.

    Args:
        network: configuration of `AutoencoderKL`.
        kl_weight: weight of the KL term per latent element.
        moment_weight: weight of `moment_penalty`.
        latent_noise: deviation of noise added to latents (whose deviation is about 1), so that the decoder
            forgives a sampler's small errors.
        crop: side in pixels of a random square cut from every picture, a multiple of 16; None takes whole pictures.
    """

    def __init__(
        self,
        network: dict[str, Any],
        kl_weight: float = 1e-4,
        moment_weight: float = 0.02,
        latent_noise: float = 0.08,
        crop: int | None = None,
    ) -> None:
        super().__init__()
        self.crop = crop
        self.vae = AutoencoderKL(**network)
        self.kl_weight, self.moment_weight, self.latent_noise = kl_weight, moment_weight, latent_noise

    def trained_networks(self) -> list[nn.Module]:
        return [self.vae]

    def compiled_networks(self) -> list[nn.Module]:
        return [self.vae.encoder, self.vae.decoder]

    def stream_rule(self) -> StateRule:
        return StateRule()

    def make_batches(self, bank: ProcessBank, batch_size: int) -> StatePictures:
        return StatePictures(bank, batch_size, crop=self.crop)

    def step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        pictures = batch["pictures"] if "pictures" in batch else to_signed(batch["states"])
        posterior = self.vae.encode(pictures).latent_dist
        latents = posterior.sample() + self.latent_noise * torch.randn_like(posterior.mean)
        output = self.vae.decode(latents).sample.float()
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        loss = reconstruction_loss(output, pictures)
        total = loss + self.kl_weight * kl + self.moment_weight * moment_penalty(posterior.mean)
        self.record({"loss": total, "psnr": psnr(output.detach(), pictures), "kl": kl})
        return total

    @torch.no_grad()
    def sample_pictures(self, bank: ProcessBank, count: int, seed: int) -> tuple[Tensor, dict[str, float]]:
        index = torch.arange(count, device=bank.device) % len(bank)
        work = torch.tensor([[1.0, 0.5]], device=bank.device).expand(count, -1)
        states = bank.states(index, work).flatten(0, 1)
        latents = self.vae.encode(to_signed(states)).latent_dist.mode()
        decoded = self.vae.decode(latents).sample.float()
        figures = {"held_out_psnr": float(psnr(decoded, to_signed(states)))}
        rows = [states.unflatten(0, (count, 2)), to_bytes(decoded).unflatten(0, (count, 2))]
        return torch.cat(rows, dim=1), figures

    @torch.no_grad()
    def export(self, folder: Path, state: Mapping[str, Tensor], bank: ProcessBank | None) -> None:
        """Write `vae/` with latents × scaling factor of unit deviation."""
        assert bank is not None
        self.load_state_dict(state, strict=False)
        self.to(bank.device)
        generator = torch.Generator(bank.device).manual_seed(0)
        pictures = StatePictures(bank, 256)(generator)["pictures"]
        mean = torch.cat([self.vae.encode(piece).latent_dist.mean for piece in pictures.split(32)])
        std = mean.transpose(0, 1).flatten(1).float().std(1)
        fold_latent_scale(self.vae.quant_conv, self.vae.post_quant_conv, std, self.vae.config.scaling_factor)
        self.vae.save_pretrained(folder / "vae")
