"""What weight files hold, safetensors or pickles, without running anything that is stored in them."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from paintsundo.errors import UserError


def read_pickle(file: Path) -> Any:
    """Read a file of `torch.save`: tensors and plain containers only; tensors stay on disk until they are used.

    Raises:
        UserError: the file is missing or damaged, or holds objects, which could run anything when read.
    """
    try:
        return torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except FileNotFoundError:
        raise UserError(f"{file} is missing") from None
    except pickle.UnpicklingError as error:
        if "weights_only" not in str(error) and "Unsupported" not in str(error):
            raise UserError(f"{file} is damaged or not a file of torch.save") from None
        raise UserError(
            f"{file} holds Python objects beside tensors, which could run anything, and is not read: "
            "write its state_dict alone to a safetensors file"
        ) from None
    except MemoryError:
        raise
    except Exception as error:  # bytes that are no such file fail anywhere in its reader
        raise UserError(f"{file} is damaged or not a file of torch.save: {_first_line(error)}") from None


def safetensors_shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Shapes by name from a safetensors file's header.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        with safe_open(file, framework="pt") as stream:
            return {name: tuple(stream.get_slice(name).get_shape()) for name in stream.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(f"{file} is missing") from None
    except (OSError, SafetensorError) as error:
        raise UserError(f"{file} is damaged or not a safetensors file: {_first_line(error)}") from None


def safetensors_metadata(file: Path) -> dict[str, str]:
    """The texts in a safetensors file's header; errors as `safetensors_shapes`."""
    try:
        with safe_open(file, framework="pt") as stream:
            return dict(stream.metadata() or {})
    except FileNotFoundError:
        raise UserError(f"{file} is missing") from None
    except (OSError, SafetensorError) as error:
        raise UserError(f"{file} is damaged or not a safetensors file: {_first_line(error)}") from None


def tensor_names(file: Path) -> set[str]:
    """Names of the tensors of a safetensors file, or of the shards that its index names.

    Raises:
        UserError: neither is there, or one is damaged.
    """
    index = file.with_name(file.name + ".index.json")
    if file.exists() or not index.exists():
        return set(safetensors_shapes(file))
    try:
        return set(json.loads(index.read_text(encoding="utf-8"))["weight_map"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{index} cannot be read: {error!r}") from None


def listed(names: Iterable[str], shown: int = 5) -> str:
    """Some names, and how many there are beside them."""
    names = list(names)
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
