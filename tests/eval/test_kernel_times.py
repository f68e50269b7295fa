"""The measurement of single kernels: interpreted at the smallest sizes, and what it counts."""

import json
from importlib.util import find_spec

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from paintsundo.errors import UserError
from paintsundo.models import UNet3DModel


@pytest.mark.slow
@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_kernels_are_checked_without_a_gpu(tmp_path, evaluate, monkeypatch):
    from support.kernel_cases import CASES

    # Triton reads the variable when kernels are defined: in a process of its own.
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    done = evaluate("benchmark", "kernels", f"output={tmp_path}")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "kernels.json").read_text(encoding="utf-8"))
    assert report["small"] is True
    assert report["memory_rate"] is None
    assert {"torch", "triton"} <= set(report["versions"])
    assert {row["kernel"] for row in report["kernels"]} == set(CASES)
    assert {row["convolution"] for row in report["convolutions"]} == {"spatial", "temporal", "pointwise", "doubled"}
    for row in [*report["kernels"], *report["group_norm_parts"], *report["convolutions"]]:
        assert 0 < row["error"] < 1e-3, row
        assert all(value is None for name, value in row.items() if name.endswith("us"))
    forms = [row["form_error"] for row in report["convolutions"] if row["form"] is not None]
    assert forms
    assert all(0 < error < 1e-3 for error in forms)
    assert (tmp_path / "kernels.md").read_text(encoding="utf-8") in done.stdout


def test_what_cannot_be_measured_is_refused(tmp_path, monkeypatch):
    from benchmark import main
    from support import kernel_run

    arguments = ["kernels", f"output={tmp_path / 'out'}"]
    with pytest.raises(UserError, match="float16, bfloat16"):
        main([*arguments, "dtype=int8"])
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for installed, says in ((True, "TRITON_INTERPRET=1"), (False, "not installed")):
        monkeypatch.setattr(kernel_run, "kernels_installed", lambda installed=installed: installed)
        with pytest.raises(UserError, match=says) as refusal:
            main(arguments)
        assert "\n" not in str(refusal.value)
    assert not (tmp_path / "out").exists()


def test_calls_are_those_of_every_layer():
    from omegaconf import OmegaConf
    from support.kernel_calls import calls_of_a_pass
    from support.random_models import architecture

    calls = calls_of_a_pass(small=True, dtype=torch.float16)
    with torch.device("meta"):
        network = UNet3DModel(**OmegaConf.to_container(architecture("tiny").multi_frame.unet))

    def count(*names):
        return sum(number for call, number in calls.items() if call.name in names)

    def layers(kind, *kernel):
        found = [m for m in network.modules() if isinstance(m, kind)]
        return sum(1 for m in found if not kernel or m.kernel_size == kernel)

    assert count("group_norm") == layers(nn.GroupNorm)
    assert count("layer_norm", "sum_layer_norm") == layers(nn.LayerNorm)
    assert count("temporal") == layers(nn.Conv3d)
    assert count("spatial", "doubled") == layers(nn.Conv2d, 3, 3)
    assert count("pointwise") == layers(nn.Conv2d, 1, 1)
    assert count("doubled") == count("interleave") == count("upsample_kernels") == 1


def test_strides_are_told_of_odd_sizes():
    from support.kernel_calls import recorded

    x = torch.empty(1, 4, 7, 9, device="meta")
    with recorded() as calls:
        for stride in (1, 2):
            F.conv2d(x, torch.empty(6, 4, 3, 3, device="meta"), None, stride, 1)
    assert [call.sizes for call in calls] == [(1, 4, 7, 9, 6, 1), (1, 4, 7, 9, 6, 2)]


def test_wide_convolutions_over_time_are_counted_though_they_are_products():
    from support.kernel_calls import Call, recorded

    from paintsundo.models import fused, use_channels_last
    from paintsundo.models.layers import temporal_conv

    with torch.device("meta"):
        conv = use_channels_last(temporal_conv(320, 640).half())
        x = torch.empty(2, 320, 16, 9, dtype=torch.half).contiguous(memory_format=torch.channels_last)
    with torch.no_grad(), recorded() as calls:
        out, _ = fused.convolve(conv, x)
    assert out.shape == (2, 640, 16, 9)
    assert calls == {Call("temporal", (2, 320, 16, 9, 640)): 1}


def test_sum_of_a_pass():
    from support.kernel_times import sums_of

    row = {"us": 3.0, "torch_us": 8.0, "memory_us": 2.0, "calls": 500}
    assert sums_of([row, row]) == {"ms": 3.0, "torch_ms": 8.0, "memory_ms": 2.0}
    assert sums_of([row, {**row, "us": None}])["ms"] is None
