from pathlib import Path

import numpy as np
import pytest

import mixed_sizes
from paintsundo.conditioning.buckets import PUBLISHED_BUCKETS, choose_bucket
from paintsundo.data.index import DataIndex
from paintsundo.data.plan import BatchPlan
from paintsundo.data.shard_store import Shard
from paintsundo.errors import UserError


def made_index(count: int, per_shard: int = 10, sizes: tuple = mixed_sizes.SIZES) -> DataIndex:
    """An index of samples that need not exist."""
    chosen = np.random.default_rng(0).integers(len(sizes), size=count)
    heights, widths = np.array(sizes, np.int32)[chosen].T
    shard = np.arange(count, dtype=np.int32) // per_shard
    shards = tuple(Shard("set", f"{n}.tar", "train", per_shard, 1, "") for n in range(shard[-1] + 1))
    nothing = np.zeros((count, 3), np.int64)
    names = np.array([f"{n:05d}" for n in range(count)])
    return DataIndex(shards, shard, nothing, nothing, heights, widths, names, names, np.zeros(count, np.int8))


def streams(plan: BatchPlan, steps: int) -> dict[tuple[int, int], list[int]]:
    """The samples each bucket shows in the global batches of some steps, in order."""
    shown: dict[tuple[int, int], list[int]] = {}
    for number in range(steps):
        for rank in range(plan.world):
            batch = plan.batch(number, rank)
            shown.setdefault(batch.bucket, []).extend(batch.indices.tolist())
    return shown


@pytest.mark.parametrize("world", [1, 2, 3])
def test_in_every_pass_every_sample_is_shown_once(world: int) -> None:
    index = made_index(137)
    plan = BatchPlan(index, mixed_sizes.BUCKETS, 4, seed=3, shuffle_shards=3, world=world)
    for bucket, shown in streams(plan, 200).items():
        members = np.flatnonzero(plan.bucket_of == plan.buckets.index(bucket)).tolist()
        passes = len(shown) // len(members)
        assert passes >= 2
        orders = [shown[n * len(members) : (n + 1) * len(members)] for n in range(passes)]
        assert all(sorted(order) == members for order in orders)
        assert orders[0] != orders[1]
    alone = streams(BatchPlan(made_index(9, sizes=((32, 48),)), mixed_sizes.BUCKETS, 3, world=world), 12)[32, 48]
    assert len({tuple(alone[at : at + 9]) for at in range(0, 36, 9)}) == 4  # of one shard too


