"""Weights kept in eight bits compute nearly what they did, by every path that reads them."""

from typing import Any

import pytest
import torch
from small_networks import CASES
from torch import nn

from paintsundo.models import use_channels_last
from paintsundo.models.chunking import set_feed_forward_chunks
from paintsundo.models.fused import set_fused
from paintsundo.models.weight_storage import FLOAT8, cast_like, casting_of, is_cast, store_in_float8
from paintsundo.pipelines.offload import stop_streaming, stream_weights
from random_checkpoint import text_encoder

CPU = torch.device("cpu")
STORED = ("single_frame_unet", "unet_3d", "clip_vision", "image_projection")
# A value of three binary digits is off by 2⁻⁴ at most, by 2 % or so on average; networks of random weights, which are
# not trained to be robust, carry it on.
WORST, LEAST = 0.12, 1e-3


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found.float() - expected.float()).norm() / expected.float().norm()).item()


@pytest.fixture(autouse=True)
def no_gradients() -> Any:
    with torch.no_grad():
        yield


@pytest.mark.parametrize("name", STORED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nearly_the_same(name: str, dtype: torch.dtype) -> None:
    case = CASES[name]
    network = case.network().to(dtype)
    expected = case(network, dtype)
    before = {n: p.clone() for n, p in network.named_parameters()}
    store_in_float8(network)
    found = case(network, dtype)
    assert found.dtype == dtype
    assert LEAST < relative_error(found, expected) < WORST
    small = [n for n, p in network.named_parameters() if p.dtype == FLOAT8]
    assert sum(before[n].numel() for n in small) > 0.5 * sum(p.numel() for p in before.values())
    for n, parameter in network.named_parameters():  # after the pass as before
        assert torch.equal(parameter, before[n].to(parameter.dtype)), n
        assert parameter.dtype in (FLOAT8, dtype)
    assert torch.equal(case(network, dtype), found)


def test_text_encoders_are_too() -> None:
    encoder, words = text_encoder(20).eval(), torch.arange(77)[None]
    expected = encoder(words).last_hidden_state
    store_in_float8(encoder)
    assert LEAST < relative_error(encoder(words).last_hidden_state, expected) < WORST


@pytest.mark.parametrize("name", STORED)
def test_norms_and_embeddings_keep_their_digits(name: str) -> None:
    network = store_in_float8(CASES[name].network())
    for path, module in network.named_modules():
        kept = isinstance(module, (nn.GroupNorm, nn.LayerNorm, nn.Embedding)) or "embed" in path
        own = {p.dtype for p in module.parameters(recurse=False)}
        assert not kept or own <= {torch.float32}, path
    names = {n for n, p in network.named_parameters() if p.dtype == torch.float32}
    if name == "single_frame_unet":
        assert {"conv_in.weight", "conv_out.weight", "time_embedding.linear_1.weight"} <= names
    if name == "unet_3d":
        assert {"input_blocks.0.0.weight", "out.2.weight", "fps_embedding.0.weight"} <= names


def test_once_is_enough() -> None:
    network = CASES["unet_3d"].network()
    assert not is_cast(network)
    store_in_float8(network)
    hooks = {name: casting_of(module) for name, module in network.named_modules()}
    assert is_cast(network)
    store_in_float8(network)
    assert hooks == {name: casting_of(module) for name, module in network.named_modules()}
    other = nn.Linear(3, 3)
    cast_like(other, nn.Linear(3, 3))
    assert other.weight.dtype == torch.float32
    cast_like(other, next(m for m in network.modules() if casting_of(m) is not None))
    assert other.weight.dtype == FLOAT8
    assert other(torch.ones(2, 3)).dtype == torch.float32


@pytest.mark.parametrize("name", ["single_frame_unet", "unet_3d"])
def test_fast_forms_compute_the_same_of_such_layers(name: str) -> None:
    """Fused projections, halves of GEGLU, sub-pixel upsampling, biases left to later: none may read eight bits."""
    case = CASES[name]
    plain = store_in_float8(case.network())
    expected = case(plain)
    network = use_channels_last(case.network())
    if name == "single_frame_unet":
        network.repeat_rows()
    set_fused(network, True)
    store_in_float8(network)
    assert relative_error(case(network), expected) < 1e-5
    set_feed_forward_chunks(network, 500)
    assert relative_error(case(network), expected) < 1e-5
    inputs = list(case.inputs())
    if name == "single_frame_unet":
        inputs[2] = network.project_context(inputs[2])
        assert relative_error(network(*inputs).sample, expected) < 1e-5
    else:
        inputs[2:4] = network.project_context(inputs[2], inputs[3]), None
        assert relative_error(network(*inputs), expected) < 1e-5


@pytest.mark.parametrize("name", ["single_frame_unet", "unet_3d"])
def test_streamed_in_eight_bits(name: str, tmp_path: Any) -> None:
    """What waits is NaN here, so that nothing is used unfetched; the files hold one byte a weight."""
    case = CASES[name]
    network = store_in_float8(case.network())
    expected = case(network)
    size = sum(p.nbytes for p in network.parameters())
    stream_weights(network, CPU, tmp_path)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 1.2 * size + 20_000
    for _ in range(2):
        for parameter in network.parameters():
            parameter.data = torch.full_like(parameter.data, float("nan"))
        assert torch.equal(case(network), expected)


@pytest.mark.parametrize("name", ["single_frame_unet", "unet_3d"])
def test_streaming_ends_and_casting_stays(name: str) -> None:
    case = CASES[name]
    network = store_in_float8(case.network())
    expected = case(network)
    stream_weights(network, CPU)
    assert torch.equal(case(network), expected)
    stop_streaming(network)
    assert is_cast(network)
    assert torch.equal(case(network), expected)
