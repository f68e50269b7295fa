"""Inner features of an earlier step in the place of computing them again."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_networks import randomise, single_frame_inputs, single_frame_unet, unet_3d, unet_3d_inputs

from paintsundo.models.feature_reuse import InnerFeatures

Run = Callable[..., torch.Tensor]


def three_d(**inputs: Any) -> tuple[Any, Run]:
    network = randomise(unet_3d(channel_mult=(1, 2, 2), num_res_blocks=2))
    return network, lambda rows=2, **more: network(*(x[:rows] for x in unet_3d_inputs()), **more)


def single(**inputs: Any) -> tuple[Any, Run]:
    network = randomise(single_frame_unet())

    def run(rows: int = 2, **more: Any) -> torch.Tensor:
        return network(*(x[:rows] for x in single_frame_inputs()), **more).sample

    return network, run


@pytest.fixture(params=[three_d, single])
def network_and_run(request: pytest.FixtureRequest) -> tuple[Any, Run]:
    with torch.no_grad():
        yield request.param()


@pytest.mark.parametrize("blocks", [1, 2, 4, 9, 99])
def test_features_of_the_same_step_change_nothing(network_and_run: tuple[Any, Run], blocks: int) -> None:
    _, run = network_and_run
    plain, features = run(), InnerFeatures(blocks)
    features.begin_step(reuse=False)
    assert torch.equal(run(features=features), plain)
    features.begin_step(reuse=True)
    torch.testing.assert_close(run(features=features), plain)


def test_inner_blocks_are_not_computed_again(network_and_run: tuple[Any, Run]) -> None:
    network, run = network_and_run
    inner = network.middle_block[0] if hasattr(network, "middle_block") else network.mid_block
    calls: list[int] = []
    inner.register_forward_hook(lambda *_: calls.append(1))
    features = InnerFeatures(2)
    for reuse in (False, True, True, False):
        features.begin_step(reuse)
        run(features=features)
    assert len(calls) == 2


def test_what_is_kept_is_what_counts(network_and_run: tuple[Any, Run]) -> None:
    """Other inner features give another prediction: they are really used, and outer blocks really computed."""
    _, run = network_and_run
    features = InnerFeatures(1)
    features.begin_step(reuse=False)
    plain = run(features=features)
    features._kept[0] = features._kept[0] + 1
    features.begin_step(reuse=True)
    assert not torch.allclose(run(features=features), plain)


def test_passes_of_a_step_are_told_apart_and_rows_may_be_fewer(network_and_run: tuple[Any, Run]) -> None:
    _, run = network_and_run
    features = InnerFeatures(2)
    features.begin_step(reuse=False)
    first, second = run(features=features), run(rows=1, features=features)
    features.begin_step(reuse=True)
    torch.testing.assert_close(run(rows=1, features=features), first[:1])
    torch.testing.assert_close(run(rows=1, features=features), second)
    features.begin_step(reuse=True)
    torch.testing.assert_close(run(features=features), first)


def test_more_rows_than_are_kept_are_computed(network_and_run: tuple[Any, Run]) -> None:
    _, run = network_and_run
    features = InnerFeatures(2)
    features.begin_step(reuse=False)
    run(rows=1, features=features)
    features.begin_step(reuse=True)
    assert torch.equal(run(features=features), run())


def test_sides_that_do_not_halve(network_and_run: tuple[Any, Run]) -> None:
    network, _ = network_and_run
    if hasattr(network, "middle_block"):
        inputs: tuple[Any, ...] = unet_3d_inputs(height=5, width=7)
    else:
        inputs = tuple(x[..., :5, :7] if x.dim() == 4 else x for x in single_frame_inputs())
    features = InnerFeatures(2)
    outputs = []
    for reuse in (False, True):
        features.begin_step(reuse)
        out = network(*inputs, features=features)
        outputs.append(out if isinstance(out, torch.Tensor) else out.sample)
    torch.testing.assert_close(*outputs)
