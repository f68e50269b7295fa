from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.strategies import FSDPStrategy
from safetensors.torch import load_file
from torch import Tensor, nn

from paintsundo.errors import UserError
from paintsundo.training.averages import PowerAverage, StandardAverage
from paintsundo.training.ema import AverageWeights
from paintsundo.training.snapshots import find_snapshots


class Lines(lightning.LightningModule):
    """One trained and one frozen layer; remembers the weights after each optimiser step."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.unet, self.vae = nn.Linear(3, 2), nn.Linear(2, 2).requires_grad_(False)
        self.seen: dict[int, dict[str, Tensor]] = {0: self.trained()}

    def trained(self) -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in self.named_parameters() if p.requires_grad}

    def training_step(self, batch: Tensor, index: int) -> Tensor:
        # by the step, so that a resumed run sees what an uninterrupted one does
        drawn = torch.randn(4, 3, generator=torch.Generator().manual_seed(self.trainer.global_step))
        return (batch * self.vae(self.unet(drawn))).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), 0.1)

    def on_train_batch_end(self, *args: Any) -> None:
        self.seen[self.trainer.global_step] = self.trained()


def fit(steps: int, averages: AverageWeights, start: Path | None = None, accumulate: int = 1) -> Lines:
    module = Lines()
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_steps=steps,
        max_epochs=None,
        accumulate_grad_batches=accumulate,
        callbacks=[averages],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, torch.utils.data.DataLoader(torch.ones(64, 1)), ckpt_path=start, weights_only=True)
    return module


def expected(average: StandardAverage | PowerAverage, seen: dict[int, dict[str, Tensor]]) -> dict[str, Tensor]:
    average.start(seen[0])
    for step in range(1, max(seen) + 1):
        average.update(seen[step])
    return average.averages


@pytest.mark.parametrize("accumulate", [1, 3])
def test_each_optimiser_step_is_averaged_once(accumulate: int) -> None:
    averages = AverageWeights("standard", 0.9)
    module = fit(6, averages, accumulate=accumulate)
    current = averages.current()
    assert current is not None
    assert set(current) == {"unet.weight", "unet.bias"}
    assert averages.standard is not None
    assert averages.standard.updates == 6
    wanted = expected(StandardAverage(0.9), module.seen)
    assert all(torch.equal(current[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("kind", ["standard", "power"])
def test_resumed_averages_are_the_same_bits(kind: str, tmp_path: Path) -> None:
    whole = AverageWeights(kind, 0.9, [0.05, 0.1])
    fit(20, whole)
    first = AverageWeights(kind, 0.9, [0.05, 0.1])
    module = fit(9, first)
    module.trainer.save_checkpoint(tmp_path / "state.ckpt")
    again = AverageWeights(kind, 0.9, [0.05, 0.1])
    fit(20, again, tmp_path / "state.ckpt")
    assert again.members.keys() == whole.members.keys()
    for name, member in whole.members.items():
        assert again.members[name].updates == 20
        assert all(torch.equal(again.members[name].averages[n], t) for n, t in member.averages.items())
    other = AverageWeights("power", stds=[0.05])
    with pytest.raises(UserError, match=r"other averages .* cannot change"):
        fit(20, other, tmp_path / "state.ckpt")


def test_first_width_is_lent_and_given_back() -> None:
    averages = AverageWeights("power", stds=[0.1, 0.05])
    module = fit(8, averages)
    trained = module.trained()
    wanted = expected(PowerAverage(0.1), module.seen)
    with averages.swapped(module.trainer, module):
        assert all(torch.equal(t, wanted[name]) for name, t in module.trained().items())
    assert all(torch.equal(t, trained[name]) for name, t in module.trained().items())
    with AverageWeights("none").swapped(module.trainer, module):
        assert torch.equal(module.unet.weight, trained["unet.weight"])
    assert AverageWeights("none").current() is None


def test_snapshots_at_every_interval_and_at_the_end(tmp_path: Path) -> None:
    averages = AverageWeights("power", stds=[0.05, 0.1], snapshot_every=4, folder=tmp_path)
    module = fit(10, averages)
    found = find_snapshots(tmp_path)
    assert [(s.std, s.step, s.updates) for s in found] == [(d, n, n) for n in (4, 8, 10) for d in (0.05, 0.1)]
    for snapshot in found:
        seen = {step: p for step, p in module.seen.items() if step <= snapshot.step}
        wanted = expected(PowerAverage(snapshot.std), seen)
        tensors = load_file(snapshot.file)
        assert tensors.keys() == wanted.keys()
        assert all(torch.equal(tensors[name], wanted[name]) for name in wanted)
    assert not [file for file in tmp_path.rglob("*") if "partial" in file.name]
    (tmp_path / "averages" / "std-0.050" / "step-00000004.safetensors").write_bytes(b"short")
    with pytest.raises(UserError, match=r"step-00000004\.safetensors is damaged"):
        find_snapshots(tmp_path)


def test_snapshots_of_steps_that_come_again_are_set_aside(tmp_path: Path) -> None:
    averages = AverageWeights("power", stds=[0.1], snapshot_every=2, folder=tmp_path)
    module = fit(4, averages)
    module.trainer.save_checkpoint(tmp_path / "state.ckpt")
    fit(7, AverageWeights("power", stds=[0.1], snapshot_every=2, folder=tmp_path), tmp_path / "state.ckpt")
    assert [s.step for s in find_snapshots(tmp_path)] == [2, 4, 6, 7]
    fit(6, AverageWeights("power", stds=[0.1], snapshot_every=2, folder=tmp_path), tmp_path / "state.ckpt")
    assert [s.step for s in find_snapshots(tmp_path)] == [2, 4, 6]
    assert (tmp_path / "averages" / "std-0.100" / "step-00000007.safetensors.superseded").is_file()


def test_snapshot_that_cannot_be_written_is_told_and_training_goes_on(tmp_path: Path) -> None:
    (tmp_path / "averages").write_text("in the way")
    averages = AverageWeights("power", stds=[0.1], snapshot_every=2, folder=tmp_path)
    with pytest.warns(UserWarning, match=r"snapshot std-0\.100 of step 2 could not be written"):
        module = fit(4, averages)
    assert max(module.seen) == 4
    assert len(averages.faults) == 2


def test_shards_are_kept_beside_the_checkpoint(tmp_path: Path) -> None:
    def trainer(rank: int, world: int) -> Any:
        strategy = FSDPStrategy()
        return SimpleNamespace(
            strategy=strategy, global_rank=rank, world_size=world, global_step=0, is_global_zero=rank == 0
        )

    def started(rank: int, world: int = 2) -> AverageWeights:
        averages = AverageWeights("power", stds=[0.05, 0.1])
        averages.on_train_start(trainer(rank, world), Lines())
        return averages

    written = []
    for rank in range(2):
        averages = started(rank)
        module = Lines()
        for step in range(1, 4):
            with torch.no_grad():
                module.unet.weight += rank + step
            moved: Any = SimpleNamespace(**{**vars(trainer(rank, 2)), "global_step": step})
            averages.on_train_batch_end(moved, module)
        averages.write_shard(tmp_path, trainer(rank, 2))
        written.append(averages)
        assert averages.state_dict()["members"]["std-0.050"] == {"updates": 3}
    for rank in range(2):
        again = AverageWeights("power", stds=[0.05, 0.1])
        assert again.read_shard(tmp_path, trainer(rank, 2))
        again.load_state_dict(written[rank].state_dict())
        again.on_train_start(trainer(rank, 2), Lines())
        for name, member in written[rank].members.items():
            assert again.members[name].updates == 3
            assert all(torch.equal(again.members[name].averages[n], t) for n, t in member.averages.items())
    with pytest.raises(UserError, match=r"rank-00000-of-00004\.safetensors is missing"):
        AverageWeights("power", stds=[0.05, 0.1]).read_shard(tmp_path, trainer(0, 4))
    with pytest.raises(UserError, match="other averages"):
        AverageWeights("standard").read_shard(tmp_path, trainer(0, 2))
    assert not AverageWeights("standard").read_shard(tmp_path / "none", trainer(0, 2))


def test_impossible_settings() -> None:
    for settings, told in (
        ({"kind": "median"}, "standard, power or none"),
        ({"kind": "power", "stds": []}, "differ in three decimals"),
        ({"kind": "power", "stds": [0.05, 0.0501]}, "differ in three decimals"),
        ({"kind": "power", "stds": [0.4]}, "width of an average"),
        ({"snapshot_every": 0}, "at least 1"),
    ):
        with pytest.raises(UserError, match=told):
            AverageWeights(**settings)  # type: ignore[arg-type]
