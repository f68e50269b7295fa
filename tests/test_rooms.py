"""Imports go one way, and importing costs nothing: no device, no optional package."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "paintsundo"

# Each room may import from its own tier's neighbours and from tiers below.
TIERS = (
    {"models"},
    {"conditioning", "checkpoints", "diffusion"},
    {"data", "metrics"},
    {"pipelines"},
    {"training"},
    {"app"},
)
LEVEL = {room: level for level, rooms in enumerate(TIERS) for room in rooms}
# Used by every room: they import none themselves.
SHARED = {"errors", "settings", "command_line"}
ENTRY_POINTS = {"infer", "train", "eval", "app"}

MODULES = sorted(PACKAGE.rglob("*.py"))


def module_name(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(file: Path) -> Iterator[str]:
    """Absolute names of all modules that a file imports, anywhere in it, whatever is imported from them."""
    package = module_name(file).split(".")
    package = package if file.name == "__init__.py" else package[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def room_of(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "paintsundo" and len(parts) > 1 else None


def test_every_folder_of_the_package_is_a_known_room() -> None:
    folders = {folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").is_file()}
    assert folders <= set(LEVEL)
    assert {"models", "diffusion", "checkpoints", "pipelines", "training"} <= folders


def test_imports_go_one_way() -> None:
    wrong, seen = [], 0
    for file in MODULES:
        room = room_of(module_name(file))
        for name in imported(file):
            if name.split(".")[0] in ENTRY_POINTS:
                wrong.append(f"{file.relative_to(PACKAGE)} imports the entry point {name}")
            target = room_of(name)
            if target not in LEVEL:
                continue
            seen += 1
            if room in SHARED or (room in LEVEL and LEVEL[target] > LEVEL[room]):
                wrong.append(f"{file.relative_to(PACKAGE)} imports {name}")
    assert wrong == []
    assert seen > 100  # the reading above has found imports at all


@pytest.mark.parametrize("name", ["infer.py", "train.py"])
def test_entry_points_are_short(name: str) -> None:
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) < 60


IMPORT_ALL = """
import importlib, sys

class Without:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, *rest):
        absent = name.split(".")[0] in {"xformers", "deepspeed", "av", "gradio"}
        return None if absent else self.finder.find_spec(name, *rest)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]

import torch

def watched(function):
    def call(*args, **kwargs):
        caller = sys._getframe(1).f_globals["__name__"]
        assert not caller.startswith("paintsundo"), f"{caller} asks for a device while it is imported"
        return function(*args, **kwargs)
    return call

for name in ("is_available", "device_count", "current_device", "get_device_properties"):
    setattr(torch.cuda, name, watched(getattr(torch.cuda, name)))

def initialise():
    raise AssertionError("CUDA is touched by an import")

torch.cuda._lazy_init = initialise

for name in sys.argv[1:]:
    importlib.import_module(name)
assert not torch.cuda.is_initialized()
for name in ("xformers", "deepspeed", "av", "gradio"):
    assert name not in sys.modules
print(len(sys.argv) - 1)
"""


def test_all_modules_import_without_a_device_or_optional_packages() -> None:
    # The web page is what gradio is for.
    names = [
        module_name(file) for file in MODULES if file.name != "__main__.py" and room_of(module_name(file)) != "app"
    ]
    ran = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *names],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(PACKAGE.parent)},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == [str(len(names))]


def test_importing_the_package_does_not_import_torch() -> None:
    script = "import paintsundo, paintsundo.pipelines.command, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
