"""Every network against the published code's results, within 1e-5 of the largest absolute value."""

import pytest
import torch

from paintsundo.models import (
    ATTENTION_WINDOWS,
    ClipVisionEncoder,
    ImageProjection,
    SingleFrameUNet,
    UNet3DModel,
    VideoAutoencoderKL,
)


def assert_golden(actual: torch.Tensor, expected: torch.Tensor) -> None:
    assert actual.shape == expected.shape
    error = (actual - expected).abs().max() / expected.abs().max()
    assert error < 1e-5, f"off by {error:.1e} of the largest absolute value"


@torch.no_grad()
def test_single_frame_unet(single_frame_folder, golden):
    unet = SingleFrameUNet.from_pretrained(single_frame_folder / "unet")
    names = ("sample", "timestep", "encoder_hidden_states", "operation_steps", "concat_conds")
    assert_golden(unet(*(golden[f"sf.unet.{name}"] for name in names)).sample, golden["sf.unet.out"])


@pytest.mark.parametrize("how", ["argument", "setter"])
@pytest.mark.parametrize("window", ATTENTION_WINDOWS)
@torch.no_grad()
def test_unet_3d(multi_frame_folder, golden, window, how):
    unet = UNet3DModel.from_pretrained(multi_frame_folder / "unet")
    names = ("x", "timesteps", "context_text", "context_img", "fs", "concat_cond")
    inputs = [golden[f"mf.unet.{name}"] for name in names]
    if how == "argument":
        out = unet(*inputs, attention_window=window)
    else:
        unet.set_attention_window(window)
        out = unet(*inputs)
    assert_golden(out, golden[f"mf.unet.out.{window}"])


@torch.no_grad()
def test_video_autoencoder(multi_frame_folder, golden):
    vae = VideoAutoencoderKL.from_pretrained(multi_frame_folder / "vae")
    latents, hidden = vae.encode(golden["mf.frames"])
    assert_golden(latents, golden["mf.vae.latents"])
    assert len(hidden) == 5
    for i, state in enumerate(hidden):
        assert_golden(state, golden[f"mf.vae.hidden.{i}"])
    assert_golden(vae.decode(golden["mf.vae.decode_in"], hidden), golden["mf.vae.decode_out"])


@pytest.mark.parametrize("suffix", ["", "_wide"])
@torch.no_grad()
def test_clip_vision(multi_frame_folder, golden, suffix):
    encoder = ClipVisionEncoder.from_pretrained(multi_frame_folder / "image_encoder")
    assert_golden(encoder(golden[f"mf.frames{suffix}"]), golden[f"mf.clip_vision{suffix}"])


@torch.no_grad()
def test_image_projection(multi_frame_folder, golden):
    projection = ImageProjection.from_pretrained(multi_frame_folder / "image_projection")
    assert_golden(projection(golden["mf.clip_vision"]), golden["mf.image_projection"])
