"""The single-frame UNet: diffusers' own, plus the finished picture and the operation step."""

import json

import pytest
import torch
from diffusers import UNet2DConditionModel
from small_networks import randomise, single_frame_inputs, single_frame_unet

from paintsundo.errors import UserError
from paintsundo.models import SingleFrameUNet


@pytest.fixture(scope="module")
def unet() -> SingleFrameUNet:
    return randomise(single_frame_unet())


@torch.no_grad()
def test_without_operation_steps_it_is_the_unet_of_diffusers():
    """With an operation embedding of zero it is `UNet2DConditionModel` on twice the channels."""
    ours = randomise(single_frame_unet())
    ours.add_embedding.linear_2.weight.zero_()
    ours.add_embedding.linear_2.bias.zero_()
    theirs = UNet2DConditionModel.from_config({**ours.config, "in_channels": 12}).eval()
    tensors = ours.state_dict()
    theirs.load_state_dict({k: tensors[k] for k in tensors if not k.startswith("add_embedding")})
    sample, timestep, words, steps, picture = single_frame_inputs()
    expected = theirs(torch.cat([sample, picture.expand(2, -1, -1, -1)], dim=1), timestep, words).sample
    torch.testing.assert_close(ours(sample, timestep, words, steps, picture).sample, expected)


@torch.no_grad()
def test_operation_steps_are_embedded_like_timesteps(unet):
    """The sinusoid [cos, sin] of 256 values, then the two linear layers, added to the timestep's embedding."""
    steps = torch.tensor([999, 400])
    angles = steps[:, None] * torch.exp(-torch.log(torch.tensor(10000.0)) * torch.arange(128) / 128)
    sinusoid = torch.cat([angles.cos(), angles.sin()], dim=1)
    expected = unet.add_embedding.linear_2(torch.nn.functional.silu(unet.add_embedding.linear_1(sinusoid)))
    actual = unet.get_aug_embed(torch.zeros(2, 96), torch.zeros(2, 7, 20), {"operation_steps": steps})
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_shared_conditions_broadcast(unet):
    sample, timestep, words, _, picture = single_frame_inputs()
    one = unet(sample, timestep, words, torch.tensor([400]), picture).sample
    each = unet(sample, timestep, words, torch.tensor([400, 400]), picture.expand(2, -1, -1, -1)).sample
    assert torch.equal(one, each)
    assert torch.equal(unet(sample, timestep, words, torch.tensor([400]), picture, return_dict=False)[0], one)


def test_config_is_as_published(single_frame_folder, tmp_path):
    unet = SingleFrameUNet.from_pretrained(single_frame_folder / "unet")
    assert unet.config.in_channels == 4
    assert unet.conv_in.in_channels == 8
    unet.save_pretrained(tmp_path)
    published, saved = (
        json.loads((folder / "config.json").read_text()) for folder in (single_frame_folder / "unet", tmp_path)
    )
    published.pop("_diffusers_version")
    assert saved.pop("_diffusers_version")
    assert saved == published


def test_operation_step_as_a_token_or_not_at_all(tmp_path):
    """A token acts through cross-attention alone, "none" ignores the step; both are recorded and read back."""
    sample, timestep, words, steps, picture = single_frame_inputs()
    for choice in ("token", "none"):
        network = randomise(single_frame_unet(operation_embedding=choice))
        network.save_pretrained(tmp_path / choice)
        assert json.loads((tmp_path / choice / "config.json").read_text())["operation_embedding"] == choice
        loaded = SingleFrameUNet.from_pretrained(tmp_path / choice)
        with torch.no_grad():
            given = [loaded(sample, timestep, words, s, picture).sample for s in (steps, steps - 200)]
            assert torch.equal(given[0], network(sample, timestep, words, steps, picture).sample)
        assert torch.equal(*given) == (choice == "none")
        assert any("add_embedding" in name for name in loaded.state_dict()) == (choice == "token")


@torch.no_grad()
def test_a_token_is_one_more_word():
    network = randomise(single_frame_unet(operation_embedding="token"))
    sample, timestep, words, steps, picture = single_frame_inputs()
    theirs = UNet2DConditionModel.from_config({**network.config, "in_channels": 12}).eval()
    tensors = network.state_dict()
    theirs.load_state_dict({k: tensors[k] for k in tensors if not k.startswith("add_embedding")})
    token = network.add_embedding(network.operation_proj(steps))[:, None]
    expected = theirs(
        torch.cat([sample, picture.expand(2, -1, -1, -1)], dim=1), timestep, torch.cat([words, token], 1)
    ).sample
    torch.testing.assert_close(network(sample, timestep, words, steps, picture).sample, expected)


def test_an_unknown_operation_embedding_is_told_in_one_line():
    with pytest.raises(UserError, match="operation_embedding cannot be 'word': choose from added, none, token"):
        single_frame_unet(operation_embedding="word")


def test_the_choice_can_be_changed_before_training_goes_on(unet):
    token = unet.with_operation_embedding("token")
    assert unet.with_operation_embedding("added") is unet
    assert token.add_embedding.linear_2.out_features == 20
    ours, theirs = unet.state_dict(), token.state_dict()
    assert all(torch.equal(ours[n], theirs[n]) for n in ours if not n.startswith("add_embedding."))
    assert json.loads(token.to_json_string())["operation_embedding"] == "token"
    assert json.loads(token.with_operation_embedding("added").to_json_string()) == json.loads(unet.to_json_string())
