"""Both models with random weights, built on the device in the number type they will run in. Nothing is
downloaded."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL
from omegaconf import DictConfig, OmegaConf
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, CLIPVisionConfig

from paintsundo import PaintsUndoPipeline
from paintsundo.checkpoints.text_encoders import load_tokenizer
from paintsundo.diffusion import build_scheduler
from paintsundo.models import (
    ClipVisionEncoder,
    ImageProjection,
    SingleFrameUNet,
    UNet3DModel,
    VideoAutoencoderKL,
)
from paintsundo.pipelines.options import InferOptions
from paintsundo.pipelines.placement import Placement, choose_device, choose_dtype, choose_vae_dtype
from paintsundo.pipelines.speed import prepare_network
from paintsundo.settings import config_directory


def architecture(name: str) -> Any:
    """Sizes of all networks: configs/architecture/<name>.yaml, "official" or "tiny"."""
    return OmegaConf.load(config_directory() / "architecture" / f"{name}.yaml")


def random_pipeline(name: str, options: InferOptions, seed: int = 0) -> PaintsUndoPipeline:
    """A pipeline of an architecture's networks with random weights, without tagger."""
    torch.manual_seed(seed)
    device = choose_device(options.runtime.device)
    dtype = choose_dtype(options.runtime.dtype, device)
    placement = Placement(device, options.runtime.memory, options.runtime.seed_device)
    sizes = architecture(name)
    single, multi = sizes.single_frame, sizes.multi_frame

    def build(make: Any, config: DictConfig, kind: torch.dtype = dtype) -> Any:
        with _on(device, kind):
            network = make(OmegaConf.to_container(config))
        if any(parameter.dtype != kind for parameter in network.parameters()):
            network.to(kind)
        for parameter in network.parameters():
            if not parameter.any():  # zeros hide what lies before them, and are faster than what is trained
                torch.nn.init.normal_(parameter, std=0.02)
        prepare_network(network, options.runtime, device)
        return network.eval().requires_grad_(False).to(placement.rest_device)

    tokenizer = _tokenizer()
    pipe = PaintsUndoPipeline(
        keyframe_unet=build(lambda c: SingleFrameUNet(**c), single.unet),
        keyframe_vae=build(lambda c: AutoencoderKL(**c), single.vae, choose_vae_dtype(dtype)),
        keyframe_text_encoder=build(lambda c: CLIPTextModel(CLIPTextConfig(**c)), single.text_encoder),
        keyframe_tokenizer=tokenizer,
        keyframe_scheduler=build_scheduler(options.keyframes.scheduler, "keyframes"),
        video_unet=build(lambda c: UNet3DModel(**c), multi.unet),
        video_vae=build(lambda c: VideoAutoencoderKL(**c), multi.vae),
        video_text_encoder=build(lambda c: CLIPTextModel(CLIPTextConfig(**c)), multi.text_encoder),
        video_tokenizer=tokenizer,
        image_encoder=build(lambda c: ClipVisionEncoder(CLIPVisionConfig(**c)), multi.image_encoder),
        image_projection=build(lambda c: ImageProjection(**c), multi.image_projection),
        video_scheduler=build_scheduler(options.video.scheduler, "video"),
    )
    pipe.placement = placement
    pipe.batched_guidance = options.runtime.guidance != "sequential"
    pipe.keyframe_options, pipe.video_options = options.keyframes, options.video
    pipe.fast_options = options.fast
    return pipe


@contextmanager
def _on(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Parameters made inside lie on the device in this type: no copy in float32 comes first."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)


def _tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer over single bytes, for random weights do not care which words a prompt has."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [256 + n for n in range(256 - len(printable))]
    symbols = [chr(code) for code in printable + others]
    words = [*symbols, *(symbol + "</w>" for symbol in symbols), "<|startoftext|>", "<|endoftext|>"]
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = json.dumps({word: index for index, word in enumerate(words)})
        Path(folder, "vocab.json").write_text(vocabulary, encoding="utf-8")
        Path(folder, "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
        settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}
        Path(folder, "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
        return load_tokenizer(Path(folder))
