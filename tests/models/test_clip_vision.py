"""CLIP-Vision: frames of any aspect ratio, otherwise that of transformers."""

import json
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_networks import clip_vision, randomise
from transformers import CLIPVisionModelWithProjection

from paintsundo import models
from paintsundo.errors import UserError
from paintsundo.models import ClipVisionEncoder
from paintsundo.models.clip_vision import rotary_table, rotate


@pytest.fixture(scope="module")
def encoder() -> ClipVisionEncoder:
    return randomise(clip_vision())  # 8 × 8 patches of 8 pixels


@pytest.mark.parametrize(
    ("size", "grid"),
    [
        ((64, 64), (8, 8)),
        ((40, 72), (8, 14)),
        ((72, 40), (14, 8)),
        ((100, 3), (267, 8)),
        ((16, 17), (8, 8)),  # 8.5, rounded to even
        ((16, 19), (8, 10)),  # 9.5, rounded to even
    ],
)
@torch.no_grad()
def test_any_aspect_ratio(encoder, size, grid):
    embeddings = encoder.vision_model.embeddings
    assert embeddings.patch_grid(*size) == grid
    frames = torch.rand(1, 3, 2, *size) * 2 - 1
    tokens = encoder(frames)
    assert tokens.shape == (1, 2, 1 + grid[0] * grid[1], 24)
    assert tokens.isfinite().all()
    one = encoder(frames[:, :, 1:])
    torch.testing.assert_close(tokens[:, 1:], one, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_positions_are_those_of_the_nearest_neighbour(encoder):
    embeddings = encoder.vision_model.embeddings
    weight = embeddings.position_embedding.weight
    assert torch.equal(embeddings.positions(8, 8)[0], weight)
    rows, columns = 8, 13
    positions = embeddings.positions(rows, columns)[0]
    assert torch.equal(positions[0], weight[0])
    for i in range(rows):
        for j in range(columns):
            nearest = 1 + i * 8 + (j * 8) // columns
            assert torch.equal(positions[1 + i * columns + j], weight[nearest])


@torch.no_grad()
def test_square_frames_are_encoded_as_by_transformers(encoder):
    """At the trained size only normalisation remains of the embeddings' own work."""
    theirs = CLIPVisionModelWithProjection(encoder.config).eval()
    theirs.load_state_dict(encoder.state_dict())
    frames = torch.rand(2, 3, 1, 64, 64) * 2 - 1
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    pixel_values = ((frames[:, :, 0] + 1) / 2 - mean) / std
    expected = theirs(pixel_values, output_hidden_states=True).hidden_states[-1]
    torch.testing.assert_close(encoder(frames)[:, 0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("prefix", ["", "vision_model.", "vision_model.vision_model."])
@torch.no_grad()
def test_loads_names_with_and_without_prefix(encoder, tmp_path, prefix):
    encoder.save_pretrained(tmp_path)
    path = tmp_path / encoder.weights_file
    tensors = load_file(path)
    assert "vision_model.embeddings.class_embedding" in tensors
    renamed = {name.replace("vision_model.", prefix): tensor for name, tensor in tensors.items()}
    renamed[f"{prefix}embeddings.position_ids"] = torch.arange(65)[None]  # as older files have it
    save_file(renamed, path)
    loaded = ClipVisionEncoder.from_pretrained(tmp_path)
    frames = torch.rand(1, 3, 2, 30, 40) * 2 - 1
    assert torch.equal(loaded(frames), encoder(frames))


@torch.no_grad()
def test_bilinear_positions_lie_between_the_trained_ones(encoder):
    other = randomise(clip_vision())
    other.set_patch_positions("bilinear")
    weight = other.vision_model.embeddings.position_embedding.weight
    square, wide = (other.vision_model.embeddings.positions(8, columns)[0] for columns in (8, 16))
    torch.testing.assert_close(square, weight)
    assert torch.equal(wide[0], weight[0])
    # Twice as many columns: a quarter of the way from one to the next.
    torch.testing.assert_close(wide[2], 0.75 * weight[1] + 0.25 * weight[2])
    frames = torch.rand(1, 3, 1, 64, 64) * 2 - 1
    torch.testing.assert_close(other(frames), encoder(frames))


@torch.no_grad()
def test_rotated_products_depend_on_the_distance_alone():
    """⟨R(p) q, R(p') k⟩ is a function of p - p' in both axes, and the class token is not turned."""
    q, k = torch.randn(2, 8)
    cosines, sines = rotary_table(5, 6, 8, q)
    assert torch.equal(rotate(q, cosines[0], sines[0]), q)
    turned_q, turned_k = (rotate(x.expand(30, 8), cosines[1:], sines[1:]).unflatten(0, (5, 6)) for x in (q, k))
    for down, right in ((0, 0), (2, 1), (1, 3)):
        near = (turned_q[0, 0] * turned_k[down, right]).sum()
        far = (turned_q[2, 2] * turned_k[2 + down, 2 + right]).sum()
        torch.testing.assert_close(near, far, rtol=1e-4, atol=1e-5)
    assert not torch.isclose((turned_q[0, 0] * turned_k[0, 0]).sum(), (turned_q[0, 0] * turned_k[2, 1]).sum())


def test_rotary_positions_are_recorded_and_trainable(tmp_path):
    network = randomise(clip_vision())
    network.set_patch_positions("rotary")
    network.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["patch_positions"] == "rotary"
    loaded = ClipVisionEncoder.from_pretrained(tmp_path)
    frames = torch.rand(1, 3, 2, 40, 72) * 2 - 1
    with torch.no_grad():
        tokens = loaded(frames)
        assert torch.equal(tokens, network(frames))
        # The layers are those of transformers where every angle is 0.
        table = torch.ones(113, 8), torch.zeros(113, 8)
        with patch.object(models.clip_vision, "rotary_table", lambda *_: table):
            plain = loaded(frames)
        embedded = loaded.vision_model.pre_layrnorm(loaded.vision_model.embeddings(frames[:, :, 0]))
        theirs = loaded.vision_model.encoder(inputs_embeds=embedded).last_hidden_state
    torch.testing.assert_close(plain[:, 0], theirs, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(tokens, plain, atol=1e-3)

    def gradient() -> torch.Tensor:
        loaded.zero_grad()
        loaded(frames).square().mean().backward()
        return loaded.vision_model.encoder.layers[0].self_attn.q_proj.weight.grad.clone()

    loaded.train()
    kept = gradient()
    loaded.enable_gradient_checkpointing()
    torch.testing.assert_close(gradient(), kept)
    assert kept.abs().max() > 0


def test_nearest_is_what_a_configuration_without_the_key_means(encoder, tmp_path):
    network = randomise(clip_vision())
    network.set_patch_positions("bilinear")
    network.set_patch_positions("nearest")
    network.save_pretrained(tmp_path)
    assert "patch_positions" not in json.loads((tmp_path / "config.json").read_text())
    assert ClipVisionEncoder.from_pretrained(tmp_path).patch_positions == "nearest"
    with pytest.raises(UserError, match="patch_positions cannot be 'cubic': choose from nearest, bilinear, rotary"):
        network.set_patch_positions("cubic")
