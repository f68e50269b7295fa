"""Fast forms of inference give what the plain layers give, in both networks, all windows and number types."""

import copy
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from kernel_stand_ins import stand_in
from small_networks import randomise, single_frame_inputs, single_frame_unet, unet_3d, unet_3d_inputs, video_autoencoder
from torch import nn
from torch.nn import functional as F

from paintsundo.models import fused, triton_launch, triton_layer_norm, use_channels_last
from paintsundo.models.attention_window import ATTENTION_WINDOWS
from paintsundo.models.resblock_3d import ResBlock, Upsample


def error(value: torch.Tensor, truth: torch.Tensor) -> float:
    return float((value.double() - truth.double()).norm() / truth.double().norm())


def plain_and_fast(network: Any) -> tuple[Any, Any]:
    fast = fused.set_fused(use_channels_last(copy.deepcopy(network)), True)
    return network, fast


@pytest.mark.parametrize("window", ATTENTION_WINDOWS)
@pytest.mark.parametrize("batch", [1, 2])
@torch.no_grad()
def test_3d_unet_in_every_window(window: str, batch: int) -> None:
    plain, fast = plain_and_fast(randomise(unet_3d()))
    inputs = unet_3d_inputs(batch=batch)
    truth = plain.double()(*(x.double() if x.is_floating_point() else x for x in inputs), attention_window=window)
    assert error(fast(*inputs, attention_window=window), truth) < 1e-5


@torch.no_grad()
def test_bfloat16_is_no_further_from_the_truth_than_plain_bfloat16() -> None:
    for network, inputs in ((unet_3d(), unet_3d_inputs()), (single_frame_unet(), single_frame_inputs())):
        plain, fast = plain_and_fast(randomise(network))
        truth = sample(plain(*inputs))
        halves = [x.bfloat16() if x.is_floating_point() else x for x in inputs]
        errors = [error(sample(net.bfloat16()(*halves)), truth) for net in (plain, fast)]
        assert 0 < errors[1] < 1.3 * errors[0]


@torch.no_grad()
def test_single_frame_unet() -> None:
    plain, fast = plain_and_fast(randomise(single_frame_unet()))
    inputs = single_frame_inputs()
    assert error(sample(fast(*inputs)), sample(plain(*inputs))) < 1e-5


@pytest.mark.parametrize("batch", [1, 2])
@torch.no_grad()
def test_temporal_autoencoder(batch: int) -> None:
    plain, fast = plain_and_fast(randomise(video_autoencoder()))
    frames = torch.randn(batch, 3, 5, 16, 24, generator=torch.Generator().manual_seed(3))
    latents, hidden = fast.encode(frames)
    expected, states = plain.encode(frames)
    assert error(latents, expected) < 1e-5
    assert all(error(a, b) < 1e-5 for a, b in zip(hidden, states, strict=True))
    assert error(fast.decode(latents, hidden), plain.decode(expected, states)) < 1e-5


@pytest.mark.parametrize("window", ["none", "roll"])
@torch.no_grad()
def test_context_once_and_rows_repeated(window: str) -> None:
    _, fast = plain_and_fast(randomise(unet_3d()))
    x, timesteps, text, image, fs, concat = unet_3d_inputs(batch=2)
    other, grey = text.flip(0) + 1, image.flip(0) - 1
    twice = [torch.cat([value, value]) for value in (x, timesteps, fs, concat)]
    both = fast(twice[0], twice[1], torch.cat([text, other]), torch.cat([image, grey]), *twice[2:], window)
    keys = fast.project_context(text, image).joined(fast.project_context(other, grey))
    assert len(keys) == 4
    assert error(fast(x, timesteps, keys, None, fs, concat, window), both) < 1e-5
    one = fast.project_context(text[:1], image[:1])
    assert one.over(2) is one.over(2)
    alone = fast(x, timesteps, text[:1].expand(2, -1, -1), image[:1].expand(2, -1, -1, -1), fs, concat, window)
    assert error(fast(x, timesteps, one.over(2), None, fs, concat, window), alone) < 1e-5
    with pytest.raises(ValueError, match="3 rows of words for 2 clips"):
        fast(x, timesteps, torch.cat([text, text[:1]]), torch.cat([image, image[:1]]), fs, concat)


@torch.no_grad()
def test_doubled_pictures_are_never_made() -> None:
    conv = nn.Conv2d(5, 7, 3, padding=1)
    x = torch.randn(2, 5, 6, 9).contiguous(memory_format=torch.channels_last)
    out = fused.upsample_convolve(conv, x)
    assert error(out, conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))) < 1e-6
    assert out.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("other", [{"padding_mode": "circular"}, {"dilation": 2}])
