"""Averages of any width after training: `python -m paintsundo.training.posthoc run=DIR std=0.08 output=DIR`, or the
width that does best on held-out data, `… run=DIR choose=held_out` (see `width_choice`).

Post-hoc reconstruction (Karras et al. 2024, "Analyzing and Improving the Training Dynamics of Diffusion Models",
section 3.2) from the snapshots that a run with `ema=power` leaves; written as `final/` is, in the official layout.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from paintsundo.command_line import exit_code
from paintsundo.errors import UserError
from paintsundo.settings import split_literals
from paintsundo.training.averages import power_exponent
from paintsundo.training.power_profiles import combine
from paintsundo.training.snapshots import Snapshot, find_snapshots, label
from paintsundo.training.tensor_slots import Slot, find_slots, overwrite

USAGE = (
    "usage: run=DIR std=0.08 [step=N] output=DIR [overwrite=true], several widths as std=[0.05,0.1]; or "
    "run=DIR choose=held_out [std=[0.05,0.1,0.2]] [output=DIR] [device=cpu]"
)
# Above this share of the profile's norm, the result is visibly another average than the one asked for.
LARGE_RESIDUAL = 0.05
# Shares below float32's rounding of the sum are not worth reading a file for.
NEGLIGIBLE = 1e-9


def main(arguments: Sequence[str] | None = None) -> int:
    """Reconstruct as the arguments say; the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return exit_code(lambda: run(given), interrupted="interrupted; nothing is left half written")


def run(arguments: Sequence[str]) -> int:
    """Read the arguments, reconstruct each width, tell how well each fits.

    Raises:
        UserError: an argument is unknown, missing or impossible; otherwise as `reconstruct`.
    """
    literals, others = split_literals(arguments, ("run", "output"))
    given = {name.strip(): value for name, _, value in (argument.partition("=") for argument in others)}
    source, output = literals.get("run"), literals.get("output")
    if "choose" in given:
        return _choose(given, source, output)
    unknown = sorted(set(given) - {"std", "step", "overwrite"})
    if unknown or source is None or output is None or "std" not in given:
        missing = [name for name in ("run", "output") if literals.get(name) is None] + ["std"] * ("std" not in given)
        wrong = f"unknown: {', '.join(unknown)}" if unknown else f"missing: {', '.join(missing)}"
        raise UserError(f"{wrong}; {USAGE}")
    try:
        stds = [float(value) for value in given["std"].strip("[] ").split(",")]
        step = int(given["step"]) if given.get("step", "null") != "null" else None
        overwriting = {"true": True, "false": False}[given.get("overwrite", "false").lower()]
    except (ValueError, KeyError):
        raise UserError(f"std is a number or a list, step a whole number, overwrite true or false; {USAGE}") from None
    for std in stds:
        power_exponent(std)
    if len({label(std) for std in stds}) < len(stds):
        raise UserError("the widths must differ in three decimals")
    folder = Path(output).resolve()
    targets = {std: folder / label(std) if len(stds) > 1 else folder for std in stds}
    plan = Reconstruction(Path(source), step)
    for target in targets.values():
        plan.check_target(target, overwriting)
    for std, target in targets.items():
        residual = plan.write(std, target)
        print(f"std {std:g} at step {plan.step}: residual {residual:.2%} of the profile, in {target}", flush=True)
        if residual > LARGE_RESIDUAL:
            print(
                f"warning: the snapshots (widths {plan.widths()}, {plan.steps()} steps) cannot represent std {std:g} "
                f"at step {plan.step}; nearer to the stored widths, at a stored step, or with more frequent "
                "snapshots it fits better",
                file=sys.stderr,
                flush=True,
            )
    return 0


def _choose(given: dict[str, str], source: str | None, output: str | None) -> int:
    from paintsundo.training.width_choice import WIDTHS, choose_width

    unknown = sorted(set(given) - {"choose", "std", "device", "overwrite"})
    if unknown or source is None or given["choose"] != "held_out":
        wrong = f"unknown: {', '.join(unknown)}" if unknown else "run=DIR and choose=held_out are needed"
        raise UserError(f"{wrong}; {USAGE}")
    try:
        stds = [float(value) for value in given["std"].strip("[] ").split(",")] if "std" in given else list(WIDTHS)
        overwriting = {"true": True, "false": False}[given.get("overwrite", "false").lower()]
    except (ValueError, KeyError):
        raise UserError(f"std is a number or a list, overwrite true or false; {USAGE}") from None
    device = given.get("device", "auto")
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"device={device}: choose auto, cpu or cuda")
    choose_width(Path(source), stds, None if output is None else Path(output), device, overwriting)
    return 0


