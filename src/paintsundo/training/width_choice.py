"""Which width of a power-function average does best on held-out data: `… .posthoc run=DIR choose=held_out`.

Unlike the reconstruction of one width, which changes tensors of `final/` in place, this makes the module of the run
again and exports it anew: so it also serves autoencoders, whose export rescales their latents.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from paintsundo.errors import UserError
from paintsundo.training.averages import power_exponent
from paintsundo.training.bank import ProcessBank
from paintsundo.training.power_profiles import combine
from paintsundo.training.snapshots import Snapshot, find_snapshots

WIDTHS = (0.03, 0.05, 0.07, 0.10, 0.14, 0.20)
TABLE = "ema_widths.json"
SAMPLES, AT_ONCE = 64, 8
# Above this share of the profile's norm, a width is another one than its name says: it is not chosen.
LARGE_RESIDUAL = 0.05


@dataclass(frozen=True)
class Width:
    """One line of the table: relative width (None: the last weights themselves), the fit's residual, held-out loss."""

    std: float | None
    residual: float
    loss: float


def choose_width(
    folder: Path,
    stds: Sequence[float] = WIDTHS,
    output: Path | None = None,
    device: str = "auto",
    overwriting: bool = False,
) -> list[Width]:
    """Measure averages of several widths on the run's held-out data and export the best.

    Samples, noise and timesteps are the same for all. Of diffusion models the loss is the trainer's held-out loss; of
    autoencoders the training loss. `ema_widths.json` beside the networks holds the table.

    Args:
        folder: of a run with ema=power that has ended.
        stds: widths to try.
        output: where the best is written; None: into `final/`, the former one being kept as `final.before/`.
        device: "auto", "cpu" or "cuda".
        overwriting: whether an output that is there may be replaced.

    Returns:
        the table, the best first; the last weights and widths that the snapshots cannot represent are never chosen.

    Raises:
        UserError: something is missing, or no width can be made from the snapshots.
    """
    for wanted in stds:
        power_exponent(wanted)
    final, target = folder / "final", folder / "final" if output is None else output
    snapshots = find_snapshots(folder)
    if not snapshots:
        raise UserError(f"{folder} has no snapshots in averages/: it was not trained with ema=power")
    if not final.is_dir():
        raise UserError(f"{final} is missing: the training has not ended")
    if output is not None and output.exists() and not overwriting:
        raise UserError(f"{output} is there already; overwrite=true replaces it")
    module, bank = _module_and_data(folder, device)
    base = _last_state(folder)
    step = snapshots[-1].step
    found = []
    tried: list[float | None] = [None, *dict.fromkeys(stds)]
    for std in tried:
        tensors, residual = ({}, 0.0) if std is None else _average(snapshots, std)
        module.load_state_dict({**base, **tensors}, strict=False)
        found.append(Width(std, residual, _loss(module, bank)))
        name = "last weights" if std is None else f"std {std:g}"
        print(f"{name:>12}: held-out loss {found[-1].loss:.6f}, residual {residual:.2%}", flush=True)
    usable = [width for width in found if width.std is not None and width.residual <= LARGE_RESIDUAL]
    if not usable:
        raise UserError(
            f"none of the widths can be made from {len(snapshots)} snapshots: train with more frequent ones"
        )
    best = min(usable, key=lambda width: width.loss)
    assert best.std is not None
    table = [best, *sorted((width for width in found if width is not best), key=lambda width: width.loss)]
    _export(module, {**base, **_average(snapshots, best.std)[0]}, bank, target, final, step, table)
    print(f"std {best.std:g} is the best at step {step}: in {target}", flush=True)
    return table


def _module_and_data(folder: Path, device: str) -> tuple[Any, ProcessBank]:
    from paintsundo.training.command import build
    from paintsundo.training.options import read
    from paintsundo.training.training_data import held_out_bank

    file = folder / "config.yaml"
    if not file.is_file():
        raise UserError(f"{file} is missing: that is no folder of a run")
    config = cast(DictConfig, OmegaConf.load(file))
    options = read(config)
    if options.target.endswith("TaggerModule"):
        raise UserError("the tagger has running statistics, which averages do not keep: no width is chosen for it")
    if not options.data.held_out:
        raise UserError(f"{folder} holds no data out (data.held_out=0): there is nothing to choose by")
    place = torch.device(
        "cuda" if device == "auto" and torch.cuda.is_available() else "cpu" if device == "auto" else device
    )
    with torch.random.fork_rng():
        torch.manual_seed(options.seed)
        module: Any = build(config, options)
    if place.type == "cuda" and options.runtime.precision == "bf16-mixed":
        module.frozen_dtype = torch.bfloat16
    module.to(place).eval()
    module.place_frozen(place)
    module.autocast_dtype = (
        {"bf16-mixed": torch.bfloat16}.get(options.runtime.precision) if place.type == "cuda" else None
    )
    return module, held_out_bank(options, module, place)


