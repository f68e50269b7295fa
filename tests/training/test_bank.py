import itertools

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from paintsundo.data.process import DONE, NEVER
from paintsundo.data.staged import StagedProcess
from paintsundo.errors import UserError
from paintsundo.training.bank import PERMUTATIONS, ProcessBank, operation_step_of, to_signed


def picture(state: torch.Tensor) -> NDArray[np.uint8]:
    """(3, H, W) → (H, W, 3)."""
    return state.permute(1, 2, 0).numpy()


def turning_points(process: StagedProcess) -> list[float]:
    """Blank, finished, and work just before and at the first, middle and last change of every stage."""
    positions = {0, DONE}
    for stage in process.stages:
        times = np.unique(stage.reveal[stage.reveal != NEVER])
        for at in (times[0], times[len(times) // 2], times[-1]):
            positions |= {int(at) - 1, int(at)}
    return [position / DONE for position in sorted(positions)]


@pytest.mark.parametrize("row", [0, 1])
def test_states_are_those_of_the_process(bank: ProcessBank, processes: list[StagedProcess], row: int) -> None:
    works = turning_points(processes[row])
    states = bank.states(torch.tensor([row]), torch.tensor([works]))[0]
    for work, state in zip(works, states, strict=True):
        assert (picture(state) == processes[row].state(work)).all()
    assert (states[0] == 255).all()
    assert (picture(states[-1]) == processes[row].finished).all()
    changed = [(a != b).any() for a, b in itertools.pairwise(states)]
    assert sum(map(bool, changed)) >= 2 * len(processes[row].stages)


def test_rows_of_a_batch_are_independent(bank: ProcessBank, processes: list[StagedProcess]) -> None:
    states = bank.states(torch.tensor([1, 0, 1]), torch.tensor([[0.25], [0.5], [0.75]]))
    for state, (row, work) in zip(states, [(1, 0.25), (0, 0.5), (1, 0.75)], strict=True):
        assert (picture(state[0]) == processes[row].state(round(work * DONE) / DONE)).all()


def test_colour_orders_leave_sketch_lines_alone(bank: ProcessBank, processes: list[StagedProcess]) -> None:
    face = processes[0]
    assert face.stages[0].name == "sketch"
    sketched = int(face.stages[0].reveal[face.stages[0].reveal != NEVER].max()) / DONE
    order = PERMUTATIONS[4][None]
    plain = bank.states(torch.tensor([0]), torch.tensor([[sketched, 1.0]]))[0]
    turned = bank.states(torch.tensor([0]), torch.tensor([[sketched, 1.0]]), order)[0]
    assert (plain[0] != 255).any()
    assert (turned[0] == plain[0]).all()
    later = np.zeros(face.size, bool)
    for stage in face.stages[1:]:
        later |= stage.reveal != NEVER
    assert (picture(turned[1])[later] == face.finished[later][:, order[0].numpy()]).all()
    assert (picture(turned[1])[~later] == face.finished[~later]).all()
    assert (turned[1] != plain[1]).any()


def test_the_six_orders_are_all_permutations() -> None:
    assert len({tuple(order) for order in PERMUTATIONS.tolist()}) == 6
    assert (PERMUTATIONS.sort(dim=1).values == torch.arange(3)).all()


def arrays(process: StagedProcess, stages: int) -> tuple:
    """A data set of one process cut to its first stages."""
    kept = process.stages[:stages]
    pictures = np.stack([stage.picture for stage in kept])[None]
    return pictures, np.stack([stage.reveal for stage in kept])[None], [{"stages": [stage.name for stage in kept]}]


def test_joined_sets_may_differ_in_their_stages(processes: list[StagedProcess]) -> None:
    face, hat = processes
    joined = ProcessBank.join([arrays(face, 1), arrays(hat, 2), arrays(face, len(face.stages))], "cpu")
    assert len(joined) == 3
    assert joined.pictures.shape[1] == len(face.stages)
    assert joined.is_sketch[0].tolist() == [True] + [False] * (len(face.stages) - 1)
    parts = [(face, 1), (hat, 2), (face, len(face.stages))]
    for row, (process, stages) in enumerate(parts):
        cut = StagedProcess(process.stages[:stages])
        for work in (0.0, 0.3, 1.0):
            state = joined.states(torch.tensor([row]), torch.tensor([[round(work * DONE) / DONE]]))[0, 0]
            assert (picture(state) == cut.state(work)).all()


def test_sets_that_cannot_be_joined_are_refused(processes: list[StagedProcess]) -> None:
    pictures, reveals, metas = arrays(processes[0], 1)
    with pytest.raises(UserError, match="different sizes"):
        ProcessBank.join([(pictures, reveals, metas), (pictures[:, :, :32], reveals[:, :, :32], metas)], "cpu")
    with pytest.raises(UserError, match="no processes"):
        ProcessBank.join([(pictures[:0], reveals[:0], [])], "cpu")


def test_shuffling_keeps_processes_whole(bank: ProcessBank, processes: list[StagedProcess]) -> None:
    orders = set()
    for seed in range(6):
        again = ProcessBank(bank.pictures, bank.reveals, bank.metas).shuffle(seed)
        orders.add(tuple(meta["subject"] for meta in again.metas))
        finished = again.states(torch.arange(2), torch.ones(2, 1))
        by_subject = {process.subject: process for process in processes}
        for row, meta in enumerate(again.metas):
            assert (picture(finished[row, 0]) == by_subject[meta["subject"]].finished).all()
            assert again.is_sketch[row].sum() == meta["stages"].count("sketch")
    assert orders == {("face", "hat"), ("hat", "face")}
    assert len(bank.shuffle(0, keep=1)) == len(bank.metas) == len(bank.is_sketch) == 1


def test_units() -> None:
    assert to_signed(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1.0, 1.0]
    work = 1.0 - torch.arange(1000) / 999
    assert operation_step_of(work).tolist() == list(range(1000))
