"""The temporal VAE: what each frame depends on, training through it, memory, sizes."""

import copy

import pytest
import torch
from diffusers import AutoencoderKL
from small_networks import randomise, video_autoencoder

from paintsundo.errors import UserError
from paintsundo.models import VideoAutoencoderKL, use_channels_last
from paintsundo.models.video_vae_blocks import AttentionCombiner, ConvCombiner


@pytest.fixture(scope="module")
def vae() -> VideoAutoencoderKL:
    return randomise(video_autoencoder())


def frames(num_frames: int = 5, batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(num_frames)
    return torch.rand(batch, 3, num_frames, 16, 24, generator=generator) * 2 - 1


@torch.no_grad()
def test_frames_are_encoded_alone_and_the_ends_are_kept(vae):
    clip = frames()
    latents, hidden = vae.encode(clip)
    assert latents.shape == (2, 6, 5, 4, 6)
    assert [tuple(state.shape) for state in hidden] == [
        (2, 24, 2, 16, 24),
        (2, 48, 2, 8, 12),
        (2, 48, 2, 4, 6),
        (2, 24, 2, 16, 24),
    ]
    for i in range(5):
        alone, state = vae.encode(clip[:, :, i : i + 1])
        torch.testing.assert_close(latents[:, :, i : i + 1], alone, rtol=1e-4, atol=1e-6)
        if i in (0, 4):
            for kept, own in zip(hidden, state, strict=True):
                torch.testing.assert_close(kept[:, :, min(i, 1)], own[:, :, 0], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_encoder_is_that_of_stable_diffusion():
    """Against diffusers' AutoencoderKL with the same weights under its names."""
    ours = randomise(video_autoencoder())
    theirs = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(24, 48, 48),
        layers_per_block=1,
        latent_channels=6,
        norm_num_groups=12,
    ).eval()
    tensors = {}
    for name, tensor in ours.state_dict().items():
        if name.startswith(("decoder", "post_quant_conv")):
            continue
        for old, new in (
            ("nin_shortcut", "conv_shortcut"),
            ("down.", "down_blocks."),
            (".block.", ".resnets."),
            ("downsample.conv", "downsamplers.0.conv"),
            ("mid.block_1", "mid_block.resnets.0"),
            ("mid.block_2", "mid_block.resnets.1"),
            ("mid.attn_1.norm", "mid_block.attentions.0.group_norm"),
            ("mid.attn_1.q", "mid_block.attentions.0.to_q"),
            ("mid.attn_1.k", "mid_block.attentions.0.to_k"),
            ("mid.attn_1.v", "mid_block.attentions.0.to_v"),
            ("mid.attn_1.proj_out", "mid_block.attentions.0.to_out.0"),
            ("norm_out", "conv_norm_out"),
        ):
            name = name.replace(old, new)
        tensors[name] = tensor[..., 0, 0] if "attentions" in name and tensor.dim() == 4 else tensor
    incompatible = theirs.load_state_dict(tensors, strict=False)
    assert not incompatible.unexpected_keys
    assert all(name.startswith(("decoder", "post_quant_conv")) for name in incompatible.missing_keys)
    clip = frames()
    expected = theirs.encode(clip[:, :, 3]).latent_dist.mode() * ours.scale_factor
    torch.testing.assert_close(ours.encode(clip)[0][:, :, 3], expected, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_posterior(vae):
    clip = frames()
    posterior, _ = vae.encode_distribution(clip)
    assert posterior.mean.shape == (10, 6, 4, 6)
    mode, _ = vae.encode(clip)
    sample, _ = vae.encode(clip, sample_posterior=True, generator=torch.Generator().manual_seed(3))
    again, _ = vae.encode(clip, sample_posterior=True, generator=torch.Generator().manual_seed(3))
    assert torch.equal(sample, again)
    noise = (sample - mode).transpose(1, 2).flatten(0, 1) / vae.scale_factor / posterior.std
    assert 0.9 < noise.std() < 1.1
    assert abs(noise.mean()) < 0.1


@pytest.mark.parametrize("num_frames", [1, 2, 3, 16, 33])
@torch.no_grad()
def test_decodes_any_number_of_frames(vae, num_frames):
    _, hidden = vae.encode(frames(2))
    latents = torch.randn(2, 6, num_frames, 4, 6)
    out = vae.decode(latents, hidden)
    assert out.shape == (2, 3, num_frames, 16, 24)
    assert out.isfinite().all()


@torch.no_grad()
def test_kept_states_reach_the_frames_they_should():
    """1×1 merges reach the ends only, attention all frames (in layers without any mixing over time)."""
    conv = randomise(ConvCombiner(8, 6))
    attention = randomise(AttentionCombiner(8, 6, heads=2, head_dim=4, norm_groups=3))
    x = torch.randn(2 * 5, 6, 4, 4)
    state = torch.randn(2, 8, 2, 4, 4)
    merged = conv(x, state, 5)
    expected = x.clone()
    expected[[0, 5]] += conv.conv(state[:, :, 0])
    expected[[4, 9]] += conv.conv(state[:, :, 1])
    torch.testing.assert_close(merged, expected)
    only_frame = conv(x[:2], state, 1)
    torch.testing.assert_close(only_frame, x[:2] + conv.conv(state[:, :, 0]) + conv.conv(state[:, :, 1]))

    merged = attention(x, state, 5)
    context = state.flatten(2).mT
    for i in range(10):
        tokens = attention.norm(x[i : i + 1]).flatten(2).mT
        q, k, v = attention.to_q(tokens), attention.to_k(context[i // 5]), attention.to_v(context[i // 5])
        heads = [(q[..., s] @ k[:, s].mT / 2).softmax(-1) @ v[:, s] for s in (slice(0, 4), slice(4, 8))]
        expected = x[i] + attention.to_out[0](torch.cat(heads, -1)).mT.unflatten(2, (4, 4))[0]
        torch.testing.assert_close(merged[i], expected, rtol=1e-4, atol=1e-5)


def test_gradients_flow_through_decoding(vae):
    """To the latents of every frame and to both kept states of every level, against finite differences."""
    vae = randomise(video_autoencoder()).double()
    clip = frames(4, batch=1).double()
    with torch.no_grad():
        latents, hidden = vae.encode(clip)
    latents.requires_grad_()
    for state in hidden:
        state.requires_grad_()
    weight = torch.randn_like(clip)

    def loss(latents, hidden):
        return (vae.decode(latents, hidden) * weight).sum()

    loss(latents, hidden).backward()
    for t in range(4):
        assert latents.grad[:, :, t].any()
    for state in hidden:
        for end in range(2):
            assert state.grad[:, :, end].any()
    for target in range(1 + len(hidden)):
        step = [torch.zeros_like(x) for x in (latents, *hidden)]
        step[target] = torch.randn_like(step[target]) * 1e-5
        moved = [x.detach() + s for x, s in zip((latents, *hidden), step, strict=True)]
        back = [x.detach() - s for x, s in zip((latents, *hidden), step, strict=True)]
        with torch.no_grad():
            slope = (loss(moved[0], moved[1:]) - loss(back[0], back[1:])) / 2
        gradient = (latents, *hidden)[target].grad
        torch.testing.assert_close(slope, (gradient * step[target]).sum(), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("slice_frames", [1, 2, 100])
@torch.no_grad()
def test_slicing_changes_nothing(vae, slice_frames):
    clip = frames()
    latents, hidden = vae.encode(clip)
    expected = vae.decode(latents, hidden)
    vae.enable_slicing(slice_frames)
    sliced_latents, sliced_hidden = vae.encode(clip)
    sliced = vae.decode(latents, hidden)
    vae.disable_slicing()
    torch.testing.assert_close(sliced_latents, latents, rtol=1e-4, atol=1e-6)
    for a, b in zip(sliced_hidden, hidden, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(sliced, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"ch_mult": (1, 2), "combiner_levels": (1,)},
        {"ch_mult": (2, 2, 3, 3, 4), "combiner_levels": (), "ch": 12, "norm_num_groups": 4},
        {"mid_attention": False, "num_res_blocks": 2},
        {"z_channels": 16, "scale_factor": 1.5},
    ],
)
@torch.no_grad()
def test_sizes_are_free(changes, tmp_path):
    vae = randomise(video_autoencoder(**changes))
    vae.save_pretrained(tmp_path)
    loaded = VideoAutoencoderKL.from_pretrained(tmp_path)
    clip = torch.rand(1, 3, 3, 32, 16)
    latents, hidden = loaded.encode(clip)
    factor = 2 ** (len(vae.config["ch_mult"]) - 1)
    assert loaded.downsampling == factor
    assert latents.shape == (1, vae.config["z_channels"], 3, 32 // factor, 16 // factor)
    posterior, _ = vae.encode_distribution(clip)
    torch.testing.assert_close(latents.transpose(1, 2)[0], posterior.mode() * changes.get("scale_factor", 0.18215))
    assert torch.equal(loaded.decode(latents, hidden), vae(clip))


def test_misuse_is_told(vae):
    with pytest.raises(ValueError, match="18 × 24 frames: sides must be multiples of 4"):
        vae.encode(torch.zeros(1, 3, 2, 18, 24))
    with pytest.raises(ValueError, match="2 kept states for 4 merges"):
        vae.decode(torch.zeros(1, 6, 2, 4, 6), [torch.zeros(1), torch.zeros(1)])
    with pytest.raises(UserError, match=r"computes double_z=True and attn_resolutions=\[\] only"):
        video_autoencoder(attn_resolutions=(16,))
    with pytest.raises(UserError, match="7 groups do not divide 24 channels"):
        video_autoencoder(norm_num_groups=7)


@torch.no_grad()
def test_kept_states_lie_as_the_frames_do() -> None:
    network = use_channels_last(randomise(video_autoencoder()))
    plain = randomise(video_autoencoder())
    clip = frames()
    for state, expected in zip(network.encode(clip)[1], plain.encode(clip)[1], strict=True):
        assert state.is_contiguous(memory_format=torch.channels_last_3d)
        torch.testing.assert_close(state, expected)
        assert expected.is_contiguous()


@torch.no_grad()
def test_the_decoder_alone_may_be_of_another_type(vae) -> None:
    clip = frames()
    mixed = copy.deepcopy(vae)
    mixed.decoder.to(torch.bfloat16)
    decoded = mixed.decode(*mixed.encode(clip))
    assert decoded.dtype == torch.bfloat16
    expected = vae(clip)
    assert (decoded - expected).norm() < 0.05 * expected.norm()


def test_decode_group_decodes_frames_between_the_ends_as_clips_of_their_own() -> None:
    torch.manual_seed(0)
    small = {"ch": 8, "ch_mult": (1, 2), "num_res_blocks": 1, "norm_num_groups": 4, "combiner_levels": (1,)}
    whole = VideoAutoencoderKL(**small, combiner_heads=2, combiner_head_dim=4).eval()
    grouped = VideoAutoencoderKL(**small, combiner_heads=2, combiner_head_dim=4, decode_group=2).eval()
    grouped.load_state_dict(whole.state_dict())
    latents, hidden = whole.encode(torch.rand(1, 3, 7, 16, 16) * 2 - 1)
    with torch.no_grad():
        out = grouped.decode(latents, hidden)
        assert out.shape == (1, 3, 7, 16, 16)
        for members in ([0, 1, 2, 6], [0, 3, 4, 6], [0, 5, 6]):
            expected = whole.decode(latents[:, :, members], hidden)
            torch.testing.assert_close(out[:, :, members[1:-1]], expected[:, :, 1:-1])
        torch.testing.assert_close(grouped.decode(latents[:, :, :4], hidden), whole.decode(latents[:, :, :4], hidden))


def test_sliding_groups_give_every_frame_the_mean_over_all_places() -> None:
    torch.manual_seed(0)
    small = {"ch": 8, "ch_mult": (1, 2), "num_res_blocks": 1, "norm_num_groups": 4, "combiner_levels": (1,)}
    head = {"combiner_heads": 2, "combiner_head_dim": 4}
    whole = VideoAutoencoderKL(**small, **head).eval()
    sliding = VideoAutoencoderKL(**small, **head, decode_group=2, decode_sliding=True).eval()
    sliding.load_state_dict(whole.state_dict())
    with torch.no_grad():
        latents, hidden = whole.encode(torch.rand(1, 3, 6, 16, 16) * 2 - 1)
        out = sliding.decode(latents, hidden)
        assert out.shape == (1, 3, 6, 16, 16)
        for frame in range(1, 5):
            before, after = max(frame - 1, 1), min(frame + 1, 4)
            first = whole.decode(latents[:, :, [0, frame, after, 5]], hidden)[:, :, 1]
            second = whole.decode(latents[:, :, [0, before, frame, 5]], hidden)[:, :, 2]
            torch.testing.assert_close(out[:, :, frame], (first + second) / 2)
        still = latents[:, :, [0, 2, 2, 2, 2, 5]]  # frames that are alike come out alike, whatever their places
        out = sliding.decode(still, hidden)
        for frame in range(2, 5):
            torch.testing.assert_close(out[:, :, frame], out[:, :, 1])
        grouped = VideoAutoencoderKL(**small, **head, decode_group=2).eval()
        grouped.load_state_dict(whole.state_dict())
        assert (grouped.decode(still, hidden)[:, :, 1] - grouped.decode(still, hidden)[:, :, 2]).abs().max() > 1e-4