@torch.no_grad()
def test_other_convolutions_are_computed_as_they_are(other: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Upsample(5).eval()
    plain.conv = nn.Conv2d(5, 5, 3, padding=1, **other)
    fast = fused.set_fused(use_channels_last(copy.deepcopy(plain)), True)
    x = torch.randn(2, 5, 6, 9).contiguous(memory_format=torch.channels_last)
    assert error(fast(x, (12, 18)), plain(x, (12, 18))) < 1e-6
    monkeypatch.setattr(fused, "has_kernels", lambda x: True)
    out, bias = fused.convolve(fast.conv, x)
    assert error(out if bias is None else out + bias[:, None, None], plain.conv(x)) < 1e-6


def residual_block(dropout: float = 0.0) -> tuple[Any, tuple[Any, ...]]:
    """A block that changes channels, and its inputs: 4 frames of one clip."""
    block = randomise(ResBlock(8, 16, 12, dropout, True, 4))
    frames = torch.randn(4, 8, 5, 6).contiguous(memory_format=torch.channels_last)
    return block, (frames, torch.randn(1, 12), 4)


@torch.no_grad()
def test_hooks_may_give_other_values_and_layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    block, given = residual_block()
    adding = (block.out_layers[-1], block.temopral_conv.conv4[-1])  # their bias is left to the kernel of the sum
    for layer in block.modules():
        if isinstance(layer, nn.GroupNorm):
            layer.register_forward_hook(lambda module, given, out: 2 * out)
        elif isinstance(layer, (nn.Conv2d, nn.Conv3d)) and layer not in adding:
            layer.register_forward_hook(lambda module, given, out: out.contiguous())
    plain, fast = plain_and_fast(block)
    truth = plain(*given)
    stand_in(monkeypatch)
    assert error(fast(*given), truth) < 1e-6


@torch.no_grad()
def test_dropout_in_training_is_not_left_out() -> None:
    block, given = residual_block(dropout=0.5)
    fused.set_fused(use_channels_last(block), True)
    assert torch.equal(block(*given), block(*given))
    block.train()
    assert not torch.equal(block(*given), block(*given))


class Layer(nn.Module):
    fused = True


@torch.no_grad()
def test_which_norms_of_tokens_the_kernel_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, tokens = Layer(), torch.randn(2, 3, 8)
    assert not fused.norms_tokens(layer, nn.LayerNorm(8), tokens)  # no GPU
    monkeypatch.setattr(fused, "has_kernels", lambda x: not x.is_meta)
    assert fused.norms_tokens(layer, nn.LayerNorm(8), tokens)
    hooked, wrapped, derived = nn.LayerNorm(8), nn.LayerNorm(8), type("Derived", (nn.LayerNorm,), {})(8)
    hooked.register_forward_pre_hook(lambda module, given: None)
    wrapped.forward = wrapped.forward  # as accelerate and diffusers do
    for norm in (hooked, wrapped, derived, nn.LayerNorm(8, bias=False), nn.LayerNorm(8, elementwise_affine=False)):
        assert not fused.norms_tokens(layer, norm, tokens)
    plain = nn.LayerNorm(8)
    for others in (tokens.double(), tokens.half(), tokens.transpose(0, 1), tokens[:0], tokens.to("meta")):
        assert not fused.norms_tokens(layer, plain, others)
    assert not fused.norms_tokens(layer, nn.LayerNorm((3, 8)), tokens)
    with torch.autocast("cpu"):
        assert not fused.norms_tokens(layer, plain, tokens)
    with torch.enable_grad():
        assert not fused.norms_tokens(layer, plain, tokens)
    layer.fused = False
    assert not fused.norms_tokens(layer, plain, tokens)


@torch.no_grad()
def test_sum_and_norm_are_those_of_the_plain_layers() -> None:
    norm, (tokens, branch) = randomise(nn.LayerNorm(8)).half(), torch.randn(2, 2, 3, 8).half()
    total, normed = fused.add_norm(Layer(), norm, tokens, branch)
    assert torch.equal(total, tokens + branch)
    assert torch.equal(normed, norm(tokens + branch))
    same, normed = fused.add_norm(Layer(), norm, tokens)
    assert same is tokens
    assert torch.equal(normed, norm(tokens))


@pytest.mark.parametrize("rows", [1, 2])
@torch.no_grad()
def test_every_norm_of_tokens_in_the_3d_unet_goes_through_the_kernel(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, fast = plain_and_fast(randomise(unet_3d()))
    x, timesteps, text, image, fs, concat = unet_3d_inputs(batch=2)
    truth = plain(x, timesteps, text, image, fs, concat)
    calls = count_norms(monkeypatch)
    out = fast(x[:rows], timesteps[:rows], text, image, fs[:rows], concat[:rows])
    if rows == 2:
        assert error(out, truth) < 1e-5
    assert error(out[:1], truth[:1]) < 1e-5
    norms = [m for m in fast.modules() if isinstance(m, nn.LayerNorm)]
    assert len(calls) == len(norms) > 0
    assert sum(calls) == len(norms) * 2 / 3  # all but the first of a block add a residual


def count_norms(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Stand in for the kernel; whether each call adds."""
    calls = []

    def layer_norm(
        tokens: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float, branch: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        calls.append(branch is not None)
        total = tokens if branch is None else tokens + branch
        return total, F.layer_norm(total, weight.shape, weight, bias, eps)

    monkeypatch.setattr(triton_layer_norm, "layer_norm", layer_norm)
    monkeypatch.setattr(fused, "norms_tokens", lambda layer, norm, tokens: layer.fused)
    return calls


@torch.no_grad()
def test_kernels_of_one_are_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "has_kernels", lambda x: True)
    x = torch.randn(2, 5, 6, 9).contiguous(memory_format=torch.channels_last)
    for conv in (nn.Conv2d(5, 7, 1), nn.Conv2d(5, 7, 1, bias=False), nn.Conv2d(5, 7, 3), nn.Conv2d(5, 7, 1, stride=2)):
        for weights in (conv, copy.deepcopy(conv).to(memory_format=torch.channels_last)):
            out = fused.pointwise(weights, x)
            assert error(out, conv(x)) < 1e-6
            assert out.is_contiguous(memory_format=torch.channels_last)
    called = []
    conv.register_forward_hook(lambda module, given, out: called.append(module))
    fused.pointwise(conv, x)
    assert called == [conv]
    assert fused.pointwise(nn.Identity(), x) is x


def test_weights_keep_their_names_and_are_stored_once() -> None:
    network = randomise(unet_3d())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fused.set_fused(use_channels_last(network), True)
    with torch.no_grad():
        network(*unet_3d_inputs())
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    attention = next(m for m in network.modules() if hasattr(m, "to_k_ip") is False and hasattr(m, "to_q"))
    assert attention.to_q.weight.untyped_storage().data_ptr() == attention.to_v.weight.untyped_storage().data_ptr()
    moved = copy.deepcopy(network).double().float()
    with torch.no_grad():
        assert error(moved(*unet_3d_inputs()), network(*unet_3d_inputs())) < 1e-6


def test_gradients_take_the_plain_way() -> None:
    plain, fast = plain_and_fast(randomise(unet_3d()))
    inputs = unet_3d_inputs()
    fast(*inputs).square().mean().backward()
    plain(*inputs).square().mean().backward()
    for (name, a), b in zip(plain.named_parameters(), fast.parameters(), strict=True):
        assert b.grad is not None, name
        assert torch.allclose(a.grad, b.grad, rtol=1e-3, atol=1e-6), name


@torch.no_grad()
def test_adapters_and_hooks_are_called() -> None:
    _, fast = plain_and_fast(randomise(unet_3d()))
    layers = [m for m in fast.modules() if isinstance(m, (nn.Conv2d, nn.Conv3d, nn.Linear))]
    called = set()
    for layer in layers:
        layer.register_forward_pre_hook(lambda module, _: called.add(module))
    fast(*unet_3d_inputs())
    assert called == set(layers)


def sample(output: Any) -> torch.Tensor:
    return getattr(output, "sample", output)


def test_kernels_that_cannot_be_compiled_are_left_out_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def probe(device: torch.device) -> None:
        tried.append(device)
        raise RuntimeError("Failed to find C compiler.\nPlease specify")

    monkeypatch.setattr(triton_launch, "probe", probe)
    monkeypatch.setattr(fused, "kernels_installed", lambda: True)
    on_gpu: Any = SimpleNamespace(is_meta=False, is_cuda=True, device=torch.device("cuda", 7))
    fused.kernels_work.cache_clear()
    with pytest.warns(UserWarning, match=r"films take longer: .*\(Failed to find C compiler\.\); it needs"):
        assert not fused.has_kernels(on_gpu)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not fused.has_kernels(on_gpu)
    assert tried == [torch.device("cuda", 7)]  # once for each device
    monkeypatch.setattr(triton_launch, "probe", tried.append)
    on_gpu.device = torch.device("cuda", 6)
    assert fused.has_kernels(on_gpu)
    fused.kernels_work.cache_clear()
