"""Reading a shard once from end to end: where its samples lie, what they hold, and what is wrong with it."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from paintsundo.data import shards
from paintsundo.data.faults import Fault
from paintsundo.data.frame_archive import FrameArchive, Whole
from paintsundo.data.frames import order_faults
from paintsundo.data.shard_store import Shard, ShardError, ShardStore, is_remote
from paintsundo.file_hashes import file_hash

FORMS = (("pictures.png", "reveals.png", "json"), ("frames.zip", "json"))  # the members of a sample, of either kind
MOST_MEMBERS = max(map(len, FORMS))
COLUMNS = ("keys", "forms", "offsets", "sizes", "heights", "widths", "hashes")
Found = dict[str, Any]  # what reading one shard gave: the columns, "faults", "entry" and "stamp"
MANIFEST: dict[str, Callable[[Any], Any]] = {"file": str, "split": str, "samples": int, "bytes": int, "sha256": str}


def form_of(members: Collection[str]) -> int:
    """Which of the FORMS a sample has, by the names of its members."""
    return int("frames.zip" in members)


def content_hash(members: Mapping[str, bytes]) -> str:
    """SHA-256 of a sample: of the names, lengths and bytes of its members.

    For states as they were seen the archive's index stands, which has the hashes of all of them: so that one state can
    be read, and checked, alone. Raises ValueError when there is no such index.
    """
    archive = members.get("frames.zip")
    return parts_hash(
        members if archive is None else {**members, "frames.zip": FrameArchive(Whole(archive)).index_bytes}
    )


def parts_hash(parts: Mapping[str, bytes]) -> str:
    """`content_hash` of members of which an archive is replaced by its index."""
    digest = hashlib.sha256()
    for suffix in FORMS[form_of(parts)]:
        digest.update(f"{suffix} {len(parts[suffix])}\n".encode())
        digest.update(parts[suffix])
    return digest.hexdigest()


def entry_of(shard: Shard) -> list[Any]:
    """The manifest's entry, to tell whether it is still the same."""
    return [getattr(shard, name) for name in MANIFEST]


def scan(shard: Shard, store: ShardStore) -> Found:
    """Read a whole shard: the columns of its sound samples, its faults, and what shows whether it changes later."""
    found: Found = {name: [] for name in COLUMNS}
    found |= {"faults": [], "stamp": None, "entry": entry_of(shard)}

    def fault(key: str | None, reason: str, samples: int = 1) -> None:
        found["faults"].append(asdict(Fault(shard.name, key, " ".join(reason.split()), samples)))

    seen = 0
    try:
        path = store.path(shard)
        if not is_remote(shard.dataset):
            found["stamp"] = stamp(path)
        end = ""
        for key, members, offsets in _samples(path):
            if members is None:
                end = key
                break
            seen += 1
            reason = sample_fault(members)
            if reason:
                fault(key, reason)
                continue
            record, form = shards.record_of(members), form_of(members)
            found["keys"].append(key)
            found["forms"].append(form)
            found["offsets"].append([offsets[suffix] for suffix in FORMS[form]])
            found["sizes"].append([len(members[suffix]) for suffix in FORMS[form]])
            found["heights"].append(record["height"])
            found["widths"].append(record["width"])
            found["hashes"].append(content_hash(members))
        lost = max(0, shard.samples - seen)
        size = path.stat().st_size
        if size < shard.bytes:
            fault(None, f"is cut off: {size} bytes of {shard.bytes}, {lost} of {shard.samples} samples lost", lost)
        elif end or lost:
            fault(None, f"{end or 'ends early'}: {lost} of {shard.samples} samples lost", lost)
        elif file_hash(path) != shard.sha256:
            fault(None, "differs from the manifest", 0)
    except (ShardError, OSError) as error:
        reason = "missing" if isinstance(error, FileNotFoundError) else str(error)
        fault(None, reason, max(0, shard.samples - seen))
    return found


def _samples(path: Path) -> Iterator[tuple[str, dict[str, bytes] | None, dict[str, int]]]:
    """(key, members, offsets) of each sample; where a tar is damaged, (reason, None, {}) ends it."""
    key = ""
    members: dict[str, bytes] = {}
    offsets: dict[str, int] = {}
    damage = ""
    with path.open("rb") as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                for member in archive:
                    name, _, suffix = member.name.partition(".")
                    if name != key:
                        if members:
                            yield key, members, offsets
                        key, members, offsets = name, {}, {}
                    stream = archive.extractfile(member)
                    if stream is not None:
                        members[suffix], offsets[suffix] = stream.read(), member.offset_data
                file.seek(archive.offset)
                if any(file.read(tarfile.BLOCKSIZE)):  # tarfile takes a bad header for the end
                    damage = f"has a damaged header at byte {archive.offset}"
        except (tarfile.TarError, EOFError) as error:
            damage = f"is damaged ({error})"
    if members and not (
        damage and set(FORMS[form_of(members)]) - set(members)
    ):  # one cut in the middle is among the lost
        yield key, members, offsets
    if damage:
        yield damage, None, {}


def sample_fault(members: Mapping[str, bytes]) -> str | None:
    """What is wrong with a sample as far as can be seen without decoding its pictures; None for nothing."""
    missing = [suffix for suffix in FORMS[form_of(members)] if suffix not in members]
    if missing:
        return f"has no {', '.join(missing)}"
    try:
        record = json.loads(members["json"])
    except ValueError as error:
        return f"its json cannot be read ({error})"
    if not isinstance(record, dict):
        return "its json is no record"
    absent = [name for name in (*shards.RECORD, "stages", "tags", "height", "width") if name not in record]
    if absent:
        return f"its record has no {', '.join(absent)}"
    height, width, stages = record["height"], record["width"], record["stages"]
    if not (type(height) is int and type(width) is int and height > 0 and width > 0):
        return f"its record gives no size, but {height!r} x {width!r}"
    if not (isinstance(stages, list) and isinstance(record["tags"], list)):
        return "its record lists no stages or no tags"
    if "frames.zip" in members:
        return _frames_fault(members["frames.zip"], record)
    if not stages:
        return "its record lists no stages or no tags"
    for suffix in FORMS[0][:2]:
        header = members[suffix][:24]
        if header[:8] != b"\x89PNG\r\n\x1a\n" or len(header) < 24:
            return f"its {suffix} is no PNG"
        size = int.from_bytes(header[20:24], "big"), int.from_bytes(header[16:20], "big")
        if size != (height * len(stages), width):
            return f"its {suffix} is {size[1]} x {size[0]}, not {width} x {height * len(stages)}"
    return None


def _frames_fault(archive: bytes, record: Mapping[str, Any]) -> str | None:
    frames = FrameArchive(Whole(archive))
    try:
        if frames.size != (record["height"], record["width"]) or len(frames) != record.get("frames"):
            height, width = frames.size
            return f"its frames.zip has {len(frames)} states of {width} x {height}, not as its record says"
        frames.check()
    except ValueError as error:
        return f"its frames.zip is damaged: {error}"
    return next(iter(order_faults(frames.works)), None)


def stamp(path: Path) -> list[int] | None:
    """Size and time of change of a file; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]
