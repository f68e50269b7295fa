from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import random_checkpoint
from paintsundo.errors import UserError
from paintsundo.training.tensor_slots import find_slots, overwrite


@pytest.mark.parametrize("kind", ["single_frame", "multi_frame"])
def test_every_parameter_of_both_models_has_its_place(kind: str, tmp_path: Path) -> None:
    components = getattr(random_checkpoint, kind)()
    components.save(tmp_path)
    holder = nn.ModuleDict(components.networks())
    parameters = dict(holder.named_parameters())
    seen = 0
    for component in holder:
        slots = find_slots(tmp_path / component, [n for n in parameters if n.startswith(f"{component}.")])
        for name, slot in slots.items():
            assert torch.equal(slot.read(), parameters[name])
            seen += 1
    assert seen == len(parameters) > 100


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_tensors_are_replaced_in_place(dtype: torch.dtype, tmp_path: Path) -> None:
    tensors = {"a": torch.randn(3, 2).to(dtype), "b": torch.randn(()).to(dtype), "c": torch.arange(3)}
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    new = torch.randn(3, 2, dtype=torch.float64)
    slots = find_slots(tmp_path, ["unet.a", "unet.b"])
    overwrite(slots["unet.a"], new)
    overwrite(slots["unet.b"], torch.tensor(2.0))
    stored = load_file(tmp_path / "model.safetensors")
    assert torch.equal(stored["a"], new.to(dtype))
    assert stored["b"] == 2
    assert torch.equal(stored["c"], tensors["c"])
    with pytest.raises(ValueError, match="for a place of"):
        overwrite(slots["unet.a"], torch.zeros(7))


def test_places_that_are_not_there(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1), "count": torch.zeros(1, dtype=torch.int64)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"lacks 2 of 3 averaged tensors \(as unet\.count\)"):
        find_slots(tmp_path, ["unet.a", "unet.count", "unet.x"])
    (tmp_path / "model.safetensors").write_bytes(b"no header at all")
    with pytest.raises(UserError, match="damaged or not a safetensors file"):
        find_slots(tmp_path, ["unet.a"])
