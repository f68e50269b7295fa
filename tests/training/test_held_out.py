import json

import lightning
import pytest
import torch

from paintsundo.training.figures import read_figures, write_figures
from paintsundo.training.held_out import HeldOutLoss, spread_timesteps
from paintsundo.training.loggers import RunCSVLogger
from tiny_loop import TinyModule, Zeros, csv_rows, fit


def test_timesteps_are_spread_evenly_over_their_quantile() -> None:
    parts = [spread_timesteps(5, q, 4, 1000) for q in range(4)]
    assert parts[0].tolist() == [25, 75, 125, 175, 225]
    assert torch.equal(parts[3], parts[0] + 750)
    assert torch.equal(torch.cat([spread_timesteps(250, q, 4, 1000) for q in range(4)]), torch.arange(1000))
    assert spread_timesteps(1, 3, 4, 3).max() <= 2


def test_figures_by_quantile(tmp_path) -> None:
    module = TinyModule()
    callback = HeldOutLoss("a bank", tmp_path, 4, count=6, batch_size=3)
    fit(module, [callback], steps=10, loggers=RunCSVLogger(tmp_path))
    lines = read_figures(tmp_path)
    assert [line["step"] for line in lines] == [4, 8, 10]
    names = [f"held_out_loss_q{q}" for q in range(1, 5)]
    for line in lines:
        assert set(line) == {"step", "held_out_loss", *names}
        assert line["held_out_loss"] == pytest.approx(sum(line[name] for name in names) / 4)
    assert len({line["held_out_loss"] for line in lines}) == 3
    # the last ones, done by hand with the weights as they are
    module.eval()
    for q, name in enumerate(names):
        errors = []
        for number in range(2):
            noise = torch.randn(3, 8, generator=torch.Generator().manual_seed(number))
            batch = module.held_out_batch(None, 3, number)
            with torch.no_grad():
                errors.append(module.errors(batch, torch.tensor([41, 125, 208]) + 250 * q, noise))
        assert lines[-1][name] == pytest.approx(float(torch.cat(errors).mean()), rel=1e-5)
    logged = [row for row in csv_rows(tmp_path) if row["held_out_loss"]]
    assert [int(row["step"]) for row in logged] == [3, 7, 9]
    assert float(logged[-1]["held_out_loss_q2"]) == pytest.approx(lines[-1]["held_out_loss_q2"])


def test_averaged_weights_are_measured_and_given_back(tmp_path) -> None:
    plain, measured = TinyModule(), TinyModule()
    fit(plain, [])
    callback = HeldOutLoss(None, tmp_path, 2, averages=Zeros(), count=64, batch_size=64)
    fit(measured, [callback])
    # a network of zeros predicts no noise: the error is the noise's own square
    assert callback.latest["held_out_loss"] == pytest.approx(1.0, abs=0.2)
    assert len(read_figures(tmp_path)) == 3
    assert len({line["held_out_loss"] for line in read_figures(tmp_path)}) == 1
    assert plain.losses == measured.losses
    assert plain.drawn == measured.drawn
    assert all(part.training for part in measured.network.modules())


def test_modules_without_errors_are_passed_by(tmp_path) -> None:
    class Autoencoder(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(8, 8)

        def training_step(self, batch, index):
            return self.layer(batch["x"]).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 1e-3)

    fit(Autoencoder(), [HeldOutLoss(None, tmp_path, 2)], steps=4)
    assert not (tmp_path / "figures.jsonl").exists()


def test_lines_are_merged_and_those_of_lost_steps_go(tmp_path) -> None:
    write_figures(tmp_path, 10, {"a": 1.0})
    write_figures(tmp_path, 10, {"b": 2.0, "a": 3.0})
    write_figures(tmp_path, 20, {"a": float("nan")})
    write_figures(tmp_path, 30, {"a": 5.0})
    with (tmp_path / "figures.jsonl").open("a") as stream:
        stream.write('{"step": 40, "a"')  # killed while writing
    assert read_figures(tmp_path) == [{"step": 10, "a": 3.0, "b": 2.0}, {"step": 20, "a": None}, {"step": 30, "a": 5.0}]
    write_figures(tmp_path, 20, {"a": 6.0})  # gone on from step 15
    lines = [json.loads(line) for line in (tmp_path / "figures.jsonl").read_text().splitlines()]
    assert lines == [{"step": 10, "a": 3.0, "b": 2.0}, {"step": 20, "a": 6.0}]
