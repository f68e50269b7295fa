"""Gather openly licensed art into one small folder of archives that `build` reads.

Packages come from the package tools present (npm; pip; apt-get and dpkg), or from a folder of files downloaded
before. Vector art is cut down to what is drawn, pictures to 512 pixels; files of stroke order stay as they are.
Reserved files go into archives of their own, a few per set, for tests only; other files of what tests show are left
out, in every set. `manifest.json` lists every set with its package, licence and number of files.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import math
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from paintsundo.data.art_sets import SETS, Art, ArtSet, Subjects, learn_subjects
from paintsundo.data.inputs import INDEX
from paintsundo.data.pictures import opened
from paintsundo.data.scene import render
from paintsundo.data.splits import is_reserved, is_test_subject
from paintsundo.data.svg_art import SvgArt, UnusableArt
from paintsundo.data.svg_reader import parse
from paintsundo.errors import UserError

PICTURE_SIDE = 512
RESERVED_KEPT = 64  # per set, for tests
MOST_SHAPES = 300
LARGEST = 60_000  # bytes of a vector file
_HEAD = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'


def _unpack(path: Path, folder: Path) -> Path:
    """The content of a package file; npm's "package/" folder is stripped."""
    if path.suffix == ".deb":
        if shutil.which("dpkg") is None:
            raise UserError(f"{path.name}: needs dpkg to be unpacked")
        subprocess.run(["dpkg", "-x", str(path), str(folder)], check=True)
        return folder
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            wheel.extractall(folder)
        return folder
    with tarfile.open(path) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package"


def _download(art_set: ArtSet, folder: Path) -> Path | None:
    """Fetch a package with its own tool; None when the tool is missing or fails."""
    if art_set.tool == "npm":
        command = ["npm", "pack", "--silent", art_set.package]
    elif art_set.tool == "pip":
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", art_set.package]
    else:
        command = ["apt-get", "download", art_set.package]
    if shutil.which(command[0]) is None:
        return None
    before = set(folder.iterdir())
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    new = sorted(set(folder.iterdir()) - before)
    return new[0] if done.returncode == 0 and new else None


def _downloaded(art_set: ArtSet, folder: Path) -> Path | None:
    """A package file of this set already in `folder`."""
    stem = re.sub(r"@[^@/]*$", "", art_set.package).lstrip("@").replace("/", "-")
    pattern = {"npm": f"{stem}-*.tgz", "pip": f"{stem}-*.whl", "apt": f"{stem}_*.deb"}[art_set.tool]
    return next(iter(sorted(folder.glob(pattern))), None)


def _shortened(markup: str, decimals: int) -> str:
    """Markup with numbers rounded and blanks squeezed."""

    def rounded(found: re.Match[str]) -> str:
        text = f"{float(found[0]):.{decimals}f}".rstrip("0").rstrip(".")
        return {"-0": "0", "": "0"}.get(text, text)

    def data(found: re.Match[str]) -> str:
        return re.sub(r"\s+", " ", re.sub(r"-?\d*\.\d+(?![\d.eE])", rounded, found[0]))

    return re.sub(r'(?<= )(d|points)="[^"]*"', data, markup)


def _tightened(art: SvgArt) -> SvgArt:
    """The same art with a view box around what is drawn, where that is much smaller than the given one."""
    x, y, width, height = art.view_box
    side = max(width, height)
    whole = SvgArt((x - (side - width) / 2, y - (side - height) / 2, side, side), art.pieces)
    rows, columns = np.nonzero((render(_document(whole, None, 128), 128) < 250).any(axis=2))
    if len(rows) == 0:
        raise UnusableArt("all but blank")
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    extent = max(bottom - top, right - left)
    if extent > 0.85 * 128:
        return art
    if extent < 0.08 * 128:
        raise UnusableArt("all but blank")
    unit = side / 128
    middle_x, middle_y = (
        whole.view_box[0] + unit * (left + right) / 2,
        whole.view_box[1] + unit * (top + bottom) / 2,
    )
    side = extent * unit * 1.08
    return SvgArt((middle_x - side / 2, middle_y - side / 2, side, side), art.pieces)


def _document(art: SvgArt, decimals: int | None, size: int | None = None) -> str:
    box = " ".join(f"{value:.6g}" for value in art.view_box)
    inner = art.markup()
    inner = inner if decimals is None else _shortened(inner, decimals)
    fixed = f' width="{size}" height="{size}"' if size else ""
    return f'{_HEAD}{fixed} viewBox="{box}">{inner}</svg>'


def minified(data: bytes, least: int = 1) -> bytes:
    """A vector file reduced to what is drawn. Raises UnusableArt with the reason why it is not to be used."""
    art = parse(data)
    if not least <= len(art.shapes) <= MOST_SHAPES:
        raise UnusableArt("too few or too many shapes")
    if art.rest or any(shape.whole or shape.marked for shape in art.shapes):
        raise UnusableArt("holds more than shapes")
    art = _tightened(art)
    decimals = max(0, 5 - round(math.log10(max(art.view_box[2:]))) - 1)
    small = _document(art, decimals)
    if len(small) > LARGEST:
        raise UnusableArt("too large")
    change = abs(render(_document(art, None, 64), 64).astype(int) - render(_document(art, decimals, 64), 64))
    return (small if change.mean() < 0.5 else _document(art, None)).encode()


