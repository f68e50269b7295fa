"""How many parameters a configuration trains, network by network, without weights: all on the meta device."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf
from torch import nn

from paintsundo.checkpoints.layout import flat_config
from paintsundo.models.official_layout import build, read_config
from paintsundo.settings import config_directory
from paintsundo.training.model_options import known_options, module_class
from paintsundo.training.options import TrainOptions

if TYPE_CHECKING:
    from paintsundo.checkpoints.starting_points import StartingPoint

KINDS = {"SingleFrameModule": "single_frame", "MultiFrameModule": "multi_frame"}
_SIZES = {"unet": "network", "image_projection": "projection", "image_encoder": "image_encoder", "text_encoder": "text"}
_FOLDERS = {"vae": "autoencoder", "text_encoder": "text_encoder"}
_COMPONENTS = {
    "single_frame": ("unet", "text_encoder", "vae"),
    "multi_frame": ("unet", "image_projection", "image_encoder", "text_encoder", "vae"),
}


@dataclass(frozen=True)
class Row:
    """One network.

    Attributes:
        name: as its parameters' names begin.
        parameters: how many there are in all; None where its size is not known yet.
        trained: how many of them training changes, or adapters beside them.
        sizes: where its sizes are from.
        apart: whether it is only used, so that strategies leave it as it is.
    """

    name: str
    parameters: int | None
    trained: int
    sizes: str
    apart: bool = False


def parameter_rows(options: TrainOptions) -> list[Row]:
    """The networks of a configuration; empty for module classes that are not this project's.

    Raises:
        UserError: a start or configuration file cannot be used, or sizes are impossible.
    """
    name = options.target.rpartition(".")[2]
    model = options.model or {}
    if name in KINDS:
        return [_row(options, *found) for found in _diffusion(options, KINDS[name])]
    if name == "TaggerModule":
        from paintsundo.training.tagger import TaggerNetwork

        found = build(lambda: TaggerNetwork(list(model["widths"]), model.get("tag_count", 160)), "model")
        return [_row(options, "network", found, True, "model.widths")]
    if name in ("ImageAutoencoderModule", "VideoAutoencoderModule"):
        sizes, source = model.get("network") or {}, "model.network"
        start = options.start if options.start is not None else model.get("start")
        if start is not None and (Path(start) / "vae" / "config.json").is_file():
            changes = sizes if name == "VideoAutoencoderModule" else {}
            sizes, source = {**read_config(Path(start) / "vae"), **changes}, f"start={start}"
        elif start is not None or not sizes:
            return [Row("vae", None, 0, "model.start")]
        kind = "single_frame" if name == "ImageAutoencoderModule" else "multi_frame"
        return [_row(options, "vae", _network(kind, "vae", sizes), _unfrozen(model), source)]
    return []


def trained_rule(options: TrainOptions, trained: bool | Callable[[str], bool]) -> Callable[[str], bool]:
    """Whether a parameter, by its full name, is trained: by the model's rule and `train_parts`."""
    expressions = [re.compile(expression) for expression in options.train_parts or []]

    def rule(name: str) -> bool:
        chosen = trained if isinstance(trained, bool) else trained(name)
        return chosen and (not expressions or any(expression.search(name) for expression in expressions))

    return rule


def adapter_parameters(network: nn.Module, rank: int, targets: list[str]) -> int:
    """Parameters of LoRA adapters: rank · (in + out) for every linear layer named, by kernel for convolutions."""
    count = 0
    for name, layer in network.named_modules():
        if not any(name == target or name.endswith("." + target) for target in targets):
            continue
        if isinstance(layer, nn.Linear):
            count += rank * (layer.in_features + layer.out_features)
        elif isinstance(layer, nn.Conv2d):
            area = layer.kernel_size[0] * layer.kernel_size[1]
            count += rank * (layer.in_channels * area + layer.out_channels)
    return count


def _row(
    options: TrainOptions,
    name: str,
    network: nn.Module | None,
    trained: bool | Callable[[str], bool],
    sizes: str,
) -> Row:
    if network is None:
        return Row(name, None, 0, sizes)
    total = sum(p.numel() for p in network.parameters())
    if trained is False:
        return Row(name, total, 0, sizes, apart=True)
    if options.lora.rank is not None:
        adapters = adapter_parameters(network, options.lora.rank, options.lora.targets) if name == "unet" else 0
        return Row(name, total, adapters, sizes)
    rule = trained_rule(options, trained)
    return Row(name, total, sum(p.numel() for n, p in network.named_parameters() if rule(f"{name}.{n}")), sizes)


def _diffusion(options: TrainOptions, kind: str) -> Iterator[tuple[str, nn.Module | None, bool, str]]:
    """Name, network, whether it is trained, and where its sizes are from."""
    model = options.model or {}
    start = local_start(options)
    switch = "train_text_encoder" if kind == "single_frame" else "train_encoders"
    encoders = _setting(options, switch, False)
    for name in _COMPONENTS[kind]:
        sizes, source = _sizes(kind, name, model, start, options.start)
        sizes = _with_choices(name, sizes, model)
        # New encoders are always trained.
        encoder = name.endswith("encoder") and (encoders or source == f"model.{_SIZES[name]}")
        trained = name in ("unet", "image_projection") or encoder
        yield name, None if sizes is None else _network(kind, name, sizes), trained, source


def _with_choices(name: str, sizes: Mapping[str, Any] | None, model: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Sizes of a network as the model's options change them."""
    if sizes is not None and name == "unet" and model.get("operation_embedding") is not None:
        return {**sizes, "operation_embedding": model["operation_embedding"]}
    if sizes is not None and name == "text_encoder" and model.get("clip_skip"):
        return {**flat_config(dict(sizes)), "num_hidden_layers": _layers_kept(flat_config(dict(sizes)), model)}
    return sizes


def _layers_kept(config: Mapping[str, Any], model: Mapping[str, Any]) -> int:
    return max(1, config.get("num_hidden_layers", 12) - model["clip_skip"])


def local_start(options: TrainOptions) -> StartingPoint | None:
    """What training starts from, where that is on this machine; a model of the hub is not fetched."""
    kind = KINDS.get(options.target.rpartition(".")[2])
    if kind is None or options.start is None:
        return None
    if options.start != "bundled" and not Path(options.start).exists():
        return None
    from paintsundo.checkpoints.starting_points import find_starting_point

    return find_starting_point(options.start, kind)


def _sizes(
    kind: str, name: str, model: Mapping[str, Any], start: StartingPoint | None, source: str | None
) -> tuple[Mapping[str, Any] | None, str]:
    folder = model.get(_FOLDERS.get(name, ""))
    if folder is not None and (Path(folder) / name / "config.json").is_file():
        return read_config(Path(folder) / name), f"model.{_FOLDERS[name]}"
    if start is not None and (config := start.config(name)) is not None:
        return config, f"start={source}"
    key = _SIZES.get(name, "")
    if model.get(key) is not None:
        words = {"bos_token_id": 0, "eos_token_id": 1, "vocab_size": model.get("tokenizer_size", 900)}
        return {**(words if name == "text_encoder" else {}), **model[key]}, f"model.{key}"
    if start is None and "network" in model and model["network"] is None:
        official: Any = OmegaConf.to_container(OmegaConf.load(config_directory() / "architecture" / "official.yaml"))
        return official[kind][name], "the published model"
    return None, f"model.{_FOLDERS.get(name, key)}"


def _network(kind: str, name: str, sizes: Mapping[str, Any]) -> nn.Module:
    """A network of a model without its weights."""
    from diffusers import AutoencoderKL
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig

    from paintsundo.models import ClipVisionEncoder, ImageProjection, SingleFrameUNet, UNet3DModel, VideoAutoencoderKL

    known = {key: value for key, value in flat_config(dict(sizes)).items() if not key.startswith("_")}
    makers: dict[tuple[str, str], Callable[[], nn.Module]] = {
        ("single_frame", "unet"): lambda: SingleFrameUNet.from_config(known),
        ("single_frame", "vae"): lambda: AutoencoderKL.from_config(known),
        ("single_frame", "text_encoder"): lambda: CLIPTextModel(CLIPTextConfig(**known)),
        ("multi_frame", "unet"): lambda: UNet3DModel.from_config(known),
        ("multi_frame", "vae"): lambda: VideoAutoencoderKL.from_config(known),
        ("multi_frame", "text_encoder"): lambda: CLIPTextModel(CLIPTextConfig(**known)),
        ("multi_frame", "image_encoder"): lambda: ClipVisionEncoder(CLIPVisionConfig(**known)),
        ("multi_frame", "image_projection"): lambda: ImageProjection.from_config(known),
    }
    return build(makers[kind, name], f"the configuration of {name}")


def _unfrozen(model: Mapping[str, Any]) -> bool | Callable[[str], bool]:
    if model.get("train_encoder", True):
        return True
    return lambda name: not name.startswith(("vae.encoder.", "vae.quant_conv."))


def _setting(options: TrainOptions, name: str, otherwise: Any) -> Any:
    """A model's option, as given or as its class has it."""
    if name in (options.model or {}):
        return (options.model or {})[name]
    known = known_options(module_class(options.target))
    return known[name].default if name in known else otherwise
