"""Build the frozen test set and verify it: python eval/test_set.py art=FOLDER output=DIR [recipe=frozen] [freeze=false]

art: what `python -m paintsundo.data fetch output=FOLDER` writes; Twemoji's package is fetched into it with npm where it
is missing. Writes a data set of one split, test, which eval/quality.py data=DIR reads. Ends with 1 where the files,
their subjects or the drawn states are not those of configs/test_set/RECIPE.yaml; freeze=true writes them there instead:
no build puts these subjects into another split than test, whatever the set.
"""

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast

import numpy as np
from omegaconf import MISSING, OmegaConf
from support.arguments import parse, run
from support.json_files import write_json
from support.scans import scan_process
from tqdm import tqdm

from paintsundo.data import shards
from paintsundo.data.inputs import list_inputs
from paintsundo.data.process import DrawingProcess
from paintsundo.data.shards import ShardWriter
from paintsundo.data.source import Canvas, Item, Unusable
from paintsundo.data.sources import source_class
from paintsundo.data.splits import is_reserved
from paintsundo.data.subjects import code_key, subject_key, tones
from paintsundo.errors import UserError
from paintsundo.settings import config_directory

TWEMOJI = "twemoji-svg-15.0.0.tgz"
STATES = 11
EVERY = 1_000_000_000  # more than any archive holds


@dataclass
class TestSetSettings:
    """art, output: folders. recipe: name of a file of configs/test_set. freeze: write the hashes found into it."""

    art: str = MISSING
    output: str = MISSING
    recipe: str = "frozen"
    freeze: bool = False


def main(arguments: Sequence[str]) -> None:
    settings = parse(TestSetSettings, arguments, literal_keys=("art", "output"))
    path = config_directory() / "test_set" / f"{settings.recipe}.yaml"
    if not path.is_file():
        raise UserError(f"recipe={settings.recipe}: there is no {path}")
    recipe = cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(path)))
    output = Path(settings.output)
    if (output / "manifest.json").exists():
        raise UserError(f"{output} holds a data set already: choose another output")
    found = build(recipe, Path(settings.art), output)
    for name in ("files", "states"):
        print(f"{name}: {found[name]}")
    if settings.freeze:
        text = path.read_text(encoding="utf-8")
        for name in ("files", "states"):
            text = re.sub(rf"^{name}: .*$", f"{name}: {found[name]}", text, flags=re.M)
        if not recipe.get("style_only"):
            text = _with_subjects(text, {*found["subjects"], *(recipe.get("subjects") or ())})
        path.write_text(text, encoding="utf-8")
        return
    for name, reason in (
        ("files", "other files than those that were frozen"),
        ("states", "the same files, drawn otherwise: another data engine or renderer"),
    ):
        if recipe.get(name) != found[name]:
            raise UserError(f"not the frozen test set ({reason}): {name} should be {recipe.get(name)}")
    if not recipe.get("style_only") and (more := set(found["subjects"]) - set(recipe.get("subjects") or ())):
        raise UserError(
            f"builds may put what the test set shows into training: {sorted(more)[0]} is not among subjects"
        )


def build(recipe: dict[str, Any], art: Path, output: Path) -> dict[str, Any]:
    """Draw the test set of a recipe; returns its hashes and the sorted keys of its subjects.

    Raises UserError: an archive is missing or too small.
    """
    output.mkdir(parents=True, exist_ok=True)
    writer, files, states = ShardWriter(output), hashlib.sha256(), hashlib.sha256()
    licences: dict[str, int] = {}
    subjects: set[str] = set()
    for part in recipe["parts"]:
        total = None if part.get("count") == "all" else _count(part)
        for process in tqdm(_drawn(part, art, recipe["seed"]), part["name"], total, disable=None):
            writer.write(shards.encode(process, part=part["name"]), "test")
            files.update(
                json.dumps([part["source"], part["size"], part["canvas"], process.source, process.hash]).encode()
            )
            subjects.add(subject_key(process.subject))
            states.update(np.ascontiguousarray(process.film(np.linspace(0, 1, STATES))).tobytes())
            licences[process.licence] = licences.get(process.licence, 0) + 1
    listed = writer.close()
    count = sum(licences.values())
    hashes = {"files": files.hexdigest(), "states": states.hexdigest(), "subjects": sorted(subjects)}
    manifest = {"format": 1, "shards": listed, "samples": count, "splits": {"test": count}, "licences": licences}
    write_json(output / "manifest.json", {**manifest, "recipe": recipe["parts"], **hashes})
    return hashes


def _with_subjects(text: str, keys: set[str]) -> str:
    listed = "\n".join(f'  - "{key}"' for key in sorted(keys))
    text = re.sub(r"^subjects:.*\n(?:[ -].*\n)*", "", text, flags=re.M).rstrip("\n")
    return f"{text}\nsubjects:\n{listed}\n"


def _count(part: dict[str, Any]) -> int:
    if part.get("count") == "all":
        return EVERY
    return len(part["stems"]) if "stems" in part else int(part["count"])


def _drawn(part: dict[str, Any], art: Path, seed: int) -> Iterator[DrawingProcess]:
    source = source_class(part["source"])(source_class(part["source"]).Options())
    archive = art / part["archive"]
    if not archive.is_file():
        _fetch(archive)
    canvas, left = Canvas(part["size"], part["canvas"]), _count(part)
    for item in _allowed(list_inputs(archive, source.suffixes).items, part["name"]):
        if "stems" in part and item.stem not in part["stems"]:
            continue
        if left == 0:
            return
        try:
            process = scan_process(item, canvas, seed) if part.get("scan") else source.draw(item, canvas, 0, seed)
        except Unusable:
            continue
        yield process
        left -= 1
    if left and _count(part) != EVERY:
        raise UserError(f"{archive}: {left} pictures of {_count(part)} are missing for part {part['name']}")


def _allowed(items: Sequence[Item], part: str) -> Iterator[Item]:
    """Reserved files only. Of Twemoji each that has no skin tone, as code points."""
    for item in items:
        if part == "twemoji":
            if not tones(item.stem) and "fe0f" not in item.stem.lower():
                subject = code_key(item.stem)
                record = {"subject": subject, "source": f"twemoji/{item.stem}", "licence": "CC-BY-4.0"}
                yield Item(PurePosixPath(item.name).name, item.content, {**record, "author": "Twitter, jdecked"})
        elif is_reserved(item.stem):
            yield item


def _fetch(archive: Path) -> None:
    if archive.name != TWEMOJI:
        raise UserError(f"{archive} is missing: python -m paintsundo.data fetch output={archive.parent}")
    command = ["npm", "pack", "--silent", "@twemoji/svg@15.0.0"]
    done = None
    if shutil.which("npm"):
        done = subprocess.run(command, cwd=archive.parent, capture_output=True, text=True, check=False)
    if done is None or done.returncode or not archive.is_file():
        raise UserError(f"{archive} is missing, and could not be had: {' '.join(command)}")


if __name__ == "__main__":
    raise SystemExit(run(main))
