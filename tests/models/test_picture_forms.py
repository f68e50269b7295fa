"""The keyframe network's forms for guided sampling give what diffusers' layers give."""

import copy
from typing import Any

import pytest
import torch
from diffusers.models.attention import BasicTransformerBlock
from small_networks import randomise, single_frame_inputs, single_frame_unet
from torch import nn

from paintsundo.models import SingleFrameUNet, fused, set_attention_backend, triton_layer_norm, use_channels_last
from paintsundo.models.context_keys import ContextKeys
from paintsundo.models.feature_reuse import InnerFeatures
from paintsundo.models.picture_forms import RepeatingTransformerBlock, SharedAttention

# Cross-attention at the first level, as published, and only below it.
LEVELS: list[dict[str, Any]] = [
    {},
    {
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    },
    {
        "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        "transformer_layers_per_block": 2,
    },
]


def error(value: torch.Tensor, truth: torch.Tensor) -> float:
    return float((value.double() - truth.double()).norm() / truth.double().norm())


def network(**changes: Any) -> SingleFrameUNet:
    """As the small one of all tests, with other levels."""
    small = single_frame_unet()
    config = {key: value for key, value in small.config.items() if key[0] != "_"}
    return randomise(SingleFrameUNet(**{**config, **changes}))


def plain_and_shared(**changes: Any) -> tuple[SingleFrameUNet, SingleFrameUNet]:
    plain = network(**changes)
    shared = use_channels_last(copy.deepcopy(plain))
    shared.repeat_rows()
    return plain, fused.set_fused(shared, True)


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("embedding", ["added", "none", "token"])
@torch.no_grad()
def test_rows_repeated_and_words_known_beforehand(levels: dict[str, Any], embedding: str) -> None:
    plain, shared = plain_and_shared(**levels, operation_embedding=embedding)
    sample, timestep, words, steps, concat = single_frame_inputs()
    other = words.flip(0) - 1
    both = torch.cat([words, other])
    truth = plain(*(torch.cat([x, x]) for x in (sample, timestep)), both, steps.repeat(2), concat)
    assert error(shared(sample, timestep, both, steps, concat).sample, truth.sample) < 1e-5
    known = shared.project_context(words), shared.project_context(other)
    if embedding == "token":
        assert known[0] is words  # each step's token is one of the words
        return
    joined = known[0].joined(known[1])
    assert isinstance(joined, ContextKeys)
    assert len(joined) == 4
    assert error(shared(sample, timestep, joined, steps, concat).sample, truth.sample) < 1e-5
    # One prompt for all pictures.
    one = shared.project_context(words[:1]).over(2)
    alone = plain(sample, timestep, words[:1].expand(2, -1, -1), steps, concat).sample
    assert error(shared(sample, timestep, one, steps, concat).sample, alone) < 1e-5


@torch.no_grad()
def test_what_sees_no_words_is_computed_once() -> None:
    _, shared = plain_and_shared(**LEVELS[1])
    rows: dict[str, int] = {}
    for name, module in shared.named_modules():
        module.register_forward_hook(
            lambda m, a, out, name=name: rows.update({name: len(out)}) if torch.is_tensor(out) else None
        )
    sample, timestep, words, steps, concat = single_frame_inputs()
    shared(sample, timestep, torch.cat([words, words]), steps, concat)
    first = "down_blocks.0.attentions.0.transformer_blocks.0"
    assert [rows[name] for name in ("conv_in", "down_blocks.0.resnets.0", f"{first}.attn1")] == [2, 2, 2]
    assert [rows[name] for name in (f"{first}.attn2", "down_blocks.1.resnets.0", "conv_out")] == [4, 4, 4]


@torch.no_grad()
def test_self_attention_is_one_product_and_weights_keep_their_names() -> None:
    plain, shared = plain_and_shared()
    assert list(shared.state_dict()) == list(plain.state_dict())
    inputs = single_frame_inputs()
    assert error(shared(*inputs).sample, plain(*inputs).sample) < 1e-5
    attentions = [m for m in shared.modules() if isinstance(m, SharedAttention)]
    alone = [m for m in attentions if not m.is_cross_attention]
    assert len(alone) == len(attentions) / 2 > 0
    for layer in alone:
        assert layer.to_q.weight.untyped_storage().data_ptr() == layer.to_v.weight.untyped_storage().data_ptr()
    assert all(
        torch.equal(a, b) for a, b in zip(plain.state_dict().values(), shared.state_dict().values(), strict=True)
    )


