"""A decoder of groups is trained on what it will see: both ends and a few neighbours between them."""

import numpy as np
import pytest
import torch

from paintsundo.errors import UserError
from paintsundo.training.bank import ProcessBank
from paintsundo.training.batches import StateClips, StatePictures, clip_work, group_work


def test_groups_are_neighbours_between_the_ends_of_whole_clips():
    seeds = [torch.Generator().manual_seed(3) for _ in range(2)]
    whole, groups = clip_work(64, 16, (0.1, 0.4), seeds[0]), group_work(64, 16, 2, (0.1, 0.4), seeds[1])
    assert groups.shape == (64, 4)
    assert torch.equal(groups[:, [0, 3]], whole[:, [0, 15]])
    firsts = set()
    for group, clip in zip(groups, whole, strict=True):
        fits = [k for k in range(1, 14) if torch.equal(clip[k : k + 2], group[1:3])]
        assert fits
        firsts.update(fits)
    assert firsts >= {1, 13}


def test_clips_of_groups_hold_their_frames_alone():
    pictures = torch.zeros(2, 1, 3, 32, 32, dtype=torch.uint8)
    reveals = torch.from_numpy(np.linspace(-32768, 32766, 2 * 32 * 32).astype(np.int16)).view(2, 1, 32, 32)
    bank = ProcessBank(pictures, reveals, [{}, {}])
    assert StateClips(bank, 5, 16, (0.1, 0.4), group=2)(torch.Generator())["clips"].shape == (5, 3, 4, 32, 32)
    for group in (-1, 15):
        with pytest.raises(UserError, match="neighbours"):
            StateClips(bank, 5, 16, (0.1, 0.4), group=group)


def test_pictures_are_cropped_in_one_place_a_batch():
    column = torch.arange(48).expand(32, 48).to(torch.uint8)
    bank = ProcessBank(column.expand(2, 1, 3, 32, 48).clone(), torch.full((2, 1, 32, 48), -32768).short(), [{}, {}])
    maker = StatePictures(bank, 6, permute=0.0, crop=16)
    assert maker.size == (16, 16)
    lefts = set()
    for seed in range(20):
        pictures = maker(torch.Generator().manual_seed(seed))["pictures"]
        assert pictures.shape == (6, 3, 16, 16)
        left = (pictures[:, :, :, 0] + 1) * 127.5
        assert left.round().unique().numel() == 1
        lefts.add(int(left[0, 0, 0].round()))
    assert lefts == {0, 8, 16, 24, 32}
    with pytest.raises(UserError, match="crop"):
        StatePictures(bank, 6, crop=48)
