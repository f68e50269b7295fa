"""Fine-tuning of the golden models on small streamed data: what `train.py` is told."""

import json
from pathlib import Path

import mixed_sizes
from paintsundo.data import shards
from paintsundo.data.shard_writer import ShardWriter
from tiny_models import TINY

SHARED = (
    "runtime.device=cpu",
    "runtime.precision=32-true",
    "runtime.compile=none",
    "runtime.gradient_checkpointing=false",
    "progress_bar=false",
    "accumulate=1",
    "batch_size=2",
    "sample_count=1",
    "data.buckets=null",
    "data.workers=0",
    "log_every=1",
    "optimizer.warmup_steps=1",
    "optimizer.learning_rate=1e-3",
)
SIZES = ((64, 64), (64, 128))


def write_data(folder: Path, count: int = 7, sizes: tuple = SIZES, per_shard: int = 3) -> list[str]:
    """Write processes to train on, whose sizes take turns, some of states as they were seen, and two held out; returns
    the arguments that name them.
    """
    folder.mkdir(parents=True)
    writer = ShardWriter(folder, per_shard)
    for number in range(count):
        size = sizes[number % len(sizes)]
        staged = mixed_sizes.drawing(number, *size, stages=2 + number % 2)
        process = mixed_sizes.recording(number, *size) if number % 3 == 2 else staged
        writer.write(shards.encode(process, split="train"), "train")
    for number in (1000, 1001):
        writer.write(shards.encode(mixed_sizes.drawing(number, *sizes[0]), split="validation"), "validation")
    about = {"format": shards.FORMAT, "most_stages": 3, "size": sizes[0][0], "samples": count + 2}
    (folder / "manifest.json").write_text(json.dumps({**about, "shards": writer.close()}))
    return [f"data.path={folder}", "data.held_out=2"]


def arguments(kind: str, data: list[str], output: object, *others: str, start: object = None) -> list[str]:
    """The command line of a run; later arguments win. `kind` may go on, as in single_frame_lora."""
    start = TINY / kind.removesuffix("_lora") if start is None else start
    return [f"experiment=official/{kind}", f"start={start}", *data, f"output={output}", *SHARED, *others]
