"""The image projection against its formula."""

import json

import pytest
import torch
from small_networks import image_projection, randomise
from torch.nn import functional as F

from paintsundo.errors import UserError


@torch.no_grad()
def test_formula():
    projection = randomise(image_projection())  # dim 24, 3 heads of 6, 3 queries for each of 5 frames
    tokens = torch.randn(2, 2, 9, 20)
    x = projection.proj_in((tokens + projection.input_pos).reshape(2, 18, 20))
    latents = projection.latents.repeat(2, 1, 1)
    assert latents.shape == (2, 15, 24)
    for attention, feed_forward in projection.layers:
        normed_x, normed = attention.norm1(x), attention.norm2(latents)
        q = attention.to_q(normed)
        k, v = attention.to_kv(torch.cat([normed_x, normed], dim=1)).chunk(2, dim=-1)
        heads = []
        for head in range(3):
            part = slice(6 * head, 6 * head + 6)
            scores = (q[..., part] * 6**-0.25) @ (k[..., part] * 6**-0.25).mT
            heads.append(scores.softmax(dim=-1) @ v[..., part])
        latents = latents + attention.to_out(torch.cat(heads, dim=-1))
        inner = F.gelu(F.linear(feed_forward[0](latents), feed_forward[1].weight))
        latents = latents + F.linear(inner, feed_forward[3].weight)
    expected = projection.norm_out(projection.proj_out(latents)).reshape(2, 5, 3, 16)
    torch.testing.assert_close(projection(tokens), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_one_frame():
    """Of the frames given only the first counts; the choice is in config.json."""
    projection = randomise(image_projection(input_frames_length=1))
    assert projection.input_pos.shape == (1, 1, 1, 20)
    tokens = torch.randn(2, 2, 9, 20)
    assert torch.equal(projection(tokens), projection(tokens[:, :1]))
    assert not torch.equal(projection(tokens), projection(tokens.flip(1)))
    assert json.loads(projection.to_json_string())["input_frames_length"] == 1


def test_impossible_numbers_of_frames():
    with pytest.raises(UserError, match="input_frames_length cannot be 3"):
        image_projection(input_frames_length=3)
    with pytest.raises(ValueError, match="2 are projected"):
        image_projection()(torch.randn(1, 1, 9, 20))
