"""Which samples make batch number n: a pure function of the data, the seed and n.

Nothing depends on how many workers or devices read, and nothing needs to be stored to resume: a run that asks for
batch n again gets it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from paintsundo.conditioning.buckets import choose_bucket
from paintsundo.data.index import DataIndex
from paintsundo.errors import UserError

_BLOCK = 4096  # steps whose buckets are drawn together
_STEPS, _SHARDS, _SAMPLES, _REPLACEMENT = range(4)  # streams of random numbers


def generator(seed: int, *path: int) -> np.random.Generator:
    """The random numbers of one place, independent of those of all others."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence((seed, *path))))


@dataclass(frozen=True)
class PlannedBatch:
    """What one device reads in one step.

    Attributes:
        number: of the step.
        first_row: of this device's rows in the global batch.
        bucket: (height, width) in pixels.
        indices: int64 (B,), sample numbers in the index.
        passes: int64 (B,), how many times the bucket's samples had all been seen before.
    """

    number: int
    first_row: int
    bucket: tuple[int, int]
    indices: NDArray[np.int64]
    passes: NDArray[np.int64]


@dataclass(frozen=True)
class BucketRow:
    """One line of the assignment: (height, width), its samples, their share of all, and how much of their area is
    cropped away on average, 0 … 1.
    """

    bucket: tuple[int, int]
    samples: int
    share: float
    crop_loss: float


