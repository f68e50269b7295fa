"""Small data sets of drawing processes of differing sizes, and ways to damage them."""

import json
from pathlib import Path

import numpy as np

from paintsundo.data import shards
from paintsundo.data.frames import FrameProcess, FrameWriter
from paintsundo.data.process import NEVER, DrawingProcess
from paintsundo.data.shard_writer import ShardWriter
from paintsundo.data.staged import Stage, StagedProcess

SIZES = ((32, 48), (48, 32), (40, 40), (32, 52), (56, 32))
BUCKETS = ((32, 48), (48, 32), (40, 40))


def drawing(number: int, height: int, width: int, stages: int = 3) -> StagedProcess:
    """Rows of colour that appear from the top, each stage darker; no two numbers look alike."""
    random = np.random.default_rng(number)
    edges = np.linspace(0, 65534, stages + 1).round().astype(int)
    made = []
    for stage in range(stages):
        picture = np.full((height, width, 3), 250 - 40 * stage, np.uint8)
        picture[:, : width // 2] = random.integers(0, 200, 3)
        picture[number % height, number % width] = stage
        when = np.linspace(edges[stage] + 1, edges[stage + 1], height).astype(np.uint16)
        reveal = np.repeat(when[:, None], width, axis=1)
        reveal[:, stage] = NEVER
        made.append(Stage(f"stage{stage}", picture, reveal))
    return StagedProcess(tuple(made), subject=str(number), tags=("cat", f"number_{number}"))


def recording(number: int, height: int, width: int, states: int = 40, **options: object) -> FrameProcess:
    """Squares of colour, each at random over those before, and the work they took; no two numbers look alike."""
    random = np.random.default_rng(number)
    writer = FrameWriter((height, width), **options)  # type: ignore[arg-type]
    canvas = np.full((height, width, 3), 255, np.uint8)
    writer.add(canvas, 0.0)
    work = 0.0
    for state in range(1, states):
        side = int(random.integers(2, min(height, width) // 2))
        top, left = (int(random.integers(0, length - side + 1)) for length in (height, width))
        canvas[top : top + side, left : left + side] = random.integers(0, 250, 3)
        work += float(random.integers(1, 50))
        writer.add(canvas, work, "sketch" if state < states // 3 else "flats")
    return writer.finish(subject=str(number), tags=("dog", f"number_{number}"), work_rule="area of squares")


def write(
    folder: Path,
    count: int,
    per_shard: int = 5,
    sizes: tuple = SIZES,
    split: str = "train",
    first: int = 0,
    recordings: int | None = None,
) -> Path:
    """A data set of `count` processes whose sizes take turns, every `recordings`-th of states as they were seen."""
    folder.mkdir(parents=True)
    writer = ShardWriter(folder, per_shard)
    for number in range(first, first + count):
        size = sizes[number % len(sizes)]
        process: DrawingProcess = drawing(number, *size, stages=2 + number % 2)
        if recordings and number % recordings == 0:
            process = recording(number, *size)
        writer.write(shards.encode(process, split=split), split)
    listed = writer.close()
    manifest = {"format": shards.FORMAT, "shards": listed, "most_stages": 3, "size": 32, "samples": count}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def rewrite(folder: Path, shard: int, change: object) -> None:
    """Write a shard anew with `change(key, members) -> members` applied, the manifest brought up to date."""
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = manifest["shards"][shard]
    samples = list(shards.read_samples(folder / entry["file"]))
    temporary = folder / "rewritten"
    temporary.mkdir()
    writer = ShardWriter(temporary, 10**6)
    writer._samples = int(samples[0][0])
    for key, members in samples:
        writer.write(change(key, dict(members)), entry["split"])  # type: ignore[operator]
    new = writer.close()[0]
    (temporary / new["file"]).replace(folder / entry["file"])
    temporary.rmdir()
    entry["bytes"], entry["sha256"] = new["bytes"], new["sha256"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
