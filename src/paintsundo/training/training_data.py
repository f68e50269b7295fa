"""The data of a run: a bank on the device, or shards read by workers; and the processes held out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from paintsundo.data.faults import Fault, FaultTally
from paintsundo.data.index import DataIndex, join, read_index, read_indexes
from paintsundo.data.plan import BatchPlan
from paintsundo.data.process_source import ProcessSource
from paintsundo.data.samples import ClipRule, StateRule
from paintsundo.data.sizes import assign, choose_sizes
from paintsundo.data.stream import PictureReader, Reader, Stream, StreamLoader
from paintsundo.errors import UserError
from paintsundo.training.bank import ProcessBank
from paintsundo.training.banks import BankSet, read_banks
from paintsundo.training.batches import Batches
from paintsundo.training.cached_batches import CachedReader, GridClipRule
from paintsundo.training.latent_cache import CacheRecipe, LatentCache, model_hash
from paintsundo.training.module import PaintsUndoModule
from paintsundo.training.options import DataOptions, TrainOptions

# Sizes that occur in a data set become buckets by themselves up to this number.
MOST_OWN_BUCKETS = 16


@dataclass
class TrainingData:
    """What a run trains on.

    Attributes:
        dataset: endless batches; its `start` is the first.
        workers: processes that make them; 0: this one.
        processes: how many drawing processes there are.
        banks: all of them on the device by size, where they are resident.
        held_out: processes never trained on; None where none are read.
        faults: what could not be read.
        fingerprint: equal for data that give the same batches.
        table: the assignment to buckets, to be printed.
        sizes: how many sizes batches have.
    """

    dataset: Batches | Stream
    workers: int
    processes: int
    banks: BankSet | None
    held_out: ProcessBank | None
    faults: list[Fault] = field(default_factory=list)
    fingerprint: str = ""
    table: str = ""
    sizes: int = 1

    def loader(self, start: int, pin_memory: bool) -> DataLoader:
        """Batches from number `start` on."""
        self.dataset.start = start
        if isinstance(self.dataset, Stream):
            return StreamLoader(self.dataset, self.workers, pin_memory)
        return DataLoader(self.dataset, batch_size=None)


def open_data(
    options: TrainOptions, module: PaintsUndoModule, device: torch.device, rank: int = 0, world: int = 1
) -> TrainingData:
    """Read what the options name; encodes latents where the module keeps them.

    Args:
        options: of the run.
        module: what is trained.
        device: where the module computes.
        rank, world: of this process.

    Raises:
        UserError: there is no such data, or it cannot be used.
    """
    if options.data.loader == "stream":
        return _stream(options, module, device, rank, world)
    return _resident(options, module, device, rank, world)


def _folders(options: TrainOptions) -> list[str]:
    assert options.data.path is not None
    return [options.data.path, *options.data.also]


def _resident(
    options: TrainOptions, module: PaintsUndoModule, device: torch.device, rank: int, world: int
) -> TrainingData:
    data, folders = options.data, _folders(options)
    workers = max(1, data.workers)
    kept = _held_out_index(folders, data) if data.held_out else None
    index = read_indexes(folders, "train", data.limit, progress=rank == 0)
    buckets = resident_buckets(index, data, module)
    tally = FaultTally(len(index) + index.lost, data.on_fault, data.max_faults)
    tally.add(index.faults)
    banks, faults = read_banks(index, buckets, device, workers, tally, progress=rank == 0)
    held_out = None if kept is None else _held_out(kept, data, banks[0].size, device)
    module.prepare(banks)
    makers = [module.make_batches(bank, options.batch_size) for bank in banks]
    batches = Batches(makers, options.seed, banks.device, rank, world)
    names = "\n".join(f"{meta.get('hash')} {meta.get('name')}" for meta in banks.metas)
    sizes = "" if len(banks) == 1 else str([bank.size for bank in banks])
    rows = options.batch_size * world
    fingerprint = hashlib.sha256(f"{names} {rows} {options.seed} {sizes}".encode()).hexdigest()
    return TrainingData(
        batches,
        0,
        banks.processes,
        banks,
        held_out,
        [*index.faults, *faults],
        fingerprint,
        _sizes_text(index, buckets),
        len(banks),
    )


def held_out_bank(options: TrainOptions, module: PaintsUndoModule, device: torch.device) -> ProcessBank:
    """The processes that a run of these options holds out, at the size at which most are trained on.

    Raises:
        UserError: there are none.
    """
    data, folders = options.data, _folders(options)
    index = read_indexes(folders, "train", data.limit)
    if data.loader == "stream":
        buckets = data.buckets or _own_buckets(index)
        rows = BatchPlan(index, buckets, options.batch_size).table()
        largest = max(rows, key=lambda row: row.samples).bucket
        return _held_out(_held_out_index(folders, data), data, largest, device)
    resident = resident_buckets(index, data, module)
    counts = np.bincount(assign(index.heights, index.widths, resident), minlength=len(resident))
    return _held_out(_held_out_index(folders, data), data, resident[int(counts.argmax())], device)


def _held_out_index(folders: list[str], data: DataOptions) -> DataIndex:
    """What is read of the validation split. Raises UserError where there is none, before anything long is done."""
    with _advice():
        if data.loader == "stream":
            return read_indexes(folders, "validation", data.held_out)
        kept = [read_index(folder).of_split("validation").limited(data.held_out) for folder in folders]
        if not any(map(len, kept)):
            raise UserError(f"{', '.join(folders)} holds no validation samples")
        return join(kept)


def _held_out(index: DataIndex, data: DataOptions, size: tuple[int, int], device: torch.device) -> ProcessBank:
    """These processes, all brought to one size."""
    with _advice():
        bank = read_banks(index, [size], device, max(1, data.workers))[0][0]
    return bank if data.loader == "stream" else bank.shuffle(0)


def resident_buckets(index: DataIndex, data: DataOptions, module: PaintsUndoModule) -> list[tuple[int, int]]:
    """The sizes that processes held on the device are brought to: those given, or few that suit the data.

    Args:
        index: the processes.
        data: its `buckets` and `most_buckets`.
        module: what is trained: sizes are multiples of its `picture_multiple`, and its `crop` fits into them.
    """
    if data.buckets:
        return list(dict.fromkeys((int(height), int(width)) for height, width in data.buckets))
    least = getattr(module, "crop", None) or 0
    return choose_sizes(index.heights, index.widths, data.most_buckets, module.picture_multiple, least)


def _sizes_text(index: DataIndex, buckets: Sequence[tuple[int, int]]) -> str:
    """A table of the sizes trained at; empty where there is one, which all samples have."""
    bucket_of = assign(index.heights, index.widths, buckets)
    lines = ["size (h x w)     processes    share   cropped away"]
    for number, (height, width) in enumerate(buckets):
        members = bucket_of == number
        ratio = index.heights[members] * width / (index.widths[members] * height)
        loss = float((1 - np.minimum(ratio, 1 / ratio)).mean()) if members.any() else 0.0
        lines.append(f"{height:>6} x {width:<6}{members.sum():>11}{members.mean():>9.1%}{loss:>13.1%}")
    same = len(np.unique(np.stack([index.heights, index.widths], axis=1), axis=0)) == len(buckets) == 1
    return "" if same else "\n".join(lines)


def _stream(
    options: TrainOptions, module: PaintsUndoModule, device: torch.device, rank: int, world: int
) -> TrainingData:
    data, folders = options.data, _folders(options)
    rule = module.stream_rule()
    if rule is None:
        raise UserError("this model trains on data that is all on the device: say data.loader=resident")
    if data.steps is not None:
        rule = replace(rule, steps=data.steps)
    index = read_indexes(folders, "train", data.limit, progress=rank == 0)
    if not len(index):
        raise UserError(f"{', '.join(folders)}: no sample of the split train can be read")
    buckets = data.buckets or _own_buckets(index)
    plan = BatchPlan(
        index, buckets, options.batch_size, options.seed, data.shuffle_shards, world, data.states_per_process
    )
    source = ProcessSource(index)
    faults = list(index.faults)
    reader: Reader = PictureReader(source, rule)
    if data.cache is not None:
        cache, unkept = _cache(options, module, source, buckets, device, rank, world)
        faults += unkept
        reader = CachedReader(source, cache, _cached_rule(module, rule))
    used = sum(row.samples > 0 for row in plan.table())
    largest = max(plan.table(), key=lambda row: row.samples).bucket
    held_out = _held_out(_held_out_index(folders, data), data, largest, device) if data.held_out else None
    stream = Stream(plan, reader, rank, 0, data.on_fault, data.max_faults)
    fingerprint = plan.fingerprint if data.steps is None else f"{plan.fingerprint} {data.steps}"
    return TrainingData(stream, data.workers, len(index), None, held_out, faults, fingerprint, plan.table_text(), used)


@contextmanager
def _advice() -> Iterator[None]:
    """Small data sets may have no subject in the validation split."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{error}; to train without: data.held_out=0 sample_every=null") from None