def _last_state(folder: Path) -> dict[str, Tensor]:
    """Parameters and buffers of the newest checkpoint."""
    from paintsundo.training.checkpoint_store import CheckpointStore
    from paintsundo.training.checkpointing import STATE

    newest = CheckpointStore(folder / "checkpoints").newest()
    if newest is None or not (newest / STATE).is_file():
        raise UserError(f"{folder / 'checkpoints'} has no checkpoint in one file: a width is chosen of unsharded runs")
    state: dict[str, Tensor] = torch.load(newest / STATE, map_location="cpu", weights_only=True)["state_dict"]
    return state


def _average(snapshots: Sequence[Snapshot], std: float) -> tuple[dict[str, Tensor], float]:
    """Tensors of the average of this width at the last snapshot's step, and the fit's residual."""
    from paintsundo.training.posthoc import NEGLIGIBLE, open_snapshot, weighted_sum

    combined = combine([s.updates for s in snapshots], [s.std for s in snapshots], snapshots[-1].updates, std)
    largest = abs(combined.coefficients).max()
    used = [
        (float(c), s) for c, s in zip(combined.coefficients, snapshots, strict=True) if abs(c) > NEGLIGIBLE * largest
    ]
    with ExitStack() as stack:
        opened = [(c, stack.enter_context(open_snapshot(s))) for c, s in used]
        names = list(opened[0][1].keys())
        return {name: weighted_sum(opened, name).float() for name in names}, combined.residual


def _loss(module: Any, bank: ProcessBank) -> float:
    """The held-out loss of a module as it is."""
    from paintsundo.training.beside import evaluating, random_state_kept
    from paintsundo.training.held_out import HeldOutLoss

    count = max(1, min(SAMPLES, len(bank)))
    dtype = module.autocast_dtype
    precise = torch.autocast(module.device.type, dtype or torch.bfloat16, enabled=dtype is not None)
    with torch.no_grad(), evaluating(module), random_state_kept(module.device), precise:
        if hasattr(module, "errors"):
            if not hasattr(module, "held_out_measure"):
                measure = HeldOutLoss(bank, Path(), 1, count=count, batch_size=min(AT_ONCE, count))
                object.__setattr__(module, "held_out_measure", measure)
            return module.held_out_measure.measure(module)["held_out_loss"]
        maker, losses = module.make_batches(bank, min(AT_ONCE, count)), []
        with _unrecorded(module):
            for number in range(max(1, count // AT_ONCE)):
                batch = maker(torch.Generator(bank.device).manual_seed(number))
                torch.manual_seed(number)
                losses.append(float(module.step(batch, number)))
        return sum(losses) / len(losses)


@contextmanager
def _unrecorded(module: Any) -> Iterator[None]:
    """There is no trainer to record figures."""
    object.__setattr__(module, "record", lambda figures: None)
    try:
        yield
    finally:
        object.__delattr__(module, "record")


def _export(
    module: Any,
    state: dict[str, Tensor],
    bank: ProcessBank,
    target: Path,
    final: Path,
    step: int,
    table: Sequence[Width],
) -> None:
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        module.load_state_dict(state, strict=False)
        module.restore_frozen()
        with torch.no_grad():
            module.export(partial, {name: tensor.cpu() for name, tensor in state.items()}, bank)
        record = {"step": step, "chosen": table[0].std, "widths": [asdict(width) for width in table]}
        (partial / TABLE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        if target == final:
            before = final.with_name("final.before")
            if before.exists():  # of an earlier choice: the first export is kept
                shutil.rmtree(final)
            else:
                final.rename(before)
        elif target.exists():
            shutil.rmtree(target)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
