"""Compiled and checkpointed training computes what plain training does."""

import copy

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn
from torch._dynamo.testing import CompileCounter

from paintsundo.models import SingleFrameUNet, UNet3DModel
from paintsundo.models.resblock_3d import ResBlock
from paintsundo.settings import config_directory
from paintsundo.training import speed
from paintsundo.training.speed import REGIONS, compile_in_place, prepare_for_speed

NETWORKS = ("single_frame", "multi_frame")


def make(name):
    """A tiny network without dropout, every parameter random."""
    sizes = OmegaConf.to_container(OmegaConf.load(config_directory() / "architecture" / "tiny.yaml")[name].unet)
    torch.manual_seed(0)
    network = UNet3DModel(**sizes | {"dropout": 0.0}) if name == "multi_frame" else SingleFrameUNet(**sizes)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return network.train()


def inputs(name, network):
    generator = torch.Generator().manual_seed(1)

    def noise(*shape):
        return torch.randn(shape, generator=generator)

    if name == "single_frame":
        words = noise(2, 7, network.config.cross_attention_dim)
        return noise(2, 4, 8, 8), torch.tensor([5, 700]), words, torch.tensor([1, 999]), noise(2, 4, 8, 8)
    width = network.config.context_dim
    clip, known = noise(1, 4, 4, 8, 8), noise(1, 4, 4, 8, 8)
    return clip, torch.tensor([400]), noise(1, 7, width), noise(1, 4, 3, width), torch.tensor([3]), known


def output_and_gradients(name, network):
    out = network(*inputs(name, network))
    out = out.sample if name == "single_frame" else out
    out.square().mean().backward()
    return [out.detach(), *(parameter.grad for parameter in network.parameters())]


def assert_close(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert float((a - b).norm()) <= 2e-4 * float(b.norm()) + 1e-6


@pytest.fixture
def only_traced(monkeypatch):
    """Compiled code is traced, forward and backward, but not translated to C++, which takes minutes."""
    usual = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self, **_: usual(self, backend="aot_eager", dynamic=False))
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kind", ["regional", pytest.param("full", marks=pytest.mark.slow)])
def test_compiled_training_gives_the_same_gradients(name, kind, only_traced):
    network = make(name)
    expected = output_and_gradients(name, network)
    fast = make(name)
    prepare_for_speed([fast], compile=kind, channels_last=True)
    assert_close(output_and_gradients(name, fast), expected)
    assert list(fast.state_dict()) == list(network.state_dict())


@pytest.mark.parametrize("name", NETWORKS)
def test_gradient_checkpointing_gives_the_same_gradients(name):
    network, saving = make(name), make(name)
    prepare_for_speed([saving], gradient_checkpointing=True)
    assert saving.is_gradient_checkpointing
    assert_close(output_and_gradients(name, saving), output_and_gradients(name, network))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_gradient_checkpointing_of_compiled_blocks(name, only_traced):
    network, fast = make(name), make(name)
    prepare_for_speed([fast], compile="regional", channels_last=True, gradient_checkpointing=True)
    assert_close(output_and_gradients(name, fast), output_and_gradients(name, network))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_translated_training_gives_the_same_gradients(name):
    network, fast = make(name), make(name)
    prepare_for_speed([fast], compile="regional", channels_last=True)
    assert_close(output_and_gradients(name, fast), output_and_gradients(name, network))
    torch.compiler.reset()


@pytest.mark.parametrize("name", NETWORKS)
def test_regions_are_the_repeated_blocks(name, monkeypatch):
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: compiled.append((self, options)))
    network = make(name)
    blocks = [module for module in network.modules() if isinstance(module, REGIONS)]
    assert compile_in_place(network) == len(blocks) > 5
    assert [module for module, _ in compiled] == blocks
    assert all(options["dynamic"] is False for _, options in compiled)
    compiled.clear()
    assert compile_in_place(network, regional=False) == 1
    assert [module for module, _ in compiled] == [network]


def test_convolutions_over_time_are_translated_once_for_blocks_of_different_inputs():
    counter = CompileCounter()
    blocks = nn.ModuleList(ResBlock(c, 8, 6, dropout=0.0, temporal_conv=True, norm_groups=4) for c in (8, 12, 16))
    embedding = torch.randn(1, 6)
    expected = [block(torch.ones(3, c, 4, 4), embedding, 3) for c, block in zip((8, 12, 16), blocks, strict=True)]
    for block in blocks:
        block.compiled_in_two = True
        nn.Module.compile(block, backend=counter, dynamic=False)
    for c, block, right in zip((8, 12, 16), blocks, expected, strict=True):
        torch.testing.assert_close(block(torch.ones(3, c, 4, 4), embedding, 3), right)
    assert counter.frame_count == 3 + 1
    torch.compiler.reset()


def test_a_network_without_blocks_is_compiled_whole(monkeypatch):
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: compiled.append(self))
    network = nn.Sequential(nn.Linear(2, 3))
    assert compile_in_place(network) == 1
    assert compiled == [network]


def test_compiler_options_are_known_to_torch():
    import torch._inductor.config

    known = torch._inductor.config.get_config_copy()
    assert set(speed.COMPILER_OPTIONS) <= set(known)


def test_channels_last_lays_out_convolutions(monkeypatch):
    network = make("single_frame")
    plain = copy.deepcopy(network)
    prepare_for_speed([network], channels_last=True)
    assert network.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    prepare_for_speed([plain])
    assert plain.conv_in.weight.is_contiguous()


def test_unknown_kind_of_compilation_is_refused():
    with pytest.raises(ValueError, match="none, regional or full"):
        prepare_for_speed([nn.Linear(1, 1)], compile="some")