def shrunk(data: bytes) -> bytes:
    """A picture of at most 512 pixels as JPEG, transparency over white. Raises UnusableArt for unreadable
    ones.
    """
    plain = opened(data)
    if min(plain.size) < 96 or max(plain.size) > 3 * min(plain.size):
        raise UnusableArt("too small or too narrow")
    plain.thumbnail((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    plain.save(out, "JPEG", quality=88, optimize=True)
    return out.getvalue()


def is_picture(art: Art) -> bool:
    """Raster, not vector."""
    return not art.data.lstrip()[:5].startswith((b"<?xml", b"<svg", b"<!DOC", b"<!--"))


def _small(art: Art, art_set: ArtSet) -> tuple[str, bytes]:
    """The suffix and the bytes under which a file is kept. Raises UnusableArt."""
    if art_set.suffix:
        return art_set.suffix, art.data
    return (".jpg", shrunk(art.data)) if is_picture(art) else (".svg", minified(art.data, art_set.least))


def _write(path: Path, files: dict[str, bytes]) -> None:
    """A deterministic tar, compressed when its name says so."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    data = raw.getvalue()
    path.write_bytes(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME) if path.suffix == ".xz" else data)


def _chosen(
    art_set: ArtSet, folder: Path, subjects: Subjects
) -> tuple[dict[str, bytes], dict[str, bytes], dict[str, int]]:
    """The files of a set for use, its reserved files, and why files were left out; each with its index."""
    parts: tuple[dict[str, bytes], dict[str, bytes]] = ({}, {})
    indexes: tuple[list[str], list[str]] = ([], [])
    left_out: dict[str, int] = {}
    found = sorted(art_set.collect(folder, subjects), key=lambda art: hashlib.sha256(art.stem.encode()).hexdigest())
    seen = set()
    for art in found:
        kind = int(is_reserved(art.stem))
        if len(parts[kind]) >= (RESERVED_KEPT if kind else art_set.most or len(found)):
            continue
        if not kind and is_test_subject(art.subject):
            left_out["subject of tests"] = left_out.get("subject of tests", 0) + 1
            continue
        try:
            suffix, data = _small(art, art_set)
        except UnusableArt as error:
            reason = str(error).split(":")[0]
            left_out[reason] = left_out.get(reason, 0) + 1
            continue
        name = f"{art.stem}{suffix}"
        digest = hashlib.sha256(data).hexdigest()
        if digest in seen or name in parts[kind]:
            left_out["seen before"] = left_out.get("seen before", 0) + 1
            continue
        seen.add(digest)
        parts[kind][name] = data
        record = {
            "file": name,
            "subject": art.subject,
            "tags": list(art.tags),
            "source": f"{art_set.name}/{art.stem}",
            "licence": art.licence,
            "author": art.author,
        }
        indexes[kind].append(json.dumps(record, ensure_ascii=False))
    for part, index in zip(parts, indexes, strict=True):
        if part:
            part[INDEX] = ("\n".join(index) + "\n").encode()
            for path in art_set.terms:
                part[path.rsplit("/", 1)[-1]] = next(folder.glob(path)).read_bytes()
    return parts[0], parts[1], left_out


def _count(files: dict[str, bytes]) -> int:
    return len(files.get(INDEX, b"").splitlines())


def fetch_art(output: Path, downloads: Path | None = None, sets: list[str] | None = None) -> dict[str, Any]:
    """Write the archives of the chosen sets (all by default) and the manifest; returns the manifest.

    Sets already in the folder and not chosen stay as they are. Raises UserError for unknown sets or when no
    package is at hand or to be had.
    """
    unknown = set(sets or []) - {art_set.name for art_set in SETS}
    if unknown:
        raise UserError(f"unknown set {sorted(unknown)[0]}; the sets are {', '.join(s.name for s in SETS)}")
    wanted = [art_set for art_set in SETS if not sets or art_set.name in sets]
    named = ("openmoji", "noto")  # they say which name is which code point
    naming = [s for s in SETS if s.name in named and any(not each.suffix for each in wanted)]
    needed = list({s.package: s for s in [*wanted, *naming]}.values())
    with tempfile.TemporaryDirectory() as temporary:
        folders: dict[str, Path] = {}
        missing = []
        for art_set in needed:
            path = _downloaded(art_set, downloads) if downloads else None
            path = path or _download(art_set, Path(temporary))
            if path is None:
                missing.append(art_set.package)
                continue
            folders[art_set.package] = _unpack(path, Path(temporary) / art_set.name)
        if missing and len(missing) == len(needed):
            raise UserError(f"none of the packages could be had: {', '.join(missing)} (npm, pip or apt-get missing?)")
        subjects = learn_subjects({s.name: folders[s.package] for s in needed if s.package in folders})
        output.mkdir(parents=True, exist_ok=True)
        known = output / "manifest.json"
        before = json.loads(known.read_text())["sets"] if known.exists() else {}
        manifest: dict[str, Any] = {"sets": before, "missing": missing}
        for art_set in wanted:
            if art_set.package not in folders:
                continue
            used, reserved, left_out = _chosen(art_set, folders[art_set.package], subjects)
            suffix = ".tar" if any(name.endswith(".jpg") for name in used) else ".tar.xz"
            _write(output / f"{art_set.name}{suffix}", used)
            if reserved:
                _write(output / f"{art_set.name}-reserved{suffix}", reserved)
            manifest["sets"][art_set.name] = {
                "package": f"{art_set.tool}: {art_set.package}",
                "licence": art_set.licence,
                "files": _count(used),
                "reserved": _count(reserved),
                "left_out": left_out,
                "bytes": sum(p.stat().st_size for p in output.glob(f"{art_set.name}*{suffix}")),
            }
    (output / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest
