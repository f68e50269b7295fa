"""`dry_run=true`: what a training run would be, told without data, weights or a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from paintsundo.training.memory_estimate import TRAINERS, Counts, chosen_trainer, estimate
from paintsundo.training.options import TrainOptions, read
from paintsundo.training.parameter_table import Row, local_start, parameter_rows
from paintsundo.training.requirements import missing

# Devices that strategies are compared for on a machine without GPUs.
_DEVICES = 8


def describe(config: DictConfig) -> str:
    """The resolved configuration, its parameters, memory and buckets, and what is missing.

    Raises:
        UserError: an option is of the wrong type, or a start or data set that is there cannot be used.
    """
    options = read(config)
    parts = [resolved(config), *start_lines(options)]
    rows = parameter_rows(options) if options.target else []
    if rows:
        parts.append(parameter_text(rows, options))
    if any(row.parameters for row in rows):
        parts.append(memory_text(rows, options))
    parts += bucket_lines(options)
    lines = missing(options)
    parts.append("nothing is missing" if not lines else "missing: " + "; ".join(lines))
    return "\n\n".join(parts)


def resolved(config: DictConfig) -> str:
    """The configuration as YAML, references replaced by what they mean; network sizes only where they are used."""
    shown: Any = OmegaConf.to_container(config, resolve=True)
    shown.pop("architecture", None)
    return yaml.safe_dump(shown, allow_unicode=True, sort_keys=False).strip()


def start_lines(options: TrainOptions) -> list[str]:
    """What training starts from, as far as that is on this machine."""
    start = local_start(options)
    return [] if start is None else [f"start: {start.description}"]


def parameter_text(rows: Sequence[Row], options: TrainOptions) -> str:
    """The table of networks."""
    head = ("network", "parameters", "trained", "frozen", "sizes of")
    table = [
        (row.name, f"{row.parameters:,}", f"{row.trained:,}", f"{_frozen(row, options):,}", row.sizes)
        if row.parameters is not None
        else (row.name, "?", "?", "?", f"{row.sizes}, not given")
        for row in rows
    ]
    known = [row for row in rows if row.parameters is not None]
    total = sum(row.parameters or 0 for row in known)
    trained, frozen = sum(row.trained for row in known), sum(_frozen(row, options) for row in known)
    table.append(("all", f"{total:,}", f"{trained:,}", f"{frozen:,}", "" if len(known) == len(rows) else "known ones"))
    return _table(head, table)


def memory_text(rows: Sequence[Row], options: TrainOptions) -> str:
    """The table of memory per device and strategy."""
    counts = Counts(
        sum(row.trained for row in rows),
        sum(_frozen(row, options) for row in rows if not row.apart),
        sum(_frozen(row, options) for row in rows if row.apart),
    )
    devices, how = _devices(options)
    unit, size = ("GiB", 2**30) if estimate(options, "one", counts, 1).device > 2**30 else ("MiB", 2**20)
    head = (f"{unit} per device", "weights", "gradients", "optimizer", "averages", "sum", "machine's own")
    table = []
    for trainer in TRAINERS:
        memory = estimate(options, trainer, counts, devices)
        figures = (memory.weights, memory.gradients, memory.optimizer, memory.averages, memory.device, memory.host)
        mark = "* " if trainer == chosen_trainer(options) else "  "
        table.append((mark + trainer, *(f"{value / size:.2f}" for value in figures)))
    note = f"* this configuration; others on {how}. Activations come on top."
    return _table(head, table) + "\n" + note


def bucket_lines(options: TrainOptions) -> list[str]:
    """The assignment of samples to buckets, where the data are there."""
    data = options.data
    if data.loader != "stream" or data.path is None or any("data set at" in line for line in missing(options)):
        return []
    from paintsundo.data.index import read_indexes
    from paintsundo.data.plan import BatchPlan

    devices = _devices(options)[0] if options.trainer.strategy != "one" else 1
    index = read_indexes([data.path, *data.also], "train", data.limit)
    # Without buckets pictures keep their sizes.
    own = sorted(set(zip(index.heights.tolist(), index.widths.tolist(), strict=True)))
    buckets = data.buckets or [list(size) for size in own]
    plan = BatchPlan(
        index, buckets, options.batch_size, options.seed, data.shuffle_shards, devices, data.states_per_process
    )
    faults = [f"{index.lost} samples cannot be read; the first fault: {index.faults[0]}"] if index.faults else []
    return ["\n".join([plan.table_text(), *faults])]


def _frozen(row: Row, options: TrainOptions) -> int:
    total = row.parameters or 0
    # Adapters lie beside weights that all stay.
    return total if options.lora.rank is not None else total - row.trained


def _devices(options: TrainOptions) -> tuple[int, str]:
    trainer = options.trainer
    if trainer.strategy != "one" and isinstance(trainer.devices, int):
        count = trainer.devices * trainer.num_nodes
        return count, f"{count} device{'s' if count > 1 else ''}"
    import torch

    here = torch.cuda.device_count()
    if trainer.strategy != "one" and here:
        return here * trainer.num_nodes, f"{here * trainer.num_nodes} GPUs"
    if here > 1:
        return here, f"this machine's {here} GPUs"
    return _DEVICES, f"{_DEVICES} devices, say"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns side by side: the first to the left, numbers to the right, words after them to the left."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    numbers = [
        all(not line[column] or line[column][0] in "0123456789?" for line in rows) for column in range(len(head))
    ]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(line, widths, numbers, strict=True)
        ).rstrip()
        for line in lines
    )
