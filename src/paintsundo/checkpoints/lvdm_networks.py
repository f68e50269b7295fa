"""Networks of video checkpoints of the lvdm family: configurations from the shapes of their tensors, and our names."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from paintsundo.errors import UserError
from paintsundo.models import ImageProjection, UNet3DModel, VideoAutoencoderKL
from paintsundo.models.official_layout import build, load_tensors

Tensors = Mapping[str, torch.Tensor]

# Other spellings of the same layers, in the family's various releases.
_SPELLINGS = {
    "framestride_embed.": "fps_embedding.",
    "fs_embedding.": "fps_embedding.",
    ".temporal_conv.": ".temopral_conv.",
}
_INIT_ATTENTION_HEADS = _COMBINER_HEADS = 8
_QUERIES_PER_FRAME = _FRAMES = 16
_WIDTH_OF_A_HEAD = 64


def spelled(tensors: Tensors) -> dict[str, torch.Tensor]:
    """A UNet's tensors under the published names."""
    renamed = {}
    for name, tensor in tensors.items():
        for other, ours in _SPELLINGS.items():
            name = name.replace(other, ours)
        renamed[name] = tensor
    return renamed


def unet_config(tensors: Tensors, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Configuration of a UNet, and what is changed in it or added to it.

    Args:
        tensors: with published names.
        given: `unet_config` of the checkpoint's own configuration, for what no shape tells.
    """
    width = tensors["time_embed.0.weight"].shape[1]
    levels: list[list[tuple[int, bool]]] = [[]]
    for i in itertools.count(1):
        if f"input_blocks.{i}.0.op.weight" in tensors:
            levels.append([])
        elif f"input_blocks.{i}.0.in_layers.2.weight" in tensors:
            channels = tensors[f"input_blocks.{i}.0.in_layers.2.weight"].shape[0]
            levels[-1].append((channels, f"input_blocks.{i}.1.proj_in.weight" in tensors))
        else:
            break
    if not all(levels):
        raise UserError("its UNet has a level without residual blocks")
    head_width = given.get("num_head_channels", _WIDTH_OF_A_HEAD)
    if "init_attn.0.proj_in.weight" in tensors:
        head_width = tensors["init_attn.0.proj_in.weight"].shape[0] // _INIT_ATTENTION_HEADS
    out_channels = tensors["out.2.weight"].shape[0]
    told = {
        key: given[key] for key in ("default_fs", "dropout", "temporal_length", "use_causal_attention") if key in given
    }
    changes = []
    if tensors["input_blocks.0.0.weight"].shape[1] == out_channels:
        changes.append("input convolution widened with zeros")
    if not any(name.endswith("to_k_ip.weight") for name in tensors):
        changes.append("new attention to the pictures, without effect at first")
    if "fps_embedding.0.weight" not in tensors:
        changes.append("new embedding of the frame stride, zero at first")
    config = {
        "in_channels": max(2 * out_channels, tensors["input_blocks.0.0.weight"].shape[1]),
        "out_channels": out_channels,
        "model_channels": width,
        "channel_mult": [level[0][0] // width for level in levels],
        "num_res_blocks": len(levels[0]),
        "attention_resolutions": [2**i for i, level in enumerate(levels) if level[0][1]][::-1],
        "num_heads": -1,
        "num_head_channels": head_width,
        "transformer_depth": 1 + max((int(n.split(".")[3]) for n in tensors if _is_middle_block(n)), default=0),
        "context_dim": tensors["middle_block.1.transformer_blocks.0.attn2.to_k.weight"].shape[1],
        "temporal_conv": any(".temopral_conv." in name for name in tensors),
        "temporal_attention": "middle_block.2.proj_in.weight" in tensors,
        "image_cross_attention": True,
        "image_cross_attention_scale_learnable": any(name.endswith(".attn2.alpha") for name in tensors),
        "addition_attention": "init_attn.0.proj_in.weight" in tensors,
        "fs_condition": True,
        **told,
    }
    return config, changes


def _is_middle_block(name: str) -> bool:
    return name.startswith("middle_block.1.transformer_blocks.")


def unet(config: dict[str, Any], tensors: Tensors, source: str) -> UNet3DModel:
    """The UNet; what `unet_config` calls new starts without effect. `UserError` where tensors do not fit."""
    network = build(lambda: UNet3DModel.from_config(config), source)
    tensors = dict(tensors)
    weight = tensors["input_blocks.0.0.weight"]
    if (missing := config["in_channels"] - weight.shape[1]) > 0:
        tensors["input_blocks.0.0.weight"] = nn.functional.pad(weight, (0, 0, 0, 0, 0, missing))
    if not any(name.endswith("to_k_ip.weight") for name in tensors):
        for name in [n for n in network.state_dict() if n.endswith("to_k_ip.weight")]:
            stem = name.removesuffix("to_k_ip.weight")
            if f"{stem}to_k.weight" in tensors:
                # Keys like those of the words; no values, so that the sum stays that of the words alone.
                tensors[name] = tensors[f"{stem}to_k.weight"].clone()
                tensors[f"{stem}to_v_ip.weight"] = torch.zeros_like(tensors[f"{stem}to_v.weight"])
    if "fps_embedding.0.weight" not in tensors:
        for name in ("0.weight", "0.bias", "2.weight", "2.bias"):
            like = tensors[f"time_embed.{name}"]
            tensors[f"fps_embedding.{name}"] = like.clone() if name[0] == "0" else torch.zeros_like(like)
    # 1×1 convolutions of older files are the linear maps of newer ones.
    for name, like in network.state_dict().items():
        given = tensors.get(name)
        if given is not None and given.shape != like.shape and _without_ones(given) == _without_ones(like):
            tensors[name] = given.reshape(like.shape)
    load_tensors(network, tensors, source)
    return network


def _without_ones(tensor: torch.Tensor) -> tuple[int, ...]:
    return tuple(size for size in tensor.shape[2:] if size != 1) + tuple(tensor.shape[:2])


def vae_config(tensors: Tensors) -> tuple[dict[str, Any], list[str]]:
    """Configuration of an autoencoder, temporal or of single pictures, and what is added to it."""
    width = tensors["encoder.conv_in.weight"].shape[0]
    names = (f"encoder.down.{i}.block.0.conv1.weight" for i in itertools.count())
    channels = [tensors[name].shape[0] for name in itertools.takewhile(tensors.__contains__, names)]
    blocks = (f"encoder.down.0.block.{i}.conv1.weight" for i in itertools.count())
    config = {
        "ch": width,
        "ch_mult": [level // width for level in channels],
        "num_res_blocks": len(list(itertools.takewhile(tensors.__contains__, blocks))),
        "in_channels": tensors["encoder.conv_in.weight"].shape[1],
        "out_ch": tensors["decoder.conv_out.weight"].shape[0],
        "z_channels": tensors["quant_conv.weight"].shape[0] // 2,
        "double_z": True,
        "attn_resolutions": [],
        "dropout": 0.0,
        "resolution": 256,
        "mid_attention": "encoder.mid.attn_1.q.weight" in tensors,
    }
    levels = range(len(channels))
    if _is_temporal(tensors):
        config["combiner_levels"] = [i for i in levels if f"decoder.attn_refinement.{i}.to_q.weight" in tensors]
        for i in config["combiner_levels"][:1]:
            config["combiner_heads"] = _COMBINER_HEADS
            inner = tensors[f"decoder.attn_refinement.{i}.to_q.weight"].shape[0]
            config["combiner_head_dim"] = inner // _COMBINER_HEADS
        return config, []
    config["combiner_levels"] = [i for i in (2, 3) if i in levels]
    return config, ["new temporal layers and merges of the two ends in the decoder, without effect at first"]


def _is_temporal(tensors: Tensors) -> bool:
    return any(".time_stack." in name for name in tensors)


def vae(config: dict[str, Any], tensors: Tensors, source: str) -> VideoAutoencoderKL:
    """The autoencoder. One of single pictures decodes every frame as it did before.

    That decoder is preceded by `post_quant_conv`, which the temporal one never applies: it is folded into the
    decoder's first convolution, exact but for the outermost latents, where that convolution's zero padding now
    lies before it.

    Raises:
        UserError: tensors do not fit.
    """
    if _is_temporal(tensors):
        network = build(lambda: VideoAutoencoderKL.from_config(config), source)
        load_tensors(network, tensors, source)
        return network
    network = _as_before(lambda: VideoAutoencoderKL.from_config(config))
    new = {name: t for name, t in network.state_dict().items() if _is_added(name)}
    tensors = dict(tensors)
    conv, bias = tensors["decoder.conv_in.weight"], tensors["decoder.conv_in.bias"]
    before, shift = tensors["post_quant_conv.weight"][:, :, 0, 0], tensors["post_quant_conv.bias"]
    tensors["decoder.conv_in.weight"] = torch.einsum("ochw,cz->ozhw", conv, before)
    tensors["decoder.conv_in.bias"] = bias + torch.einsum("ochw,c->o", conv, shift)
    tensors["post_quant_conv.weight"] = torch.eye(len(shift))[:, :, None, None]
    tensors["post_quant_conv.bias"] = torch.zeros_like(shift)
    load_tensors(network, tensors | new, source)
    return network


def _is_added(name: str) -> bool:
    added = (".time_stack.", ".time_mix_conv.", ".attn_refinement.")
    return name.endswith(".mix_factor") or any(part in name for part in added)


def _as_before(make: Callable[[], VideoAutoencoderKL]) -> VideoAutoencoderKL:
    """A temporal autoencoder whose temporal layers change nothing; the same values in every run and on every rank."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = make()
        for name, parameter in network.named_parameters():
            last_of_stack = ".time_stack.out_layers.3." in name
            merge = ".attn_refinement." in name and (".conv." in name or ".to_out." in name)
            if last_of_stack or merge or ".time_mix_conv." in name:
                parameter.zero_()
            if name.endswith(".time_mix_conv.weight"):
                nn.init.dirac_(parameter)
    return network


def projection_config(tensors: Tensors, given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Configuration of an image projection, and what is changed in it or added to it; `given` as in `unet_config`."""
    _, queries, dim = tensors["latents"].shape
    inner = tensors["layers.0.0.to_q.weight"].shape[0]
    head = given.get("dim_head", _WIDTH_OF_A_HEAD if inner % _WIDTH_OF_A_HEAD == 0 else inner)
    frames = given.get("video_length") or _FRAMES
    per_frame = given.get("num_queries", queries // frames if queries > _QUERIES_PER_FRAME else queries)
    changes = []
    if queries != per_frame * frames:
        changes.append(
            f"image projection of {queries} queries for the whole clip: every frame starts with a copy of them"
        )
    if "input_pos" not in tensors:
        changes.append("new embedding of which of the two pictures, zero at first")
    config = {
        "dim": dim,
        "depth": len({name.split(".")[1] for name in tensors if name.startswith("layers.")}),
        "dim_head": head,
        "heads": inner // head,
        "num_queries": per_frame,
        "embedding_dim": tensors["proj_in.weight"].shape[1],
        "output_dim": tensors["proj_out.weight"].shape[0],
        "ff_mult": tensors["layers.0.1.1.weight"].shape[0] // dim,
        "video_length": frames,
        "input_frames_length": tensors["input_pos"].shape[1] if "input_pos" in tensors else 2,
    }
    return config, changes


def projection(config: dict[str, Any], tensors: Tensors, source: str) -> ImageProjection:
    """The image projection; what `projection_config` calls new starts without effect."""
    network = build(lambda: ImageProjection.from_config(config), source)
    tensors = dict(tensors)
    latents, wanted = tensors["latents"], network.latents.shape[1]
    if latents.shape[1] != wanted:
        tensors["latents"] = latents.repeat(1, wanted // latents.shape[1], 1)
    tensors.setdefault("input_pos", torch.zeros(network.input_pos.shape))
    load_tensors(network, tensors, source)
    return network
