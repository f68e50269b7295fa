"""What every network must stand: copying, pickling, compilation, checkpointing, half precision, saving."""

import copy
import json
import pickle

import pytest
import torch
from peft import LoraConfig
from small_networks import CASES
from torch import nn

from paintsundo.models import use_channels_last


def relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return ((actual.float() - expected.float()).abs().max() / expected.float().abs().max()).item()


@torch.no_grad()
def test_output_depends_on_every_input(case):
    network = case.network()
    expected = case(network)
    assert expected.isfinite().all()
    for i, x in enumerate(case.inputs()):
        changed = list(case.inputs())
        changed[i] = x.flip(0) if x.shape[0] > 1 else x * 0.5
        out = network(*changed)
        out = out if isinstance(out, torch.Tensor) else out[0]
        assert relative_error(out, expected) > 1e-3, f"input {i} changes nothing"


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_copies_are_independent_and_equal(case, how, checkpointing):
    network = case.network()
    if checkpointing:
        network.enable_gradient_checkpointing()
    clone = copy.deepcopy(network) if how == "deepcopy" else pickle.loads(pickle.dumps(network))
    with torch.no_grad():
        expected = case(network)
        assert torch.equal(case(clone), expected)
        for parameter in network.parameters():
            parameter.zero_()
        assert torch.equal(case(clone), expected), "the copy runs on the original's weights"


DIFFUSERS_NETWORKS = [name for name in CASES if name != "clip_vision"]  # that one is of transformers
TRACED_IN_SECONDS = {"clip_vision", "image_projection"}


@pytest.mark.parametrize(
    "name", [n if n in TRACED_IN_SECONDS else pytest.param(n, marks=pytest.mark.slow) for n in CASES]
)
@torch.no_grad()
def test_compiles_without_graph_breaks(name):
    case = CASES[name]
    network = case.network()
    torch._dynamo.reset()
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    assert relative_error(case(compiled), case(network)) < 1e-6


@pytest.mark.parametrize("name", DIFFUSERS_NETWORKS)
@torch.no_grad()
def test_compiles_block_by_block(name):
    case = CASES[name]
    network = case.network()
    expected = case(network)
    torch._dynamo.reset()
    network.compile_repeated_blocks(backend="eager", fullgraph=True)
    assert relative_error(case(network), expected) < 1e-6


def test_no_split_modules_name_classes_of_the_network(case):
    network = case.network()
    classes = {type(module).__name__ for module in network.modules()}
    named = set(network._no_split_modules)
    assert named & classes


def test_gradient_checkpointing_changes_nothing(case):
    network = case.network().train()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    calls = _count_calls(network)
    plain = _gradients(network, case)
    calls_without = sum(calls.values())
    calls.clear()
    network.enable_gradient_checkpointing()
    checkpointed = _gradients(network, case)
    assert sum(calls.values()) > 1.5 * calls_without, "hardly anything was recomputed"
    network.disable_gradient_checkpointing()
    assert plain.keys() == checkpointed.keys()
    assert plain
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def _gradients(network, case):
    """Gradients by parameter name; parameters without one are left out."""
    network.zero_grad(set_to_none=True)
    case(network).square().mean().backward()
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


def _count_calls(network):
    """A running count of calls of every layer without children."""
    calls = {}
    for name, module in network.named_modules():
        if not list(module.children()):
            module.register_forward_pre_hook(
                lambda module, args, name=name: calls.__setitem__(name, calls.get(name, 0) + 1)
            )
    return calls


UNUSED = {
    "video_autoencoder": {"post_quant_conv.weight", "post_quant_conv.bias"},
    "clip_vision": {
        "vision_model.post_layernorm.weight",
        "vision_model.post_layernorm.bias",
        "visual_projection.weight",
    },
}


@pytest.mark.parametrize("name", CASES)
def test_every_used_parameter_gets_a_gradient(name):
    network = CASES[name].network().train()
    gradients = _gradients(network, CASES[name])
    silent = {n for n, _ in network.named_parameters() if n not in gradients or not gradients[n].any()}
    assert silent == UNUSED.get(name, set())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_half_precision(case, dtype):
    network = case.network()
    expected = case(network)
    out = case(network.to(dtype), dtype)
    assert out.dtype == dtype
    assert out.isfinite().all()
    assert relative_error(out, expected) < (0.02 if dtype == torch.float16 else 0.15)


@torch.no_grad()
def test_channels_last_changes_nothing(case):
    network = case.network()
    expected = case(network)
    assert relative_error(case(use_channels_last(network)), expected) < 1e-5


@pytest.mark.parametrize("name", DIFFUSERS_NETWORKS)
@torch.no_grad()
def test_layerwise_casting(name):
    """Weights of convolutions and linear layers kept in 8 bits, computed in 32."""
    case = CASES[name]
    network = case.network()
    expected = case(network)
    network.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    assert torch.float8_e4m3fn in {p.dtype for p in network.parameters()}
    error = relative_error(case(network), expected)
    assert 1e-4 < error < 0.5


@pytest.mark.parametrize("name", ["single_frame_unet", "unet_3d"])
def test_low_rank_adapters(name):
    """LoRA on attention and on convolutions, over time included: nothing at first, then its own gradients."""
    case = CASES[name]
    network = case.network()
    expected = case(network).detach()
    convolutions = {"single_frame_unet": ["conv1"], "unet_3d": ["in_layers.2", "conv4.3", "op", "proj_in"]}[name]
    network.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_k", "to_v", "to_out.0", *convolutions]))
    torch.testing.assert_close(case(network), expected, rtol=1e-5, atol=1e-5)
    case(network).square().mean().backward()
    trained = {n for n, p in network.named_parameters() if p.grad is not None}
    assert trained
    assert all(".lora_" in n for n in trained)
    assert all(p.grad.any() for n, p in network.named_parameters() if ".lora_B." in n)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@torch.no_grad()
def test_saves_and_loads(case, tmp_path, dtype):
    network = case.network()
    network.save_pretrained(tmp_path, torch_dtype=dtype)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", network.weights_file}
    loaded = type(network).from_pretrained(tmp_path)
    assert not loaded.training
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    for (name, a), (_, b) in zip(network.state_dict().items(), loaded.state_dict().items(), strict=True):
        assert torch.equal(a.to(dtype).float(), b), name
    expected = case(network)
    assert relative_error(case(loaded), expected) < (1e-6 if dtype == torch.float32 else 2e-2)
    again = tmp_path / "again"
    loaded.save_pretrained(again)
    configs = [json.loads((folder / "config.json").read_text()) for folder in (tmp_path, again)]
    assert {**configs[0], "dtype": None} == {**configs[1], "dtype": None}
