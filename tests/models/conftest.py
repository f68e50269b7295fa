"""The golden checkpoint and what the published code computes from it; small networks of every class."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_networks import CASES, Case

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="session")
def golden() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "tiny" / "expected.safetensors")


@pytest.fixture(scope="session")
def single_frame_folder() -> Path:
    return GOLDEN / "tiny" / "single_frame"


@pytest.fixture(scope="session")
def multi_frame_folder() -> Path:
    return GOLDEN / "tiny" / "multi_frame"


@pytest.fixture(params=CASES)
def case(request) -> Case:
    return CASES[request.param]
