"""A tiny data set, read back as a bank, and one tiny run of every experiment, each made when first asked for."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import tiny_training
from paintsundo.data.shards import load_arrays
from paintsundo.data.staged import StagedProcess
from paintsundo.training import command
from paintsundo.training.bank import ProcessBank


@pytest.fixture(scope="session")
def processes() -> list[StagedProcess]:
    """The two of the training split."""
    return tiny_training.drawings()["train"]


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set on disk."""
    return tiny_training.write_data(tmp_path_factory.mktemp("data") / "set", tiny_training.drawings())


@pytest.fixture
def bank(data: Path) -> ProcessBank:
    """The training split in memory, in the order of `processes`."""
    return ProcessBank.join([load_arrays(data, 1, None, "train")], "cpu")


@pytest.fixture(scope="session")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """`runs.of(name)` is the folder of that experiment's run; `runs.needs(name)` what it takes of earlier ones."""
    folder = tmp_path_factory.mktemp("runs")

    def needs(name: str) -> list[str]:
        if name == "single_frame":
            tags = of("tagger") / "final" / "selected_tags.csv"
            return [f"model.autoencoder={of('image_autoencoder') / 'final'}", f"model.tags={tags}"]
        if name == "multi_frame":
            return [f"model.autoencoder={of('video_autoencoder') / 'final'}"]
        if name == "video_decoder":
            return [f"model.start={of('video_autoencoder') / 'final'}"]
        return []

    def of(name: str) -> Path:
        if not (folder / name).exists():
            given = tiny_training.arguments(name, data, folder / name, *needs(name))
            assert command.main(given) == 0
        return folder / name

    torch.set_num_threads(1)
    return SimpleNamespace(of=of, needs=needs)