class BatchPlan:
    """Endless batches of samples of equal shape.

    Each sample belongs to the nearest bucket. A bucket's samples follow one another in passes: in each, shards in a
    new order, and samples in a new order within windows of `shuffle_shards` shards, so that few shards are read at a
    time. The bucket of a step is drawn in proportion to the samples; a global batch takes the next
    `batch_size * world` rows of it, each device a part, `repeats` rows in a row showing the same sample. A batch may
    reach into the next pass, and goes round as often as it takes: none is short.

    Args:
        entries: the samples.
        buckets: (height, width) pairs.
        batch_size: rows per device.
        seed: of all orders.
        shuffle_shards: how many shards' samples are mixed.
        world: number of devices.
        repeats: rows per sample; must divide the batch size.

    Raises:
        UserError: an impossible value, or no samples.
    """

    def __init__(
        self,
        entries: DataIndex,
        buckets: Sequence[Sequence[int]],
        batch_size: int,
        seed: int = 0,
        shuffle_shards: int = 16,
        world: int = 1,
        repeats: int = 1,
    ) -> None:
        if len(entries) == 0:
            raise UserError("there are no samples to train on")
        if not buckets or any(len(bucket) != 2 or min(bucket) < 1 for bucket in buckets):
            raise UserError(f"buckets must be [height, width] pairs, not {list(buckets)}")
        counts = {"batch_size": batch_size, "shuffle_shards": shuffle_shards, "states_per_process": repeats}
        for name, value in counts.items():
            if value < 1:
                raise UserError(f"{name} must be at least 1, not {value}")
        if batch_size % repeats:
            raise UserError(f"batch_size={batch_size} is no multiple of states_per_process={repeats}")
        if seed < 0:
            raise UserError(f"seed must be at least 0, not {seed}")
        self.entries, self.batch_size, self.seed, self.world = entries, batch_size, seed, world
        self.shuffle_shards, self.repeats = shuffle_shards, repeats
        self.buckets = tuple(dict.fromkeys((int(height), int(width)) for height, width in buckets))
        self.bucket_of = self._assign()
        self._members = [np.flatnonzero(self.bucket_of == number) for number in range(len(self.buckets))]
        sizes = np.array([len(members) for members in self._members], np.float64)
        self._cumulative = np.cumsum(sizes) / sizes.sum()
        self._drawn: OrderedDict[int, NDArray[np.int64]] = OrderedDict()
        self._before = [np.zeros(len(self.buckets), np.int64)]  # steps of each bucket before each block
        self._orders: OrderedDict[tuple[int, int], NDArray[np.int64]] = OrderedDict()

    def _assign(self) -> NDArray[np.int64]:
        sizes = np.stack([self.entries.heights, self.entries.widths], axis=1)
        different, inverse = np.unique(sizes, axis=0, return_inverse=True)
        nearest = [self.buckets.index(choose_bucket(h, w, self.buckets)) for h, w in different.tolist()]
        return np.array(nearest, np.int64)[inverse.reshape(-1)]

    @property
    def fingerprint(self) -> str:
        """Equal for plans that give the same global batches: kept with a checkpoint, it shows that data changed."""
        setting = (self.buckets, self.batch_size * self.world, self.seed, self.shuffle_shards, self.repeats)
        digest = hashlib.sha256(repr(setting).encode())
        digest.update("".join(self.entries.hashes.tolist()).encode())
        digest.update(self.entries.shard.astype("<i4").tobytes())
        return digest.hexdigest()

    def table(self) -> list[BucketRow]:
        """The assignment of samples to buckets, in the order of the buckets; see `table_text`."""
        rows = []
        for (height, width), members in zip(self.buckets, self._members, strict=True):
            ratio = self.entries.heights[members] * width / (self.entries.widths[members] * height)
            loss = 1 - np.minimum(ratio, 1 / ratio)
            share = len(members) / len(self.entries)
            rows.append(BucketRow((height, width), len(members), share, float(loss.mean()) if len(members) else 0.0))
        return rows

    def table_text(self) -> str:
        """The assignment as lines to print, and a line for each bucket that a batch goes round more than once."""
        lines = ["bucket (h x w)   samples    share   cropped away"]
        lines += [
            f"{row.bucket[0]:>6} x {row.bucket[1]:<6}{row.samples:>9}{row.share:>9.1%}{row.crop_loss:>13.1%}"
            for row in self.table()
        ]
        return "\n".join([*lines, *self.notices()])

    def notices(self) -> list[str]:
        """One line for each bucket with fewer samples than a batch shows: they are repeated within it."""
        shown = self.batch_size * self.world // self.repeats
        return [
            f"bucket {height}x{width} has {len(members)} samples, fewer than the {shown} of a batch: they are repeated"
            for (height, width), members in zip(self.buckets, self._members, strict=True)
            if 0 < len(members) < shown
        ]

    def batch(self, number: int, rank: int = 0) -> PlannedBatch:
        """What device `rank` reads in step `number` (0, 1, …)."""
        if number < 0 or not 0 <= rank < self.world:
            raise ValueError(f"there is no batch {number} of device {rank} of {self.world}")
        bucket, occurrence = self._draw(number)
        shown = self.batch_size // self.repeats
        start = (occurrence * self.world + rank) * shown
        passes, places = np.divmod(np.arange(start, start + shown), len(self._members[bucket]))
        indices = np.empty(shown, np.int64)
        for which in range(int(passes[0]), int(passes[-1]) + 1):
            chosen = passes == which
            indices[chosen] = self._order(bucket, which)[places[chosen]]
        return PlannedBatch(
            number,
            rank * self.batch_size,
            self.buckets[bucket],
            indices.repeat(self.repeats),
            passes.repeat(self.repeats),
        )

    def replacement(self, index: int, number: int, row: int, attempt: int) -> int:
        """Another sample of the same bucket, for one that cannot be read: the same whenever asked.

        `row` counts in the global batch. The sample itself comes back only where its bucket has no other.
        """
        members = self._members[self.bucket_of[index]]
        others = members[members != index] if len(members) > 1 else members
        draw = generator(self.seed, _REPLACEMENT, number, row, attempt).random()
        return int(others[int(draw * len(others))])

    def _draw(self, number: int) -> tuple[int, int]:
        """The bucket of a step, and how many steps before it had the same."""
        block, place = divmod(number, _BLOCK)
        while len(self._before) <= block:
            last = len(self._before) - 1
            counts = np.bincount(self._block(last), minlength=len(self.buckets))
            self._before.append(self._before[-1] + counts)
        drawn = self._block(block)
        bucket = int(drawn[place])
        return bucket, int(self._before[block][bucket] + np.count_nonzero(drawn[:place] == bucket))

    def _block(self, block: int) -> NDArray[np.int64]:
        if block not in self._drawn:
            draws = generator(self.seed, _STEPS, block).random(_BLOCK)
            self._drawn[block] = np.searchsorted(self._cumulative, draws, side="right")
            while len(self._drawn) > 4:
                self._drawn.popitem(last=False)
        return self._drawn[block]

    def _order(self, bucket: int, which: int) -> NDArray[np.int64]:
        """The samples of a bucket in the order of pass number `which`."""
        key = (bucket, which)
        if key not in self._orders:
            members = self._members[bucket]
            count = len(self.entries.shards)
            # All buckets take shards in one order, so that they read about the same ones at a time.
            rank = np.empty(count, np.int64)
            rank[np.argsort(generator(self.seed, _SHARDS, which).random(count), kind="stable")] = np.arange(count)
            window = rank[self.entries.shard[members]] // self.shuffle_shards
            mixed = generator(self.seed, _SAMPLES, bucket, which).random(len(members))
            self._orders[key] = members[np.lexsort((mixed, window))]
            while len(self._orders) > 2 * len(self.buckets):
                self._orders.popitem(last=False)
        self._orders.move_to_end(key)
        return self._orders[key]
