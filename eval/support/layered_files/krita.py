"""Test files made by Krita: `kritarunner` without a display, in batches."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from support.layered_files import pictures
from support.layered_files.recipes import Node, Recipe

SCRIPT = Path(__file__).with_name("krita_script.py")
TIMEOUT = 400.0  # the first run fills Krita's data base of brushes
TRIES = 3  # it hangs now and then
BATCH = 60  # recipes in one run
ALONE = ("clone", "fill", "filter", "filter_mask", "vector")  # Krita may hang after these


def available() -> bool:
    """Whether Krita's script runner is installed."""
    return shutil.which("kritarunner") is not None


def make(recipes: Sequence[Recipe], folder: Path, suffixes: Sequence[str]) -> None:
    """Write FOLDER/<name>.<suffix> of each recipe that is not there. Raises RuntimeError when Krita leaves one out."""
    folder.mkdir(parents=True, exist_ok=True)
    recipes = [one for one in recipes if not (folder / f"{one['name']}{suffixes[-1]}").exists()]
    apart = [one for one in recipes if any(f'"{word}"' in json.dumps(one) for word in ALONE)]
    others = [one for one in recipes if one not in apart]
    batches = [*(others[k : k + BATCH] for k in range(0, len(others), BATCH)), *([one] for one in apart)]
    with tempfile.TemporaryDirectory() as home:
        for batch in batches:
            for _ in range(TRIES):
                said = _make(batch, folder, suffixes, Path(home))
                missing = [one["name"] for one in batch if not (folder / f"{one['name']}{suffixes[-1]}").exists()]
                if not missing:
                    break
            else:
                raise RuntimeError(f"Krita did not write {', '.join(missing[:5])}:\n{said}")


def _make(recipes: Sequence[Recipe], folder: Path, suffixes: Sequence[str], home: Path) -> str:
    """What Krita printed."""
    jobs = []
    for one in recipes:
        model, depth = one.get("model", "RGBA"), one.get("depth", "U8")
        used = {name for layer in one["layers"] for name in _pictures(layer)}
        jobs.append(
            {
                **one,
                "model": model,
                "depth": depth,
                "pictures": {name: _encoded(name, model, depth) for name in sorted(used)},
                "save": [str((folder / f"{one['name']}{suffix}").resolve()) for suffix in suffixes],
            }
        )
    job = home / "job.json"
    job.write_text(json.dumps({"size": [pictures.WIDTH, pictures.HEIGHT], "recipes": jobs}), encoding="utf-8")
    shutil.copy(SCRIPT, home / "krita_script.py")
    environment = os.environ | {"HOME": str(home), "QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": str(home)}
    environment |= {"XDG_RUNTIME_DIR": str(home), "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1"}
    with (home / "said").open("w+", encoding="utf-8", errors="replace") as said:
        with suppress(subprocess.TimeoutExpired):
            command = ["kritarunner", "-s", "krita_script", str(job)]
            subprocess.run(command, env=environment, stdout=said, stderr=said, timeout=TIMEOUT)
        said.seek(0)
        return said.read()[-3000:]


def _pictures(node: Node) -> set[str]:
    found = {name for child in node.get("children", ()) for name in _pictures(child)}
    if "image" in node:
        found.add(node["image"])
    if "mask" in node:
        found.add(f"mask {node['mask']}")
    return found


def _encoded(name: str, model: str, depth: str) -> tuple[int, int, str]:
    """Width, height and Krita's raw pixels of a picture in base64."""
    if name.startswith("mask "):
        mask = pictures.MASKS[name.removeprefix("mask ")]()
        return mask.shape[1], mask.shape[0], base64.b64encode(mask.tobytes()).decode()
    rgba = pictures.LAYERS[name]()
    values: NDArray[np.uint8] = rgba
    if model == "GRAYA":
        values = np.dstack([rgba[..., 1], rgba[..., 3]])
    elif depth in ("U8", "U16"):
        values = rgba[..., [2, 1, 0, 3]]
    raw = {
        "U8": values,
        "U16": values.astype(np.uint16) * 257,
        "F16": (values / 255).astype(np.float16),
        "F32": (values / 255).astype(np.float32),
    }[depth]
    return rgba.shape[1], rgba.shape[0], base64.b64encode(np.ascontiguousarray(raw).tobytes()).decode()
