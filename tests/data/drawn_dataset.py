"""A small data set of both forms of process, written as a build writes it, for tests of what reads data sets."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

from drawn_processes import as_frames, two_shapes

from paintsundo.data import shards
from paintsundo.data.behaviours import Behaviour, BehaviourOptions, apply
from paintsundo.data.process import DrawingProcess

HOSTILE = "<script>alert(1)</script>"


def some_processes() -> list[tuple[str, DrawingProcess]]:
    """(split, process) of five processes of two sets; one name is hostile."""
    record: dict[str, Any] = {"licence": "CC0", "author": "Ann", "tags": ("one", "two")}
    flipped = apply(two_shapes(subject="c", source="second/c", **record), BehaviourOptions(flip=Behaviour(1)), 2)
    return [
        ("train", two_shapes(subject="a", source="first/a", **record)),
        ("train", two_shapes(48, 48, subject="b", source="first/b", licence="MIT", author=HOSTILE, tags=("two",))),
        ("train", flipped),
        ("validation", two_shapes(subject="d", source=f"second/{HOSTILE}", extra={"name": f"{HOSTILE}.svg"}, **record)),
        ("validation", as_frames(two_shapes(), 30, subject="a", source="films/a.mp4", licence="CC0; MIT")),
    ]


def write_dataset(folder: Path, rejected: list[dict[str, str]] | None = None) -> Path:
    """The processes as shards of two, with manifest and rejected.jsonl."""
    folder.mkdir(parents=True)
    found = some_processes()
    entries = []
    for number, chosen in enumerate((found[:2], found[2:3], found[3:])):
        path = folder / f"{number:05d}.tar"
        with tarfile.open(path, "w") as archive:
            for key, (split, process) in enumerate(chosen):
                name = process.extra.get("name", process.source)
                for suffix, data in shards.encode(process, split=split, name=name).items():
                    member = tarfile.TarInfo(f"{key:07d}.{suffix}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
        entries.append({"file": path.name, "split": chosen[0][0], "samples": len(chosen), "bytes": path.stat().st_size})
    manifest = {"format": shards.FORMAT, "source": "svg", "samples": len(found), "shards": entries}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    lines = [json.dumps(entry) + "\n" for entry in rejected or []]
    (folder / "rejected.jsonl").write_text("".join(lines))
    return folder
