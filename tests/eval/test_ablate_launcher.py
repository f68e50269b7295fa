"""The launcher of one machine: so many processes at once, each with its card, stopped in time."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf


class Task:
    """What a job does: note its card and when it ran, then what its name says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, config):
        began = time.time()
        print(f"I am {config.job}")
        if config.job == "fails":
            return 3
        if config.job == "crashes":
            os._exit(9)
        try:
            time.sleep(60 if config.job == "long" else 0.5)
        except KeyboardInterrupt:
            (self.folder / "long.stopped").touch()
            return 130
        text = f"{os.environ['CUDA_VISIBLE_DEVICES']} {os.environ['OMP_NUM_THREADS']} {began} {time.time()}"
        (self.folder / config.job).write_text(text)
        return 0


def launch(folder, jobs, **options):
    from hydra_plugins._cards_launcher import CardsLauncher

    launcher = CardsLauncher(environment={"OMP_NUM_THREADS": "1"}, logs=str(folder / "logs"), **options)
    loader = SimpleNamespace(
        load_sweep_config=lambda _, overrides: OmegaConf.create({"job": overrides[0], "hydra": {"job": {}}})
    )
    launcher.setup(hydra_context=SimpleNamespace(config_loader=loader), task_function=Task(folder), config=None)
    return [result.return_value for result in launcher.launch([[job] for job in jobs], 0)]


def test_cards_are_shared_out_and_never_overfull(tmp_path):
    names = [f"job{number}" for number in range(6)]
    assert launch(tmp_path, names, devices=["0", "3"], per_device=2) == [0] * 6
    runs = [(tmp_path / name).read_text().split() for name in names]
    assert {card for card, *_ in runs} == {"0", "3"}
    for card, _, began, _ in runs:
        others = [run for run in runs if run[0] == card and float(run[2]) <= float(began) < float(run[3])]
        assert len(others) <= 2
    assert (tmp_path / "logs" / "job5.log").read_text() == "I am job5\n"


def test_a_job_that_fails_stops_no_other(tmp_path):
    assert launch(tmp_path, ["fails", "crashes", "works"], devices=["cpu"]) == [3, 9, 0]
    assert (tmp_path / "works").read_text().startswith(" 1 ")  # no card is visible


def test_when_the_time_is_up_jobs_are_interrupted_and_none_begins(tmp_path):
    began = time.monotonic()
    found = launch(tmp_path, ["long", "late"], devices=["cpu"], seconds=8)
    assert time.monotonic() - began < 40
    assert found == [130, None]
    assert (tmp_path / "long.stopped").exists()
    assert not (tmp_path / "late").exists()


def test_hydra_knows_it():
    from hydra.core.config_store import ConfigStore
    from hydra.core.plugins import Plugins
    from hydra_plugins import _cards_launcher

    _cards_launcher.register()
    assert Plugins.instance().class_name_to_class["hydra_plugins._cards_launcher.CardsLauncher"]
    assert ConfigStore.instance().load("hydra/launcher/cards.yaml").node.per_device == 1


@pytest.mark.parametrize(("given", "names"), [([0, 1], ["0", "1"]), ("cpu", ["cpu"]), (2, ["2"])])
def test_names_of_devices(given, names):
    from support.ablate_options import AblateOptions, device_names

    assert device_names(AblateOptions(devices=given)) == names
