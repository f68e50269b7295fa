"""What all modules share: precision, frozen networks, chosen parts."""

import pytest
import torch
from torch import Tensor, nn

from paintsundo.errors import UserError
from paintsundo.training.module import PaintsUndoModule


class Two(PaintsUndoModule):
    """A trained and a frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        self.trained = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        self.keep_frozen("frozen", nn.Linear(4, 4))
        self.seen: torch.dtype | None = None

    def step(self, batch: Tensor, batch_index: int) -> Tensor:
        out = self.trained(self.frozen(batch))
        self.seen = out.dtype
        return out.square().mean()


@pytest.mark.parametrize("wanted", [None, torch.bfloat16])
def test_precision_inside_the_step_holds_where_autocast_is_switched_off_around_it(wanted: torch.dtype | None) -> None:
    module = Two()
    module.autocast_dtype = wanted
    if wanted is not None:  # weights as DeepSpeed keeps them
        module.to(wanted)
        module.frozen.to(wanted)
    with torch.autocast("cpu", enabled=False):
        module.training_step(torch.ones(2, 4), 0).backward()
    assert module.seen == (wanted or torch.float32)
    assert all(p.grad is not None for p in module.trained.parameters())


def test_frozen_networks_are_used_but_not_part_of_the_module() -> None:
    module = Two()
    assert set(dict(module.named_parameters())) == {f"trained.{i}.{n}" for i in (0, 1) for n in ("weight", "bias")}
    assert not module.frozen.weight.requires_grad
    assert not module.frozen.training
    before = module.frozen.weight.clone()
    module.place_frozen("cpu")
    module.restore_frozen()
    assert torch.equal(module.frozen.weight, before)


def test_chosen_parts_are_trained_alone() -> None:
    module = Two()
    assert module.train_only([r"1\.weight", "0"]) == ["trained.0.bias", "trained.0.weight", "trained.1.weight"]
    assert [n for n, p in module.named_parameters() if not p.requires_grad] == ["trained.1.bias"]
    with pytest.raises(UserError, match="'attn' is in no parameter's name, such as trained"):
        Two().train_only(["attn"])
    with pytest.raises(UserError, match="no regular expression"):
        Two().train_only(["("])
