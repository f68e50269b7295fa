"""Kernels for GPUs, interpreted on a processor: each against its definition in double precision."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed"),
]

# Triton reads the variable when kernels are defined, so that they are interpreted in a process of their own.
CHECKS = """
import sys
import torch
import torch.nn.functional as F
from torch import nn
from diffusers import AutoencoderKL
from paintsundo.models import fused, triton_kernels, triton_launch, triton_layer_norm, triton_norms, triton_upsample
from paintsundo.models import use_channels_last

torch.manual_seed(0)
torch.set_grad_enabled(False)

def error(value, truth):
    return float((value.double() - truth).norm() / truth.norm())

def last(x):
    return x.contiguous(memory_format=torch.channels_last)

assert triton_launch.probe(torch.device("cpu")).tolist() == [1.0]

for dtype, bound in ((torch.float32, 2e-6), (torch.float16, 1e-3)):
    # Few channels of a group, several blocks of rows, more channels than a tile, one row, groups as a whole.
    shapes = [(4, 40, 5, 7), (1, 10, 3, 200), (1, 160, 2, 2), (2, 192, 1, 1), (2, 120, 3, 5)]
    for shape, groups in zip(shapes, (8, 5, 32, 32, 3), strict=True):
        x = last((torch.randn(shape) * 3 + 20).to(dtype))
        weight, bias = torch.randn(2, shape[1]).to(dtype)
        for rows in (None, 1, shape[0]):
            shift = None if rows is None else torch.randn(rows, shape[1]).to(dtype)
            moved = x.double()
            if shift is not None:
                moved = moved + shift.double().repeat_interleave(shape[0] // rows, 0)[..., None, None]
            truth = F.group_norm(moved, groups, weight.double(), bias.double(), 1e-5)
            out = triton_norms.group_norm(x, groups, weight, bias, 1e-5, shift)
            assert error(out, truth) < 10 * bound, (dtype, shape, rows)
            out = triton_norms.group_norm(x, groups, weight, bias, 1e-5, shift, silu=True)
            assert error(out, F.silu(truth)) < 10 * bound
            assert out.is_contiguous(memory_format=torch.channels_last)
    x, y = (last(torch.randn(3, 40, 7, 9).to(dtype)) for _ in range(2))
    bias, mix = torch.randn(40).to(dtype), torch.rand(1).to(dtype)
    added = y.double() + bias.double()[:, None, None]
    assert error(triton_kernels.add(x, y, bias), x.double() + added) < bound
    assert error(triton_kernels.add(x, y, bias, mix), x.double() + mix.double() * added) < bound
    for width, rows in ((40, 7), (320, 3), (1100, 2), (5000, 1)):
        tokens, branch = torch.randn(2, 1, rows, width).to(dtype) * 3 + 20
        weight, bias = torch.randn(2, width).to(dtype)
        for total in (tokens, tokens + branch):
            truth = F.layer_norm(total.double(), (width,), weight.double(), bias.double(), 1e-5)
            given = (None,) if total is tokens else (branch,)
            stored, out = triton_layer_norm.layer_norm(tokens, weight, bias, 1e-5, *given)
            assert torch.equal(stored, total)  # the very sum that is used on
            assert error(out, truth) < 4 * bound, (dtype, width)
    weight, bias = torch.randn(6, 20, 3, 3).to(dtype), torch.randn(6).to(dtype)
    x = last(torch.randn(2, 20, 3, 5).to(dtype))
    truth = F.conv2d(F.interpolate(x.double(), scale_factor=2.0), weight.double(), padding=1)
    for own in (weight, last(weight)):
        parts = last(F.conv2d(x, triton_upsample.kernels(own), padding=1))
        assert error(triton_upsample.interleave(parts, None), truth) < 2 * bound
    out = triton_upsample.interleave(parts, bias)
    assert error(out, truth + bias.double()[:, None, None]) < 2 * bound
    assert out.is_contiguous(memory_format=torch.channels_last)
    projected = torch.randn(2, 3, 100).to(dtype)
    value, gate = projected.double().chunk(2, -1)
    assert error(triton_kernels.geglu(projected), value * F.gelu(gate)) < bound
    for frames in (1, 5, 33):
        query, key, value = torch.randn(2, frames, 2, 3 * 24).to(dtype).chunk(3, -1)
        for causal in (False, True):
            out = triton_kernels.attend_over_time(query, key, value, 2, causal)
            q, k, v = (t.double().unflatten(-1, (2, 12)).permute(0, 2, 3, 1, 4) for t in (query, key, value))
            truth = F.scaled_dot_product_attention(q, k, v, is_causal=causal).permute(0, 3, 1, 2, 4).flatten(3)
            assert error(out, truth) < bound, (dtype, frames, causal)
        other = value.transpose(1, 2).contiguous().transpose(1, 2)
        assert torch.equal(triton_kernels.attend_over_time(query, key, other, 2, True), out)

sys.path.insert(0, sys.argv[1])
from small_networks import randomise, unet_3d, unet_3d_inputs, video_autoencoder

def both(network, call):
    truth = call(network)
    return error(call(fused.set_fused(use_channels_last(network), True)), truth.double())

assert fused.has_kernels(torch.zeros(1))
assert both(randomise(unet_3d()), lambda net: net(*unet_3d_inputs(num_frames=2, batch=1, height=2, width=4))) < 1e-5
# Hooks around any layer are called: weights that are streamed are there only then.
network = fused.set_fused(use_channels_last(randomise(unet_3d())), True)
kinds = (nn.GroupNorm, nn.LayerNorm, nn.Conv2d, nn.Conv3d, nn.Linear)
layers, called = {m for m in network.modules() if isinstance(m, kinds)}, set()
for layer in layers:
    layer.register_forward_pre_hook(lambda module, given: called.add(module))
network(*unet_3d_inputs(num_frames=2, batch=1, height=2, width=4))
assert called == layers
frames = torch.randn(1, 3, 2, 4, 4)
assert both(randomise(video_autoencoder()), lambda net: net(frames)) < 1e-5
pictures = torch.randn(1, 3, 8, 4)
blocks = dict(down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2)
network = randomise(AutoencoderKL(block_out_channels=[16, 24], norm_num_groups=8, latent_channels=3, **blocks))
assert both(network, lambda net: net(pictures).sample) < 1e-5
print("all agree")
"""


def test_kernels_and_the_networks_that_use_them() -> None:
    run = subprocess.run(
        [sys.executable, "-c", CHECKS, str(Path(__file__).parent)],
        env={**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert "all agree" in run.stdout
