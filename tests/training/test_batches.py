from itertools import islice

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from paintsundo.errors import UserError
from paintsundo.training.bank import ProcessBank, operation_step_of, to_signed
from paintsundo.training.batches import (
    Batches,
    LatentClips,
    LatentGrid,
    LatentStates,
    StateClips,
    StatePictures,
    clip_work,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def encode(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures (N, 3, 64, 64) made small: a stand-in for an autoencoder that is known exactly."""
    return F.avg_pool2d(pictures, 8)


@pytest.fixture
def grid(bank: ProcessBank) -> LatentGrid:
    return LatentGrid(bank, encode, positions=9, variants=3, seed=5, chunk=4)


def equal(one: dict, other: dict) -> bool:
    return all(
        torch.equal(torch.as_tensor(one[name]), torch.as_tensor(other[name])) for name in one if name != "number"
    )


def test_batch_n_depends_on_seed_and_n_alone(bank: ProcessBank) -> None:
    make = StatePictures(bank, 3)
    first = list(islice(Batches([make], 7, torch.device("cpu")), 4))
    later = Batches([make], 7, torch.device("cpu"))
    later.start = 2
    torch.manual_seed(99)
    assert all(map(equal, first[2:], islice(later, 2)))
    assert not equal(first[0], first[1])
    assert not equal(first[0], next(iter(Batches([make], 8, torch.device("cpu")))))


def test_batches_go_through_a_data_loader(bank: ProcessBank) -> None:
    batches = Batches([StatePictures(bank, 2)], 1, torch.device("cpu"))
    loaded = islice(torch.utils.data.DataLoader(batches, batch_size=None), 2)
    assert all(map(equal, islice(batches, 2), loaded))


@pytest.mark.parametrize("span", [(0.06, 0.4), (0.5, 1.0), (0.2, 0.2)])
def test_clips_lie_within_the_work_and_begin_with_its_end(span: tuple[float, float]) -> None:
    work = clip_work(4000, 5, span, generator())
    assert work.shape == (4000, 5)
    assert work.min() == 0
    assert work.max() == 1
    steps = work[:, :-1] - work[:, 1:]
    assert (steps > -1e-6).all()
    assert torch.allclose(steps, steps[:, :1].expand_as(steps), atol=1e-6)
    length = work[:, 0] - work[:, -1]
    assert length.max() <= span[1] + 1e-6
    inside = (work[:, 0] < 1) & (work[:, -1] > 0)
    assert length[inside].min() >= span[0] - 1e-6


def test_finished_pictures_have_their_share(bank: ProcessBank) -> None:
    batch = StatePictures(bank, 200, finished=1.0, permute=0.0)(generator())
    assert set(batch["index"].tolist()) == {0, 1}
    ends = to_signed(bank.states(torch.arange(2), torch.ones(2, 1))[:, 0])
    assert torch.equal(batch["pictures"], ends[batch["index"]])
    some = StatePictures(bank, 400, finished=0.25, permute=0.0)(generator())
    share = (some["pictures"] == ends[some["index"]]).flatten(1).all(1).float().mean()
    assert 0.2 < share < 0.35
    coloured = StatePictures(bank, 200, finished=1.0, permute=1.0)(generator())
    share = (coloured["pictures"] == ends[coloured["index"]]).flatten(1).all(1).float().mean()
    assert 0.08 < share < 0.3  # one order of six is the picture's own


def test_clips_are_drawn_backwards(bank: ProcessBank) -> None:
    clips = StateClips(bank, 8, 4, (0.5, 0.9), permute=0.0)(generator())["clips"]
    assert clips.shape == (8, 3, 4, 64, 64)
    white = (clips == 1).all(1).flatten(2).float().mean(2)
    assert (white[:, :-1] <= white[:, 1:]).all()  # colour only ever covers paper here
    assert (white[:, 0] < white[:, -1] - 0.1).any()


def test_crops_are_cut_from_whole_clips(bank: ProcessBank) -> None:
    whole = StateClips(bank, 3, 2, (0.5, 0.9))(generator())["clips"]
    cut = StateClips(bank, 3, 2, (0.5, 0.9), crop=32)(generator())["clips"]
    assert cut.shape == (3, 3, 2, 32, 32)
    places = [
        (top, left)
        for top in range(0, 33, 8)
        for left in range(0, 33, 8)
        if torch.equal(whole[..., top : top + 32, left : left + 32], cut)
    ]
    assert len(places) == 1
    assert StateClips(bank, 1, 2, (0.5, 0.9), crop=64)(generator())["clips"].shape[-2:] == (64, 64)
    for bad in (80, 0, 24):
        with pytest.raises(UserError, match="crop must be a multiple of 16"):
            StateClips(bank, 1, 2, (0.5, 0.9), crop=bad)


def test_grid_holds_the_latents_of_its_positions(bank: ProcessBank, grid: LatentGrid) -> None:
    assert grid.latents is not None
    assert grid.latents.shape == (6, 9, 3, 8, 8)
    assert grid.work.shape == (6, 9)
    assert (grid.work[:, 0] == 1).all()
    assert (grid.work[:, -1] == 0).all()
    assert (grid.work.diff(dim=1) < 0).all()
    even = torch.linspace(1, 0, 9)[1:-1]
    assert ((grid.work[:, 1:-1] - even).abs() <= 0.5 / 8 + 1e-6).all()
    assert len({round(float(v), 5) for v in grid.work[:, 4]}) == 6  # moved differently in every row
    row = torch.tensor([0, 4, 5])
    position = torch.tensor([[0, 3], [8, 1], [4, 4]])
    pictures = grid.pictures(row, position)
    assert pictures.shape == (3, 2, 3, 64, 64)
    assert torch.equal(encode(pictures.flatten(0, 1)).half(), grid.latents[row[:, None], position].flatten(0, 1))
    assert torch.equal(grid.permutation[[0, 3]], torch.arange(3).expand(2, 3))  # the first variant is the original
    finished = bank.states(torch.tensor([0, 1]), torch.ones(2, 1))[:, 0]
    assert torch.equal(
        grid.pictures(torch.tensor([0, 3]), torch.zeros(2, 1, dtype=torch.long))[:, 0], to_signed(finished)
    )


def test_states_come_with_their_operation_steps(grid: LatentGrid) -> None:
    assert grid.latents is not None
    batch = LatentStates(grid, 300)(generator())
    assert batch["latents"].shape == batch["finished"].shape == (300, 3, 8, 8)
    assert batch["operation_steps"].unique().numel() > 30
    flat = grid.latents.float().flatten(0, 1)
    steps = operation_step_of(grid.work).flatten()
    for k in range(0, 300, 17):
        rows = [r for r in range(6) if torch.equal(grid.latents[r, 0].float(), batch["finished"][k])]
        assert int(batch["index"][k]) in {r // 3 for r in rows}
        places = (flat == batch["latents"][k]).flatten(1).all(1)
        assert batch["operation_steps"][k] in steps[places]


def test_clips_are_equally_spaced_in_the_grid(grid: LatentGrid) -> None:
    assert grid.latents is not None
    # the work itself as latent: clips then show which positions they took
    grid.latents = grid.work[:, :, None, None, None].expand(-1, -1, 3, 8, 8).half()
    batch = LatentClips(grid, 500, 4, [1, 2])(generator())
    assert batch["latents"].shape == (500, 3, 4, 8, 8)
    assert batch["ends"].shape == (500, 3, 2, 64, 64)
    work = batch["latents"][:, 0, :, 0, 0]
    position = torch.stack([((grid.work.half() == w) * 1).amax(0).argmax() for w in work[:, 1:-1].flatten()])
    strides = np.unique(position.view(500, 2).diff(dim=1).numpy())
    assert strides.tolist() == [1, 2]
    assert (work.diff(dim=1) < 0).all()
    assert (work[:, 0] == 1).float().mean() > 0.15
    assert (work[:, -1] == 0).float().mean() > 0.15
    blank = work[:, -1] == 0
    assert (batch["ends"][blank][:, :, 1] == 1).all()


def test_clips_longer_than_the_grid_are_refused(grid: LatentGrid) -> None:
    LatentClips(grid, 1, 5, [1, 2])
    with pytest.raises(UserError, match="do not fit into 9 positions"):
        LatentClips(grid, 1, 6, [1, 2])
