"""Layers compute the same when a compiler traces them, whatever it then makes of them."""

import copy

import pytest
import torch
from diffusers.models.activations import GEGLU
from diffusers.models.resnet import ResnetBlock2D
from small_networks import randomise
from torch import nn
from torch.nn import functional as F

from paintsundo.models import use_channels_last
from paintsundo.models.attention import attend
from paintsundo.models.compiled_forms import channels_last_group_norm, use_compiled_forms

FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def relative_error(a, b):
    return float((a.double() - b.double()).norm() / b.double().norm())


def with_gradients(function, *tensors):
    leaves = [t.detach().clone(memory_format=torch.preserve_format).requires_grad_() for t in tensors]
    out = function(*leaves)
    weights = torch.empty_like(out).copy_(torch.sin(torch.arange(out.numel(), dtype=out.dtype)).view(out.shape))
    return out.detach(), *torch.autograd.grad((out * weights).sum(), leaves)


def traced(function):
    return torch.compile(function, backend="aot_eager", dynamic=False)


@pytest.mark.parametrize("shape", [(2, 24, 5, 7), (2, 24, 3, 4, 5)])
@pytest.mark.parametrize("mean", [0.0, 100.0])
def test_channels_last_group_norm_is_group_norm_at_least_as_exact(shape, mean):
    torch.manual_seed(0)
    x = (torch.randn(shape) + mean).contiguous(memory_format=FORMATS[len(shape)])
    weight, bias = torch.randn(24), torch.randn(24)

    def group_norm(x, weight, bias):
        return F.group_norm(x, 8, weight, bias, 1e-5)

    expected = with_gradients(group_norm, x.double(), weight.double(), bias.double())
    usual = with_gradients(group_norm, x, weight, bias)
    own = with_gradients(lambda *t: channels_last_group_norm(t[0], 8, t[1], t[2], 1e-5), x, weight, bias)
    for ours, theirs, right in zip(own, usual, expected, strict=True):
        assert relative_error(ours, right) < max(1e-6, 2 * relative_error(theirs, right))
    assert own[0].stride() == own[1].stride() == x.stride()  # both passes keep the layout


def test_group_norm_under_autocast_gives_the_usual_type():
    x = torch.randn(2, 8, 4, 4).contiguous(memory_format=torch.channels_last).bfloat16()
    weight, bias = torch.ones(8), torch.zeros(8)
    with torch.autocast("cpu", torch.bfloat16):
        expected = F.group_norm(x, 4, weight, bias)
        assert channels_last_group_norm(x, 4, weight, bias, 1e-5).dtype == expected.dtype
    assert channels_last_group_norm(x, 4, weight, bias, 1e-5).dtype == torch.bfloat16


@pytest.mark.parametrize("bias", [True, False])
def test_traced_geglu_is_geglu(bias):
    layer = randomise(GEGLU(6, 10, bias=bias))
    fast = copy.deepcopy(layer)
    use_compiled_forms(fast)
    x = torch.randn(3, 4, 6)
    for module in (layer, fast):
        module.out = (traced(module) if module is fast else module)(x)
        module.out.square().sum().backward()
    torch.testing.assert_close(fast.out, layer.out)
    torch.testing.assert_close(fast.proj.weight.grad, layer.proj.weight.grad)


def test_layers_with_adapters_or_hooks_are_called_as_they_are():
    fast = nn.Sequential(randomise(GEGLU(6, 10)))
    use_compiled_forms(fast)
    calls = []
    fast[0].proj.register_forward_pre_hook(lambda *_: calls.append(1))
    traced(fast)(torch.randn(2, 6))
    assert calls


def test_layers_of_derived_classes_stay():
    class Own(nn.GroupNorm):
        pass

    network = nn.ModuleList([Own(2, 4), nn.GroupNorm(2, 4)])
    use_compiled_forms(network)
    assert type(network[0]) is Own
    assert type(network[1]) is not nn.GroupNorm
    assert isinstance(network[1], nn.GroupNorm)


@pytest.mark.parametrize("channels", [8, 12])
def test_residual_block_keeps_layout_and_results(channels):
    block = randomise(ResnetBlock2D(in_channels=8, out_channels=channels, temb_channels=6, groups=4)).train()
    x, embedding = torch.randn(2, 8, 5, 6), torch.randn(2, 6)
    expected = block(x, embedding)
    fast = use_channels_last(copy.deepcopy(block))
    out = fast(x.contiguous(memory_format=torch.channels_last), embedding)
    torch.testing.assert_close(out, expected)
    assert out.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("sequences", "length"), [(12, 16), (24, 5), (7, 16), (6, 33)])
def test_short_sequences_packed_into_tiles_do_not_see_each_other(causal, sequences, length):
    torch.manual_seed(0)
    tokens = [torch.randn(sequences, length, 12) for _ in range(3)]
    expected = with_gradients(lambda q, k, v: attend(q, k, v, heads=3, causal=causal), *tokens)
    packed = with_gradients(traced(lambda q, k, v: attend(q, k, v, heads=3, causal=causal)), *tokens)
    for ours, right in zip(packed, expected, strict=True):
        assert relative_error(ours, right) < 1e-5


def test_sequences_are_packed_only_by_the_compiler(monkeypatch):
    import paintsundo.models.attention as module

    lengths = []
    usual = F.scaled_dot_product_attention
    monkeypatch.setattr(
        module.F, "scaled_dot_product_attention", lambda q, *a, **k: (lengths.append(q.shape[2]), usual(q, *a, **k))[1]
    )
    x = torch.randn(8, 16, 12)
    attend(x, x, x, heads=3)
    assert lengths == [16]  # as it is counted for utilisation
    traced(lambda x: attend(x, x, x, heads=3))(x)
    assert lengths[-1] == 64
