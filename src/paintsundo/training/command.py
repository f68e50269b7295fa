"""The `train` command: compose a configuration, check it, train, export in the official layout."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from paintsundo.command_line import exit_code
from paintsundo.errors import UserError
from paintsundo.training.configuration import configure, help_text
from paintsundo.training.launch import is_launched, launch
from paintsundo.training.options import TrainOptions, check, read
from paintsundo.training.requirements import missing
from paintsundo.training.sweep import is_sweep, run_sweep

if TYPE_CHECKING:
    from paintsundo.training.module import PaintsUndoModule


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `train` with `name=value` arguments; returns the exit code (0, or 2 for a user's error, 130 for Ctrl-C)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return exit_code(
        lambda: run(given),
        interrupted="interrupted; the same command goes on from the last checkpoint",
        memory_advice="a smaller batch_size or runtime.gradient_checkpointing=true needs less",
    )


def run(arguments: Sequence[str]) -> int:
    """Compose the configuration and train, or only tell it (`dry_run=true`, `--help`).

    Raises:
        UserError: an option is unknown or impossible, or something it names is missing or unusable.
    """
    if {"--help", "-h"} & set(arguments):
        print(help_text([a for a in arguments if a not in ("--help", "-h")]))
        return 0
    if is_sweep(arguments):
        return run_sweep(arguments)
    config = configure(arguments)
    options = read(config)
    check(options)
    if options.dry_run:
        from paintsundo.training.dry_run import describe

        print(describe(config))
        return 0
    processes = _checked(options)
    if processes > 1 and not is_launched():
        return launch(arguments, processes)
    train_config(config)
    return 0


def train_config(config: DictConfig) -> Path:
    """Train as a composed configuration says, in this process; returns `DIR/final`.

    Raises:
        UserError: something is impossible, missing or unusable.
    """
    options = read(config)
    check(options)
    _checked(options)
    import lightning
    import torch

    from paintsundo.training.run import train

    torch.set_float32_matmul_precision("high" if options.runtime.tf32 else "highest")
    lightning.seed_everything(options.seed, verbose=False)
    return train(config, options, build(config, options))


def _checked(options: TrainOptions) -> int:
    """Refuse what is not there; returns how many processes this machine is to run."""
    if lines := missing(options):
        raise UserError("missing: " + "; ".join(lines))
    if options.trainer.strategy == "one":
        return 1
    if options.trainer.devices == "auto":
        import torch

        return torch.cuda.device_count()
    return int(options.trainer.devices)


def build(config: DictConfig, options: TrainOptions) -> PaintsUndoModule:
    """The module of a configuration, with its adapters or chosen parts.

    Raises:
        UserError: a folder or file that it names cannot be used.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    start: dict[str, Any] = {} if options.start is None else {"start": options.start}
    try:
        module: PaintsUndoModule = instantiate(config.model, **start, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise
    point = getattr(module, "start_point", None)
    told = [] if point is None else [f"start: {point.description}"]
    lora = options.lora
    if lora.rank is not None:
        layers = module.add_lora(lora.rank, lora.alpha, lora.targets, lora.start)  # type: ignore[operator]
        told.append(f"LoRA of rank {lora.rank} in {layers} layers")
    elif point is not None and point.kind == "lora":
        raise UserError(f"start: {options.start} is a LoRA: say lora.rank too, to go on from it")
    if options.train_parts is not None:
        chosen = module.train_only(options.train_parts)
        told.append(f"{len(chosen)} parameters are trained, {chosen[0]} … {chosen[-1]}")
    if os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0":  # one of several processes speaks
        for line in told:
            print(line, flush=True)
    return module


if __name__ == "__main__":
    sys.exit(main())
