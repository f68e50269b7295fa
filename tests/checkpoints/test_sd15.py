"""Stable Diffusion 1.5 as a starting point: the same predictions at first, and all of it trainable."""

from pathlib import Path

import pytest
import stable_diffusion
import torch
from malicious import Malicious
from transformers import CLIPTextModel

from paintsundo.checkpoints.starting_points import find_starting_point
from paintsundo.errors import UserError


def inputs(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sizes = ((2, 4, 8, 8), (2, 7, stable_diffusion.WIDTH), (2, 4, 8, 8))
    noisy, words, picture = (torch.randn(size, generator=generator) for size in sizes)
    return noisy, words, picture


@pytest.mark.parametrize(("variant", "safe"), [(None, True), ("fp16", True), (None, False)])
def test_the_first_prediction_is_that_of_stable_diffusion(tmp_path: Path, variant: str | None, safe: bool) -> None:
    original = stable_diffusion.write(tmp_path, variant, safe)
    found = find_starting_point(str(tmp_path), "single_frame")
    assert found.kind == "sd15"
    network = found.load("unet")
    assert network.training
    assert all(p.requires_grad and p.dtype == torch.float32 for p in network.parameters())
    noisy, words, picture = inputs()
    t = torch.tensor([3, 700])
    with torch.no_grad():
        expected = original(noisy, t, words).sample
        for steps in (torch.tensor([0]), torch.tensor([999, 400])):
            for latents in (picture, torch.zeros_like(picture), 100 * picture):
                torch.testing.assert_close(network(noisy, t, words, steps, latents).sample, expected, atol=1e-6, rtol=0)


def test_picture_and_step_are_learnt_from_the_first_step_on(tmp_path: Path) -> None:
    stable_diffusion.write(tmp_path)
    network = find_starting_point(str(tmp_path), "single_frame").load("unet")
    noisy, words, picture = inputs()
    network(noisy, torch.tensor([3, 700]), words, torch.tensor([999, 400]), picture).sample.square().mean().backward()
    assert network.conv_in.weight.grad[:, 4:].any()
    assert network.add_embedding.linear_2.weight.grad.any()
    assert network.add_embedding.linear_1.weight.any()


def test_the_other_parts(tmp_path: Path) -> None:
    stable_diffusion.write(tmp_path)
    found = find_starting_point(str(tmp_path), "single_frame")
    assert found.config("unet")["in_channels"] == 4
    assert found.config("text_encoder")["num_hidden_layers"] == 11
    assert found.config("image_encoder") is None
    assert found.load("image_encoder") is None
    assert found.lora is None
    for said in ("widened with zeros", "operation step", "last layer of the text encoder"):
        assert said in found.description
    assert "\n" not in found.description
    encoder, tokenizer = found.load("text_encoder").eval(), found.load("tokenizer")
    ids = torch.tensor([tokenizer("a face, smile", padding="max_length", max_length=77).input_ids])
    with torch.no_grad():
        full = CLIPTextModel.from_pretrained(tmp_path / "text_encoder").eval()
        before_the_last = full(ids, output_hidden_states=True).hidden_states[-2]
        norm = next(module for name, module in full.named_modules() if name.endswith("final_layer_norm"))
        torch.testing.assert_close(encoder(ids).last_hidden_state, norm(before_the_last))
        assert found.load("vae").encode(torch.zeros(1, 3, 8, 8)).latent_dist.mean.shape == (1, 4, 4, 4)


def test_two_loads_are_the_same_and_leave_random_numbers_alone(tmp_path: Path) -> None:
    stable_diffusion.write(tmp_path)
    found = find_starting_point(str(tmp_path), "single_frame")
    torch.manual_seed(5)
    first = found.load("unet").state_dict()
    drawn = torch.rand(())
    torch.manual_seed(5)
    assert torch.rand(()) == drawn
    second = found.load("unet").state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    "changes", [{"in_channels": 9}, {"addition_embed_type": "text", "addition_embed_type_num_heads": 2}]
)
def test_other_unets_of_diffusers(tmp_path: Path, changes: dict[str, object]) -> None:
    stable_diffusion.write(tmp_path, **changes)
    with pytest.raises(UserError, match=r"is no SD 1\.5 UNet|mixes models"):
        find_starting_point(str(tmp_path), "single_frame")


def test_not_a_start_of_the_other_model(tmp_path: Path) -> None:
    stable_diffusion.write(tmp_path)
    with pytest.raises(UserError, match="holds another model than the multi_frame one"):
        find_starting_point(str(tmp_path), "multi_frame")


def test_a_pickle_that_would_run_something(tmp_path: Path) -> None:
    stable_diffusion.write(tmp_path, safe=False)
    file = tmp_path / "unet" / "diffusion_pytorch_model.bin"
    torch.save({"conv_in.weight": Malicious(tmp_path / "ran")}, file)
    with pytest.raises(UserError) as caught:
        find_starting_point(str(tmp_path), "single_frame").load("unet")
    assert not (tmp_path / "ran").exists()
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "file"), [("unet", "conv_in.bias"), ("text_encoder", "final_layer_norm.weight")])
def test_missing_tensors_are_named(tmp_path: Path, name: str, file: str) -> None:
    stable_diffusion.write(tmp_path, safe=False)
    weights = next((tmp_path / name).glob("*.bin"))
    tensors = torch.load(weights, weights_only=True)
    torch.save({key: tensor for key, tensor in tensors.items() if not key.endswith(file)}, weights)
    with pytest.raises(UserError, match=file):
        find_starting_point(str(tmp_path), "single_frame").load(name)
