"""The choice among PyTorch's attentions: what is measured, when, and that the choice is what computes."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend

from paintsundo.models import sdpa_choice
from paintsundo.models.attention import attend


def active() -> set[SDPBackend]:
    """Kernels that PyTorch may use just now."""
    flags = {
        SDPBackend.FLASH_ATTENTION: torch.backends.cuda.flash_sdp_enabled(),
        SDPBackend.EFFICIENT_ATTENTION: torch.backends.cuda.mem_efficient_sdp_enabled(),
        SDPBackend.CUDNN_ATTENTION: torch.backends.cuda.cudnn_sdp_enabled(),
        SDPBackend.MATH: torch.backends.cuda.math_sdp_enabled(),
    }
    return {backend for backend, on in flags.items() if on}


def timed(seconds: dict[SDPBackend | None, float | None]) -> Callable[[Callable[[], object]], float]:
    """A clock by the one kernel that is on; None for several; a kernel without a time cannot compute."""

    def clock(call: Callable[[], object]) -> float:
        on = active()
        found = seconds.get(next(iter(on)) if len(on) == 1 else None)
        if found is None:
            raise RuntimeError("No available kernel")
        return found

    return clock


@pytest.fixture(autouse=True)
def _off_again() -> Iterator[None]:
    yield
    sdpa_choice.choose_attention(False)


FLASH, EFFICIENT, CUDNN = sdpa_choice.CANDIDATES


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({None: 1.0, FLASH: 1.0, EFFICIENT: 0.5, CUDNN: 0.7}, EFFICIENT),
        ({None: 1.0, FLASH: 1.0, CUDNN: 0.5}, CUDNN),
        ({None: 1.0, FLASH: 0.97, EFFICIENT: 2.0, CUDNN: 1.5}, None),  # within what measurements differ by
        ({None: 1.0}, None),
    ],
)
def test_clearly_fastest_is_chosen(seconds: dict[SDPBackend | None, float | None], expected: SDPBackend | None) -> None:
    before = active()
    assert sdpa_choice.fastest(lambda: None, timed(seconds)) == expected
    assert active() == before


@torch.no_grad()
def test_each_shape_is_measured_once_and_computed_by_its_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k = torch.randn(2, 8, 12), torch.randn(2, 6, 12)
    expected = attend(q, k, k, heads=3)
    used: list[set[SDPBackend]] = []
    usual = F.scaled_dot_product_attention

    def seen(*args: torch.Tensor, **options: bool) -> torch.Tensor:
        used.append(active())
        return usual(*args, **options)

    measured: list[int] = []

    def chosen(call: Callable[[], object], seconds: object) -> SDPBackend | None:
        measured.append(1)
        return SDPBackend.FLASH_ATTENTION if len(measured) == 1 else None

    monkeypatch.setattr(sdpa_choice.F, "scaled_dot_product_attention", seen)
    monkeypatch.setattr(sdpa_choice, "fastest", chosen)
    monkeypatch.setattr(sdpa_choice.torch.cuda, "is_current_stream_capturing", lambda: False)
    attend(q, k, k, heads=3)
    assert not measured  # off at the start
    sdpa_choice.choose_attention(True)
    attend(q, k, k, heads=3)
    assert not measured  # and on processors
    monkeypatch.setattr(sdpa_choice, "_measurable", lambda q: True)
    used.clear()
    for _ in range(3):
        assert torch.allclose(attend(q, k, k, heads=3), expected, atol=1e-6)
    attend(q[:1], k[:1], k[:1], heads=3)
    assert len(measured) == 2
    assert used[:3] == [{SDPBackend.FLASH_ATTENTION}] * 3
    assert len(used[3]) > 1
    monkeypatch.setattr(sdpa_choice.torch.cuda, "is_current_stream_capturing", lambda: True)
    attend(q[:, :2], k, k, heads=3)  # nothing can be measured while a graph is recorded
    assert len(measured) == 2


def test_the_device_that_computes_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which need not be the current one; times of another would be those of starting kernels."""
    waited: list[torch.device | None] = []
    monkeypatch.setattr(sdpa_choice.torch.cuda, "synchronize", lambda device=None: waited.append(device))
    monkeypatch.setattr(sdpa_choice.torch.cuda, "is_current_stream_capturing", lambda: False)
    monkeypatch.setattr(sdpa_choice, "_measurable", lambda q: True)
    sdpa_choice.choose_attention(True)
    q = torch.randn(1, 2, 8, 4)
    sdpa_choice.attention(q, q, q)
    assert set(waited) == {q.device}
