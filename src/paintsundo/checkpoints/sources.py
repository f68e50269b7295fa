"""Where a checkpoint comes from: the package itself, a folder, or a hub id with its cache."""

from __future__ import annotations

import os
import re
from pathlib import Path

from paintsundo.errors import UserError

BUNDLED = "bundled"

# What has to be in a folder for it to be taken for the checkpoint in question.
REQUIRED_FILES = {
    "single_frame": (
        "unet/config.json",
        "vae/config.json",
        "text_encoder/config.json",
        "tokenizer/vocab.json",
    ),
    "multi_frame": (
        "unet/config.json",
        "vae/config.json",
        "text_encoder/config.json",
        "tokenizer/vocab.json",
        "image_encoder/config.json",
        "image_projection/config.json",
    ),
    "tagger": ("model.onnx", "selected_tags.csv"),
}
_SUBFOLDERS = {kind: sorted({os.path.dirname(name) for name in names}) for kind, names in REQUIRED_FILES.items()}
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def resolve(source: str | os.PathLike[str], kind: str) -> Path:
    """Give the local folder of a checkpoint, fetching it from the hub where it is not cached yet.

    Args:
        source: "bundled", a folder, or a hub id (`owner/name`).
        kind: "single_frame", "multi_frame" or "tagger".

    Raises:
        UserError: there is no such folder, it holds something else, or the hub cannot be reached.
    """
    if str(source) == BUNDLED:
        folder = Path(__file__).resolve().parent.parent / "bundled" / kind
        if not folder.is_dir():
            raise UserError(f"the {kind} model is not part of this copy of the package: name a folder or a hub id")
    elif Path(source).is_dir():
        folder = Path(source)
        # A folder that holds the whole pair is as good as the part of it.
        if (folder / kind).is_dir() and missing_files(folder, kind):
            folder = folder / kind
    elif Path(source).exists():
        raise UserError(f"{source} is a file: models.{kind} needs a folder in the official layout or a hub id")
    elif _HUB_ID.fullmatch(str(source)):
        folder = _from_hub(str(source), kind)
    else:
        raise UserError(f"models.{kind}: the folder {source} does not exist")
    missing = missing_files(folder, kind)
    if missing:
        raise UserError(f"{folder} is no {kind} checkpoint in the official layout: {missing[0]} is missing")
    return folder


def missing_files(folder: Path, kind: str) -> list[str]:
    """Names of the files that make a folder a checkpoint of this kind and are not there."""
    return [name for name in REQUIRED_FILES[kind] if not (folder / name).is_file()]


def _without_weights(folder: Path, kind: str) -> list[str]:
    """Networks of a checkpoint whose weights, or some of their shards, are not there."""
    networks = [name for name in _SUBFOLDERS[kind] if f"{name}/config.json" in REQUIRED_FILES[kind]]
    lacking = []
    for name in networks:
        files = {file.name for file in (folder / name).glob("*.safetensors") if file.is_file()}
        shards = next((re.fullmatch(r".*-of-(\d+)\.safetensors", file) for file in sorted(files)), None)
        if not files or (shards and len(files) < int(shards[1])):
            lacking.append(name)
    return lacking


def _from_hub(repository: str, kind: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    patterns = [f"{name}/*" for name in _SUBFOLDERS[kind] if name] or list(REQUIRED_FILES[kind])
    ignored = ["*.bin", "*.ckpt", "*.msgpack", "*.h5"]
    try:
        cached = Path(
            snapshot_download(repository, allow_patterns=patterns, ignore_patterns=ignored, local_files_only=True)
        )
        # An interrupted download leaves the small files of a checkpoint without its weights.
        if not missing_files(cached, kind) and not _without_weights(cached, kind):
            return cached
    except LocalEntryNotFoundError:
        pass
    except ValueError:
        raise UserError(f"models.{kind}: {repository} is neither a folder nor a hub id") from None
    try:
        return Path(snapshot_download(repository, allow_patterns=patterns, ignore_patterns=ignored))
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        raise UserError(f"models.{kind}: the hub refuses {repository} (status {status})") from error
    except (LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"models.{kind}: {repository} is neither a folder nor in the hub's cache, and the hub cannot be reached"
        ) from error
