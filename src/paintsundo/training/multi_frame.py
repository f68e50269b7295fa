"""Lightning module of the multi-frame model: the states between two pictures of one drawing process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPVisionConfig

from paintsundo.checkpoints.text_encoders import (
    load_text_encoder,
    load_tokenizer,
    save_text_encoder,
    save_tokenizer,
    without_last_layers,
)
from paintsundo.data.samples import ClipRule
from paintsundo.diffusion import DynamicTSNRScheduler
from paintsundo.diffusion.stages import Stage
from paintsundo.models import ClipVisionEncoder, ImageProjection, UNet3DModel, VideoAutoencoderKL
from paintsundo.training.bank import ProcessBank, to_signed
from paintsundo.training.banks import BankSet
from paintsundo.training.batches import LatentClips, LatentGrid, clip_work
from paintsundo.training.diffusion import DiffusionModule, LossWeight
from paintsundo.training.module import component_state
from paintsundo.training.reconstruction import psnr, to_bytes
from paintsundo.training.text import drop, hidden_states, new_text_encoder, tokenize
from paintsundo.training.vocabulary import train_tokenizer

ENCODED_AT_ONCE = 8  # full-size frames in the autoencoder at a time


class MultiFrameModule(DiffusionModule):
    """Trains the 3D UNet and the image projection, over a frozen temporal autoencoder.

    Args:
        network, projection, image_encoder, text: configurations of `UNet3DModel`, `ImageProjection`,
            `CLIPVisionConfig` and `CLIPTextConfig` (sizes only); each is used where `start` has no such network.
        autoencoder: folder whose `vae/` is used; the one of `start` without it.
        text_encoder: folder whose `text_encoder/` and `tokenizer/` are used; those of `start` without it.
        work_folder: where a new tokenizer is put.
        prompt: the one prompt of this model.
        frame_stride: the one value of `fs`.
        frames: clip length.
        positions: work positions per process at which latents are kept (resident data).
        strides: distances in that grid between the frames of a clip (resident data).
        variants: colour-channel orders per process (resident data).
        span: shortest and longest interval of a clip in shares of the work (streamed data, held-out clips).
        dropout: p of the family's rule: text alone if r < 2p, image if p ≤ r < 3p.
        windows: attention windows, one drawn per step.
        loss_weight: weight per timestep, one of `diffusion.loss_weights`; none if left out.
        train_encoders: train text and image encoder too; new ones always are.
        dynamic_scale: scale x0 by 1 … 0.7 over the first 400 timesteps, as published.
        zero_terminal_snr: the last timestep has no signal, as published.
        prediction_type: "v_prediction", as published, or "epsilon" (needs zero_terminal_snr=false).
        beta_start, beta_end, beta_schedule: of the noise ("linear" or "scaled_linear").
        patch_positions: how the image encoder's positions fit other grids than its own, "nearest" (as published),
            "bilinear" or "rotary"; as it comes without it.
        clip_skip: last layers of a given text encoder to leave out.
        start: where weights come from; None begins with random ones.

    Raises:
        UserError: something is missing, impossible or does not fit.
    """

    kind = "multi_frame"
    shardable = ("ResBlock", "SpatialTransformer", "TemporalTransformer")

    def __init__(
        self,
        network: dict[str, Any] | None = None,
        projection: dict[str, Any] | None = None,
        image_encoder: dict[str, Any] | None = None,
        text: dict[str, Any] | None = None,
        autoencoder: str | None = None,
        text_encoder: str | None = None,
        work_folder: str = ".",
        prompt: str = "1girl, masterpiece, best quality",
        frame_stride: int = 3,
        frames: int = 16,
        positions: int = 128,
        strides: Sequence[int] = (1, 2, 3),
        variants: int = 1,
        span: Sequence[float] = (0.1, 0.4),
        dropout: float = 0.05,
        windows: Sequence[str] = ("none",),
        loss_weight: LossWeight | None = None,
        train_encoders: bool = False,
        dynamic_scale: bool = True,
        zero_terminal_snr: bool = True,
        prediction_type: str = "v_prediction",
        beta_start: float = 0.00085,
        beta_end: float = 0.012,
        beta_schedule: str = "scaled_linear",
        patch_positions: str | None = None,
        clip_skip: int = 0,
        start: str | None = None,
    ) -> None:
        stage = Stage(beta_start, beta_end, beta_schedule, zero_terminal_snr, prediction_type, dynamic_scale)
        super().__init__(stage, loss_weight, start)
        needed = "model.autoencoder=FOLDER is needed: there is no other vae/"
        vae = (
            VideoAutoencoderKL.from_pretrained(Path(autoencoder) / "vae")
            if autoencoder is not None
            else self.component("vae", lambda: None, needed)
        )
        self.vae: Any
        self.keep_frozen("vae", vae)
        self.unet = self.component(
            "unet",
            lambda: None if network is None else UNet3DModel(**network),
            "start=FOLDER or model.network is needed: there is no network to train",
        )
        self.image_projection = self.component(
            "image_projection",
            lambda: None if projection is None else ImageProjection(**projection),
            "model.projection is needed: start has no image projection",
        )
        given = None if self.start_point is None else self.start_point.load("image_encoder")
        self._place("image_encoder", given, image_encoder, _new_image_encoder, train_encoders)
        if patch_positions is not None:
            self.image_encoder.set_patch_positions(patch_positions)
        self.clip_skip = clip_skip
        self._choose_text(text, text_encoder, prompt, Path(work_folder), train_encoders)
        self.frame_stride, self.frames, self.positions = frame_stride, frames, positions
        self.strides, self.variants, self.dropout = list(strides), variants, dropout
        self.span = (float(span[0]), float(span[1]))
        self.windows = list(windows)
        self._grey: dict[tuple[int, int], Tensor] = {}
        self.register_buffer("prompt_ids", tokenize(self.tokenizer, [prompt])[0], persistent=False)
        self.register_buffer("empty_ids", tokenize(self.tokenizer, [""])[0], persistent=False)

    def _place(self, name: str, given: nn.Module | None, config: Any, make: Any, trained: bool) -> None:
        """Make an encoder an attribute: given ones are frozen unless they are to be trained, new ones trained."""
        new = given is None
        network = given if given is not None else None if config is None else make(config)
        if network is None:
            needed = f"model.{name} is needed: start has no {name.replace('_', ' ')}"
            self.component(name, lambda: None, needed)
        assert network is not None
        if new or trained:
            setattr(self, name, network.train().requires_grad_(True))
        else:
            self.keep_frozen(name, network)

    def _choose_text(
        self, text: dict[str, Any] | None, folder: str | None, prompt: str, work_folder: Path, trained: bool
    ) -> None:
        point, given = self.start_point, None
        if folder is not None:
            given = load_text_encoder(Path(folder) / "text_encoder")
            self.tokenizer = load_tokenizer(Path(folder) / "tokenizer")
        elif point is not None and {"text_encoder", "tokenizer"} <= set(point.parts):
            given, self.tokenizer = point.load("text_encoder"), point.load("tokenizer")
        else:
            self.tokenizer = train_tokenizer([prompt] * 2, 600, work_folder / "tokenizer")
        self._place("text_encoder", given, text, lambda sizes: new_text_encoder(self.tokenizer, sizes), trained)
        without_last_layers(self.text_encoder, self.clip_skip)

    def trained_networks(self) -> list[nn.Module]:
        encoders = [name for name in ("image_encoder", "text_encoder") if name not in self._frozen]
        return [self.unet, self.image_projection, *(getattr(self, name) for name in encoders)]

    def compiled_networks(self) -> list[nn.Module]:
        return [self.unet, self.image_encoder]

    @property
    def picture_multiple(self) -> int:
        # Each level but the last halves the latents.
        return self.vae.downsampling * 2 ** (len(self.unet.config["channel_mult"]) - 1)

    # -- data ----------------------------------------------------------------------------------------------------

    def encode_frames(self, pictures: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) in [−1, 1] → scaled latents (N, z, h, w), frame by frame."""
        return self.vae.encode(pictures[:, :, None])[0][:, :, 0]

    @torch.no_grad()
    def moments(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Frames (N, 3, H, W) in [−1, 1] → mean and deviation of their latents, both × scale factor."""
        posteriors = [self.vae.encode_distribution(p[:, :, None])[0] for p in pictures.split(ENCODED_AT_ONCE)]
        scale = self.vae.scale_factor
        return torch.cat([p.mean for p in posteriors]) * scale, torch.cat([p.std for p in posteriors]) * scale

    @torch.no_grad()
    def prepare(self, train: BankSet) -> None:
        self.place_frozen(train.device)
        with torch.autocast(train.device.type, torch.bfloat16, enabled=train.device.type == "cuda"):
            self.grids = {
                bank.size: LatentGrid(bank, self.encode_frames, self.positions, self.variants, seed=0) for bank in train
            }

    def frame_tokens(self, pictures: Tensor) -> Tensor:
        """Frames (N, 3, H, W) in [−1, 1] → CLIP-Vision tokens (N, L, E)."""
        return self.image_encoder(pictures[:, :, None])[:, 0]

    def stream_rule(self) -> ClipRule:
        return ClipRule(self.frames, self.span, strides=tuple(self.strides))

    def make_batches(self, bank: ProcessBank, batch_size: int) -> LatentClips:
        return LatentClips(self.grids[bank.size], batch_size, self.frames, self.strides)

    @torch.no_grad()
    def encoded(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Add "latents" (B, z, T, h, w), "known" (what the ends are given as) and "ends" where they are missing."""
        if "latents" in batch:
            return batch
        if "clip_mean" in batch:
            mean, std = batch["clip_mean"].float(), batch["clip_std"].float()
        else:
            clips = to_signed(batch["clips"])
            mean, std = self.moments(clips.flatten(0, 1))
            mean, std = (x.float().unflatten(0, clips.shape[:2]).transpose(1, 2) for x in (mean, std))
            batch = {**batch, "ends": clips[:, [0, -1]].transpose(1, 2)}
        everyone, own = self.rows(len(mean))
        noise = torch.randn((everyone, *mean.shape[1:]), device=mean.device)[own]
        return {**batch, "latents": mean + std * noise, "known": mean}

    @torch.no_grad()
    def held_out_batch(self, bank: ProcessBank, count: int, seed: int) -> dict[str, Any]:
        """The same clips of held-out processes each time, as a batch of `count` for `errors`."""
        index = torch.arange(count) % len(bank)
        work = clip_work(count, self.frames, self.span, torch.Generator().manual_seed(seed))
        clips = to_signed(bank.states(index.to(bank.device), work.to(bank.device)))
        mean = self.moments(clips.flatten(0, 1))[0].float().unflatten(0, clips.shape[:2]).transpose(1, 2)
        return {"latents": mean, "known": mean, "ends": clips[:, [0, -1]].transpose(1, 2)}

    # -- the loss ------------------------------------------------------------------------------------------------

    def draw_dropped(self, count: int) -> dict[str, Tensor]:
        r, p = torch.rand(count, device=self.device), self.dropout
        return {"text": r < 2 * p, "picture": (r >= p) & (r < 3 * p)} if p > 0 else {}

    def contexts(self, batch: dict[str, Any], count: int, dropped: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Text (B, 77, D) and image (B, T, L, D) contexts; a dropped image is grey, as the negative pass has it."""
        ids = self.prompt_ids[None].expand(count, -1)
        if "text" in dropped:
            ids = drop(ids, self.empty_ids, dropped["text"])
        if "image_tokens" in batch:
            tokens = batch["image_tokens"].float()
            if "picture" in dropped:
                tokens = torch.where(dropped["picture"][:, None, None, None], self._grey_tokens(batch), tokens)
        else:
            ends = batch["ends"]
            if "picture" in dropped:
                ends = torch.where(dropped["picture"][:, None, None, None, None], torch.zeros_like(ends), ends)
            tokens = self.image_encoder(ends[:, :, : self.image_projection.config["input_frames_length"]])
        return hidden_states(self.text_encoder, ids), self.image_projection(tokens)

    @torch.no_grad()
    def _grey_tokens(self, batch: dict[str, Any]) -> Tensor:
        """CLIP-Vision tokens (1, 1, L, E) of a grey frame of the batch's size."""
        height, width = (side * self.vae.downsampling for side in batch["latents"].shape[-2:])
        if (height, width) not in self._grey:
            grey = torch.zeros(1, 3, height, width, device=self.device)
            self._grey[height, width] = self.frame_tokens(grey)[:, None].float()
        return self._grey[height, width]

    def velocity(self, x: Tensor, t: Tensor, contexts: tuple[Tensor, Tensor], known: Tensor) -> Tensor:
        """The UNet's output for noisy clips (B, z, T, h, w), given latents whose first and last frame are known."""
        concat = torch.zeros_like(x)
        concat[:, :, 0], concat[:, :, -1] = known[:, :, 0], known[:, :, -1]
        fs = torch.full((len(x),), self.frame_stride, device=x.device)
        return self.unet(x, t, *contexts, fs, concat)

    def predict(self, batch: dict[str, Any], noisy: Tensor, t: Tensor, dropped: Mapping[str, Tensor]) -> Tensor:
        contexts = self.contexts(batch, len(noisy), dropped)
        return self.velocity(noisy, t, contexts, batch.get("known", batch["latents"]))

    def variant(self) -> str:
        return str(self.unet.attention_window)

    def step(self, batch: dict[str, Any], batch_index: int) -> Tensor:
        if len(self.windows) > 1 or self.windows[0] != self.unet.attention_window:
            drawn = int(torch.randint(len(self.windows), ()).item())
            self.unet.set_attention_window(self.windows[drawn])
        return super().step(batch, batch_index)

    # -- samples and the export ----------------------------------------------------------------------------------

    def sampler(self) -> DynamicTSNRScheduler:
        """The published sampler with the noise trained on."""
        return DynamicTSNRScheduler(**self.stage.scheduler_options())

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
        contexts = self.contexts({"ends": ends}, count, {})
        scheduler = self.sampler()
        scheduler.set_timesteps(12, device=device)
        x = torch.randn(known.shape, generator=generator, device=device)
        for t in scheduler.timesteps:
            output = self.velocity(x, t.expand(count), contexts, known)
            x = scheduler.step(output.float(), t, x, generator=generator, return_dict=False)[0]
        decoded = self.vae.decode(x, hidden).float()
        made = to_bytes(decoded).transpose(1, 2)
        inner = decoded[:, :, 1:-1].transpose(1, 2).flatten(0, 1)
        figures = {"between_psnr": float(psnr(inner, clips[:, :, 1:-1].transpose(1, 2).flatten(0, 1)))}
        return torch.stack([made, truth], dim=1).flatten(0, 1), figures

    def export(self, folder: Path, state: Mapping[str, Tensor], bank: ProcessBank | None) -> None:
        """Write `unet/`, `vae/`, `text_encoder/`, `tokenizer/`, `image_encoder/` and `image_projection/`, or only the
        LoRA where one was trained.
        """
        if self.lora is not None:
            self.write_lora(folder, state)
            return
        self.write_component(folder, "unet", state)
        self.write_component(folder, "image_projection", state)
        seer = self.image_encoder
        if "image_encoder" not in self._frozen:
            seer = _new_image_encoder(self.image_encoder.config.to_dict())
            seer.load_state_dict(component_state(state, "image_encoder"), strict=False)
        seer.save_pretrained(folder / "image_encoder")
        self.vae.save_pretrained(folder / "vae")
        encoder = self.text_encoder
        if "text_encoder" not in self._frozen:
            encoder = CLIPTextModel(self.text_encoder.config)
            encoder.load_state_dict(component_state(state, "text_encoder"), strict=False)
        save_text_encoder(encoder, folder / "text_encoder")
        save_tokenizer(self.tokenizer, folder / "tokenizer")
        self.write_schedule(folder)


def _new_image_encoder(sizes: dict[str, Any]) -> ClipVisionEncoder:
    return ClipVisionEncoder(CLIPVisionConfig(**sizes))