def test_ranks_share_each_batch_and_the_whole_does_not_depend_on_their_number() -> None:
    index = made_index(200)
    plans = [BatchPlan(index, mixed_sizes.BUCKETS, 8 // world, 5, 4, world) for world in (1, 2, 4)]
    for number in range(60):
        whole = plans[0].batch(number)
        for plan in plans[1:]:
            parts = [plan.batch(number, rank) for rank in range(plan.world)]
            assert {part.bucket for part in parts} == {whole.bucket}
            assert np.concatenate([part.indices for part in parts]).tolist() == whole.indices.tolist()
            assert np.concatenate([part.passes for part in parts]).tolist() == whole.passes.tolist()
            assert [part.first_row for part in parts] == [8 // plan.world * rank for rank in range(plan.world)]
    assert len({plan.fingerprint for plan in plans}) == 1


def test_any_batch_can_be_had_at_once_and_in_any_order() -> None:
    index = made_index(90)
    one = BatchPlan(index, mixed_sizes.BUCKETS, 4, seed=1)
    walked = [one.batch(number) for number in range(9000)]
    for number in (8999, 4096, 17, 4095, 8191, 0):
        found = BatchPlan(index, mixed_sizes.BUCKETS, 4, seed=1).batch(number)
        assert found.bucket == walked[number].bucket
        assert found.indices.tolist() == walked[number].indices.tolist()
        assert one.batch(number).indices.tolist() == found.indices.tolist()
    other = BatchPlan(index, mixed_sizes.BUCKETS, 4, seed=2)
    assert [other.batch(n).indices.tolist() for n in range(9)] != [b.indices.tolist() for b in walked[:9]]
    assert other.fingerprint != one.fingerprint


def test_buckets_are_drawn_in_proportion_to_their_samples() -> None:
    index = made_index(1000)
    plan = BatchPlan(index, mixed_sizes.BUCKETS, 4, seed=1)
    drawn = [plan.batch(number).bucket for number in range(4000)]
    for row in plan.table():
        assert abs(drawn.count(row.bucket) / 4000 - row.share) < 0.03


def test_samples_of_few_shards_are_read_at_a_time() -> None:
    index = made_index(1000, per_shard=10, sizes=((32, 32),))
    plan = BatchPlan(index, [(32, 32)], 10, seed=1, shuffle_shards=4)
    shown = np.array(streams(plan, 100)[32, 32])
    for window in index.shard[shown].reshape(-1, 40):
        assert len(set(window)) == 4
    assert len({tuple(sorted(set(window))) for window in index.shard[shown].reshape(-1, 40)}) == 25
    assert (np.diff(index.shard[shown[:40]]) != 0).sum() > 10  # mixed inside the window


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_no_batch_is_short_however_few_the_samples(count: int) -> None:
    plan = BatchPlan(made_index(count, sizes=((32, 48),)), mixed_sizes.BUCKETS, 4, seed=1, world=2)
    shown = streams(plan, 10)[32, 48]
    assert len(shown) == 80
    assert set(np.bincount(shown[: 80 // count * count])) == {80 // count}
    assert len(plan.notices()) == 1
    assert plan.notices()[0] == f"bucket 32x48 has {count} samples, fewer than the 8 of a batch: they are repeated"


def test_rows_of_one_process_stand_together() -> None:
    plan = BatchPlan(made_index(50), mixed_sizes.BUCKETS, 8, seed=1, world=2, repeats=4)
    for number in range(20):
        indices = [plan.batch(number, rank).indices.reshape(2, 4) for rank in (0, 1)]
        assert all((rows == rows[:, :1]).all() for rows in indices)
        if plan.batch(number, 0).passes[0] == plan.batch(number, 1).passes[-1]:
            assert len({int(rows[k, 0]) for rows in indices for k in (0, 1)}) == 4
    for bucket, shown in streams(plan, 100).items():
        members = np.flatnonzero(plan.bucket_of == plan.buckets.index(bucket))
        assert sorted(shown[: 4 * len(members) : 4]) == members.tolist()


def test_samples_go_to_the_nearest_bucket_and_the_table_says_so() -> None:
    sizes = ((320, 512), (600, 600), (1000, 400), (384, 448))
    index = made_index(40, sizes=sizes)
    plan = BatchPlan(index, PUBLISHED_BUCKETS, 2, seed=0)
    for number in range(40):
        nearest = choose_bucket(int(index.heights[number]), int(index.widths[number]))
        assert plan.buckets[plan.bucket_of[number]] == nearest
    rows = {row.bucket: row for row in plan.table()}
    assert sum(row.samples for row in rows.values()) == 40
    assert sum(row.share for row in rows.values()) == pytest.approx(1)
    assert rows[320, 512].crop_loss == 0
    assert rows[512, 320].crop_loss == pytest.approx(1 - (512 / 320) / (1000 / 400))
    assert len(plan.table_text().splitlines()) == 5 + len(plan.notices())
    assert "512 x 320" in plan.table_text()


def test_replacements_are_of_the_same_bucket_and_always_the_same() -> None:
    plan = BatchPlan(made_index(60), mixed_sizes.BUCKETS, 4, seed=1)
    found = [plan.replacement(7, 3, 1, attempt) for attempt in range(20)]
    assert found == [plan.replacement(7, 3, 1, attempt) for attempt in range(20)]
    assert 7 not in found
    assert len(set(found)) > 5
    assert {int(plan.bucket_of[number]) for number in found} == {int(plan.bucket_of[7])}
    alone = BatchPlan(made_index(1), mixed_sizes.BUCKETS, 4)
    assert alone.replacement(0, 0, 0, 0) == 0


def test_impossible_values_are_told() -> None:
    index = made_index(10)
    for change in (
        {"buckets": []},
        {"buckets": [(0, 3)]},
        {"batch_size": 0},
        {"repeats": 3},
        {"shuffle_shards": 0},
        {"seed": -1},
    ):
        values = {"buckets": mixed_sizes.BUCKETS, "batch_size": 4, **change}
        with pytest.raises(UserError):
            BatchPlan(index, **values)
    with pytest.raises(UserError, match="no samples"):
        BatchPlan(index.take(np.array([], np.int64)), mixed_sizes.BUCKETS, 4)
    with pytest.raises(ValueError, match="no batch"):
        BatchPlan(index, mixed_sizes.BUCKETS, 4).batch(0, 1)


def test_a_plan_over_many_samples_is_quick(tmp_path: Path) -> None:
    plan = BatchPlan(made_index(200_000, per_shard=500), mixed_sizes.BUCKETS, 16, seed=0)
    batches = [plan.batch(number) for number in (0, 1_000_000, 1_000_001)]
    assert all(len(batch.indices) == 16 for batch in batches)
    assert batches[1].passes.max() > 10
