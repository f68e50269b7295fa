"""Test files made by GIMP in batch mode: a PSD and the picture that GIMP itself shows, as PNG."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from support.layered_files import pictures
from support.layered_files.recipes import Node, Recipe

TIMEOUT = 1800.0
BATCH = 60  # recipes in one run


def available() -> bool:
    """Whether GIMP is installed."""
    return shutil.which("gimp-console") is not None or shutil.which("gimp") is not None


def make(recipes: Sequence[Recipe], folder: Path) -> None:
    """Write FOLDER/<name>.psd and .png of each recipe that has none. Raises RuntimeError when GIMP leaves one out."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [one for one in recipes if not (folder / f"{one['name']}.png").exists()]
    for begin in range(0, len(wanted), BATCH):
        batch = wanted[begin : begin + BATCH]
        said = _make(batch, folder)
        if missing := [one["name"] for one in batch if not (folder / f"{one['name']}.png").exists()]:
            raise RuntimeError(f"GIMP did not write {', '.join(missing[:5])}:\n{said}")


def _make(recipes: Sequence[Recipe], folder: Path) -> str:
    """What GIMP printed."""
    with tempfile.TemporaryDirectory() as home:
        for name, draw in pictures.LAYERS.items():
            Image.fromarray(draw(), "RGBA").save(Path(home, f"{name}.png"))
        for name, mask in pictures.MASKS.items():
            Image.fromarray(mask(), "L").save(Path(home, f"mask {name}.png"))
        script = Path(home, "make.scm")
        lines = [line for one in recipes for line in _scheme(one, folder.resolve(), Path(home))]
        script.write_text("\n".join([*lines, "(gimp-quit 1)"]), encoding="utf-8")
        program = "gimp-console" if shutil.which("gimp-console") else "gimp"
        done = subprocess.run(
            [program, "-i", "-d", "-f", "-b", f'(load "{script}")', "-b", "(gimp-quit 1)"],
            env={"HOME": home, "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
    return f"{done.stdout[-2000:]}{done.stderr[-2000:]}"


def _scheme(one: Recipe, folder: Path, home: Path) -> Iterator[str]:
    width, height = pictures.WIDTH, pictures.HEIGHT
    name = one["name"]
    yield f"(let* ((image (car (gimp-image-new {width} {height} RGB))) (layer 0) (mask 0) (held 0) (g0 0))"
    yield "(gimp-image-undo-disable image)"
    for node in one["layers"]:
        yield from _node(node, 0, one.get("default", "NORMAL-LEGACY"), home)
    psd, png = folder / f"{name}.psd", folder / f"{name}.png"
    yield f'(file-psd-save RUN-NONINTERACTIVE image (car (gimp-image-get-active-drawable image)) "{psd}" "{psd}" 1 0)'
    yield '(set! layer (car (gimp-layer-new-from-visible image image "seen")))'
    yield "(gimp-image-insert-layer image layer 0 0)"
    yield f'(file-png-save RUN-NONINTERACTIVE image layer "{png}" "{png}" 0 9 0 0 0 0 0)'
    yield "(gimp-image-delete image))"


def _node(node: Node, parent: str | int, default: str, home: Path, depth: int = 0) -> Iterator[str]:
    """The layer goes to the top of its parent, so layers are made from the bottom up."""
    if node["type"] == "group":
        own = f"g{depth + 1}"
        yield f"(let* (({own} (car (gimp-layer-group-new image))))"
        yield f"(gimp-image-insert-layer image {own} {parent} 0)"
        for child in node["children"]:
            yield from _node(child, own, default, home, depth + 1)
        yield f"(set! layer {own})"
    else:
        yield f'(set! layer (car (gimp-file-load-layer RUN-NONINTERACTIVE image "{home / node["image"]}.png")))'
        yield f"(gimp-image-insert-layer image layer {parent} 0)"
        yield f"(gimp-layer-set-offsets layer {node.get('x', 0)} {node.get('y', 0)})"
    mode = str(node.get("mode", "normal")).upper().replace("_", "-")
    mode = default if mode == "NORMAL" else mode
    mode = f"{mode}-LEGACY" if default.endswith("LEGACY") and not mode.endswith("LEGACY") else mode
    yield f"(gimp-layer-set-mode layer LAYER-MODE-{'PASS-THROUGH' if node.get('through') else mode})"
    yield f"(gimp-layer-set-opacity layer {node.get('opacity', 255) / 255 * 100})"
    yield f'(gimp-item-set-name layer "{node["name"]}")'
    if "mask" in node:
        path = home / f"mask {node['mask']}.png"
        yield f'(set! held (car (gimp-file-load-layer RUN-NONINTERACTIVE image "{path}")))'
        yield "(gimp-image-insert-layer image held 0 0)"
        yield "(set! mask (car (gimp-layer-create-mask layer ADD-MASK-WHITE)))"
        yield "(gimp-layer-add-mask layer mask)"
        yield "(gimp-image-select-rectangle image CHANNEL-OP-REPLACE 0 0 96 64)"
        yield "(gimp-edit-copy held)"
        yield "(gimp-floating-sel-anchor (car (gimp-edit-paste mask FALSE)))"
        yield "(gimp-selection-none image)"
        yield "(gimp-image-remove-layer image held)"
    yield f"(gimp-item-set-visible layer {'TRUE' if node.get('visible', True) else 'FALSE'})"
    if node["type"] == "group":
        yield ")"
