"""Checkpoints of the lvdm family, as small as they go: our networks' tensors under that family's names."""

import math
from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn

from paintsundo.models import ImageProjection, UNet3DModel, VideoAutoencoderKL

CONTEXT = 24
FRAMES = 16


def randomise(network: nn.Module) -> nn.Module:
    """Zero-initialised layers would hide what lies before them."""
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return network.eval()


def unet(**changes: object) -> UNet3DModel:
    settings = {
        "model_channels": 32,
        "channel_mult": (1, 2, 2),
        "num_res_blocks": 1,
        "attention_resolutions": (4, 1),
        "num_head_channels": 16,
        "context_dim": CONTEXT,
    }
    return randomise(UNet3DModel(**(settings | changes)))


def vae() -> VideoAutoencoderKL:
    return randomise(VideoAutoencoderKL(ch=32, ch_mult=(1, 1, 1, 2), num_res_blocks=1))


def projection() -> ImageProjection:
    return randomise(
        ImageProjection(dim=20, depth=2, dim_head=64, heads=1, num_queries=2, embedding_dim=32, output_dim=CONTEXT)
    )


class Block(nn.Module):
    """A residual attention block of OpenCLIP."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        inner = 4 * width
        self.ln_1 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_2 = nn.LayerNorm(width)
        layers = {"c_fc": nn.Linear(width, inner), "gelu": nn.GELU(), "c_proj": nn.Linear(inner, width)}
        self.mlp = nn.Sequential(OrderedDict(layers))

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, attn_mask=mask, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width, heads) for _ in range(layers))


class TextTower(nn.Module):
    """OpenCLIP's text side as `FrozenOpenCLIPEmbedder(layer="penultimate")` uses it."""

    def __init__(self, width: int = 128, layers: int = 3, words: int = 50) -> None:
        super().__init__()
        self.transformer = Transformer(width, width // 64, layers)
        self.token_embedding = nn.Embedding(words, width)
        self.positional_embedding = nn.Parameter(0.1 * torch.randn(77, width))
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.randn(width, 8))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(100)))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.token_embedding(ids) + self.positional_embedding
        mask = torch.full((77, 77), float("-inf")).triu(1)
        for block in self.transformer.resblocks[:-1]:
            x = block(x, mask)
        return self.ln_final(x)


class VisualTower(nn.Module):
    """OpenCLIP's image side as `FrozenOpenCLIPImageEmbedderV2` uses it."""

    def __init__(self, width: int = 32, layers: int = 2, patch: int = 8, grid: int = 4, out: int = 12) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width))
        self.positional_embedding = nn.Parameter(torch.randn(grid**2 + 1, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Transformer(width, 16, layers)
        self.proj = nn.Parameter(torch.randn(width, out))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        patches = self.conv1(pictures).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(patches), 1, -1), patches], dim=1)
        x = self.ln_pre(x + self.positional_embedding)
        for block in self.transformer.resblocks:
            x = block(x)
        return x


def tensors_of(**networks: nn.Module) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint file, each network below its prefix, and what else such files hold."""
    prefixes = {
        "unet": "model.diffusion_model.",
        "vae": "first_stage_model.",
        "text": "cond_stage_model.model.",
        "visual": "embedder.model.visual.",
        "projection": "image_proj_model.",
    }
    state = {"betas": torch.zeros(10), "alphas_cumprod": torch.zeros(10), "scale_arr": torch.zeros(10)}
    for name, network in networks.items():
        state |= {prefixes[name] + key: tensor.clone() for key, tensor in network.state_dict().items()}
    return state


def write(file: Path, state: dict[str, torch.Tensor]) -> str:
    torch.save({"state_dict": state, "epoch": 3, "global_step": 100}, file)
    return str(file)
