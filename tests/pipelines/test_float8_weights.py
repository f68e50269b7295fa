"""`runtime.weights=float8`: counted by the planner, refused where it cannot be, recorded, nearly the same film."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from paintsundo import PaintsUndoPipeline
from paintsundo.errors import UserError
from paintsundo.metrics.report import finite_psnr
from paintsundo.models import SingleFrameUNet, UNet3DModel, use_channels_last
from paintsundo.models.fused import set_fused
from paintsundo.models.weight_storage import FLOAT8, is_cast, store_in_float8
from paintsundo.pipelines.command import main
from paintsundo.pipelines.film import default_options
from paintsundo.pipelines.memory_needs import MemoryNeeds, shape_twin
from paintsundo.pipelines.memory_plan import GiB, MemoryPlanner
from paintsundo.pipelines.memory_trace import activation_bytes, weight_bytes
from paintsundo.pipelines.offload import is_streamed, stop_streaming, stream_weights, streamed_bytes
from paintsundo.pipelines.options import RuntimeOptions
from paintsundo.pipelines.speed import prepare_network
from paintsundo.settings import config_directory
from random_checkpoint import multi_frame, single_frame
from tiny_models import arguments, drawing, pictures

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
HEIGHT, WIDTH, FRAMES, PAIRS = 448, 384, 16, 7  # the default film's clips


def published(float8: bool) -> SimpleNamespace:
    """The published UNets in float16 without values, prepared as on a GPU."""
    sizes: Any = OmegaConf.to_container(OmegaConf.load(config_directory() / "architecture" / "official.yaml"))
    torch.set_default_dtype(torch.float16)
    try:
        with torch.device("meta"):
            networks = SimpleNamespace(
                keyframes=SingleFrameUNet(**sizes["single_frame"]["unet"]),
                video=UNet3DModel(**sizes["multi_frame"]["unet"]),
            )
    finally:
        torch.set_default_dtype(torch.float32)
    for network in vars(networks).values():
        set_fused(use_channels_last(network.eval().requires_grad_(False)), True)
        if float8:
            store_in_float8(network)
    return networks


@pytest.fixture(scope="module")
def full() -> SimpleNamespace:
    return published(False)


@pytest.fixture(scope="module")
def small() -> SimpleNamespace:
    return published(True)


def test_half_of_the_weights(full: SimpleNamespace, small: SimpleNamespace) -> None:
    for name in ("keyframes", "video"):
        whole, half = getattr(full, name), getattr(small, name)
        assert weight_bytes(half) < 0.51 * weight_bytes(whole)
        assert streamed_bytes(half) < 0.52 * streamed_bytes(whole)


def test_networks_stay_that_were_streamed(full: SimpleNamespace, small: SimpleNamespace) -> None:
    """The default film under 2.5 GiB: without float8 the weights of the video network come block by block."""
    plans = {}
    vae: Any = SimpleNamespace(downsampling=8)
    for name, networks in (("full", full), ("small", small)):
        planner = MemoryPlanner(CUDA, int(2.5 * GiB), strict=True)
        plans[name] = planner.video(networks.video, vae, PAIRS, FRAMES, HEIGHT, WIDTH, True)
        assert plans[name].bytes is not None
        assert plans[name].bytes <= 2.5 * GiB
    assert plans["full"].streamed
    assert not plans["small"].streamed
    assert next(planner.lines()).startswith("memory: 2.50 GiB")
    assert planner.record()["plans"]["in-between frames"]["streamed"] is False


def test_the_layer_at_work_is_counted() -> None:
    """Beside the activations: its weights in full, as they come and, in eight bits again, as they go."""
    network = nn.Sequential(nn.Linear(64, 1024, bias=False), nn.Linear(1024, 64, bias=False)).to("meta")
    store_in_float8(network)
    rows, layer = 10, 64 * 1024
    for _ in range(2):
        peak = activation_bytes(lambda: network(torch.zeros(rows, 64)), [network])
        # Leaving: in full, and both forms in eight bits but that the old one is gone; input, inner and last result.
        assert peak == 4 * layer + 4 * rows * (64 + 1024 + 64)


def test_counted_is_what_is_allocated() -> None:
    """The profiler's record of a real pass on this processor is the judge."""
    network = store_in_float8(multi_frame().unet.eval().requires_grad_(False))
    frames, size = 8, (64, 48)
    latents = torch.randn(1, 5, frames, *size)
    given = (latents, torch.zeros(1), torch.randn(1, 77, 12), torch.randn(1, frames, 16, 12), None, latents)
    with torch.no_grad():
        network(*given)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            network(*given)
    live = peak = 0
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    counted = MemoryNeeds().video_unet(network, 1, frames, size, "none", None)
    inputs = sum(tensor.nbytes for tensor in given if tensor is not None)
    assert counted == pytest.approx(peak + inputs, rel=0.1)


