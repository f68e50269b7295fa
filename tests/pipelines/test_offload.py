"""Weights that come and go, feed-forward layers in chunks: the same results."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.attention import FeedForward
from torch import Tensor, nn

from paintsundo import PaintsUndoPipeline
from paintsundo.models import use_channels_last
from paintsundo.models.chunking import ChunkedFeedForward, set_feed_forward_chunks
from paintsundo.pipelines.memory_plan import DecodePlan, MemoryPlanner, PassPlan
from paintsundo.pipelines.offload import is_streamed, stop_streaming, stream_weights, visiting
from paintsundo.pipelines.placement import Placement
from random_checkpoint import multi_frame, single_frame
from tiny_models import drawing

CPU = torch.device("cpu")


def keyframe_pass() -> tuple[nn.Module, Callable[[Any], Tensor]]:
    network = single_frame().unet.eval()
    latents, words = torch.randn(2, 6, 8, 8), torch.randn(2, 77, 20)
    given = (latents, torch.tensor([3.0, 3.0]), words, torch.tensor([400, 900]), latents)
    return network, lambda unet: unet(*given).sample


def video_pass() -> tuple[nn.Module, Callable[[Any], Tensor]]:
    network = multi_frame().unet.eval()
    latents = torch.randn(2, 5, 8, 8, 8)
    given = (latents, torch.tensor([3.0, 3.0]), torch.randn(2, 77, 12), torch.randn(2, 8, 3, 12), None, latents)
    return network, lambda unet: unet(*given, attention_window="prv")


passes = pytest.mark.parametrize("make", [keyframe_pass, video_pass])


def filled(network: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.05)
    return network.requires_grad_(False)


@passes
@torch.no_grad()
def test_streamed_weights_compute_the_same(make, tmp_path):
    """Weights that wait in files: what is in memory while they wait is made NaN here, so none is used unfetched."""
    network, run = make()
    filled(network)
    expected = run(network)
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    stream_weights(network, CPU, tmp_path)
    assert is_streamed(network)
    for _ in range(2):
        for parameter in network.parameters():
            parameter.data = torch.full_like(parameter.data, float("nan"))
        assert torch.equal(run(network), expected)
    assert any(
        parameter.isnan().any() or (parameter != weights[name]).any() for name, parameter in network.named_parameters()
    )


@passes
@torch.no_grad()
def test_streaming_ends_without_a_trace(make):
    network, run = make()
    filled(network)
    expected = run(network)
    stream_weights(network, CPU)
    stream_weights(network, CPU)
    assert torch.equal(run(network), expected)
    stop_streaming(network)
    assert not is_streamed(network)
    assert torch.equal(run(network), expected)
    stop_streaming(network)


@passes
@pytest.mark.parametrize("channels_last", [False, True])
@torch.no_grad()
def test_chunks_compute_the_same(make, channels_last):
    network, run = make()
    filled(network)
    if channels_last:
        use_channels_last(network)
    expected = run(network)
    set_feed_forward_chunks(network, 1000)
    chunked = [module for module in network.modules() if type(module) is ChunkedFeedForward]
    assert chunked
    assert ((run(network) - expected).norm() / expected.norm()).item() < 1e-5
    set_feed_forward_chunks(network, None)
    assert not any(isinstance(module, ChunkedFeedForward) for module in network.modules())
    assert torch.equal(run(network), expected)


def test_chunks_are_small():
    layer = FeedForward(8, activation_fn="geglu")
    set_feed_forward_chunks(layer, 640)
    widest = []
    layer.net[0].proj.register_forward_hook(lambda module, given, result: widest.append(result.numel()))
    tokens = torch.randn(3, 25, 8)
    with torch.no_grad():
        layer(tokens)
    assert len(widest) == 8  # 75 tokens of 64 inner values, ten at a time
    assert max(widest) == 640
    layer(tokens).sum().backward()  # gradients take all at once
    assert len(widest) == 9


def test_a_visit_copies_nothing_back():
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).eval()
    at_home = {name: tensor.data_ptr() for name, tensor in network.named_parameters()}
    values = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with visiting(network[0], torch.device("meta"), CPU):
        assert network[0].weight.is_meta
    with visiting(network, CPU, CPU):
        pass
    assert {name: tensor.data_ptr() for name, tensor in network.named_parameters()} == at_home
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, values[name])
    with pytest.raises(RuntimeError, match="stop"), visiting(network[0], torch.device("meta"), CPU):
        raise RuntimeError("stop")
    assert network[0].weight.data_ptr() == at_home["0.weight"]


def test_small_plans_make_the_same_film(pipe: PaintsUndoPipeline, tmp_path):
    """All savings at once, weights in files, against none."""
    pipe.keyframe_options.guidance_scale = pipe.video_options.guidance_scale = 2.0
    pipe.keyframe_options.num_inference_steps = pipe.video_options.num_inference_steps = 1
    prompt = "1girl"
    expected = pipe(drawing(), prompt)

    class Smallest(MemoryPlanner):
        def keyframes(self, *args: Any, **kwargs: Any) -> PassPlan:
            return PassPlan(1, False, True, 500)

        def video(self, *args: Any, **kwargs: Any) -> PassPlan:
            return PassPlan(1, False, True, 500)

        def decode(self, *args: Any, **kwargs: Any) -> DecodePlan:
            return DecodePlan(1)

    pipe.memory, pipe.placement = Smallest(CPU), Placement(CPU, "low")
    try:
        made = pipe(drawing(), prompt)
    finally:
        for unet in (pipe.keyframe_unet, pipe.video_unet):
            PassPlan(1).apply(unet, CPU)
        DecodePlan().apply(pipe.video_vae)
    for one, other in zip(made.keyframes, expected.keyframes, strict=True):
        assert np.abs(np.asarray(one).astype(int) - np.asarray(other)).max() <= 1
    assert np.abs(made.frames.astype(int) - expected.frames).max() <= 1


def test_a_budget_on_a_processor_plans_too(pipe: PaintsUndoPipeline):
    """A size given where there is no GPU bounds what is computed together; weights cannot wait anywhere else."""
    keyframes = [drawing(28, 20), drawing(28, 20).point(lambda value: min(255, value + 90)), drawing(28, 20)]
    expected = pipe.interpolate(keyframes, guidance_scale=2.0)
    own = pipe.memory
    pipe.memory = MemoryPlanner(CPU, 2**30, strict=True)
    try:
        made = pipe.interpolate(keyframes, guidance_scale=2.0)
        plan = pipe.memory.chosen["in-between frames"]
    finally:
        pipe.memory = own
        plan = PassPlan(1)
        plan.apply(pipe.video_unet, CPU)
    assert np.abs(made.astype(int) - expected).max() <= 1
