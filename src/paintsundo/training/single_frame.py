"""Lightning module of the single-frame model: the state at an operation step, from the finished picture."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from paintsundo.checkpoints.image_vae import load_image_vae
from paintsundo.checkpoints.text_encoders import save_text_encoder, save_tokenizer
from paintsundo.diffusion import KarrasDPMSolverScheduler
from paintsundo.diffusion.loss_weights import UniformWeight
from paintsundo.diffusion.targets import noisy_and_target
from paintsundo.models import SingleFrameUNet
from paintsundo.training.bank import ProcessBank, operation_step_of, to_signed
from paintsundo.training.batches import LatentGrid, LatentStates
from paintsundo.training.module import PaintsUndoModule
from paintsundo.training.reconstruction import psnr, to_bytes
from paintsundo.training.text import drop, hidden_states, new_text_encoder, tokenize
from paintsundo.training.vocabulary import prompt_from_tags, train_tokenizer


class SingleFrameModule(PaintsUndoModule):
    """Trains the UNet and a small text encoder on states of drawing processes, over a frozen autoencoder.

    Args:
        network: configuration of `SingleFrameUNet`.
        text: configuration of the text encoder (`CLIPTextConfig`), sizes only.
        autoencoder: folder whose `vae/` is used.
        tags: the tagger's CSV; prompts are made of its tags only.
        tokenizer_size: largest vocabulary of the tokenizer trained on those tags.
        positions: work positions per process at which latents are kept.
        variants: colour-channel orders per process.
        text_dropout: share of samples trained with the empty prompt.
        loss_weight: weight per timestep, one of `diffusion.loss_weights`; none if left out.
        work_folder: where the tokenizer is put.
    """

    def __init__(
        self,
        network: dict[str, Any],
        text: dict[str, Any],
        autoencoder: str,
        tags: str,
        work_folder: str,
        tokenizer_size: int = 900,
        positions: int = 64,
        variants: int = 2,
        text_dropout: float = 0.1,
        loss_weight: Callable[[Any, Tensor, str], Tensor] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.vae = load_image_vae(Path(autoencoder) / "vae").requires_grad_(False)
        self.unet = SingleFrameUNet(**network)
        with open(tags, newline="", encoding="utf-8") as stream:
            self.vocabulary = [row["name"] for row in csv.DictReader(stream)]
        spellings = [prompt_from_tags([tag], [tag]) for tag in self.vocabulary]
        self.tokenizer = train_tokenizer(spellings * 2, tokenizer_size, Path(work_folder) / "tokenizer")
        self.text_encoder = new_text_encoder(self.tokenizer, text)
        self.scheduler = KarrasDPMSolverScheduler()
        self.positions, self.variants = positions, variants
        self.text_dropout, self.loss_weight = text_dropout, loss_weight or UniformWeight()
        self.register_buffer("empty_ids", tokenize(self.tokenizer, [""])[0], persistent=False)

    def trained_networks(self) -> list[nn.Module]:
        return [self.unet, self.text_encoder]

    def compiled_networks(self) -> list[nn.Module]:
        return [self.unet]

    def scale_latents(self, pictures: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) in [−1, 1] → mode × scaling factor (N, C, h, w)."""
        return self.vae.encode(pictures).latent_dist.mode() * self.vae.config.scaling_factor

    @torch.no_grad()
    def prepare(self, train: ProcessBank) -> None:
        self.vae.to(train.device)
        if self.compile_networks and train.device.type == "cuda":
            self.vae.encoder.compile()
        with torch.autocast(train.device.type, torch.bfloat16, enabled=train.device.type == "cuda"):
            self.grid = LatentGrid(train, self.scale_latents, self.positions, self.variants, seed=0)
        prompts = [prompt_from_tags(meta.get("tags", []), self.vocabulary) for meta in train.metas]
        self.token_ids = tokenize(self.tokenizer, prompts).to(train.device)

    def make_batches(self, bank: ProcessBank, batch_size: int) -> LatentStates:
        return LatentStates(self.grid, batch_size)

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        x0 = batch["latents"]
        count = len(x0)
        dropped = torch.rand(count, device=x0.device) < self.text_dropout
        context = hidden_states(self.text_encoder, drop(self.token_ids[batch["index"]], self.empty_ids, dropped))
        t = torch.randint(self.scheduler.config.num_train_timesteps, (count,), device=x0.device)
        noise = torch.randn_like(x0)
        noisy, target = noisy_and_target(self.scheduler, x0, noise, t)
        output = self.unet(
            noisy,
            t,
            context,
            operation_steps=batch["operation_steps"],
            concat_conds=batch["finished"],
        ).sample
        weight = self.loss_weight(self.scheduler, t, "epsilon")
        error = F.mse_loss(output.float(), target, reduction="none").flatten(1).mean(1)
        loss = (weight * error).mean()
        self.record({"loss": loss, "error": error.mean()})
        return loss

    @torch.no_grad()
    def sample_pictures(self, bank: ProcessBank, count: int, seed: int) -> tuple[Tensor, dict[str, float]]:
        """Rows in pairs: the finished picture and generated states, then the true states below them."""
        device = bank.device
        steps = torch.tensor([100, 250, 400, 550, 700, 800, 900, 960], device=device)
        index = torch.arange(count, device=device) % len(bank)
        work = torch.cat([torch.ones(1, device=device), 1.0 - steps / 999.0]).expand(count, -1)
        truth = bank.states(index, work)
        prompts = [prompt_from_tags(bank.metas[i].get("tags", []), self.vocabulary) for i in index.tolist()]
        context = hidden_states(self.text_encoder, tokenize(self.tokenizer, prompts).to(device))
        finished = self.scale_latents(to_signed(truth[:, 0]))
        repeat = len(steps)
        generator = torch.Generator(device).manual_seed(seed)
        noise = torch.randn(finished[:1].shape, generator=generator, device=device)
        scheduler = KarrasDPMSolverScheduler()
        scheduler.set_timesteps(20, device=device)
        x = noise.repeat(count * repeat, 1, 1, 1) * scheduler.init_noise_sigma
        operation_steps = operation_step_of(work[:, 1:]).flatten()
        for t in scheduler.timesteps:
            output = self.unet(
                scheduler.scale_model_input(x, t),
                t.expand(len(x)),
                context.repeat_interleave(repeat, 0),
                operation_steps=operation_steps,
                concat_conds=finished.repeat_interleave(repeat, 0),
            ).sample
            x = scheduler.step(output.float(), t, x).prev_sample
        pictures = torch.cat([self.vae.decode(p / self.vae.config.scaling_factor).sample for p in x.split(32)])
        made = to_bytes(pictures).unflatten(0, (count, repeat))
        figures = {"state_psnr": float(psnr(pictures.float(), to_signed(truth[:, 1:].flatten(0, 1))))}
        rows = torch.stack([torch.cat([truth[:, :1], made], 1), truth], dim=1)
        return rows.flatten(0, 1), figures

    def export(self, folder: Path, bank: ProcessBank) -> None:
        """Write `unet/`, `vae/`, `text_encoder/` and `tokenizer/`."""
        self.unet.save_pretrained(folder / "unet")
        self.vae.register_to_config(_name_or_path="")  # where it was trained is nobody's business
        self.vae.save_pretrained(folder / "vae")
        save_text_encoder(self.text_encoder, folder / "text_encoder")
        save_tokenizer(self.tokenizer, folder / "tokenizer")
