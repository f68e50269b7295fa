"""Pack trained parts as the weights that come with the package: `python -m paintsundo.training.bundle …`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file, save_file

from paintsundo.command_line import exit_code
from paintsundo.errors import UserError

LIMIT_BYTES = 32 * 2**20
PARTS = ("single_frame", "multi_frame", "tagger")


def bundle(sources: dict[str, Path], output: Path) -> int:
    """Copy each part's `final/` folder to `output/<part>`, tensors as float16; returns the bytes written.

    Raises:
        UserError: a folder is missing or lies where it is to go, or everything together is over 32 MiB.
    """
    for part, folder in sources.items():
        if not folder.is_dir():
            raise UserError(f"{part}: {folder} is not a folder")
        if folder.resolve() == (output / part).resolve():
            raise UserError(f"{part}: {folder} cannot be packed onto itself")
    for part, folder in sources.items():
        target = output / part
        shutil.rmtree(target, ignore_errors=True)
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            copy = target / file.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix == ".safetensors":
                tensors = load_file(file)
                halved = {n: (t.half() if t.is_floating_point() else t).contiguous() for n, t in tensors.items()}
                save_file(halved, copy, metadata={"format": "pt"})
            else:
                shutil.copyfile(file, copy)
    total = sum(p.stat().st_size for part in sources for p in (output / part).rglob("*") if p.is_file())
    if total > LIMIT_BYTES:
        raise UserError(f"the bundle has {total:,} bytes, over the limit of {LIMIT_BYTES:,}")
    return total


def main(arguments: Sequence[str] | None = None) -> int:
    """`single_frame=DIR multi_frame=DIR tagger=DIR output=DIR`, each DIR a run's `final` folder; the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return exit_code(lambda: run(given))


def run(arguments: Sequence[str]) -> int:
    """Read the arguments and pack.

    Raises:
        UserError: an argument is unknown or `output` is missing; otherwise as `bundle`.
    """
    given = {name: Path(value) for name, _, value in (argument.partition("=") for argument in arguments)}
    unknown = sorted(set(given) - {*PARTS, "output"})
    if unknown or "output" not in given:
        wrong = f"unknown: {', '.join(unknown)}" if unknown else "output is missing"
        raise UserError(f"{wrong}; usage: {' '.join(p + '=DIR' for p in PARTS)} output=DIR")
    total = bundle({part: given[part] for part in PARTS if part in given}, given["output"])
    print(f"{total / 2**20:.2f} MiB in {given['output']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
