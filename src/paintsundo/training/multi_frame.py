"""Lightning module of the multi-frame model: the states between two pictures of one drawing process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPVisionConfig

from paintsundo.checkpoints.text_encoders import save_text_encoder, save_tokenizer
from paintsundo.diffusion import DynamicTSNRScheduler
from paintsundo.diffusion.loss_weights import UniformWeight
from paintsundo.diffusion.targets import noisy_and_target
from paintsundo.models import ClipVisionEncoder, ImageProjection, UNet3DModel, VideoAutoencoderKL
from paintsundo.training.bank import ProcessBank, to_signed
from paintsundo.training.batches import LatentClips, LatentGrid, clip_work
from paintsundo.training.module import PaintsUndoModule
from paintsundo.training.reconstruction import psnr, to_bytes
from paintsundo.training.text import drop, hidden_states, new_text_encoder, tokenize
from paintsundo.training.vocabulary import train_tokenizer


class MultiFrameModule(PaintsUndoModule):
    """Trains the 3D UNet, image encoder, image projection and text encoder over a frozen temporal autoencoder.

    Args:
        network: configuration of `UNet3DModel`.
        projection: configuration of `ImageProjection`.
        image_encoder: configuration of `CLIPVisionConfig`.
        text: configuration of `CLIPTextConfig`, sizes only.
        autoencoder: folder whose `vae/` is used.
        work_folder: where the tokenizer is put.
        prompt: the one prompt of this model.
        frame_stride: the one value of `fs`.
        frames: clip length.
        positions: work positions per process at which latents are kept.
        strides: distances in that grid between the frames of a clip.
        variants: colour-channel orders per process.
        dropout: p of the family's rule: text alone if r < 2p, image if p ≤ r < 3p.
        windows: attention windows, one drawn per step.
        loss_weight: weight per timestep, one of `diffusion.loss_weights`; none if left out.
    """

    def __init__(
        self,
        network: dict[str, Any],
        projection: dict[str, Any],
        image_encoder: dict[str, Any],
        text: dict[str, Any],
        autoencoder: str,
        work_folder: str,
        prompt: str = "1girl, masterpiece, best quality",
        frame_stride: int = 3,
        frames: int = 16,
        positions: int = 128,
        strides: tuple[int, ...] = (1, 2, 3),
        variants: int = 1,
        dropout: float = 0.05,
        windows: tuple[str, ...] = ("none",),
        loss_weight: Callable[[Any, Tensor, str], Tensor] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.vae = VideoAutoencoderKL.from_pretrained(Path(autoencoder) / "vae").requires_grad_(False).eval()
        self.unet = UNet3DModel(**network)
        self.image_encoder = ClipVisionEncoder(CLIPVisionConfig(**image_encoder))
        self.image_projection = ImageProjection(**projection)
        self.tokenizer = train_tokenizer([prompt] * 2, 600, Path(work_folder) / "tokenizer")
        self.text_encoder = new_text_encoder(self.tokenizer, text)
        self.scheduler = DynamicTSNRScheduler()
        self.frame_stride, self.frames, self.positions = frame_stride, frames, positions
        self.strides, self.variants, self.dropout = list(strides), variants, dropout
        self.windows, self.loss_weight = list(windows), loss_weight or UniformWeight()
        self.register_buffer("prompt_ids", tokenize(self.tokenizer, [prompt])[0], persistent=False)
        self.register_buffer("empty_ids", tokenize(self.tokenizer, [""])[0], persistent=False)

    def trained_networks(self) -> list[nn.Module]:
        return [self.unet, self.image_encoder, self.image_projection, self.text_encoder]

    def compiled_networks(self) -> list[nn.Module]:
        return [self.unet, self.image_encoder]

    def encode_frames(self, pictures: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) in [−1, 1] → scaled latents (N, z, h, w), frame by frame."""
        return self.vae.encode(pictures[:, :, None])[0][:, :, 0]

    @torch.no_grad()
    def prepare(self, train: ProcessBank) -> None:
        self.vae.to(train.device)
        if self.compile_networks and train.device.type == "cuda":
            self.vae.encoder.compile()
        with torch.autocast(train.device.type, torch.bfloat16, enabled=train.device.type == "cuda"):
            self.grid = LatentGrid(train, self.encode_frames, self.positions, self.variants, seed=0)

    def make_batches(self, bank: ProcessBank, batch_size: int) -> LatentClips:
        return LatentClips(self.grid, batch_size, self.frames, self.strides)

    def contexts(self, ends: Tensor, drop_text: Tensor, drop_image: Tensor) -> tuple[Tensor, Tensor]:
        """Text (B, 77, D) and image (B, T, L, D) contexts; a dropped image is grey, as the negative pass has it."""
        ids = drop(self.prompt_ids[None].expand(len(ends), -1), self.empty_ids, drop_text)
        shown = torch.where(drop_image[:, None, None, None, None], torch.zeros_like(ends), ends)
        return hidden_states(self.text_encoder, ids), self.image_projection(self.image_encoder(shown))

    def predict(self, x: Tensor, t: Tensor, contexts: tuple[Tensor, Tensor], clip_ends: Tensor) -> Tensor:
        """Velocity for noisy clips (B, C, T, h, w), given latents whose first and last frame are known."""
        concat = torch.zeros_like(x)
        concat[:, :, 0], concat[:, :, -1] = clip_ends[:, :, 0], clip_ends[:, :, -1]
        fs = torch.full((len(x),), self.frame_stride, device=x.device)
        return self.unet(x, t, *contexts, fs, concat)

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        x0 = batch["latents"]
        count = len(x0)
        r = torch.rand(count, device=x0.device)
        contexts = self.contexts(batch["ends"], r < 2 * self.dropout, (r >= self.dropout) & (r < 3 * self.dropout))
        if len(self.windows) > 1 or self.windows[0] != self.unet.attention_window:
            drawn = int(torch.randint(len(self.windows), ()).item())
            self.unet.set_attention_window(self.windows[drawn])
        t = torch.randint(self.scheduler.config.num_train_timesteps, (count,), device=x0.device)
        noise = torch.randn_like(x0)
        noisy, target = noisy_and_target(self.scheduler, x0, noise, t)
        output = self.predict(noisy, t, contexts, x0)
        weight = self.loss_weight(self.scheduler, t, "v_prediction")
        error = F.mse_loss(output.float(), target, reduction="none").flatten(1).mean(1)
        loss = (weight * error).mean()
        self.record({"loss": loss, "error": error.mean()})
        return loss

    @torch.no_grad()
    def sample_pictures(self, bank: ProcessBank, count: int, seed: int) -> tuple[Tensor, dict[str, float]]:
        """Rows in pairs: the generated clip, the true clip below it (finished end first)."""
        device = bank.device
        index = torch.arange(count, device=device) % len(bank)
        generator = torch.Generator(device).manual_seed(seed)
        work = clip_work(count, self.frames, (0.15, 0.18), generator)
        # spread over the whole process, so that every stage is looked at
        top = torch.linspace(1.0, 0.16, count, device=device)[:, None]
        work = (top - (work[:, :1] - work)).clamp(0.0, 1.0)
        truth = bank.states(index, work)
        clips = to_signed(truth).transpose(1, 2)
        ends = clips[:, :, [0, -1]]
        latents, hidden = self.vae.encode(ends)
        known = torch.zeros(count, latents.shape[1], self.frames, *latents.shape[3:], device=device)
        known[:, :, 0], known[:, :, -1] = latents[:, :, 0], latents[:, :, 1]
        nobody = torch.zeros(count, dtype=torch.bool, device=device)
        contexts = self.contexts(ends, nobody, nobody)
        scheduler = DynamicTSNRScheduler()
        scheduler.set_timesteps(12, device=device)
        x = torch.randn(known.shape, generator=generator, device=device)
        for t in scheduler.timesteps:
            output = self.predict(x, t.expand(count), contexts, known)
            x = scheduler.step(output.float(), t, x, generator=generator).prev_sample
        decoded = self.vae.decode(x, hidden).float()
        made = to_bytes(decoded).transpose(1, 2)
        inner = decoded[:, :, 1:-1].transpose(1, 2).flatten(0, 1)
        figures = {"between_psnr": float(psnr(inner, clips[:, :, 1:-1].transpose(1, 2).flatten(0, 1)))}
        return torch.stack([made, truth], dim=1).flatten(0, 1), figures

    def export(self, folder: Path, bank: ProcessBank) -> None:
        """Write `unet/`, `vae/`, `text_encoder/`, `tokenizer/`, `image_encoder/` and `image_projection/`."""
        for name in ("unet", "vae", "image_encoder", "image_projection"):
            getattr(self, name).save_pretrained(folder / name)
        save_text_encoder(self.text_encoder, folder / "text_encoder")
        save_tokenizer(self.tokenizer, folder / "tokenizer")
