"""The embedded experiments at sizes that train in a second, and a data set of three small drawings."""

import json
from pathlib import Path

from paintsundo.data import shards
from paintsundo.data.shard_writer import ShardWriter
from paintsundo.data.staged import StagedProcess
from paintsundo.data.svg import svg_process

SIZE = 64
HEAD = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72">'
FACE = (
    HEAD + '<g id="color"><circle cx="36" cy="36" r="23" fill="#FCEA2B"/>'
    '<rect x="30" y="15" width="12" height="6" fill="#EA5A47"/></g>'
    '<g id="line" fill="none" stroke="#000" stroke-width="2"><circle cx="36" cy="36" r="23"/>'
    '<path d="M50 41c0 1-.3 3-1 4c-12 3-25 0-27-.1c-1-1-1-3-1-4.4"/></g></svg>'
)
HAT = (
    HEAD + '<ellipse cx="36" cy="40" rx="30" ry="26" fill="#3060c0"/><path d="M18 20H54L46 6H26Z" fill="#208040"/>'
    '<rect x="22" y="34" width="6" height="8" fill="#804020"/>'
    '<g opacity=".4"><ellipse cx="36" cy="54" rx="22" ry="9" fill="#102040"/></g></svg>'
)
FLAG = (
    HEAD + '<rect x="8" y="16" width="56" height="40" fill="#c04040"/>'
    '<circle cx="36" cy="36" r="11" fill="#ffd700"/></svg>'
)


def drawings() -> dict[str, list[StagedProcess]]:
    """Processes by split; the face has ink, so its stages are not those of the hat."""
    return {
        "train": [
            svg_process(FACE.encode(), SIZE, subject="face", tags=("face", "smile_(open)", "yellow")),
            svg_process(HAT.encode(), SIZE, subject="hat", tags=("hat", "blue", "yellow")),
        ],
        "validation": [svg_process(FLAG.encode(), SIZE, subject="flag", tags=("flag", "yellow"))],
    }


def write_data(folder: Path, processes: dict[str, list[StagedProcess]]) -> Path:
    """A data set as `paintsundo.data build` leaves it."""
    folder.mkdir(parents=True)
    writer = ShardWriter(folder)
    for split, members in processes.items():
        for process in members:
            writer.write(shards.encode(process, split=split), split)
    every = [process for members in processes.values() for process in members]
    manifest = {
        "format": shards.FORMAT,
        "shards": writer.close(),
        "most_stages": max(len(process.stages) for process in every),
        "size": every[0].size[0],
        "samples": len(every),
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


SHARED = (
    "runtime.device=cpu",
    "runtime.precision=32-true",
    "progress_bar=false",
    "data.workers=1",
    "data.buckets=null",
    "batch_size=2",
    "max_steps=2",
    "sample_count=1",
    "optimizer.warmup_steps=1",
)
_TEXT = ("model.text.hidden_size=16", "model.text.intermediate_size=24", "model.text.num_attention_heads=2")
TINY = {
    "image_autoencoder": (
        "model.network.block_out_channels=[8,8,8,8]",
        "model.network.norm_num_groups=4",
        "model.crop=32",
    ),
    "tagger": ("model.widths=[8,8]", "model.picture_size=32"),
    "single_frame": (
        "model.network.block_out_channels=[16,16,16]",
        "model.network.cross_attention_dim=16",
        "model.network.norm_num_groups=4",
        "model.network.sample_size=8",
        "model.positions=6",
        *_TEXT,
    ),
    "video_autoencoder": (
        "model.network.ch=8",
        "model.network.ch_mult=[1,1,1,1]",
        "model.network.norm_num_groups=4",
        "model.network.combiner_heads=2",
        "model.network.combiner_head_dim=4",
        "model.frames=4",
        "model.crop=32",
    ),
    "video_decoder": ("model.frames=3", "model.crop=32", "model.train_between=1"),
    "multi_frame": (
        "model.network.model_channels=16",
        "model.network.channel_mult=[1,1,1]",
        "model.network.num_head_channels=8",
        "model.network.context_dim=16",
        "model.network.norm_num_groups=4",
        "model.projection.dim=16",
        "model.projection.depth=1",
        "model.projection.dim_head=8",
        "model.projection.heads=2",
        "model.projection.num_queries=2",
        "model.projection.embedding_dim=16",
        "model.projection.output_dim=16",
        "model.projection.video_length=4",
        "model.image_encoder.hidden_size=16",
        "model.image_encoder.intermediate_size=24",
        "model.image_encoder.num_hidden_layers=1",
        "model.image_encoder.num_attention_heads=2",
        "model.image_encoder.patch_size=56",
        "model.frames=4",
        "model.positions=8",
        "model.strides=[1,2]",
        *_TEXT,
    ),
}


def arguments(name: str, data: object, output: object, *others: str) -> list[str]:
    """The command line of a tiny run; later arguments win."""
    return [f"experiment=embedded/{name}", f"data.path={data}", f"output={output}", *SHARED, *TINY[name], *others]
