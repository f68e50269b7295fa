"""Data sets on disk: uncompressed WebDataset tars of drawing processes, and fast reading of them.

A sample of stages is `KEY.pictures.png` (the stages' pictures one below the other), `KEY.reveals.png` (16 bit, the
reveal maps likewise) and `KEY.json` (everything else); one of states as they were seen is `KEY.frames.zip` (see
`frame_archive`) and `KEY.json`. `manifest.json` lists the shards; every shard belongs to one split.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from paintsundo.data.frame_archive import FrameArchive, Whole
from paintsundo.data.frame_stages import MOST, as_stages
from paintsundo.data.frames import FrameProcess
from paintsundo.data.process import NEVER, DrawingProcess
from paintsundo.data.shard_writer import ShardWriter as ShardWriter
from paintsundo.data.staged import Stage, StagedProcess
from paintsundo.errors import UserError

FORMAT = 1
WORK = ".building"  # folder in a data set until its build is finished
Read = TypeVar("Read")
RECORD = ("subject", "source", "licence", "author", "hash", "work_rule", "version")


def encode(process: DrawingProcess, **more: Any) -> dict[str, bytes]:
    """A process as the members of one sample: suffix -> bytes. `more` is added to its record.

    Raises TypeError for a form of process that has no place in shards.
    """
    if isinstance(process, FrameProcess):
        names = dict.fromkeys(span.name for span in process.spans())
        own: dict[str, Any] = {"stages": list(names), "frames": len(process)}
        members = {"frames.zip": process.archive}
    elif isinstance(process, StagedProcess):
        own = {"stages": [stage.name for stage in process.stages]}
        pictures = np.concatenate([stage.picture for stage in process.stages])
        reveals = np.concatenate([stage.reveal for stage in process.stages])
        members = {"pictures.png": _png_of(pictures), "reveals.png": _png_of(reveals)}
    else:
        raise TypeError(f"{type(process).__name__} has no place in shards")
    record = {
        **own,
        "height": process.size[0],
        "width": process.size[1],
        "tags": list(process.tags),
        **{name: getattr(process, name) for name in RECORD},
        **process.extra,
        **more,
    }
    text = json.dumps(record, ensure_ascii=False, sort_keys=True)
    return {**members, "json": text.encode()}


def decode(members: dict[str, bytes]) -> DrawingProcess:
    """The process of one sample. Raises ValueError or KeyError when members are damaged or missing."""
    if "frames.zip" in members:
        return frame_process(FrameArchive(Whole(members["frames.zip"])), record_of(members))
    pictures, reveals, record = _staged_arrays(members)
    stages = tuple(Stage(*parts) for parts in zip(record["stages"], pictures, reveals, strict=True))
    return StagedProcess(stages, **_metadata(record))


def frame_process(frames: FrameArchive, record: dict[str, Any]) -> FrameProcess:
    """A process of states from its archive and record. Raises ValueError or KeyError when they do not fit."""
    if frames.size != (record["height"], record["width"]) or len(frames) != record["frames"]:
        raise ValueError("the record does not fit its states")
    return FrameProcess(frames, **_metadata(record))


def _metadata(record: dict[str, Any]) -> dict[str, Any]:
    """What a process is made of besides its pictures."""
    known = {*RECORD, "stages", "frames", "tags", "height", "width"}
    extra = {name: value for name, value in record.items() if name not in known}
    return {**{name: record[name] for name in RECORD}, "tags": tuple(record["tags"]), "extra": extra}


def arrays(members: dict[str, bytes], most: int = MOST) -> tuple[NDArray[np.uint8], NDArray[np.uint16], dict[str, Any]]:
    """(S, H, W, 3) pictures, (S, H, W) reveal maps, record. Raises ValueError or KeyError as `decode` does.

    A process of states is brought to at most `most` stages, which its record then names.
    """
    if "frames.zip" in members:
        return frame_arrays(
            frame_process(FrameArchive(Whole(members["frames.zip"])), record_of(members)), members, most
        )
    return _staged_arrays(members)


def frame_arrays(
    process: FrameProcess, members: dict[str, bytes], most: int = MOST
) -> tuple[NDArray[np.uint8], NDArray[np.uint16], dict[str, Any]]:
    """`arrays` of a process that is read already."""
    stages = as_stages(process, most).stages
    record = {**record_of(members), "stages": [stage.name for stage in stages]}
    return np.stack([stage.picture for stage in stages]), np.stack([stage.reveal for stage in stages]), record


def _staged_arrays(members: dict[str, bytes]) -> tuple[NDArray[np.uint8], NDArray[np.uint16], dict[str, Any]]:
    record = record_of(members)
    shape = (len(record["stages"]), record["height"], record["width"])
    pictures = _png(members["pictures.png"], cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    cv2.cvtColor(pictures, cv2.COLOR_BGR2RGB, pictures)
    reveals = _png(members["reveals.png"], cv2.IMREAD_UNCHANGED)
    if reveals.dtype != np.uint16:
        raise ValueError("the reveal maps are not of 16 bits")
    return pictures.reshape(*shape, 3), reveals.reshape(shape), record


def _png(data: bytes, how: int) -> NDArray[Any]:
    """A decoded picture; cv2 takes two thirds of pillow's time for these."""
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), how) if data else None
    if decoded is None:
        raise ValueError("a picture cannot be decoded")
    return decoded


