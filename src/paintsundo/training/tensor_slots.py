"""Places of single tensors in safetensors files, so that weights can be replaced one by one, in place.

Format: 8 bytes (little-endian) with the length of a JSON header, the header, the tensors' bytes;
https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from paintsundo.errors import UserError

_DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
# Text encoders are stored without the prefix that some versions of their class give the names.
_PREFIX = "text_model."


@dataclass(frozen=True)
class Slot:
    """Where one tensor lies.

    Attributes:
        file: safetensors file.
        name: the tensor's name there.
        key: its name among the trained parameters.
        dtype, shape: as stored.
        start, end: its bytes in the file.
    """

    file: Path
    name: str
    key: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    end: int

    def at(self, file: Path) -> Slot:
        """The same place in a copy of the file."""
        return replace(self, file=file)

    def read(self) -> Tensor:
        """The stored tensor."""
        with safe_open(self.file, "pt") as opened:
            return opened.get_tensor(self.name)

    def rounded(self, source: Any) -> Tensor:
        """The tensor of this key in an open safetensors file, in this dtype."""
        return source.get_tensor(self.key).to(self.dtype)


def find_slots(folder: Path, keys: Sequence[str]) -> dict[str, Slot]:
    """Slots of trained parameters in a component's folder.

    Args:
        folder: of the component in the official layout; its weights may be in several files.
        keys: the parameters' names, `component.name`.

    Raises:
        UserError: some are not there, or a file is damaged.
    """
    stored: dict[str, Slot] = {}
    for file in sorted(folder.glob("*.safetensors")):
        stored |= {slot.name: slot for slot in _read(file)}
    slots: dict[str, Slot] = {}
    absent = []
    for key in keys:
        name = key.partition(".")[2]
        candidates = (name, name.removeprefix(_PREFIX), _PREFIX + name)
        found = next((stored[candidate] for candidate in candidates if candidate in stored), None)
        if found is None:
            absent.append(key)
        else:
            slots[key] = replace(found, key=key)
    if absent:
        what = "has no safetensors files" if not stored else f"lacks {len(absent)} of {len(keys)} averaged tensors"
        raise UserError(f"{folder} {what} (as {absent[0]}): averages of this run cannot be written in its layout")
    return slots


def overwrite(slot: Slot, tensor: Tensor) -> None:
    """Put a tensor of the slot's shape into its place, rounded to its dtype."""
    data = tensor.to(slot.dtype).contiguous().flatten().view(torch.uint8).numpy().tobytes()
    if len(data) != slot.end - slot.start:
        raise ValueError(f"{slot.key}: {len(data)} bytes for a place of {slot.end - slot.start}")
    with slot.file.open("r+b") as stream:
        stream.seek(slot.start)
        stream.write(data)


def _read(file: Path) -> list[Slot]:
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > file.stat().st_size:
                raise ValueError("no header")
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        return [
            Slot(
                file,
                name,
                "",
                _DTYPES[entry["dtype"]],
                tuple(entry["shape"]),
                8 + length + entry["data_offsets"][0],
                8 + length + entry["data_offsets"][1],
            )
            for name, entry in header.items()
            if entry["dtype"] in _DTYPES  # averages are of nothing else
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file} is damaged or not a safetensors file: {error}") from None
