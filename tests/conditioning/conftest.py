"""The golden checkpoint and what the published code computes from it."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file


@pytest.fixture(scope="session")
def golden_folder() -> Path:
    return Path(__file__).parents[1] / "golden" / "tiny"


@pytest.fixture(scope="session")
def golden(golden_folder) -> dict[str, torch.Tensor]:
    return load_file(golden_folder / "expected.safetensors")
