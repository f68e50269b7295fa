"""Ways to compute attention: equal results, for every network."""

import sys
from types import SimpleNamespace

import pytest
import torch
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import AttnProcessor2_0, SlicedAttnProcessor
from small_networks import CASES, randomise

from paintsundo.models import attention as attention_module
from paintsundo.models import attention_backend as backend_module
from paintsundo.models import set_attention_backend
from paintsundo.models.attention import attend
from paintsundo.models.attention_backend import xformers_fault


def naive(q, k, v, heads, causal):
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(1, 2).double() for x in (q, k, v))
    scores = q @ k.mT / q.shape[-1] ** 0.5
    if causal:
        scores = scores.masked_fill(torch.ones(scores.shape[-2:]).triu(1).bool(), float("-inf"))
    return (scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2).float()


@pytest.mark.parametrize("scores_at_once", [1, 50, 700, 2**24])
@pytest.mark.parametrize("batch_at_once", [2, 2**16 - 1])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("backend", ["sdpa", "sliced"])
def test_attend_is_softmax_attention(monkeypatch, backend, causal, batch_at_once, scores_at_once):
    monkeypatch.setattr(attention_module, "MAX_SLICED_SCORES", scores_at_once)
    monkeypatch.setattr(attention_module, "MAX_FUSED_BATCH", batch_at_once)
    q, k, v = (torch.randn(3, 11, 12) for _ in range(3))
    expected = naive(q, k, v, 4, causal)
    torch.testing.assert_close(attend(q, k, v, 4, backend, causal), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_networks_agree(name):
    case = CASES[name]
    network = case.network()
    expected = case(network)
    assert set_attention_backend(network, "sliced") == "sliced"
    torch.testing.assert_close(case(network), expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
    assert set_attention_backend(network, "sdpa") == "sdpa"
    torch.testing.assert_close(case(network), expected)


def test_every_attention_layer_is_set():
    unet_2d, unet_3d, vae = (CASES[n].network() for n in ("single_frame_unet", "unet_3d", "video_autoencoder"))
    for network in (unet_2d, unet_3d, vae):
        set_attention_backend(network, "sliced")
    assert all(isinstance(p, SlicedAttnProcessor) for p in unet_2d.attn_processors.values())
    ours = [m.attention_backend for n in (unet_3d, vae) for m in n.modules() if hasattr(m, "attention_backend")]
    # 8 a transformer pair: 4 pairs in the UNet and its first temporal transformer; 2 mid blocks and 2 merges.
    assert len(ours) == 4 * 4 + 2 + 2 + 2
    assert set(ours) == {"sliced"}


@torch.no_grad()
def test_diffusers_autoencoder():
    vae = randomise(AutoencoderKL(block_out_channels=(32,), layers_per_block=1))
    x = torch.randn(1, 3, 16, 16)
    expected = vae(x).sample
    set_attention_backend(vae, "sliced")
    torch.testing.assert_close(vae(x).sample, expected, rtol=1e-4, atol=1e-5)


def test_xformers_that_cannot_run_falls_back():
    """On a CPU xformers cannot run, whether it is installed or not."""
    network = CASES["unet_3d"].network()
    with pytest.warns(UserWarning, match="xformers attention cannot run here .*: using sdpa"):
        assert set_attention_backend(network, "xformers") == "sdpa"
    assert {m.attention_backend for m in network.modules() if hasattr(m, "attention_backend")} == {"sdpa"}


def test_xformers_is_tried_where_the_network_will_compute(monkeypatch):
    """Networks may wait on the CPU for their turn on a GPU."""
    library = SimpleNamespace(memory_efficient_attention=lambda q, k, v: q)
    monkeypatch.setitem(sys.modules, "xformers", SimpleNamespace(ops=library))
    monkeypatch.setitem(sys.modules, "xformers.ops", library)
    network = CASES["unet_3d"].network()
    assert "'cpu'" in xformers_fault(network)
    assert "'cpu'" not in (xformers_fault(network, torch.device("cuda")) or "")


def test_heads_too_wide_for_xformers_go_through_sdpa(monkeypatch):
    wide = torch.randn(1, 5, 512)
    torch.testing.assert_close(attend(wide, wide, wide, 1, "xformers"), attend(wide, wide, wide, 1, "sdpa"))
    monkeypatch.setattr(backend_module, "xformers_fault", lambda *_: None)
    vae = AutoencoderKL(block_out_channels=(512,), layers_per_block=1)
    assert set_attention_backend(vae, "xformers") == "xformers"
    assert isinstance(vae.encoder.mid_block.attentions[0].processor, AttnProcessor2_0)


def test_unknown_backend():
    with pytest.raises(ValueError, match="unknown attention backend 'flash': known are sdpa, xformers, sliced"):
        set_attention_backend(CASES["unet_3d"].network(), "flash")
