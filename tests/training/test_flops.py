from typing import Any

import lightning
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from paintsundo.models import SingleFrameUNet, UNet3DModel
from paintsundo.training.device_rate import matrix_rate
from paintsundo.training.flops import FlopCounter, StepFlops, batch_samples, batch_signature, count_step
from tiny_loop import TinyModule, fit


def counted(function: Any, *args: Tensor) -> StepFlops:
    with FlopCounter() as counter:
        function(*args)
    return counter.result()


def by_torch(function: Any, *args: Tensor) -> tuple[int, int]:
    """Forward, and forward with backward, as torch's own counter finds them by running both."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as forward:
        out = function(*args)
    with FlopCounterMode(display=False) as backward:
        out.sum().backward()
    return forward.get_total_flops(), forward.get_total_flops() + backward.get_total_flops()


@pytest.mark.parametrize("frozen", [False, True], ids=["trained", "frozen"])
@pytest.mark.parametrize("needed", [False, True], ids=["leaf", "inner"])
def test_networks_cost_what_their_backward_pass_computes(frozen: bool, needed: bool) -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.SiLU(), nn.Flatten(), nn.Linear(8 * 36, 5), nn.SiLU(), nn.Linear(5, 4)
    )
    network.requires_grad_(not frozen)
    x = torch.randn(2, 3, 6, 6, requires_grad=needed)
    found = counted(network, x)
    if frozen and not needed:
        forward = 2 * 2 * (27 * 8 * 36 + 288 * 5 + 20)
        assert found == StepFlops(0, forward, forward)
        return
    forward, whole = by_torch(network, x)
    assert found == StepFlops(forward, 0, whole)
    if needed:
        assert whole == (2 if frozen else 3) * forward


def test_low_rank_training_of_a_frozen_network() -> None:
    base, down, up = nn.Linear(64, 64, bias=False), nn.Linear(64, 4, bias=False), nn.Linear(4, 64, bias=False)
    base.requires_grad_(False)
    x = torch.randn(10, 64, requires_grad=True)
    found = counted(lambda x: base(x) + up(down(x)), x)
    assert found.training == 2 * 10 * (2 * 64 * 64 + 3 * 64 * 4 * 2)


@pytest.mark.parametrize("needing", ["qkv", "q", "v", "kv", ""])
def test_attention(needing: str) -> None:
    tensors = {name: torch.randn(2, 3, 10, 8, requires_grad=name in needing) for name in "qkv"}
    found = counted(lambda: F.scaled_dot_product_attention(*tensors.values()))
    forward = 2 * 2 * (2 * 3 * 10 * 10 * 8)
    backward = {"qkv": 4, "q": 2, "v": 1, "kv": 3, "": 0}[needing] * forward // 2
    assert found.training == forward + backward
    assert (found.trained, found.frozen) == ((forward, 0) if needing else (0, forward))


def test_recomputed_activations_and_passes_without_gradients() -> None:
    network = nn.Linear(8, 8)
    x = torch.randn(4, 8, requires_grad=True)
    forward = 2 * 4 * 8 * 8
    assert counted(lambda x: checkpoint(network, x, use_reentrant=False), x).training == 3 * forward
    with torch.no_grad():
        assert counted(network, x).training == forward
    with torch.inference_mode():
        assert counted(network, x.detach()).training == forward
        heads = torch.randn(1, 2, 5, 8)
        assert counted(F.scaled_dot_product_attention, heads, heads, heads).training == 2 * 2 * 2 * 5 * 5 * 8


class Counting(lightning.Callback):
    """Counts before each step."""

    def on_train_batch_start(self, trainer, pl_module, batch, index) -> None:
        before = torch.get_rng_state()
        self.found = count_step(trainer, pl_module, batch)
        assert torch.equal(before, torch.get_rng_state())


def test_counting_leaves_no_trace() -> None:
    plain, watched, counting = TinyModule(), TinyModule(), Counting()
    fit(plain, [])
    trainer = fit(watched, [counting])
    assert plain.losses == watched.losses
    assert plain.drawn == watched.drawn
    first, second = 2 * 4 * 8 * 16, 2 * 4 * 16 * 8
    # the first layer's input needs no gradient
    assert counting.found == StepFlops(first + second, 2 * 4 * 8 * 8, 2 * first + 3 * second + 2 * 4 * 8 * 8)
    assert set(trainer.logged_metrics) == {"loss"}
    assert "log_dict" not in vars(watched)


def test_buffers_are_put_back() -> None:
    class Normed(TinyModule):
        def __init__(self) -> None:
            super().__init__()
            self.network = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8))

    plain, watched = Normed(), Normed()
    watched.load_state_dict(plain.state_dict())
    fit(plain, [])
    fit(watched, [Counting()])
    assert int(watched.network[1].num_batches_tracked) == 6
    assert torch.equal(plain.network[1].running_mean, watched.network[1].running_mean)


def test_batches() -> None:
    batch = {"states": torch.zeros(3, 3, 8, 8), "keys": ["a", "b", "c"], "number": 7}
    assert batch_samples(batch) == 3
    assert batch_signature(batch) == (("states", (3, 3, 8, 8)),)
    assert batch_samples((torch.zeros(5, 2), torch.zeros(5))) == 5
    assert batch_samples({"x": torch.zeros(4, 1)}) == 4


def test_rate_is_measured_once_and_draws_no_random_numbers() -> None:
    state = torch.get_rng_state()
    rate = matrix_rate("cpu")
    assert torch.equal(state, torch.get_rng_state())
    assert 1e8 < rate < 1e15
    assert matrix_rate("cpu") == rate


def test_published_sizes() -> None:
    """Known: 6.25 TFLOP for six frames of 512×640, 12.6 TFLOP for a clip of 16×320×512; nothing is computed here."""
    with torch.device("meta"), FlopCounter() as counter:
        zero = torch.zeros(6, dtype=torch.long)
        latents = torch.empty(6, 4, 64, 80)
        unet = SingleFrameUNet(cross_attention_dim=768)
        unet(latents, zero, torch.empty(6, 77, 768), operation_steps=zero, concat_conds=latents)
    found = counter.result()
    assert found.trained == pytest.approx(6.25e12, rel=1e-3)
    assert found.training == pytest.approx(3 * found.trained, rel=2e-3)  # text and first layer need no gradient
    with torch.device("meta"), FlopCounter() as counter:
        zero = torch.zeros(1, dtype=torch.long)
        latents = torch.empty(1, 4, 16, 40, 64)
        UNet3DModel()(latents, zero, torch.empty(1, 77, 1024), torch.empty(1, 16, 16, 1024), zero, latents)
    assert counter.result().trained == pytest.approx(12.6e12, rel=1e-2)
