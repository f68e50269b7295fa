"""Text and image towers of OpenCLIP, as video checkpoints of the lvdm family hold them, under transformers' names."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch

from paintsundo.checkpoints.text_encoders import text_encoder
from paintsundo.models import ClipVisionEncoder
from paintsundo.models.official_layout import build, load_tensors

# Every text tower of OpenCLIP has heads of this width; every image tower of the family (ViT-L, H, g) this many heads.
_TEXT_HEAD_WIDTH = 64
_VISION_HEADS = 16
_LAYER = re.compile(r"transformer\.resblocks\.(\d+)\.(.+)")
_IN_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
_TEXT = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
_VISION = {
    "class_embedding": "vision_model.embeddings.class_embedding",
    "positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "ln_post.weight": "vision_model.post_layernorm.weight",
    "ln_post.bias": "vision_model.post_layernorm.bias",
}
# Stored beside the text tower, and not part of what gives the words' embeddings.
TEXT_UNUSED = frozenset({"text_projection", "logit_scale", "attn_mask"})


def text_config(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Configuration of the text tower without its last layer (the family uses the penultimate one's output)."""
    width = tensors["positional_embedding"].shape[1]
    return {
        "model_type": "clip_text_model",
        "hidden_act": "gelu",
        "hidden_size": width,
        "intermediate_size": tensors["transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        "num_attention_heads": max(1, width // _TEXT_HEAD_WIDTH),
        "num_hidden_layers": _depth(tensors) - 1,
        "projection_dim": 512,
        "max_position_embeddings": tensors["positional_embedding"].shape[0],
        "vocab_size": tensors["token_embedding.weight"].shape[0],
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 1,
    }


def text_tower(config: dict[str, Any], tensors: Mapping[str, torch.Tensor], source: str) -> Any:
    """A `CLIPTextModel` of the text tower; `UserError` where tensors do not fit."""
    kept = {name: tensor for name, tensor in tensors.items() if name not in TEXT_UNUSED}
    renamed = _renamed(kept, _TEXT, "encoder")
    last = f"encoder.layers.{config['num_hidden_layers']}."
    return text_encoder(config, {n: t for n, t in renamed.items() if not n.startswith(last)}, source)


def vision_config(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """Configuration of the image tower."""
    width, _, patch, _ = tensors["conv1.weight"].shape
    return {
        "model_type": "clip_vision_model",
        "hidden_act": "gelu",
        "hidden_size": width,
        "intermediate_size": tensors["transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        "num_attention_heads": _VISION_HEADS,
        "num_hidden_layers": _depth(tensors),
        "patch_size": patch,
        "image_size": patch * math.isqrt(tensors["positional_embedding"].shape[0] - 1),
        "projection_dim": tensors["proj"].shape[1] if "proj" in tensors else width,
    }


def vision_tower(config: dict[str, Any], tensors: Mapping[str, torch.Tensor], source: str) -> ClipVisionEncoder:
    """A `ClipVisionEncoder` of the image tower; `UserError` where tensors do not fit."""
    from transformers import CLIPVisionConfig

    renamed = _renamed(tensors, _VISION, "vision_model.encoder")
    if "proj" in renamed:
        renamed["visual_projection.weight"] = renamed.pop("proj").T.contiguous()
    network = build(lambda: ClipVisionEncoder(CLIPVisionConfig(**config)), source)
    load_tensors(network, renamed, source)
    return network


def _depth(tensors: Mapping[str, torch.Tensor]) -> int:
    layers = [int(match[1]) for name in tensors if (match := _LAYER.fullmatch(name))]
    return 1 + max(layers, default=-1)


def _renamed(tensors: Mapping[str, torch.Tensor], names: Mapping[str, str], encoder: str) -> dict[str, torch.Tensor]:
    """Names of transformers; one projection to queries, keys and values becomes three."""
    renamed = {}
    for name, tensor in tensors.items():
        layer = _LAYER.fullmatch(name)
        if layer is None:
            renamed[names.get(name, name)] = tensor
            continue
        stem = f"{encoder}.layers.{layer[1]}"
        part, _, leaf = layer[2].rpartition(".")
        if layer[2] in ("attn.in_proj_weight", "attn.in_proj_bias"):
            for projection, third in zip("qkv", tensor.chunk(3), strict=True):
                renamed[f"{stem}.self_attn.{projection}_proj.{layer[2].rpartition('_')[2]}"] = third.contiguous()
        else:
            renamed[f"{stem}.{_IN_LAYER.get(part, part)}.{leaf}"] = tensor
    return renamed
