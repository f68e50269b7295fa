"""Pack trained parts as the weights that come with the package: `python -m paintsundo.training.bundle …`."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from paintsundo.command_line import exit_code
from paintsundo.errors import UserError

LIMIT_BYTES = 32 * 2**20
PARTS = ("single_frame", "multi_frame", "tagger")
VIDEO_VAE = "video_vae"


def bundle(sources: dict[str, Path], output: Path) -> int:
    """Copy each part's `final/` folder to `output/<part>`, tensors as float16; returns the bytes written.

    Args:
        sources: part → folder; "video_vae" beside "multi_frame": its `vae/` takes the place of that part's own, as
            after `experiment=embedded/video_decoder`.
        output: folder of the parts.

    Raises:
        UserError: a folder is missing or lies where it is to go, everything together is over 32 MiB, or the other
            autoencoder encodes otherwise.
    """
    sources = dict(sources)
    other_vae = sources.pop(VIDEO_VAE, None)
    if other_vae is not None:
        _check_encoders(sources.get("multi_frame"), other_vae)
    for part, folder in sources.items():
        if not folder.is_dir():
            raise UserError(f"{part}: {folder} is not a folder")
        if folder.resolve() == (output / part).resolve():
            raise UserError(f"{part}: {folder} cannot be packed onto itself")
    for part, folder in sources.items():
        pack(folder, output / part)
    if other_vae is not None:
        pack(other_vae / "vae", output / "multi_frame" / "vae")
    total = sum(p.stat().st_size for part in sources for p in (output / part).rglob("*") if p.is_file())
    if total > LIMIT_BYTES:
        raise UserError(f"the bundle has {total:,} bytes, over the limit of {LIMIT_BYTES:,}")
    return total


def pack(folder: Path, target: Path, leave_out: Sequence[str] = ()) -> None:
    """Copy a folder in place of another, tensors as float16; without its subfolders of these names."""
    shutil.rmtree(target, ignore_errors=True)
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        if file.relative_to(folder).parts[0] in leave_out:
            continue
        copy = target / file.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".safetensors":
            tensors = load_file(file)
            halved = {n: (t.half() if t.is_floating_point() else t).contiguous() for n, t in tensors.items()}
            save_file(halved, copy, metadata={"format": "pt"})
        else:
            shutil.copyfile(file, copy)


def _check_encoders(multi_frame: Path | None, other: Path) -> None:
    """A model knows the latents of one encoder; raises UserError where the other autoencoder's has other weights."""
    if multi_frame is None:
        raise UserError(f"{VIDEO_VAE}={other} takes the place of the autoencoder of multi_frame=DIR, which is missing")
    own, given = (folder / "vae" / "model.safetensors" for folder in (multi_frame, other))
    if not given.is_file():
        raise UserError(f"{VIDEO_VAE}: {given} is missing")
    before, after = load_file(own), load_file(given)
    names = [name for name in before if name.startswith(("encoder.", "quant_conv."))]
    if any(name not in after or not torch.equal(before[name].half(), after[name].half()) for name in names):
        raise UserError(f"{VIDEO_VAE}={other} encodes otherwise than {multi_frame}: its latents are not the model's")


def main(arguments: Sequence[str] | None = None) -> int:
    """`single_frame=DIR multi_frame=DIR tagger=DIR [video_vae=DIR] output=DIR`, each DIR a run's `final` folder; the
    exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    return exit_code(lambda: run(given))


def run(arguments: Sequence[str]) -> int:
    """Read the arguments and pack.

    Raises:
        UserError: an argument is unknown or `output` is missing; otherwise as `bundle`.
    """
    given = {name: Path(value) for name, _, value in (argument.partition("=") for argument in arguments)}
    unknown = sorted(set(given) - {*PARTS, VIDEO_VAE, "output"})
    if unknown or "output" not in given:
        wrong = f"unknown: {', '.join(unknown)}" if unknown else "output is missing"
        raise UserError(f"{wrong}; usage: {' '.join(p + '=DIR' for p in PARTS)} [{VIDEO_VAE}=DIR] output=DIR")
    total = bundle({part: given[part] for part in (*PARTS, VIDEO_VAE) if part in given}, given["output"])
    print(f"{total / 2**20:.2f} MiB in {given['output']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
