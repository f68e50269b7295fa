"""Convolutions over time as products that accumulate."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from paintsundo.models import fused, temporal_products, use_channels_last
from paintsundo.models.layers import EndsConv, TemporalConv, temporal_conv
from paintsundo.models.resblock_3d import TemporalConvStack
from paintsundo.models.temporal_products import suits_products, three_products


def last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("layout", [last, torch.Tensor.contiguous])
@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("frames", [1, 2, 5])
@torch.no_grad()
def test_products_are_the_convolution(frames, with_bias, layout):
    x = last(torch.randn(2, 6, frames, 7))
    weight, bias = layout(torch.randn(4, 6, 3, 1)), torch.randn(4) if with_bias else None
    out = three_products(x, weight, bias)
    torch.testing.assert_close(out, F.conv2d(x, weight, bias, padding=(1, 0)), rtol=1e-4, atol=1e-5)
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_taps_of_a_network_laid_out_channels_last_lie_as_products_want_them():
    conv = use_channels_last(temporal_conv(8, 16))
    for tap in conv.weight.squeeze(-1).squeeze(-1).unbind(2):
        assert tap.stride() == (24, 1)


def test_which_convolutions_are_products():
    wide, clip = temporal_conv(320, 640).half(), last(torch.zeros(1, 320, 3, 5, dtype=torch.float16))
    assert suits_products(wide, clip)
    assert not suits_products(wide, clip.contiguous().clone(memory_format=torch.contiguous_format))
    assert not suits_products(wide, clip.float())
    assert not suits_products(temporal_conv(320, 640), clip.float())
    assert not suits_products(temporal_conv(64, 64).half(), clip[:, :64])
    assert not suits_products(TemporalConv(320, 320, (5, 1, 1), padding=(2, 0, 0)).half(), clip)
    assert not suits_products(TemporalConv(320, 320, (3, 1, 1)).half(), clip)
    assert not suits_products(TemporalConv(320, 320, (3, 1, 1), padding=(1, 0, 0), groups=2).half(), clip)


@torch.no_grad()
def test_blocks_of_the_network_compute_with_products(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fused, "has_kernels", lambda x: True)
    monkeypatch.setattr(temporal_products, "_NARROWEST", 8)
    monkeypatch.setattr(fused, "kernel_norm", lambda norm, x, shift, silu: _norm(norm, x, shift, silu))
    monkeypatch.setattr(fused, "add", lambda x, y, bias: x + y + bias[:, None, None])
    torch.manual_seed(0)
    stack = use_channels_last(TemporalConvStack(8, 4).eval().bfloat16())
    for parameter in stack.parameters():
        parameter.normal_(0, 0.2)
    frames = last(torch.randn(2 * 5, 8, 4, 3).bfloat16())
    truth = stack.double()(frames.double(), 5)
    plain = stack.bfloat16()(frames, 5)
    made = []
    products = fused.three_products
    monkeypatch.setattr(fused, "three_products", lambda *given: made.append(given) or products(*given))
    stack.fused = True
    out = stack(frames, 5)
    assert len(made) == 4

    def error(x: Tensor) -> float:
        return float((x.double() - truth).norm() / truth.norm())

    assert error(out) < 1.5 * error(plain) < 0.05


def _norm(norm, x, shift, silu):
    x = x if shift is None else x + shift[..., None, None]
    out = F.group_norm(x, norm.num_groups, norm.weight, norm.bias, norm.eps)
    return last(F.silu(out) if silu else out)


def test_the_ends_decoder_keeps_its_own_sums(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fused, "has_kernels", lambda x: True)
    conv = EndsConv(320, 320, (3, 1, 1), padding=(1, 0, 0))
    x = last(torch.randn(1, 320, 4, 2))
    out, bias = fused.convolve(conv, x)
    assert bias is None
    assert torch.equal(out, conv(x))
