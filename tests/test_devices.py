"""Nothing needs CUDA: other devices' paths, as far as a processor can show them."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from paintsundo.diffusion import Guidance, build_scheduler
from paintsundo.errors import UserError
from paintsundo.pipelines.command import main
from paintsundo.pipelines.film import default_options
from paintsundo.pipelines.memory_plan import MemoryPlanner, enforce_cap, free_bytes
from paintsundo.pipelines.placement import Placement, choose_device, choose_dtype
from paintsundo.pipelines.sampling import denoise
from tiny_models import arguments, drawing, pictures


def test_no_film_touches_cuda(tmp_path, monkeypatch):
    """Every function of torch.cuda but the questions whether there is any raises here."""
    asked = {
        "is_available",
        "device_count",
        "is_initialized",
        "is_current_stream_capturing",
        "_is_compiled",
        "_is_in_bad_fork",
    }

    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("torch.cuda was called")

    for name, value in vars(torch.cuda).items():
        if callable(value) and not isinstance(value, type) and name not in asked and not name.startswith("_"):
            monkeypatch.setattr(torch.cuda, name, refused)
    drawing().save(tmp_path / "a.png")
    assert main(arguments(tmp_path / "a.png", tmp_path / "film", "runtime.memory=2GiB")) == 0


class NoDoubles(TorchDispatchMode):
    """Apple's GPUs have no float64: nothing of the sample's size may pass through it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float64:
                assert tensor.numel() < self.size, f"{function} makes float64 {tuple(tensor.shape)}"
        return result


@pytest.mark.parametrize(("stage", "shape"), [("keyframes", (2, 4, 40, 40)), ("video", (2, 4, 16, 16, 16))])
def test_sampling_needs_no_float64(stage, shape):
    scheduler = build_scheduler(getattr(default_options("official"), stage).scheduler, stage)
    with NoDoubles(2 * 4 * 40 * 40):
        streams = [torch.Generator().manual_seed(row) for row in range(2)]
        network = SimpleNamespace(times=[])

        def predict(sample: torch.Tensor, timestep: torch.Tensor, **_: Any) -> torch.Tensor:
            network.times.append(timestep)
            return sample.half() * 0.1

        conditions = {"words": torch.zeros(2, 1)}
        guidance = Guidance(3.0, 0.7)
        out = denoise(
            scheduler, torch.randn(shape), predict, {}, conditions, conditions, guidance, streams, 5, lambda *_: None
        )
    assert out.dtype == torch.float32
    assert out.isfinite().all()
    assert all(time.dtype != torch.float64 for time in network.times)


def test_bfloat16_on_a_processor_makes_the_film(tmp_path):
    """Within rounding of bfloat16: the pictures differ little, nothing is not a number."""
    drawing().save(tmp_path / "a.png")
    for kind in ("float32", "bfloat16"):
        assert main(arguments(tmp_path / "a.png", tmp_path / kind, f"runtime.dtype={kind}", "prompt=x")) == 0
    one, other = (pictures(tmp_path / kind / "a" / "frames").astype(int) for kind in ("float32", "bfloat16"))
    assert one.shape == other.shape
    assert 0 < abs(one - other).mean() < 4


def test_apples_gpu_is_found_and_kept_simple(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    device = choose_device("auto")
    assert device.type == "mps"
    assert choose_dtype("auto", device) == torch.float16
    placement = Placement(device, "auto")
    assert not placement.low  # its memory is the processor's: nothing is gained by moving
    assert free_bytes(device) is None
    enforce_cap(device, 2**30)
    assert MemoryPlanner.from_option(device, "4GiB").budget == 4 * 2**30


def test_amds_gpus_are_cuda_devices(monkeypatch):
    """ROCm's PyTorch calls them cuda: nothing asks for a version of CUDA or a vendor."""
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", "7.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert choose_device("auto").type == "cuda"
    assert choose_device("cuda:0").index == 0
    with pytest.raises(UserError, match="torch finds 1 CUDA devices"):
        choose_device("cuda:1")
