"""CLIP-Vision: frames of any aspect ratio, otherwise that of transformers."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_networks import clip_vision, randomise
from transformers import CLIPVisionModelWithProjection

from paintsundo.models import ClipVisionEncoder


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
