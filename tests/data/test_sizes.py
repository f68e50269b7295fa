"""Few sizes for data of many."""

import numpy as np
import pytest

from paintsundo.data.sizes import assign, choose_sizes


def many(*counted: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Heights and widths of so many samples of each size."""
    rows = [(height, width) for height, width, count in counted for _ in range(count)]
    heights, widths = np.array(rows, np.int32).T
    return heights, widths


def test_one_size_stays_as_it_is():
    assert choose_sizes(*many((200, 216, 9)), most=5, multiple=32) == [(200, 216)]


def test_sizes_are_multiples_and_the_commonest_comes_first():
    data = many((296, 216, 23), (256, 256, 165), (208, 312, 19), (184, 360, 5))
    chosen = choose_sizes(*data, most=4, multiple=32)
    assert chosen == [(256, 256), (288, 224), (192, 320), (192, 352)] or chosen[:3] == [
        (256, 256),
        (288, 224),
        (192, 320),
    ]
    assert all(side % 32 == 0 for size in chosen for side in size)


def test_no_more_than_are_wanted_and_none_that_hardly_helps():
    data = many((256, 256, 500), (288, 224, 300), (224, 288, 300), (320, 192, 1))
    assert set(choose_sizes(*data, most=5, multiple=32)) == {(256, 256), (288, 224), (224, 288)}
    assert choose_sizes(*data, most=2, multiple=32)[0] == (256, 256)
    assert len(choose_sizes(*data, most=2, multiple=32)) == 2


def test_resolutions_of_one_shape_are_kept_apart():
    data = many((192, 192, 50), (384, 384, 40))
    assert set(choose_sizes(*data, most=5, multiple=32)) == {(192, 192), (384, 384)}


def test_narrow_sizes_are_left_out_where_crops_need_more():
    data = many((256, 256, 50), (416, 160, 40), (320, 192, 3))
    assert set(choose_sizes(*data, most=5, multiple=32, least=192)) == {(256, 256), (320, 192)}
    assert (416, 160) in choose_sizes(*data, most=5, multiple=32)


def test_samples_go_to_the_nearest_shape_then_resolution():
    heights, widths = many((300, 200, 1), (200, 300, 1), (250, 250, 1), (380, 380, 1), (256, 256, 1))
    buckets = [(256, 256), (384, 384), (288, 192), (192, 288)]
    assert assign(heights, widths, buckets).tolist() == [2, 3, 0, 1, 0]


@pytest.mark.parametrize(("count", "most"), [(0, 3), (4, 0)])
def test_nothing_to_choose_from(count: int, most: int):
    with pytest.raises(ValueError, match="one sample"):
        choose_sizes(np.full(count, 64), np.full(count, 64), most)
