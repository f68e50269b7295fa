"""Openly licensed art inside public packages: where each set lies, what its files show, and under which
licence.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paintsundo.data.glyphs.reading import character_of, read
from paintsundo.data.glyphs.tags import tags_of
from paintsundo.data.subjects import SKIN_TONES, code_key, name_key, subject_key, tones, without_tone

_XLINK = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
LARGEST_CLIP_ART = 60_000  # bytes
MOST_OF_A_TITLE = 3  # files that show one subject
_NUMBER = re.compile(r"(?<=[^\W\d_])[\s_-]*\d+$")  # of one file among several of its subject


@dataclass(frozen=True)
class Art:
    """One file of a set: its stem, its bytes and what goes into the index."""

    stem: str
    data: bytes
    subject: str
    tags: tuple[str, ...]
    author: str
    licence: str


@dataclass(frozen=True)
class ArtSet:
    """A set of files in one package. `collect` reads them from the unpacked package."""

    name: str
    tool: str  # "npm", "pip" or "apt"
    package: str
    licence: str
    collect: Callable[[Path, Subjects], Iterator[Art]]
    most: int | None = None  # at most so many files, chosen by hash
    least: int = 3  # fewest shapes of a vector file
    suffix: str = ""  # of files that are kept as they are; "": vector art or pictures, made small
    terms: tuple[str, ...] = ()  # files of the package that say the licence and go with every copy


class Subjects:
    """Names and code points of emoji, so that one subject has one name in every set; tags by code point."""

    def __init__(self) -> None:
        self.code_points: dict[str, str] = {}  # name -> code points
        self.tags: dict[str, tuple[str, ...]] = {}

    def learn(self, name: str, code: str) -> None:
        """Take the first code points given for a name."""
        self.code_points.setdefault(name_key(name), code_key(code))

    def of_name(self, name: str) -> str:
        """The key of the subject of a CLDR-like name."""
        known = name_key(name)
        for key in (known, without_tone(known)):
            for text in (key, *_other_names(key)):
                if text in self.code_points:
                    return self.code_points[text]
        return subject_key(known)


_MICROSOFT = {
    "blackbird": "black-bird",
    "knocked-out-face": "face-with-crossed-out-eyes",
    "man-merpeople": "merman",
    "man-with-bunny-ears": "men-with-bunny-ears",
    "man-wrestling": "men-wrestling",
    "person-merpeople": "merperson",
    "phoenix-bird": "phoenix",
    "red-triangle": "red-triangle-pointed-up",
    "stuffedbread": "stuffed-flatbread",
    "woman-merpeople": "mermaid",
    "woman-wrestling": "women-wrestling",
}


def _other_names(key: str) -> list[str]:
    """How the CLDR calls what Microsoft calls otherwise: deaf-man, not man-deaf; mage, not person-mage."""
    words = _MICROSOFT.get(key, key).replace("blonde", "blond").split("-")
    orders = [words, [*words[1:], words[0]]]
    if words[0] == "person":
        orders += [words[1:], [*words[1:], "person"], ["people", *words[1:]]]
    return ["-".join(order) for order in orders]


def _words(*texts: str) -> tuple[str, ...]:
    """Lower-case tags without repeats."""
    parts = (part.strip().lower() for text in texts for part in re.split(r"[,;]", text))
    return tuple(dict.fromkeys(part for part in parts if part))


def keeps_variant(stem: str, subject: str) -> bool:
    """Of a subject's near-identical skin-tone variants keep the toneless one and one more, the same in every
    set.
    """
    count = tones(stem)
    if count == 0:
        return True
    if count > 1:
        return False
    chosen = int(hashlib.sha256(subject.encode()).hexdigest()[:4], 16) % len(SKIN_TONES)
    code = f"1F3F{'BCDEF'[chosen]}"
    name = SKIN_TONES[chosen]
    return code in stem.upper() or re.search(rf"(?<!medium)-{name}(-skin-tone)?$", stem) is not None


def learn_subjects(folders: dict[str, Path]) -> Subjects:
    """Read names, code points and tags from the packages that state them."""
    subjects = Subjects()
    openmoji, noto = folders.get("openmoji"), folders.get("noto")
    if noto is not None:
        for code, name in json.loads((noto / "chars.json").read_text()).items():
            if not tones(name):
                subjects.learn(name, code)
    if openmoji is not None:
        for entry in json.loads((openmoji / "data" / "openmoji.json").read_text()):
            subject = code_key(entry["hexcode"])
            if not entry["skintone"]:
                subjects.learn(entry["annotation"], entry["hexcode"])
                tags = _words(
                    entry["annotation"],
                    entry["subgroups"].replace("-", " "),
                    entry["group"].replace("-", " "),
                )
                subjects.tags.setdefault(subject, (*tags, *_words(entry["tags"])[:6]))
    return subjects


def _openmoji(folder: Path, subjects: Subjects) -> Iterator[Art]:
    authors = {
        entry["hexcode"]: entry["openmoji_author"]
        for entry in json.loads((folder / "data" / "openmoji.json").read_text())
    }
    for path in sorted((folder / "color" / "svg").glob("*.svg")):
        subject = subject_key(path.stem)
        if keeps_variant(path.stem, subject):
            tags = ("outlined", "flat colours", *subjects.tags.get(subject, ()))
            yield Art(path.stem, path.read_bytes(), subject, tags, authors.get(path.stem, ""), "CC-BY-SA-4.0")


def _noto(folder: Path, subjects: Subjects) -> Iterator[Art]:
    found: dict[str, Any] = json.loads((folder / "icons.json").read_text())
    width, height = found.get("width", 16), found.get("height", 16)
    for name, icon in sorted(found["icons"].items()):
        subject = subjects.of_name(name)
        if icon.get("hidden") or not keeps_variant(name, subject):
            continue
        box = f"0 0 {icon.get('width', width)} {icon.get('height', height)}"
        markup = f'<svg xmlns="http://www.w3.org/2000/svg" {_XLINK} viewBox="{box}">{icon["body"]}</svg>'
        tags = ("no outlines", *subjects.tags.get(subject, _words(without_tone(name).replace("-", " "))))
        yield Art(name, markup.encode(), subject, tags, "Google", "Apache-2.0")


def _fluent(style: str) -> Callable[[Path, Subjects], Iterator[Art]]:
    def collect(folder: Path, subjects: Subjects) -> Iterator[Art]:
        for path in sorted((folder / "icons" / style).glob("*.svg")):
            name = path.stem.removesuffix("-default")  # the variant without a skin tone
            subject = subjects.of_name(name)
            if keeps_variant(name, subject):
                known = subjects.tags.get(subject, _words(without_tone(name).replace("-", " ")))
                look = "flat colours" if style == "flat" else "shaded"
                yield Art(path.stem, path.read_bytes(), subject, ("no outlines", look, *known), "Microsoft", "MIT")

    return collect


def _openclipart(folder: Path, subjects: Subjects) -> Iterator[Art]:
    root = folder / "usr" / "share" / "openclipart" / "svg"
    paths = [path for path in sorted(root.rglob("*.svg")) if path.stat().st_size <= LARGEST_CLIP_ART]
    titles = {path: _title(path.read_text(errors="replace")) for path in paths}
    shared = Counter(titles.values())
    for path in paths:
        data = path.read_bytes()
        if b"<image" in data:
            continue
        text = data.decode("utf-8", "replace")
        if "www.w3.org/2000/svg" not in text:
            data = data.replace(b"<svg", b'<svg xmlns="http://www.w3.org/2000/svg"', 1)
        keywords = re.findall(r"<rdf:li>\s*([A-Za-z][A-Za-z -]{2,24})\s*</rdf:li>", text)
        keywords = [word for word in keywords if not word.lower().startswith("hash")]  # a converter's leavings
        author = re.search(r"<dc:creator>.*?<dc:title>([^<]*)</dc:title>", text, re.S)
        folders = [part.replace("_", " ") for part in path.relative_to(root).parent.parts if part != "unsorted"]
        tags = ("clip art", *_words(*keywords, *folders))[:12]
        title = titles[path] if shared[titles[path]] <= MOST_OF_A_TITLE else ""  # else that of a collection
        subject = subjects.of_name(_NUMBER.sub("", title or path.stem))
        yield Art(path.stem, data, subject, tags, author[1].strip() if author else "", "public domain")


def _title(text: str) -> str:
    found = re.search(r"<dc:title>([^<]*)</dc:title>", text)
    return found[1].strip() if found else ""


def _file_pattern(pattern: str) -> re.Pattern[str]:
    """A pattern of a copyright file for installed paths, whose folders may differ from the source's.

    `folder/*` keeps its folder, so that what is said of the packaging is not taken for the pictures.
    """
    folder, _, last = pattern.rpartition("/")
    if set(last) <= {"*"}:
        return re.compile(f"(^|/){re.escape(folder)}/" if folder else "")
    return re.compile("(^|/)" + "[^/]*".join(map(re.escape, last.split("*"))) + "$")


def _licences(copyright_file: Path) -> list[tuple[re.Pattern[str], str, str]]:
    """(file pattern, licence, holder) of a machine-readable Debian copyright file, later entries first."""
    found = []
    for block in re.split(r"\n\s*\n", copyright_file.read_text(errors="replace")):
        fields = dict(re.findall(r"^(Files|Copyright|License):[ \t]*((?:.*)(?:\n[ \t]+.*)*)", block, re.M))
        if "Files" in fields and "License" in fields:
            holder = re.sub(r"\s+", " ", fields.get("Copyright", "")).strip()
            licence = fields["License"].split("\n")[0].strip()
            found += [(_file_pattern(pattern), licence, holder) for pattern in fields["Files"].split()]
    return found[::-1]


def _photos(allowed: str, wanted: str) -> Callable[[Path, Subjects], Iterator[Art]]:
    """Pictures whose path matches `wanted` and whose stated licence matches `allowed`; one size of each."""

    def collect(folder: Path, subjects: Subjects) -> Iterator[Art]:
        rules = [rule for path in folder.glob("usr/share/doc/*/copyright") for rule in _licences(path)]
        seen = set()
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder).as_posix()
            if path.suffix.lower() not in (".jpg", ".jpeg", ".png", ".webp") or not path.is_file() or path.is_symlink():
                continue
            if not re.search(wanted, relative):
                continue
            name = relative.split("/contents/")[0].rsplit("/", 1)[-1] if "/contents/" in relative else path.stem
            subject = re.sub(r"_\d+x\d+.*$", "", name).lower()
            if subject in seen:
                continue
            for pattern, licence, holder in rules:
                if pattern.search(relative) and re.search(allowed, licence):
                    seen.add(subject)
                    words = re.sub(r"[-_ ]?by[-_ ].*$|[\d_]+", " ", subject).strip()
                    yield Art(subject, path.read_bytes(), subject, ("photo", *_words(words)), holder, licence)
                    break
                if pattern.search(relative):
                    break

    return collect


def _stroke_order(files: str) -> Callable[[Path, Subjects], Iterator[Art]]:
    """Characters of KanjiVG or hanzi-writer, one file each: its variants left out."""

    def collect(folder: Path, subjects: Subjects) -> Iterator[Art]:
        kanjivg = files.endswith(".svg")
        for path in sorted(folder.glob(files)):
            character = character_of(path.stem)
            if not character:
                continue
            data = path.read_bytes()
            tags = tags_of(read(data, path.stem))
            author, licence = (
                ("Ulrich Apel (KanjiVG)", KANJIVG_LICENCE) if kanjivg else ("Arphic Technology", HANZI_LICENCE)
            )
            yield Art(path.stem, data, f"{ord(character):04X}", tags, author, licence)

    return collect


KANJIVG_LICENCE, HANZI_LICENCE = "CC BY-SA 3.0", "Arphic Public License"
_FREE = r"CC0|CC-BY|public-domain|Expat|GPL-2"

SETS: tuple[ArtSet, ...] = (
    ArtSet("openmoji", "npm", "openmoji@17", "CC BY-SA 4.0", _openmoji),
    ArtSet("noto", "npm", "@iconify-json/noto@1.2", "Apache 2.0", _noto),
    ArtSet("fluent-flat", "npm", "fluentui-emoji@1.3", "MIT", _fluent("flat")),
    ArtSet("fluent-modern", "npm", "fluentui-emoji@1.3", "MIT", _fluent("modern"), most=900),
    ArtSet("openclipart", "apt", "openclipart-svg", "public domain", _openclipart, most=2500, least=7),
    ArtSet("lomiri-16.04", "apt", "lomiri-wallpapers-16.04", "per file", _photos(_FREE, r"backgrounds/")),
    ArtSet("lomiri-20.04", "apt", "lomiri-wallpapers-20.04", "per file", _photos(_FREE, r"backgrounds/")),
    ArtSet("mate", "apt", "mate-backgrounds", "per file", _photos(_FREE, r"/(nature|abstract)/")),
    ArtSet(
        "plasma",
        "apt",
        "plasma-workspace-wallpapers",
        "per file",
        _photos(_FREE, r"wallpapers/[^/]+/contents/images/\d"),
    ),
    ArtSet("ukui", "apt", "ukui-wallpapers", "per file", _photos(_FREE, r"backgrounds/")),
    ArtSet(
        "tuxpaint",
        "apt",
        "tuxpaint-stamps-default",
        "per file",
        _photos(
            _FREE,
            r"/stamps/(animals|food|plants|town|vehicles|household|hobbies|clothes|naturalforces|space)/(?!.*cartoon)",
        ),
        most=220,
    ),
    ArtSet(
        "kanjivg",
        "pip",
        "kanjivg",
        KANJIVG_LICENCE,
        _stroke_order("kanji/*.svg"),
        most=600,
        suffix=".kvg",
        terms=("kanjivg-*/licenses/COPYING",),
    ),
    ArtSet(
        "hanzi-writer",
        "npm",
        "hanzi-writer-data@2",
        HANZI_LICENCE,
        _stroke_order("?.json"),
        most=400,
        suffix=".json",
        terms=("ARPHICPL.TXT",),
    ),
)
