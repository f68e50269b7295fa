"""Recognise by its content what training is to start from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from paintsundo.checkpoints.image_vae import load_image_vae
from paintsundo.checkpoints.layout import check_configs, flat_config
from paintsundo.checkpoints.lora import is_lora
from paintsundo.checkpoints.lvdm import is_lvdm, lvdm_starting_point, state_of
from paintsundo.checkpoints.run_folder import checkpoint_starting_point, newest_checkpoint
from paintsundo.checkpoints.sd15 import sd15_starting_point, weight_file
from paintsundo.checkpoints.sources import BUNDLED, resolve
from paintsundo.checkpoints.starting_point import COMPONENTS, Part, StartingPoint
from paintsundo.checkpoints.tensor_files import (
    listed,
    read_pickle,
    safetensors_metadata,
    safetensors_shapes,
    tensor_names,
)
from paintsundo.checkpoints.text_encoders import load_text_encoder, load_tokenizer
from paintsundo.errors import UserError
from paintsundo.models import ClipVisionEncoder, ImageProjection, SingleFrameUNet, UNet3DModel, VideoAutoencoderKL
from paintsundo.models.official_layout import read_config, read_tensors

__all__ = ["StartingPoint", "find_starting_point"]

_FILES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
_READERS: dict[tuple[str, str], Callable[[Path], Any]] = {
    ("single_frame", "unet"): SingleFrameUNet.from_pretrained,
    ("single_frame", "vae"): load_image_vae,
    ("multi_frame", "unet"): UNet3DModel.from_pretrained,
    ("multi_frame", "vae"): VideoAutoencoderKL.from_pretrained,
    ("multi_frame", "image_encoder"): ClipVisionEncoder.from_pretrained,
    ("multi_frame", "image_projection"): ImageProjection.from_pretrained,
}


def find_starting_point(source: str, kind: str) -> StartingPoint:
    """Recognise what training is to start from, without reading weights where it can be helped.

    Args:
        source: "bundled"; a folder in the official layout (whole or in part), of Stable Diffusion 1.5, of a run of
            `train.py`, or of one of its checkpoints; a checkpoint file of VideoCrafter, DynamiCrafter or
            ToonCrafter; a LoRA file; or a hub id.
        kind: "single_frame" or "multi_frame".

    Raises:
        UserError: there is nothing of that name, or nothing that this model can start from.
    """
    if kind not in COMPONENTS:
        raise ValueError(f"{kind!r} is no kind of model")
    return _find(source, kind, ())


def _find(source: str, kind: str, before: tuple[Path, ...]) -> StartingPoint:
    path = Path(source)
    if source != BUNDLED and path.is_dir():
        return _of_folder(path, kind, source, before)
    if source != BUNDLED and path.is_file():
        return _of_file(path, kind, source, before)
    if path.suffix in _FILES or path.is_absolute():
        raise UserError(f"start: {source} does not exist")
    try:
        folder = resolve(source, kind)
    except UserError as error:
        raise UserError(str(error).replace(f"models.{kind}:", "start:")) from None
    return _of_folder(folder, kind, source, before)


def _of_folder(folder: Path, kind: str, source: str, before: tuple[Path, ...]) -> StartingPoint:
    final = folder / "final"
    if _components(final, kind):
        return _official(final, kind, source, "run", "the final model of a run")
    exported = sorted(final.glob("*.safetensors"))
    if len(exported) == 1 and is_lora(safetensors_shapes(exported[0])):
        return _lora(exported[0], kind, source, before)
    if (folder / "state.ckpt").is_file() and (folder / "manifest.json").is_file():
        return checkpoint_starting_point(folder.parent.parent, folder, kind, source)
    if (step := newest_checkpoint(folder)) is not None:
        return checkpoint_starting_point(folder, step, kind, source)
    # A folder that holds the whole pair is as good as the part of it.
    if not _components(folder, kind) and (folder / kind).is_dir():
        folder = folder / kind
    if not _components(folder, kind):
        holds = listed(sorted(entry.name for entry in folder.iterdir())) or "nothing"
        raise UserError(
            f"start: {folder} is no checkpoint, no Stable Diffusion folder and no run with a complete checkpoint: "
            f"it holds {holds}"
        )
    if kind == "single_frame" and _is_sd15(folder / "unet"):
        return sd15_starting_point(folder, source)
    return _official(folder, kind, source, "official", "the official layout")


def _components(folder: Path, kind: str) -> list[str]:
    """Networks of a model that a folder holds in the official layout."""
    return [name for name in COMPONENTS[kind] if (folder / name / "config.json").is_file()]


def _is_sd15(folder: Path) -> bool:
    """Whether a folder holds a UNet of diffusers' own, without our embedding of the operation step."""
    if not (folder / "config.json").is_file():
        return False
    config = read_config(folder)
    if "block_out_channels" not in config or "operation_embedding" in config:
        return False
    file = weight_file(folder, "diffusion_pytorch_model")
    if file is None:
        raise UserError(f"start: {folder} has no weights")
    return file.suffix == ".bin" or "add_embedding.linear_1.weight" not in tensor_names(file) or _is_sdxl(folder)


def _is_sdxl(folder: Path) -> bool:
    return read_config(folder).get("addition_embed_type") is not None


def _official(folder: Path, kind: str, source: str, found: str, what: str) -> StartingPoint:
    configs = {component: read_config(folder / component) for component in _components(folder, kind)}
    check_configs({component: flat_config(config) for component, config in configs.items()}, kind, folder)
    parts = {c: Part(config, _folder_reader(kind, c, folder / c)) for c, config in configs.items()}
    if (folder / "tokenizer" / "vocab.json").is_file():
        parts["tokenizer"] = Part(None, _folder_reader(kind, "tokenizer", folder / "tokenizer"))
    missing = [component for component in COMPONENTS[kind] if component not in parts]
    lacking = f", without {', '.join(missing)}" if missing else ""
    return StartingPoint(source, found, f"{kind} model, {what}, in {folder}{lacking}", parts)


def _folder_reader(kind: str, component: str, folder: Path) -> Callable[[], Any]:
    if component == "tokenizer":
        return lambda: load_tokenizer(folder)
    if component == "text_encoder":
        return lambda: load_text_encoder(folder)
    return lambda: _READERS[kind, component](folder)


def _of_file(file: Path, kind: str, source: str, before: tuple[Path, ...]) -> StartingPoint:
    if file.suffix == ".safetensors":
        if is_lora(safetensors_shapes(file)):
            return _lora(file, kind, source, before)

        def read() -> Any:
            return state_of(read_tensors(file.parent, file.name)) or {}

    else:

        def read() -> Any:
            return state_of(read_pickle(file)) or {}

    tensors = read()
    if is_lvdm(tensors):
        if kind != "multi_frame":
            raise UserError(f"start: {file} is a video model's checkpoint, and the {kind} model is one of pictures")
        return lvdm_starting_point(file, source, read)
    if any(name.startswith("model.diffusion_model.") for name in tensors):
        raise UserError(
            f"start: {file} is Stable Diffusion in one file: write it as diffusers' folders first "
            "(StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER))"
        )
    holds = f"{len(tensors)} tensors, such as {listed(tensors, 2)}" if tensors else "no tensors"
    raise UserError(f"start: {file} is neither a video model's checkpoint nor a LoRA: it holds {holds}")


def _lora(file: Path, kind: str, source: str, before: tuple[Path, ...]) -> StartingPoint:
    header = safetensors_metadata(file)
    base, of = header.get("paintsundo.base"), header.get("paintsundo.kind", kind)
    if of != kind:
        raise UserError(f"start: {file} is a LoRA of the {of} model, not of the {kind} one")
    if base is None:
        raise UserError(f"start: {file} does not say which model it changes: give start=BASE lora.start={file}")
    if file.resolve() in before:
        raise UserError(f"start: {file} says that it changes itself: give start=BASE lora.start={file}")
    try:
        under = _find(base, kind, (*before, file.resolve()))
    except UserError as error:
        raise UserError(
            f"start: {file} changes {base}, which cannot be used ({error}): give start=BASE lora.start={file}"
        ) from None
    # A LoRA that went on from another holds all of it: its own file is the whole change.
    return StartingPoint(source, "lora", f"LoRA {file.name} over {under.description}", under.parts, lora=file)
