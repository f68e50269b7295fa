"""Stable Diffusion 1.5 in diffusers' folders, as small as it goes."""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from paintsundo.checkpoints.text_encoders import load_tokenizer, save_tokenizer
from tiny_models import TINY

WIDTH = 20


def unet(**changes: object) -> UNet2DConditionModel:
    settings = {
        "sample_size": 8,
        "block_out_channels": (8, 16),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "layers_per_block": 1,
        "cross_attention_dim": WIDTH,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    }
    return UNet2DConditionModel(**(settings | changes))


def vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
    )


def text_encoder(layers: int = 12) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=522,
            hidden_size=WIDTH,
            intermediate_size=24,
            num_hidden_layers=layers,
            num_attention_heads=2,
            hidden_act="quick_gelu",
            bos_token_id=520,
            eos_token_id=521,
            pad_token_id=521,
        )
    ).eval()


def write(folder: Path, variant: str | None = None, safe: bool = True, **changes: object) -> UNet2DConditionModel:
    """Write a folder as diffusers and transformers do; gives the UNet in it."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = unet(**changes).eval()
        network.save_pretrained(folder / "unet", variant=variant, safe_serialization=safe)
        vae().save_pretrained(folder / "vae", variant=variant, safe_serialization=safe)
        text = text_encoder()
        if safe:
            text.save_pretrained(folder / "text_encoder", variant=variant)
        else:
            text.config.save_pretrained(folder / "text_encoder")
            torch.save(text.state_dict(), folder / "text_encoder" / "pytorch_model.bin")
    save_tokenizer(load_tokenizer(TINY / "single_frame" / "tokenizer"), folder / "tokenizer")
    (folder / "safety_checker").mkdir()
    return network
