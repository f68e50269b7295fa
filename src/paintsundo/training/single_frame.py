"""Lightning module of the single-frame model: the state at an operation step, from the finished picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPTextModel

from paintsundo.checkpoints.image_vae import load_image_vae
from paintsundo.checkpoints.sources import BUNDLED, resolve
from paintsundo.checkpoints.text_encoders import (
    load_text_encoder,
    load_tokenizer,
    save_text_encoder,
    save_tokenizer,
    without_last_layers,
)
from paintsundo.conditioning.tagger import TAGS_FILE
from paintsundo.data.samples import StateRule
from paintsundo.diffusion import KarrasDPMSolverScheduler
from paintsundo.diffusion.stages import Stage
from paintsundo.models import SingleFrameUNet
from paintsundo.models.single_frame_unet import NO_OPERATION_STEP, OperationEmbedding
from paintsundo.training.bank import ProcessBank, operation_step_of, to_signed
from paintsundo.training.banks import BankSet
from paintsundo.training.batches import LatentGrid, LatentStates
from paintsundo.training.diffusion import DiffusionModule, LossWeight
from paintsundo.training.module import component_state
from paintsundo.training.prompts import Prompts, read_vocabulary
from paintsundo.training.reconstruction import psnr, to_bytes
from paintsundo.training.text import drop, hidden_states, new_text_encoder, tokenize
from paintsundo.training.vocabulary import prompt_from_tags, train_tokenizer

SAMPLE_STEPS = (100, 250, 400, 550, 700, 800, 900, 960)  # operation steps of sample sheets
ENCODED_AT_ONCE = 8  # full-size pictures in the autoencoder at a time


class SingleFrameModule(DiffusionModule):
    """Trains the UNet on states of drawing processes, over a frozen autoencoder.

    Args:
        network: configuration of `SingleFrameUNet`; not used where `start` has one.
        text: configuration of a new text encoder (`CLIPTextConfig`), sizes only, where there is no other.
        autoencoder: folder whose `vae/` is used; the one of `start` without it.
        text_encoder: folder whose `text_encoder/` and `tokenizer/` are used; those of `start` without it.
        tags: the tagger's CSV; prompts are made of its tags only. All tags of the data without it (with
            start="bundled": those of the bundled tagger).
        work_folder: where a new tokenizer is put.
        tokenizer_size: largest vocabulary of a new tokenizer.
        prediction_type: "epsilon" or "v_prediction".
        beta_start, beta_end, beta_schedule: of the noise ("linear" or "scaled_linear").
        zero_terminal_snr: rescale the noise so that the last timestep has no signal (needs v_prediction).
        dynamic_scale: scale x0 by 1 … 0.7 over the first 400 timesteps, as the published multi-frame model.
        operation_embedding: "added" (as published), "none" or "token" (`SingleFrameUNet`); as the network is without.
        clip_skip: last layers of a given text encoder to leave out.
        positions: work positions per process at which latents are kept (resident data).
        variants: colour-channel orders per process (resident data).
        text_dropout, picture_dropout, step_dropout: shares of samples trained with the empty prompt, without the
            finished picture (zeros), without the operation step; drawn separately.
        loss_weight: weight per timestep, one of `diffusion.loss_weights`; none if left out.
        train_text_encoder: train it too; a new one always is.
        start: where weights come from; None begins with random ones.

    Raises:
        UserError: something is missing, impossible or does not fit.
    """

    kind = "single_frame"
    shardable = ("BasicTransformerBlock", "ResnetBlock2D")

    def __init__(
        self,
        network: dict[str, Any] | None = None,
        text: dict[str, Any] | None = None,
        autoencoder: str | None = None,
        text_encoder: str | None = None,
        tags: str | None = None,
        work_folder: str = ".",
        tokenizer_size: int = 900,
        prediction_type: str = "epsilon",
        beta_start: float = 0.00085,
        beta_end: float = 0.020,
        beta_schedule: str = "linear",
        zero_terminal_snr: bool = False,
        dynamic_scale: bool = False,
        operation_embedding: OperationEmbedding | None = None,
        clip_skip: int = 0,
        positions: int = 64,
        variants: int = 2,
        text_dropout: float = 0.1,
        picture_dropout: float = 0.0,
        step_dropout: float = 0.0,
        loss_weight: LossWeight | None = None,
        train_text_encoder: bool = False,
        start: str | None = None,
    ) -> None:
        stage = Stage(beta_start, beta_end, beta_schedule, zero_terminal_snr, prediction_type, dynamic_scale)
        super().__init__(stage, loss_weight, start)
        vae = (
            load_image_vae(Path(autoencoder) / "vae")
            if autoencoder is not None
            else self.component("vae", lambda: None, "model.autoencoder=FOLDER is needed: there is no other vae/")
        )
        self.vae: Any
        self.keep_frozen("vae", vae)
        if tags is None and start == BUNDLED:  # its text encoder knows the words of its tagger
            tags = str(resolve(BUNDLED, "tagger") / TAGS_FILE)
        vocabulary = None if tags is None else read_vocabulary(tags)
        self.clip_skip = clip_skip
        self._choose_text(text, text_encoder, vocabulary, tokenizer_size, Path(work_folder), train_text_encoder)
        self.prompts = Prompts(self.tokenizer, vocabulary)
        self.unet = self.component(
            "unet",
            lambda: None if network is None else SingleFrameUNet(**network),
            "start=FOLDER or model.network is needed: there is no network to train",
        )
        if operation_embedding is not None:
            self.unet = self.unet.with_operation_embedding(operation_embedding)
        self.positions, self.variants = positions, variants
        self.dropouts = {"text": text_dropout, "picture": picture_dropout, "step": step_dropout}
        self.register_buffer("empty_ids", tokenize(self.tokenizer, [""])[0], persistent=False)
        self.token_ids: Tensor | None = None

    def _choose_text(
        self,
        text: dict[str, Any] | None,
        folder: str | None,
        vocabulary: list[str] | None,
        tokenizer_size: int,
        work_folder: Path,
        trained: bool,
    ) -> None:
        point = self.start_point
        if folder is not None:
            encoder = load_text_encoder(Path(folder) / "text_encoder")
            self.tokenizer = load_tokenizer(Path(folder) / "tokenizer")
        elif point is not None and {"text_encoder", "tokenizer"} <= set(point.parts):
            encoder, self.tokenizer = point.load("text_encoder"), point.load("tokenizer")
        else:
            needed = "model.text_encoder=FOLDER is needed: start has no text encoder with its tokenizer"
            self.component("text_encoder", lambda: text, needed)
            spellings = [prompt_from_tags([tag], [tag]) for tag in vocabulary or []]
            self.tokenizer = train_tokenizer(spellings * 2, tokenizer_size, work_folder / "tokenizer")
            encoder, trained = new_text_encoder(self.tokenizer, text or {}), True
        encoder = without_last_layers(encoder, self.clip_skip)
        if trained:
            self.text_encoder = encoder.train().requires_grad_(True)
        else:
            self.keep_frozen("text_encoder", encoder)

    @property
    def trains_text_encoder(self) -> bool:
        """Whether the text encoder is among the trained networks."""
        return "text_encoder" not in self._frozen

    def trained_networks(self) -> list[nn.Module]:
        return [self.unet, self.text_encoder] if self.trains_text_encoder else [self.unet]

    def compiled_networks(self) -> list[nn.Module]:
        return [self.unet]

    @property
    def picture_multiple(self) -> int:
        # Each block but the last halves the latents.
        return 8 * 2 ** (len(self.unet.config.block_out_channels) - 1)

    # -- data ----------------------------------------------------------------------------------------------------

    def scale_latents(self, pictures: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) in [−1, 1] → mode × scaling factor (N, C, h, w)."""
        return self.vae.encode(pictures).latent_dist.mode() * self.vae.config.scaling_factor

    @torch.no_grad()
    def moments(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures (N, 3, H, W) in [−1, 1] → mean and deviation of their latents, both × scaling factor."""
        posteriors = [self.vae.encode(piece).latent_dist for piece in pictures.split(ENCODED_AT_ONCE)]
        scale = self.vae.config.scaling_factor
        return torch.cat([p.mean for p in posteriors]) * scale, torch.cat([p.std for p in posteriors]) * scale

    @torch.no_grad()
    def prepare(self, train: BankSet) -> None:
        self.place_frozen(train.device)
        with torch.autocast(train.device.type, torch.bfloat16, enabled=train.device.type == "cuda"):
            self.grids = {
                bank.size: LatentGrid(bank, self.scale_latents, self.positions, self.variants, seed=0) for bank in train
            }
        self.token_ids = self.prompts.ids(meta.get("tags", []) for meta in train.metas).to(train.device)

    def stream_rule(self) -> StateRule:
        return StateRule()

    def make_batches(self, bank: ProcessBank, batch_size: int) -> LatentStates:
        return LatentStates(self.grids[bank.size], batch_size)

    @torch.no_grad()
    def encoded(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Add "latents" (sampled) and "finished" (mode) × scaling factor, and "token_ids", where they are missing."""
        if "latents" not in batch:
            if "state_mean" in batch:
                mean, std, finished = (batch[k].float() for k in ("state_mean", "state_std", "finished_mean"))
            else:
                mean, std = self.moments(to_signed(batch["states"]))
                finished, _ = self.moments(to_signed(batch["finished"]))
            mean, std, finished = mean.float(), std.float(), finished.float()
            everyone, own = self.rows(len(mean))
            noise = torch.randn((everyone, *mean.shape[1:]), device=mean.device)[own]
            batch = {**batch, "latents": mean + std * noise, "finished": finished}
        if "token_ids" not in batch:
            if "index" in batch and self.token_ids is not None:
                ids = self.token_ids[batch["index"]]
            else:
                ids = self.prompts.ids(batch["tags"]).to(batch["latents"].device)
            batch = {**batch, "token_ids": ids}
        return batch

    @torch.no_grad()
    def held_out_batch(self, bank: ProcessBank, count: int, seed: int) -> dict[str, Any]:
        """The same states of held-out processes each time, as a batch of `count` for `errors`."""
        generator = torch.Generator().manual_seed(seed)
        index = torch.arange(count) % len(bank)
        work = torch.cat([torch.ones(count, 1), torch.rand(count, 1, generator=generator)], 1).to(bank.device)
        states = bank.states(index.to(bank.device), work)
        latents = torch.cat([self.scale_latents(to_signed(piece.flatten(0, 1))) for piece in states.split(4)])
        finished, state = latents.float().unflatten(0, (count, 2)).unbind(1)
        return {
            "latents": state,
            "finished": finished,
            "operation_steps": operation_step_of(work[:, 1]),
            "token_ids": self.prompts.ids(bank.metas[i].get("tags", []) for i in index.tolist()).to(bank.device),
        }

    # -- the loss ------------------------------------------------------------------------------------------------

    def draw_dropped(self, count: int) -> dict[str, Tensor]:
        return {
            name: torch.rand(count, device=self.device) < share for name, share in self.dropouts.items() if share > 0
        }

    def predict(self, batch: dict[str, Any], noisy: Tensor, t: Tensor, dropped: Mapping[str, Tensor]) -> Tensor:
        ids, finished, steps = batch["token_ids"], batch["finished"], batch["operation_steps"]
        if "text" in dropped:
            ids = drop(ids, self.empty_ids, dropped["text"])
        if "picture" in dropped:
            finished = finished * (~dropped["picture"])[:, None, None, None]
        if "step" in dropped:
            steps = steps.masked_fill(dropped["step"], NO_OPERATION_STEP)
        context = hidden_states(self.text_encoder, ids)
        return self.unet(noisy, t, context, operation_steps=steps, concat_conds=finished).sample

    # -- samples and the export ----------------------------------------------------------------------------------

    def sampler(self) -> KarrasDPMSolverScheduler:
        """The published sampler with the noise trained on."""
        return KarrasDPMSolverScheduler(**self.stage.scheduler_options())

    @torch.no_grad()
    def sample_pictures(self, bank: ProcessBank, count: int, seed: int) -> tuple[Tensor, dict[str, float]]:
        """Rows in pairs: the finished picture and generated states, then the true states below them."""
        device = bank.device
        steps = torch.tensor(SAMPLE_STEPS, device=device)
        index = torch.arange(count, device=device) % len(bank)
        work = torch.cat([torch.ones(1, device=device), 1.0 - steps / 999.0]).expand(count, -1)
        truth = bank.states(index, work)
        ids = self.prompts.ids(bank.metas[i].get("tags", []) for i in index.tolist()).to(device)
        finished = self.scale_latents(to_signed(truth[:, 0])).float()
        repeat = len(steps)
        generator = torch.Generator(device).manual_seed(seed)
        noise = torch.randn(finished[:1].shape, generator=generator, device=device)
        scheduler = self.sampler()
        scheduler.set_timesteps(20, device=device)
        x = noise.repeat(count * repeat, 1, 1, 1) * scheduler.init_noise_sigma
        batch = {
            "token_ids": ids.repeat_interleave(repeat, 0),
            "finished": finished.repeat_interleave(repeat, 0),
            "operation_steps": operation_step_of(work[:, 1:]).flatten(),
        }
        for t in scheduler.timesteps:
            output = self.predict(batch, scheduler.scale_model_input(x, t), t.expand(len(x)), {})
            x = scheduler.step(output.float(), t, x, return_dict=False)[0]
        pictures = torch.cat(
            [self.vae.decode(p / self.vae.config.scaling_factor).sample for p in x.split(ENCODED_AT_ONCE)]
        )
        made = to_bytes(pictures).unflatten(0, (count, repeat))
        figures = {"state_psnr": float(psnr(pictures.float(), to_signed(truth[:, 1:].flatten(0, 1))))}
        rows = torch.stack([torch.cat([truth[:, :1], made], 1), truth], dim=1)
        return rows.flatten(0, 1), figures

    def export(self, folder: Path, state: Mapping[str, Tensor], bank: ProcessBank | None) -> None:
        """Write `unet/`, `vae/`, `text_encoder/` and `tokenizer/`, or only the LoRA where one was trained."""
        if self.lora is not None:
            self.write_lora(folder, state)
            return
        self.write_component(folder, "unet", state)
        self.vae.register_to_config(_name_or_path="")  # where it was trained is nobody's business
        self.vae.save_pretrained(folder / "vae")
        encoder = self.text_encoder
        if self.trains_text_encoder:
            encoder = CLIPTextModel(self.text_encoder.config)
            encoder.load_state_dict(component_state(state, "text_encoder"), strict=False)
        save_text_encoder(encoder, folder / "text_encoder")
        save_tokenizer(self.tokenizer, folder / "tokenizer")
        self.write_schedule(folder)