@torch.no_grad()
def test_inner_features_are_kept_for_all_rows() -> None:
    """As in fast mode: whole steps are exact, and others take what was kept, guided or not."""
    _, shared = plain_and_shared(**LEVELS[2])
    sample, timestep, words, steps, concat = single_frame_inputs()
    both = torch.cat([words, words - 1])
    features = InnerFeatures(1)
    features.begin_step(reuse=False)
    whole = shared(sample, timestep, both, steps, concat, features=features).sample
    assert error(whole, shared(sample, timestep, both, steps, concat).sample) < 1e-6
    features.begin_step(reuse=True)
    assert error(shared(sample, timestep, both, steps, concat, features=features).sample, whole) < 1e-5
    features.begin_step(reuse=True)
    assert error(shared(sample, timestep, words, steps, concat, features=features).sample, whole[:2]) < 1e-5


@pytest.mark.parametrize("levels", LEVELS)
@torch.no_grad()
def test_every_norm_of_tokens_goes_through_the_kernel(levels: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    plain, shared = plain_and_shared(**levels)
    sample, timestep, words, steps, concat = single_frame_inputs()
    both = torch.cat([words, words - 1])
    truth = plain(*(torch.cat([x, x]) for x in (sample, timestep)), both, steps.repeat(2), concat).sample
    calls = []

    def layer_norm(tokens: Any, weight: Any, bias: Any, eps: float, branch: Any = None) -> tuple[Any, Any]:
        calls.append(branch is not None)
        total = tokens if branch is None else tokens + branch
        return total, nn.functional.layer_norm(total, weight.shape, weight, bias, eps)

    monkeypatch.setattr(triton_layer_norm, "layer_norm", layer_norm)
    monkeypatch.setattr(fused, "norms_tokens", lambda layer, norm, tokens: layer.fused)
    assert error(shared(sample, timestep, both, steps, concat).sample, truth) < 1e-5
    norms = [m for m in shared.modules() if isinstance(m, nn.LayerNorm)]
    assert len(calls) == len(norms) > 0
    assert sum(calls) == len(norms) * 2 / 3  # all but the first of a block add a residual


@torch.no_grad()
def test_masks_and_options_take_diffusers_way(monkeypatch: pytest.MonkeyPatch) -> None:
    block = randomise(RepeatingTransformerBlock(8, 2, 4, cross_attention_dim=6)).eval()
    block.fused = True
    tokens, words = torch.randn(2, 5, 8), torch.randn(2, 3, 6)
    monkeypatch.setattr(fused, "norms_tokens", lambda layer, norm, tokens: layer.fused)
    taken = []

    def add_norm(layer: Any, norm: nn.Module, tokens: Any, branch: Any = None) -> tuple[Any, Any]:
        taken.append(norm)
        total = tokens if branch is None else tokens + branch
        return total, norm(total)

    monkeypatch.setattr(fused, "add_norm", add_norm)
    truth = BasicTransformerBlock.forward(block, tokens, None, words)
    assert torch.allclose(block(tokens, None, words), truth, atol=1e-6)
    assert len(taken) == 3
    mask = torch.zeros(2, 1, 3)
    mask[:, :, 1:] = -1e4
    masked = block(tokens, encoder_hidden_states=words, encoder_attention_mask=mask)
    assert torch.equal(masked, BasicTransformerBlock.forward(block, tokens, None, words, mask))
    assert not torch.allclose(masked, truth)
    block(tokens, torch.zeros(2, 1, 5), words)
    block.set_chunk_feed_forward(1)
    block(tokens, None, words)
    assert len(taken) == 3


@torch.no_grad()
def test_other_attention_projects_words_itself() -> None:
    plain, shared = plain_and_shared()
    inputs = single_frame_inputs()
    set_attention_backend(shared, "sliced")
    assert shared.project_context(inputs[2]) is inputs[2]
    assert error(shared(*inputs).sample, plain(*inputs).sample) < 1e-5


def test_gradients_take_the_plain_way() -> None:
    plain, shared = plain_and_shared()
    inputs = single_frame_inputs()
    for net in (plain, shared):
        net(*inputs).sample.square().mean().backward()
    for (name, a), b in zip(plain.named_parameters(), shared.parameters(), strict=True):
        assert b.grad is not None, name
        assert torch.allclose(a.grad, b.grad, rtol=1e-3, atol=1e-6), name


@torch.no_grad()
def test_blocks_of_another_kind_are_repeated_as_a_whole() -> None:
    block = RepeatingTransformerBlock(8, 2, 4, cross_attention_dim=6, only_cross_attention=True)
    tokens, words = torch.randn(1, 5, 8), torch.randn(2, 3, 6)
    out = block(tokens, encoder_hidden_states=words)
    assert torch.allclose(out, block(tokens.expand(2, -1, -1), encoder_hidden_states=words), atol=1e-6)
    assert out.shape == (2, 5, 8)
    assert not torch.allclose(out[0], out[1])


def test_layers_with_adapters_are_called() -> None:
    _, shared = plain_and_shared()
    called = set()
    layers = [m for m in shared.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    for layer in layers:
        layer.register_forward_pre_hook(lambda module, _: called.add(module))
    with torch.no_grad():
        shared(*single_frame_inputs())
    assert called == set(layers)
