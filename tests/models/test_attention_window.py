"""Temporal windows of spatial self-attention, for any number of frames."""

import pytest
import torch
from small_networks import randomise, unet_3d, unet_3d_inputs

from paintsundo.models import ATTENTION_WINDOWS
from paintsundo.models.attention import Attention
from paintsundo.models.attention_window import extend_window

FRAMES = [8, 16, 24]


@pytest.fixture(scope="module")
def layer() -> Attention:
    return randomise(Attention(query_dim=24, heads=2, head_dim=12))


def tokens(num_frames: int, batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(num_frames)
    return torch.randn(batch * num_frames, 10, 24, generator=generator)


def neighbours(window: str, frame: int, num_frames: int) -> set[int]:
    """The frames that a frame sees."""
    others = {
        "none": [],
        "prv": [max(frame - 1, 0)],
        "first": [0],
        "roll": [(frame - 1) % num_frames, (frame + 1) % num_frames],
    }
    return {frame, *others[window]}


@pytest.mark.parametrize("num_frames", FRAMES)
@pytest.mark.parametrize("window", ATTENTION_WINDOWS)
@torch.no_grad()
def test_a_change_in_a_frame_reaches_exactly_the_frames_that_see_it(layer, window, num_frames):
    x = tokens(num_frames)
    before = layer(x, window=window, num_frames=num_frames)
    for changed in range(num_frames):
        y = x.clone()
        y[changed] += 1  # in the first clip of two
        difference = (layer(y, window=window, num_frames=num_frames) - before).abs().amax(dim=(1, 2))
        reached = {int(i) for i in (difference > 1e-3).nonzero()}
        untouched = {int(i) for i in (difference < 1e-6).nonzero()}
        expected = {f for f in range(num_frames) if changed in neighbours(window, f, num_frames)}
        assert reached == expected
        assert untouched == set(range(2 * num_frames)) - expected


@pytest.mark.parametrize("num_frames", [1, *FRAMES])
@pytest.mark.parametrize("window", ["prv", "first"])
@torch.no_grad()
def test_frame_0_is_as_without_window(layer, window, num_frames):
    x = tokens(num_frames)
    with_window = layer(x, window=window, num_frames=num_frames)
    without = layer(x, num_frames=num_frames)
    torch.testing.assert_close(with_window[::num_frames], without[::num_frames], rtol=1e-5, atol=1e-6)
    if num_frames > 1:
        assert not torch.allclose(with_window[1::num_frames], without[1::num_frames], atol=1e-3)


@pytest.mark.parametrize("num_frames", FRAMES)
@pytest.mark.parametrize("window", ATTENTION_WINDOWS)
@torch.no_grad()
def test_each_frame_attends_to_the_concatenated_tokens(layer, window, num_frames):
    """Against plain attention, frame by frame, to the tokens that the definition of the window lists."""
    x = tokens(num_frames, batch=1)
    out = layer(x, window=window, num_frames=num_frames)
    for i in range(num_frames):
        seen = {
            "none": [i],
            "prv": [i, max(i - 1, 0)],
            "first": [i, 0],
            "roll": [i - 1, i, (i + 1) % num_frames],
        }[window]
        context = torch.cat([x[j] for j in seen])[None]
        q, k, v = layer.to_q(x[i : i + 1]), layer.to_k(context), layer.to_v(context)
        heads = []
        for head in range(2):
            part = slice(12 * head, 12 * head + 12)
            weights = (q[..., part] @ k[..., part].mT / 12**0.5).softmax(dim=-1)
            heads.append(weights @ v[..., part])
        expected = layer.to_out[0](torch.cat(heads, dim=-1))
        torch.testing.assert_close(out[i : i + 1], expected, rtol=1e-5, atol=1e-6)


def test_order_of_the_extended_tokens():
    x = torch.arange(6.0).view(6, 1, 1)  # two clips of three frames
    rows = {w: extend_window(x, w, 3).flatten(1).tolist() for w in ATTENTION_WINDOWS}
    assert rows["none"] == [[0], [1], [2], [3], [4], [5]]
    assert rows["prv"] == [[0, 0], [1, 0], [2, 1], [3, 3], [4, 3], [5, 4]]
    assert rows["first"] == [[0, 0], [1, 0], [2, 0], [3, 3], [4, 3], [5, 3]]
    assert rows["roll"] == [[2, 0, 1], [0, 1, 2], [1, 2, 0], [5, 3, 4], [3, 4, 5], [4, 5, 3]]


@pytest.mark.parametrize("num_frames", FRAMES)
@torch.no_grad()
def test_windows_of_the_whole_network(num_frames):
    unet = randomise(unet_3d())
    inputs = unet_3d_inputs(num_frames, batch=1, height=4, width=6)
    outputs = {}
    for window in ATTENTION_WINDOWS:
        outputs[window] = unet(*inputs, attention_window=window)
        assert outputs[window].isfinite().all()
        unet.set_attention_window(window)
        assert unet.attention_window == window
        assert torch.equal(unet(*inputs), outputs[window])
    for window in ("prv", "first", "roll"):
        assert not torch.allclose(outputs[window], outputs["none"], atol=1e-4)


def test_window_by_configuration(tmp_path):
    unet = unet_3d(attention_window="roll")
    assert unet.attention_window == "roll"
    unet.save_pretrained(tmp_path)
    assert type(unet).from_pretrained(tmp_path).attention_window == "roll"


def test_unknown_window():
    unet = unet_3d()
    for call in (unet.set_attention_window, lambda w: unet(*unet_3d_inputs(2), attention_window=w)):
        with pytest.raises(ValueError, match=r"unknown attention window 'all': known are none, prv, first, roll"):
            call("all")
