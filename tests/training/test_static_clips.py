"""Colours of clips in which nothing moves."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from paintsundo.models import VideoAutoencoderKL
from paintsundo.training.static_clips import chroma, static_drift
from paintsundo.training.video_autoencoder import collapse_temporal_kernels


def coloured(count: int = 2) -> Tensor:
    """Red and blue halves, (N, 3, 16, 16)."""
    pictures = -torch.ones(count, 3, 16, 16)
    pictures[:, 0, :8], pictures[:, 2, 8:] = 1, 1
    return pictures


def stub(change: object) -> SimpleNamespace:
    """An autoencoder whose latents are the clip, and which changes the frames it decodes."""
    return SimpleNamespace(encode=lambda clip: (clip, None), decode=lambda clip, hidden: change(clip.clone()))  # type: ignore[operator]


def test_chroma_of_grey_is_none_and_of_red_is_red() -> None:
    assert chroma(torch.full((1, 3, 2, 2), 0.3)).abs().max() < 1e-3
    cb, cr = chroma(coloured())[0, :, 0, 0]
    assert float(cr) == pytest.approx(127.5, abs=0.1)
    assert cb < 0


def test_what_keeps_its_colours_has_no_drift() -> None:
    found = static_drift(stub(lambda clip: clip), coloured(), 5)
    assert found == pytest.approx(dict.fromkeys(found, 0.0), abs=1e-3)


def test_duller_and_turned_middles_are_told_from_wrong_ends() -> None:
    def dull(clip: Tensor) -> Tensor:
        clip[:, :, 1:-1] *= 0.5
        return clip

    def turned(clip: Tensor) -> Tensor:
        clip[:, :, 1:-1] = clip[:, [1, 2, 0], 1:-1]
        return clip

    found = static_drift(stub(dull), coloured(), 5)
    assert found["ends"] == pytest.approx(0, abs=1e-3)
    assert found["middle"] == found["drift"] > 30
    assert found["hue"] == pytest.approx(0, abs=0.1)
    assert static_drift(stub(turned), coloured(), 5)["hue"] > 60
    both = static_drift(stub(lambda clip: clip * 0.5), coloured(), 5)
    assert both["drift"] == both["flicker"] == pytest.approx(0, abs=1e-3)
    assert both["ends"] == both["middle"] > 30


def test_frames_of_a_still_clip_between_the_ends_are_equal_from_a_static_start() -> None:
    """No frame sees its neighbours any more: without it those next to the ends differ from the others."""
    torch.manual_seed(0)
    network = {"ch": 8, "ch_mult": (1, 1), "num_res_blocks": 1, "z_channels": 2, "norm_num_groups": 4}
    vae = VideoAutoencoderKL(**network, combiner_levels=(1,), combiner_heads=2, combiner_head_dim=4).eval()
    for parameter in vae.parameters():  # some layers begin as zeros
        parameter.data += 0.05 * torch.randn_like(parameter)
    clip = coloured(1)[:, :, None].expand(-1, -1, 7, -1, -1).contiguous()

    def spread() -> float:
        with torch.no_grad():
            inner = vae.decode(*vae.encode(clip))[:, :, 1:-1]
        return float((inner - inner[:, :, 2:3]).abs().max())

    before = spread()
    collapse_temporal_kernels(vae.decoder)
    assert spread() < 1e-4 < 1e-3 < before


def test_clips_without_colour_have_no_hue() -> None:
    found = static_drift(stub(lambda clip: clip), torch.zeros(1, 3, 16, 16), 3)
    assert found["hue"] == found["middle"] == 0
