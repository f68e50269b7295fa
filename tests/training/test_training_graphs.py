"""Training steps with recorded passes; a stand-in for a recording replays from tensors of its own, as a graph does."""

import copy
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor, nn

from paintsundo.errors import UserError
from paintsundo.training.combinations import check_combinations
from paintsundo.training.diffusion import DiffusionModule
from paintsundo.training.flops import count_step
from paintsundo.training.graphs import RecordedPasses
from paintsundo.training.multi_frame import MultiFrameModule
from paintsundo.training.options import TrainerOptions, TrainOptions
from paintsundo.training.single_frame import SingleFrameModule
from tiny_models import TINY


class Replays:
    """Makes a forward pass one over inputs that stay where they are; keeps what was recorded."""

    def __init__(self) -> None:
        self.made: list[nn.Module] = []

    def __call__(self, prediction: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        own, forward = tuple(x.clone() for x in inputs), prediction.forward
        self.made.append(prediction)

        def replayed(*given: Tensor) -> Tensor:
            assert [(x.shape, x.dtype) for x in given] == [(x.shape, x.dtype) for x in own]
            for mine, x in zip(own, given, strict=True):
                mine.copy_(x)
            found: Tensor = forward(*own)
            return found

        prediction.forward = replayed


def module_of(kind: str) -> DiffusionModule:
    torch.manual_seed(0)
    made: DiffusionModule
    if kind == "single_frame":
        made = SingleFrameModule(start=str(TINY / kind), text_dropout=0.5, step_dropout=0.5, train_text_encoder=True)
    else:
        made = MultiFrameModule(start=str(TINY / kind), dropout=0.3, windows=["none", "roll"], train_encoders=True)
    for p in made.parameters():  # none of a network that is new is zero
        p.data.add_(0.02 * torch.randn_like(p))
    made.record = lambda figures: None
    return made.train()


def batch_of(module: DiffusionModule, seed: int) -> dict[str, Any]:
    """Two samples of 64 pixels, and what a loader gives beside tensors."""
    torch.manual_seed(seed)
    if isinstance(module, SingleFrameModule):
        shape = (2, module.unet.config.in_channels, 8, 8)
        steps, ids = torch.randint(1000, (2,)), torch.randint(20, (2, 77))
        tensors = {"latents": torch.randn(shape), "finished": torch.randn(shape), "operation_steps": steps}
        return {**tensors, "token_ids": ids, "keys": ["a", "b"]}
    assert isinstance(module, MultiFrameModule)
    channels = module.unet.config["out_channels"]
    return {"latents": torch.randn(2, channels, 16, 8, 8), "ends": torch.rand(2, 3, 2, 64, 64) * 2 - 1, "keys": ["a"]}


def trained(module: DiffusionModule, steps: int = 4) -> tuple[list[float], list[Tensor]]:
    """Losses, and weights after so many steps."""
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    losses = []
    for number in range(steps):
        batch = batch_of(module, number)
        loss = module.training_step(batch, number)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses, [p.detach().clone() for p in module.parameters()]


@pytest.mark.parametrize("kind", ["single_frame", "multi_frame"])
def test_steps_with_recorded_passes_are_those_without(kind: str) -> None:
    plain, recorded = module_of(kind), module_of(kind)
    replays = Replays()
    recorded.recorded = RecordedPasses(recorded.trained_networks(), replays)
    truth, weights = trained(plain)
    found, own = trained(recorded)
    assert found == truth
    assert len(set(truth)) == len(truth)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(own, weights, strict=True))
    changed = [not torch.equal(w, b) for w, b in zip(weights, module_of(kind).parameters(), strict=True)]
    assert sum(changed) > len(changed) / 2
    # One for each attention window that was drawn.
    assert len(replays.made) == (1 if kind == "single_frame" else 2)
    named = {id(p) for p in replays.made[0].parameters()}
    assert named == {id(p) for p in recorded.parameters()}


def test_another_shape_is_another_recording_and_measurements_are_none() -> None:
    module, replays = module_of("single_frame"), Replays()
    module.recorded = RecordedPasses(module.trained_networks(), replays)
    batch = batch_of(module, 0)
    trainer = lightning.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    counted = count_step(trainer, module, batch)
    assert counted.training > 0
    assert module.recorded is not None
    with torch.no_grad():
        module.errors(batch, torch.tensor([5, 6]), torch.randn_like(batch["latents"]))
    assert not replays.made
    for rows in (2, 1, 2):
        module.training_step({name: value[:rows] for name, value in batch.items()}, 0)
    assert len(replays.made) == 2


def test_what_cannot_be_recorded_is_trained_without(recwarn: pytest.WarningsRecorder) -> None:
    plain, module = module_of("multi_frame"), module_of("multi_frame")
    tried = []

    def refuse(prediction: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        tried.append(prediction)
        raise RuntimeError("operation not permitted when stream is capturing\nmore of it")

    module.recorded = RecordedPasses(module.trained_networks(), refuse)
    truth, weights = trained(plain)
    found, own = trained(module)
    assert found == truth
    assert all(torch.equal(a, b) for a, b in zip(own, weights, strict=True))
    assert len(tried) == 1
    told = [str(w.message) for w in recwarn if "runtime.graphs" in str(w.message)]
    assert told == [
        "runtime.graphs: operation not permitted when stream is capturing: networks are trained without CUDA graphs"
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"accumulate": 2}, "needs accumulate=1"),
        ({"trainer": TrainerOptions(strategy="ddp")}, "needs trainer.strategy=one"),
        ({"runtime": {"compile": "full"}}, "needs runtime.compile=none"),
        ({"runtime": {"gradient_checkpointing": True}}, "needs runtime.gradient_checkpointing=false"),
        ({"model": {"_target_": "paintsundo.training.tagger.TaggerModule"}}, "single-frame and the multi-frame model"),
    ],
)
def test_what_goes_with_no_recording(change: dict[str, Any], told: str) -> None:
    options = TrainOptions(output="x", sample_every=None)
    options.runtime.graphs = True
    options.data.held_out = 0
    check_combinations(copy.deepcopy(options))
    for name, value in change.items():
        if name == "runtime":
            for key, each in value.items():
                setattr(options.runtime, key, each)
        else:
            setattr(options, name, value)
    with pytest.raises(UserError, match=told):
        check_combinations(options)
