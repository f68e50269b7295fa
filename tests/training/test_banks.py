"""Banks of several sizes: what they hold, and batches of one size each, the same for any number of devices."""

from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

import mixed_sizes
from paintsundo.data.faults import FaultTally
from paintsundo.data.index import read_indexes
from paintsundo.data.samples import fitted
from paintsundo.data.shards import read_processes
from paintsundo.errors import UserError
from paintsundo.training.banks import BankSet, read_banks
from paintsundo.training.batches import (
    Batches,
    BatchMaker,
    LatentClips,
    LatentGrid,
    LatentStates,
    StateClips,
    StatePictures,
)

BUCKETS = [(40, 40), (32, 48), (48, 32)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mixed_sizes.write(tmp_path_factory.mktemp("banks") / "set", 23, recordings=7)


@pytest.fixture(scope="module")
def banks(folder: Path) -> BankSet:
    return read_banks(read_indexes([folder], "train"), BUCKETS, "cpu", workers=3)[0]


def test_every_process_is_in_the_bank_of_its_shape(folder: Path, banks: BankSet):
    assert {bank.size for bank in banks} == set(BUCKETS)
    assert banks.processes == len(banks.metas) == 23
    assert [len(bank) for bank in banks] == sorted((len(bank) for bank in banks), reverse=True)
    assert [bank.first for bank in banks] == [0, len(banks[0]), len(banks[0]) + len(banks[1])]
    known = {process.subject: process for process in read_processes(folder)}
    for bank in banks:
        for row, meta in enumerate(bank.metas):
            process = known[meta["subject"]]
            height, width = process.size
            assert (height > width) - (height < width) == (bank.size[0] > bank.size[1]) - (bank.size[0] < bank.size[1])
            shown = bank.states(torch.tensor([row]), torch.tensor([[1.0]]))[0, 0].permute(1, 2, 0).numpy()
            assert np.array_equal(shown, fitted(process.finished, bank.size))


def test_states_of_processes_of_their_own_size_are_exact(folder: Path, banks: BankSet):
    known = {process.subject: process for process in read_processes(folder)}
    found = 0
    for bank in banks:
        for row, meta in enumerate(bank.metas):
            process = known[meta["subject"]]
            if process.size == bank.size and "frames" not in meta:
                works = [0.0, 0.3, 0.55, 0.8, 1.0]
                shown = bank.states(torch.tensor([row]), torch.tensor([works]))[0].permute(0, 2, 3, 1).numpy()
                assert np.array_equal(shown, process.film(works))
                found += 1
    assert found > 5


def test_damaged_samples_are_left_out_and_told(tmp_path: Path):
    folder = mixed_sizes.write(tmp_path / "set", 10)
    read_indexes([folder])
    shard = sorted(folder.glob("*.tar"))[0]
    index = read_indexes([folder], "train")
    entry = index.entry(2)
    with shard.open("r+b") as stream:
        stream.seek(entry.offsets[0] + 40)
        stream.write(b"damage")
    banks, faults = read_banks(index, BUCKETS, "cpu", workers=2)
    assert banks.processes == 9
    assert [fault.key for fault in faults] == [entry.key]
    with pytest.raises(UserError, match="damaged data"):
        read_banks(index, BUCKETS, "cpu", workers=2, tally=FaultTally(10, "skip", 0.05))


def makers(banks: BankSet, kind: str, batch_size: int) -> list[BatchMaker]:
    def encode(pictures: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(pictures, 8)

    if kind == "pictures":
        return [StatePictures(bank, batch_size) for bank in banks]
    if kind == "clips":
        return [StateClips(bank, batch_size, 4, (0.1, 0.5), crop=16) for bank in banks]
    grids = [LatentGrid(bank, encode, positions=8, variants=2, seed=0) for bank in banks]
    if kind == "states":
        return [LatentStates(grid, batch_size) for grid in grids]
    return [LatentClips(grid, batch_size, 3, [1, 2]) for grid in grids]


KINDS = ("pictures", "clips", "states", "latent_clips")


@pytest.mark.parametrize("kind", KINDS)
def test_two_devices_share_the_batches_of_one(banks: BankSet, kind: str):
    device = torch.device("cpu")
    whole = islice(Batches(makers(banks, kind, 4), 5, device), 8)
    halves = [islice(Batches(makers(banks, kind, 2), 5, device, rank, 2), 8) for rank in range(2)]
    for one, first, second in zip(whole, *halves, strict=True):
        assert one["bucket"] == first["bucket"] == second["bucket"]
        for name, value in one.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, torch.cat([first[name], second[name]]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_gets_the_same_batches(banks: BankSet, kind: str):
    made = makers(banks, kind, 3)
    whole = list(islice(Batches(made, 7, torch.device("cpu")), 9))
    later = Batches(made, 7, torch.device("cpu"))
    later.start = 4
    for one, other in zip(whole[4:], islice(later, 5), strict=True):
        assert one["number"] == other["number"]
        assert one["bucket"] == other["bucket"]
        assert all(torch.equal(v, other[name]) for name, v in one.items() if isinstance(v, torch.Tensor))


def test_sizes_come_once_at_the_beginning_then_as_often_as_they_have_processes(banks: BankSet):
    batches = Batches(makers(banks, "pictures", 2), 3, torch.device("cpu"))
    sizes = [batches.maker_of(number).size for number in range(6000)]
    assert sizes[:3] == [bank.size for bank in banks]
    counted = Counter(sizes[3:])
    for bank in banks:
        assert counted[bank.size] / 5997 == pytest.approx(len(bank) / 23, abs=0.03)
    other = Batches(makers(banks, "pictures", 2), 4, torch.device("cpu"))
    assert [other.maker_of(number).size for number in range(6000)] != sizes


def test_rows_name_their_process_among_all(banks: BankSet):
    tags = [meta["tags"] for meta in banks.metas]
    for batch in islice(Batches(makers(banks, "pictures", 6), 1, torch.device("cpu")), 3):
        bank = next(bank for bank in banks if bank.size == batch["bucket"])
        for index in batch["index"].tolist():
            assert tags[index] == bank.metas[index - bank.first]["tags"]


def test_batches_need_a_maker():
    with pytest.raises(ValueError, match="maker"):
        Batches([], 0, torch.device("cpu"))
    with pytest.raises(UserError, match="no processes"):
        BankSet([])