@pytest.mark.parametrize("streamed", [False, True])
def test_twins_cast_and_leave_the_network_alone(streamed: bool, tmp_path: Path) -> None:
    network = store_in_float8(single_frame().unet.eval().requires_grad_(False))
    if streamed:
        stream_weights(network, CPU, tmp_path)
    needs, own = MemoryNeeds(), MemoryNeeds()
    twin = shape_twin(network)
    assert is_cast(twin)
    assert not is_streamed(twin)
    assert all(parameter.is_meta for parameter in twin.parameters())
    assert {n: p.dtype for n, p in twin.named_parameters()} == {n: p.dtype for n, p in network.named_parameters()}
    found = needs.keyframe_unet(network, 3, (8, 8), None)
    assert not any(parameter.is_meta for parameter in network.parameters())
    if streamed:
        stop_streaming(network)
    assert own.keyframe_unet(network, 3, (8, 8), None) == found


def test_which_networks_are_stored_so() -> None:
    parts = {**single_frame().networks(), **multi_frame().networks()}
    parts["keyframe unet"], parts["keyframe vae"] = single_frame().unet, single_frame().vae
    for name, network in parts.items():
        prepare_network(network, RuntimeOptions(weights="float8"), CPU)
        assert is_cast(network) is ("vae" not in name), name
    for network in single_frame().networks().values():
        prepare_network(network, RuntimeOptions(), CPU)
        assert not is_cast(network)


def test_what_it_cannot_be_with() -> None:
    options = default_options("bundled")
    options.input, options.output = "a", "b"
    options.runtime.weights = "float8"
    options.check()
    options.runtime.compile, options.runtime.graphs = "regional", True
    message = r"runtime\.weights=float8 does not go with runtime\.compile=regional and runtime\.graphs=true: "
    with pytest.raises(UserError, match=message):
        options.check()
    with pytest.raises(UserError, match=message):
        prepare_network(nn.Linear(2, 2), options.runtime, CPU)
    with pytest.raises(UserError, match=r"runtime\.weights cannot be 'int4': choose from full, float8"):
        prepare_network(nn.Linear(2, 2), RuntimeOptions(weights="int4"), CPU)
    with pytest.raises(UserError, match="Apple"):
        prepare_network(nn.Linear(2, 2), RuntimeOptions(weights="float8"), torch.device("mps"))


def test_films_are_nearly_the_same(checkpoint: Path) -> None:
    """Of random weights, which are rounded worse than trained ones: docs/performance.md has those."""
    made = []
    for weights in ("full", "float8"):
        options = default_options("official")
        options.runtime.device, options.runtime.weights = "cpu", weights
        options.keyframes.operation_steps, options.keyframes.width, options.keyframes.height = [300, 700], 20, 28
        options.video.buckets = [[24, 16], [16, 24]]
        options.keyframes.num_inference_steps = options.video.num_inference_steps = 3
        pipe = PaintsUndoPipeline.from_pretrained(checkpoint, checkpoint, checkpoint, options=options)
        pipe.set_progress_bar_config(disable=True)
        made.append(pipe(drawing(), "1girl").frames)
    psnr = [finite_psnr(one, other) for one, other in zip(*made, strict=True)]
    assert not np.array_equal(*made)
    assert min(psnr) > 22


def test_the_record_says_so_and_other_weights_are_another_film(tmp_path: Path, capsys: Any) -> None:
    file, output = tmp_path / "a.png", tmp_path / "films"
    drawing().save(file)
    assert main(arguments(file, output, "runtime.weights=float8")) == 0
    record = json.loads((output / "a" / "run.json").read_text())
    assert record["configuration"]["runtime"]["weights"] == "float8"
    first = pictures(output / "a" / "frames")
    capsys.readouterr()
    assert main(arguments(file, output, "runtime.weights=float8")) == 0
    assert "kept" in capsys.readouterr().err
    assert main(arguments(file, output)) == 2
    assert "weights" in capsys.readouterr().err
    assert main(arguments(file, output, "overwrite=true")) == 0
    assert not np.array_equal(pictures(output / "a" / "frames"), first)


def test_inputs_are_cast_to_what_a_network_computes_in() -> None:
    unet = store_in_float8(single_frame().unet.eval().requires_grad_(False).bfloat16())
    assert {p.dtype for p in unet.parameters()} == {FLOAT8, torch.bfloat16}
    assert unet.dtype == torch.bfloat16
