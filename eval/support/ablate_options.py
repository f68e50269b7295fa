"""What eval/ablate.py can be told."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from paintsundo.errors import UserError
from paintsundo.settings import as_schema, compose, split_literals
from support.ablate_grid import Grid, GridOptions, read_grid

LITERAL = ("output", "page", "models", "data.path", "data.test")
_THROUGH_HYDRA = ("hydra.", "hydra/")


@dataclass
class DataOptions:
    """Data sets: to train on, and of true processes to measure on."""

    path: str | None = None
    also: list[str] = field(default_factory=list)
    test: str | None = None
    limit: int | None = 12
    split: str | None = None


@dataclass
class AblateOptions(GridOptions):
    """All options; configs/ablate.yaml says what each is. `ablation` is the grid's content."""

    output: str | None = None
    page: str | None = None
    page_only: bool = False
    dry_run: bool = False
    models: str = "bundled"
    data: DataOptions = field(default_factory=DataOptions)
    devices: Any = "auto"
    per_device: int = 1
    chunk: int = 4
    minutes: float | None = None
    keep_weights: bool = True
    strips: int = 2
    batch: int | None = None
    workers: int | None = None
    cost: dict[str, Any] = field(default_factory=dict)
    ablation: dict[str, Any] | None = None


@dataclass
class Ablation:
    """A composed command. `grid` is None where only the page is made; `hydra`: what Hydra itself was told; `typed`: the
    arguments of a command that makes the same cells."""

    options: AblateOptions
    grid: Grid | None
    hydra: list[str]
    typed: list[str]

    @property
    def folder(self) -> Path:
        """The output."""
        return Path(str(self.options.output))


def read_arguments(arguments: Sequence[str]) -> Ablation:
    """Compose and check a command line.

    Raises UserError: an option is unknown, impossible or missing.
    """
    given = [a for a in arguments if a not in ("-m", "--multirun")]
    hydra = [a for a in given if a.startswith(_THROUGH_HYDRA)]
    own = [a for a in given if not a.startswith(_THROUGH_HYDRA)]
    options = as_schema(compose("ablate", [*map(_quoted, own)], LITERAL), AblateOptions)
    _, others = split_literals(own, LITERAL)
    name = next((a.partition("=")[2] for a in reversed(others) if a.startswith("ablation=")), None)
    if not options.output:
        raise UserError("output is missing: output=DIR, the folder of everything")
    for key, value, least in (
        ("per_device", options.per_device, 1),
        ("chunk", options.chunk, 1),
        ("strips", options.strips, 0),
        ("batch", options.batch, 1),
        ("workers", options.workers, 0),
        ("minutes", options.minutes, 0),
        ("data.limit", options.data.limit, 1),
    ):
        if value is not None and value < least:
            raise UserError(f"{key}={value}: at least {least}")
    device_names(options)
    if options.page_only:
        return Ablation(options, None, hydra, [])
    if options.ablation is None or name is None:
        raise UserError("ablation is missing: ablation=NAME, a file of configs/ablation")
    name = re.sub(r"[^\w-]+", "_", name)
    grid = read_grid(name, options.ablation, options)
    if options.data.test is None:
        raise UserError("data.test is missing: data.test=DATASET, true processes that films are measured on")
    if options.data.path is None and any(cell.training is not None for cell in grid.cells):
        raise UserError(f"data.path is missing: {name} trains models on data.path=DATASET")
    return Ablation(options, grid, hydra, _that_decide(own))


def device_names(options: AblateOptions) -> list[str]:
    """Of the devices that jobs are spread over: GPU numbers, or "cpu".

    Raises UserError: it is neither.
    """
    devices = options.devices
    if devices == "auto":
        import torch

        return [str(number) for number in range(torch.cuda.device_count())] or ["cpu"]
    found = [str(device) for device in (devices if isinstance(devices, list) else [devices])]
    if not found or any(device != "cpu" and not device.isdigit() for device in found):
        raise UserError(f"devices={devices}: GPU numbers, as in [0,1], or cpu")
    return found


def _quoted(argument: str) -> str:
    """Overrides in a list, train=[max_steps=7], as Hydra's grammar wants them: in quotes."""
    key, _, value = argument.partition("=")
    if key not in ("train", "infer") or not (value.startswith("[") and value.endswith("]")) or "'" in value:
        return argument
    parts, depth = [""], 0
    for character in value[1:-1]:
        depth += (character in "[{") - (character in "]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return f"{key}=[{','.join(repr(part.strip()) for part in parts if part.strip())}]"


def _that_decide(arguments: Sequence[str]) -> list[str]:
    """Arguments that figures depend on, rows not among them."""
    names = ("ablation", "models", "data.", "seeds", "train", "infer", "size")
    return [a for a in arguments if a.partition("=")[0].strip().startswith(names)]


def plain_grid(ablation: Ablation) -> dict[str, Any]:
    """What the page needs to know of a grid: its content, the options that changed it, and the command."""
    options = ablation.options
    assert ablation.grid is not None
    content = OmegaConf.to_container(OmegaConf.create(options.ablation or {}), resolve=True)
    changed = {"seeds": options.seeds, "train": options.train, "infer": options.infer, "size": options.size}
    return {"name": ablation.grid.name, "content": content, "options": changed, "typed": ablation.typed}