class Reconstruction:
    """What a run offers for reconstructions at one step.

    Args:
        folder: of the run, with `averages/` and `final/`.
        step: the averages end there; the last snapshot's if None.

    Raises:
        UserError: something is missing, damaged or does not fit together.
    """

    def __init__(self, folder: Path, step: int | None = None) -> None:
        self.folder, self.final = folder, folder / "final"
        if not folder.is_dir():
            raise UserError(f"run={folder} is not a folder")
        everything = find_snapshots(folder)
        if not everything:
            raise UserError(f"{folder} has no snapshots in averages/: it was not trained with ema=power")
        if not self.final.is_dir():
            raise UserError(f"{self.final} is missing: the training has not ended")
        last = everything[-1].step
        self.step = last if step is None else step
        if not 1 <= self.step <= last:
            raise UserError(f"step={self.step} is not between 1 and the last snapshot's, {last}")
        # What is averaged begins after so many steps: 0, unless the run took over weights with their step.
        self.offset = everything[-1].step - everything[-1].updates
        if any(s.step - s.updates != self.offset for s in everything) or self.step <= self.offset:
            raise UserError(f"the snapshots in {folder / 'averages'} are not of one uninterrupted average")
        # Later ones than the first at or after the step add nothing.
        end = min(s.step for s in everything if s.step >= self.step)
        self.snapshots = [s for s in everything if s.step <= end]
        self.slots = self._slots()
        self._check_export(everything)

    def _slots(self) -> dict[str, Slot]:
        names, shapes = [], {}
        with open_snapshot(self.snapshots[-1]) as opened:
            for name in opened.keys():  # noqa: SIM118 (no mapping)
                names.append(name)
                shapes[name] = tuple(opened.get_slice(name).get_shape())
        slots: dict[str, Slot] = {}
        for component in sorted({name.partition(".")[0] for name in names}):
            slots |= find_slots(self.final / component, [n for n in names if n.partition(".")[0] == component])
        wrong = [f"{n} (is {slots[n].shape}, should be {shapes[n]})" for n in names if slots[n].shape != shapes[n]]
        if wrong:
            raise UserError(f"{self.final} has other shapes than the snapshots: {len(wrong)} differ, as {wrong[0]}")
        return slots

    def _check_export(self, everything: list[Snapshot]) -> None:
        """Some exports rescale layers by the data (the autoencoders' latents): those cannot be made again here."""
        changes = []
        for snapshot in everything:
            if snapshot.step == everything[-1].step:
                with open_snapshot(snapshot) as stored:
                    changes.append(
                        [n for n, slot in self.slots.items() if not torch.equal(slot.rounded(stored), slot.read())]
                    )
        changed = min(changes, key=len)
        # Where most differ, the export is of another step or width.
        if 0 < len(changed) < len(self.slots) / 2:
            raise UserError(
                f"{self.final} was not exported with the averages alone: {', '.join(changed[:3])} "
                "differ from them, and that cannot be done again here"
            )

    def widths(self) -> str:
        """The stored widths, for people."""
        return ", ".join(f"{std:g}" for std in sorted({s.std for s in self.snapshots}))

    def steps(self) -> int:
        """At how many steps there are snapshots."""
        return len({s.step for s in self.snapshots})

    def check_target(self, target: Path, overwriting: bool) -> None:
        """Refuse to write where something is, or into what is read.

        Args:
            target: absolute.
            overwriting: whether files there may be replaced.

        Raises:
            UserError: it is not allowed.
        """
        for source in (self.final.resolve(), (self.folder / "averages").resolve()):
            if target == source or source in target.parents or target in source.parents:
                raise UserError(f"output={target} would mix with {source}, which is read")
        if target.exists() and (not target.is_dir() or any(target.iterdir())) and not overwriting:
            raise UserError(f"{target} is there already; overwrite=true replaces it")
        if target.exists() and not target.is_dir():
            raise UserError(f"{target} is a file")

    def write(self, std: float, target: Path) -> float:
        """Write `final/` again with the average of this width; returns the fit's residual.

        Memory holds one tensor in float64 and one of a snapshot at a time.

        Raises:
            UserError: a snapshot is damaged.
        """
        times = [s.updates for s in self.snapshots]
        stds = [s.std for s in self.snapshots]
        found = combine(times, stds, self.step - self.offset, std)
        largest = abs(found.coefficients).max()
        used = [
            (float(c), s)
            for c, s in zip(found.coefficients, self.snapshots, strict=True)
            if abs(c) > NEGLIGIBLE * largest
        ]
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            shutil.copytree(self.final, partial)
            with ExitStack() as stack:
                opened = [(c, stack.enter_context(open_snapshot(s))) for c, s in used]
                for name, slot in self.slots.items():
                    overwrite(slot.at(partial / slot.file.relative_to(self.final)), weighted_sum(opened, name))
            record = {"std": std, "step": self.step, "residual": found.residual, "snapshots": len(used)}
            (partial / "average.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
            _move(partial, target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return found.residual


def open_snapshot(snapshot: Snapshot) -> Any:
    """The file of a snapshot, to be closed. Raises UserError when it is damaged."""
    try:
        return safe_open(snapshot.file, "pt")
    except (OSError, SafetensorError) as error:
        raise UserError(f"{snapshot.file} is damaged: {error}") from None


def weighted_sum(opened: list[tuple[float, Any]], name: str) -> Tensor:
    """Σ cᵢ xᵢ in float64."""
    total: Tensor | None = None
    for coefficient, file in opened:
        try:
            tensor = file.get_tensor(name).double().mul_(coefficient)
        except SafetensorError as error:
            raise UserError(f"the snapshots do not hold the same tensors: {error}") from None
        total = tensor if total is None else total.add_(tensor)
    assert total is not None
    return total


def _move(partial: Path, target: Path) -> None:
    """Put a whole folder in its place; in a folder that is there, only files of the same names are replaced."""
    if not target.exists() or not any(target.iterdir()):
        partial.replace(target)
        return
    for file in sorted(p for p in partial.rglob("*") if p.is_file()):
        place = target / file.relative_to(partial)
        place.parent.mkdir(parents=True, exist_ok=True)
        file.replace(place)


if __name__ == "__main__":
    sys.exit(main())
