"""The 3D UNet: any number of frames, any size, its options, its initialisation."""

import pytest
import torch
from small_networks import randomise, unet_3d, unet_3d_inputs
from torch import nn
from torch.nn import functional as F

from paintsundo.errors import UserError
from paintsundo.models import UNet3DModel
from paintsundo.models.attention import TextImageAttention
from paintsundo.models.layers import temporal_conv
from paintsundo.models.resblock_3d import ResBlock
from paintsundo.models.transformer_3d import SpatialTransformer


@pytest.fixture(scope="module")
def unet() -> UNet3DModel:
    return randomise(unet_3d())


@pytest.mark.parametrize("num_frames", range(1, 25))
@torch.no_grad()
def test_any_number_of_frames(unet, num_frames):
    inputs = unet_3d_inputs(num_frames, batch=1, height=4, width=4)
    for window in ("none", "prv", "first", "roll"):
        out = unet(*inputs, attention_window=window)
        assert out.shape == inputs[0].shape
        assert out.isfinite().all()


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 8), (7, 7)])
@torch.no_grad()
def test_any_size(unet, size):
    inputs = unet_3d_inputs(3, 1, *size)
    assert unet(*inputs).shape == (1, 6, 3, *size)


@torch.no_grad()
def test_clips_of_a_batch_are_independent(unet):
    inputs = unet_3d_inputs(batch=2)
    together = unet(*inputs)
    for i in range(2):
        alone = unet(*(x[i : i + 1] for x in inputs))
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_default_frame_stride():
    unet = randomise(unet_3d(default_fs=5))
    x, t, text, image, fs, concat = unet_3d_inputs()
    assert torch.equal(unet(x, t, text, image, None, concat), unet(x, t, text, image, fs * 0 + 5, concat))


def test_wrong_number_of_image_contexts(unet):
    x, t, text, image, fs, concat = unet_3d_inputs(num_frames=5)
    with pytest.raises(ValueError, match="4 sets of image embeddings for 5 frames"):
        unet(x, t, text, image[:, :4], fs, concat)


@torch.no_grad()
def test_temporal_conv_is_the_conv3d_of_its_weights():
    conv = randomise(temporal_conv(6, 10))
    clip = torch.randn(2, 6, 5, 4, 3)
    expected = F.conv3d(clip, conv.weight, conv.bias, padding=(1, 0, 0))
    torch.testing.assert_close(conv(clip), expected)


def test_zero_initialised_where_residual_branches_end():
    """ResBlocks' last convolutions (space, time) and spatial transformers' last projections, nothing else."""
    unet = unet_3d()
    expected = set()
    for name, module in unet.named_modules():
        if isinstance(module, ResBlock):
            expected |= {f"{name}.out_layers.3", f"{name}.temopral_conv.conv4.3"}
        elif isinstance(module, SpatialTransformer):
            expected.add(f"{name}.proj_out")
    zero = {
        name
        for name, module in unet.named_modules()
        if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d) and not module.weight.any()
    }
    assert zero == expected
    assert len(zero) == 2 * 8 + 4
    biases = {n for n, p in unet.named_parameters() if n.endswith(".bias") and not p.any()}
    assert {f"{name}.bias" for name in zero} <= biases


@torch.no_grad()
def test_text_and_image_attention():
    """Against its formula, with the scale of image attention fixed and learnable."""
    for learnable in (False, True):
        layer = TextImageAttention(16, 1, 16, context_dim=12, learnable_scale=learnable)
        randomise(layer)
        if learnable:
            layer.alpha.fill_(0.7)
        scale = 1 + torch.tensor(0.7).tanh() if learnable else 1.0
        x, text, image = torch.randn(6, 5, 16), torch.randn(2, 7, 12), torch.randn(6, 4, 12)

        def plain(query, key, value):
            return (query @ key.mT / 4).softmax(dim=-1) @ value

        q = layer.to_q(x)
        words = text.repeat_interleave(3, dim=0)
        out = plain(q, layer.to_k(words), layer.to_v(words))
        out = out + scale * plain(q, layer.to_k_ip(image), layer.to_v_ip(image))
        torch.testing.assert_close(layer(x, text, image), layer.to_out[0](out), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "option",
    [
        {"image_cross_attention": False},
        {"image_cross_attention_scale_learnable": True},
        {"temporal_attention": False},
        {"temporal_conv": False},
        {"addition_attention": False},
        {"fs_condition": False},
        {"transformer_depth": 2},
        {"num_heads": 3, "num_head_channels": -1},
        {"use_causal_attention": True},
    ],
)
@torch.no_grad()
def test_options_work(option, tmp_path):
    unet = randomise(unet_3d(**option))
    out = unet(*unet_3d_inputs())
    assert out.isfinite().all()
    unet.save_pretrained(tmp_path)
    assert torch.equal(UNet3DModel.from_pretrained(tmp_path)(*unet_3d_inputs()), out)


@torch.no_grad()
def test_causal_attention_sees_no_later_frame():
    unet = randomise(unet_3d(use_causal_attention=True))
    blocks = [m for m in unet.modules() if type(m).__name__ == "TemporalTransformerBlock"]
    assert blocks
    for block in blocks:
        x = torch.randn(3, 6, block.norm1.normalized_shape[0])
        y = x.clone()
        y[:, 4] = torch.randn_like(y[:, 4])
        difference = (block(y) - block(x)).abs().amax(dim=(0, 2))
        assert (difference[:4] == 0).all()
        assert (difference[4:] > 1e-3).all()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"use_relative_position": True}, "computes use_relative_position=False only"),
        ({"dims": 3}, "computes dims=2 only"),
        ({"norm_num_groups": 32}, "32 groups do not divide 24 channels"),
        ({"num_head_channels": 7}, "72 channels cannot be split into heads of width 7"),
        ({"num_heads": 5, "num_head_channels": -1}, "72 channels cannot be split into 5 heads"),
        ({"num_head_channels": -1}, "needs num_heads or num_head_channels"),
    ],
)
def test_impossible_configurations(option, message):
    with pytest.raises(UserError, match=message):
        unet_3d(**option)
