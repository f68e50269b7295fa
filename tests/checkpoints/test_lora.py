"""LoRA files merged into the UNets, against the formula and against peft."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import save_file

from paintsundo.checkpoints.lora import merge_lora
from paintsundo.errors import UserError
from paintsundo.models import SingleFrameUNet, UNet3DModel
from tiny_models import TINY

ATTENTION = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
CONV = "mid_block.resnets.0.conv1"
VIDEO = "input_blocks.1.1.transformer_blocks.0.attn1.to_q"


@pytest.fixture
def unets() -> tuple[SingleFrameUNet, UNet3DModel]:
    return (
        SingleFrameUNet.from_pretrained(TINY / "single_frame" / "unet"),
        UNet3DModel.from_pretrained(TINY / "multi_frame" / "unet"),
    )


def low_rank(weight: torch.Tensor, rank: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    down = torch.randn(rank, *weight.shape[1:])
    return down, torch.randn(weight.shape[0], rank, *[1] * (weight.ndim - 2))


@pytest.mark.parametrize(
    ("prefix", "down_name", "up_name"),
    [
        ("", "lora_A.weight", "lora_B.weight"),
        ("unet.", "lora_A.weight", "lora_B.weight"),
        ("base_model.model.", "lora_A.weight", "lora_B.weight"),
        ("unet.", "lora.down.weight", "lora.up.weight"),
        ("", "lora_down.weight", "lora_up.weight"),
    ],
)
@pytest.mark.parametrize("layer", [ATTENTION, CONV, VIDEO])
def test_update_is_the_product_of_its_factors(
    tmp_path: Path, unets, layer: str, prefix: str, down_name: str, up_name: str
) -> None:
    unet = unets[1] if layer == VIDEO else unets[0]
    weight = unet.get_submodule(layer).weight
    before = weight.detach().clone()
    down, up = low_rank(weight)
    file = tmp_path / "style.safetensors"
    stem = prefix + layer
    save_file({f"{stem}.{down_name}": down, f"{stem}.{up_name}": up, f"{stem}.alpha": torch.tensor(4.0)}, file)
    assert merge_lora(file, unets, scale=0.5) == 1
    # alpha / rank = 2, scale = 1/2
    expected = before + torch.einsum("or,ri->oi", up.flatten(1), down.flatten(1)).reshape(before.shape)
    torch.testing.assert_close(unet.get_submodule(layer).weight, expected)


def test_the_same_as_peft(tmp_path: Path, unets) -> None:
    unet = unets[0]
    down, up = low_rank(unet.get_submodule(ATTENTION).weight)
    tensors = {f"unet.{ATTENTION}.lora_A.weight": down, f"unet.{ATTENTION}.lora_B.weight": up}
    save_file(tensors, tmp_path / "style.safetensors")
    adapted = SingleFrameUNet.from_pretrained(TINY / "single_frame" / "unet")
    adapted.load_lora_adapter(dict(tensors), prefix="unet")
    adapted.fuse_lora()
    merge_lora(tmp_path / "style.safetensors", unets)
    merged = adapted.get_submodule(ATTENTION).base_layer.weight
    torch.testing.assert_close(unet.get_submodule(ATTENTION).weight, merged)


def test_a_file_that_diffusers_wrote_keeps_its_alpha(tmp_path: Path, unets) -> None:
    unet = unets[0]
    adapted = SingleFrameUNet.from_pretrained(TINY / "single_frame" / "unet")
    adapted.add_adapter(LoraConfig(r=2, lora_alpha=6, target_modules=["to_q"], init_lora_weights=False))
    adapted.save_lora_adapter(tmp_path, weight_name="style.safetensors")
    merge_lora(tmp_path / "style.safetensors", unets)
    adapted.fuse_lora()
    merged = adapted.get_submodule(ATTENTION).base_layer.weight
    torch.testing.assert_close(unet.get_submodule(ATTENTION).weight, merged)


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ({"something.weight": torch.zeros(2, 2)}, "holds no LoRA"),
        (
            {
                f"{ATTENTION}.lora_A.weight": torch.zeros(2, 4),
                f"{ATTENTION}.lora_B.weight": torch.zeros(4, 2),
                f"{ATTENTION}.lora_magnitude_vector": torch.zeros(4),
            },
            "more than low-rank pairs",
        ),
        ({"nowhere.lora_A.weight": torch.zeros(2, 4), "nowhere.lora_B.weight": torch.zeros(4, 2)}, "nowhere"),
        (
            {f"{ATTENTION}.lora_A.weight": torch.zeros(2, 5), f"{ATTENTION}.lora_B.weight": torch.zeros(4, 2)},
            "does not fit",
        ),
    ],
)
def test_files_that_do_not_fit_change_nothing(tmp_path: Path, unets, tensors, told: str) -> None:
    before = {name: tensor.clone() for name, tensor in unets[0].state_dict().items()}
    save_file(tensors, tmp_path / "style.safetensors")
    with pytest.raises(UserError, match=told):
        merge_lora(tmp_path / "style.safetensors", unets)
    assert all(torch.equal(tensor, before[name]) for name, tensor in unets[0].state_dict().items())


def test_missing_file(tmp_path: Path, unets) -> None:
    with pytest.raises(UserError, match="does not exist"):
        merge_lora(tmp_path / "none.safetensors", unets)