def _png_of(picture: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG", compress_level=3)
    return out.getvalue()


def record_of(members: dict[str, bytes]) -> dict[str, Any]:
    """The record of one sample without its pictures."""
    record: dict[str, Any] = json.loads(members["json"])
    return record


def read_manifest(dataset: str | Path) -> dict[str, Any]:
    """The manifest of a data set. Raises UserError when there is none."""
    path = Path(dataset) / "manifest.json"
    try:
        return parse_manifest(path.read_bytes(), str(path))
    except (FileNotFoundError, NotADirectoryError):
        if (Path(dataset) / WORK).is_dir():
            raise UserError(f"{dataset} is incomplete: its build still runs, or the same command finishes it") from None
        raise UserError(f"{dataset} is not a data set: it has no manifest.json") from None


def parse_manifest(content: bytes, place: str) -> dict[str, Any]:
    """A manifest from its bytes; `place` names it in messages. Raises UserError when it is damaged."""
    try:
        manifest: dict[str, Any] = json.loads(content)
    except ValueError as error:
        raise UserError(f"{place} is damaged: {error}") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else manifest
        raise UserError(f"{place}: format {found!r} is not {FORMAT}")
    return manifest


def read_samples(shard: Path, only: str | None = None) -> Iterator[tuple[str, dict[str, bytes]]]:
    """(key, suffix -> bytes) of each sample of a shard, in order. `only`: reads this suffix and passes over others."""
    key = ""
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                name, _, suffix = member.name.partition(".")
                if name != key:
                    if members:
                        yield key, members
                    key, members = name, {}
                stream = archive.extractfile(member) if only in (None, suffix) else None
                if stream is not None:
                    members[suffix] = stream.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f"{shard} cannot be read: {error}") from error
    if members:
        yield key, members


def _shards(dataset: str | Path, split: str | None) -> list[Path]:
    manifest = read_manifest(dataset)
    chosen = [shard["file"] for shard in manifest["shards"] if split in (None, shard["split"])]
    if not chosen:
        raise UserError(f"{dataset} holds no {split} samples")
    return [Path(dataset) / name for name in chosen]


def read_processes(
    dataset: str | Path, workers: int | None = None, split: str | None = None
) -> Iterator[DrawingProcess]:
    """All processes of a data set (of one split), in order, decoded by `workers` threads."""
    workers = workers or os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        for shard in _shards(dataset, split):
            batch: list[dict[str, bytes]] = []
            for _, members in read_samples(shard):
                batch.append(members)
                if len(batch) == 4 * workers:
                    yield from pool.map(decode, batch)
                    batch = []
            yield from pool.map(decode, batch)


def load_arrays(
    dataset: str | Path, workers: int | None = None, limit: int | None = None, split: str | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint16], list[dict[str, Any]]]:
    """A data set in memory: pictures (P, S, H, W, 3), reveal maps (P, S, H, W), records.

    S is the largest number of stages; missing ones are white and never revealed. Processes of states are brought to
    at most `frame_stages.MOST` stages. `limit`: the first so many.

    Raises:
        UserError: no such samples, a damaged one, or pictures of different sizes.
    """
    workers = workers or os.cpu_count() or 1
    shards = _shards(dataset, split)
    found = (_sound(_shape, shard, *sample) for shard in shards for sample in read_samples(shard, "json"))
    shapes = list(islice(found, limit))
    if not shapes:
        raise UserError(f"{dataset} holds no {split or ''} samples")
    sizes = sorted({(height, width) for _, height, width in shapes})
    if len(sizes) > 1:
        raise UserError(different_sizes(str(dataset), sizes))
    (count, most), (height, width) = (len(shapes), max(shapes)[0]), sizes[0]
    records: list[dict[str, Any]] = [{}] * count
    pictures = np.empty((count, most, height, width, 3), np.uint8)
    reveals = np.empty((count, most, height, width), np.uint16)

    def place(at: int, shard: Path, key: str, members: dict[str, bytes]) -> int:
        found_pictures, found_reveals, records[at] = _sound(arrays, shard, key, members)
        stages = len(found_pictures)
        pictures[at, :stages], reveals[at, :stages] = found_pictures, found_reveals
        pictures[at, stages:], reveals[at, stages:] = 255, NEVER
        return stages

    used = 0
    with ThreadPoolExecutor(workers) as pool:  # the decoder and the copies release the interpreter lock
        at = 0
        waiting: list[Future[int]] = []
        for shard in shards:
            for key, members in read_samples(shard):
                if at == count:
                    break
                waiting.append(pool.submit(place, at, shard, key, members))
                at += 1
                if len(waiting) > 16 * workers:
                    used = max(used, *(done.result() for done in waiting[: 8 * workers]))
                    del waiting[: 8 * workers]
        used = max([used, *(done.result() for done in waiting)])
    return pictures[:, :used], reveals[:, :used], records


def _shape(members: dict[str, bytes]) -> tuple[int, int, int]:
    """Stages at most, height and width of a sample."""
    record = record_of(members)
    stages = min(MOST, record["frames"]) if "frames" in record else len(record["stages"])
    return stages, record["height"], record["width"]


def _sound(read: Callable[[dict[str, bytes]], Read], shard: Path, key: str, members: dict[str, bytes]) -> Read:
    try:
        return read(members)
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{shard} {key}: cannot be decoded ({type(error).__name__}: {error})") from error


def different_sizes(place: str, sizes: Sequence[tuple[int, int]]) -> str:
    """The message for data that cannot be held in memory together. `sizes`: (height, width)."""
    named = ", ".join(f"{height}x{width}" for height, width in sizes[:3]) + (", …" if len(sizes) > 3 else "")
    return (
        f"{place} has pictures of {len(sizes)} different sizes ({named}), which cannot be held in memory together: say "
        "data.loader=stream with data.buckets=[[HEIGHT,WIDTH],…], or build the data set with canvas=square"
    )