def _own_buckets(index: DataIndex) -> list[list[int]]:
    sizes = np.unique(np.stack([index.heights, index.widths], axis=1), axis=0)
    if len(sizes) > MOST_OWN_BUCKETS:
        raise UserError(
            f"the data has pictures of {len(sizes)} different sizes: say which to train at, as in "
            "data.buckets=[[512,512],[640,512],[512,640]]"
        )
    return sizes.tolist()


def _cached_rule(module: Any, rule: StateRule | ClipRule) -> StateRule | GridClipRule:
    return GridClipRule(rule.frames, tuple(module.strides)) if isinstance(rule, ClipRule) else rule


def _cache(
    options: TrainOptions,
    module: Any,
    source: ProcessSource,
    buckets: Sequence[Sequence[int]],
    device: torch.device,
    rank: int,
    world: int,
) -> tuple[LatentCache, list[Fault]]:
    """The cache of a diffusion module's frozen encoders, filled with what is missing."""
    clips = hasattr(module, "image_encoder")
    if clips and not module.is_frozen("image_encoder"):
        raise UserError("data.cache keeps what frozen encoders give, and the image encoder is new: say data.cache=null")
    every, positions = 1, module.positions
    if clips:
        every = math.gcd(*(stride * (module.frames - 1) for stride in module.strides))
        positions = max(2, (positions - 1) // every * every + 1)
    prompts = None if clips else module.prompts
    recipe = CacheRecipe(
        vae=model_hash(module.vae),
        buckets=tuple((int(height), int(width)) for height, width in buckets),
        positions=positions,
        seed=0,
        precision=options.runtime.precision,
        image_encoder=model_hash(module.image_encoder) if clips else None,
        token_every=every,
        tokenizer=None if prompts is None else prompts.fingerprint(),
    )
    assert options.data.cache is not None
    cache = LatentCache(options.data.cache, recipe)
    if cache.missing(source):
        module.place_frozen(device)
        low = torch.bfloat16 if options.runtime.precision == "bf16-mixed" else torch.float16
        mixed = device.type == "cuda" and options.runtime.precision != "32-true"
        with torch.autocast(device.type, low, enabled=mixed), torch.no_grad():
            unkept = cache.fill(
                source,
                module.moments,
                module.frame_tokens if clips else None,
                None if prompts is None else lambda tags: prompts.ids([tags])[0],
                device,
                rank,
                world,
                workers=max(1, options.data.workers),
                progress=rank == 0,
            )
        if world > 1:
            torch.distributed.barrier()
        cache.refresh()
        return cache, unkept
    return cache, []
