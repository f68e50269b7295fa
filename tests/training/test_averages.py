import socket
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from paintsundo.errors import UserError
from paintsundo.training.averages import PowerAverage, StandardAverage, local, power_exponent

MAKERS = [lambda: StandardAverage(0.7), lambda: PowerAverage(0.1)]


NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def trajectory(steps: int, device: str = "cpu") -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    sizes = {"a": (3, 5), "b": (7,)}
    return [{n: torch.randn(s, generator=generator).to(device) for n, s in sizes.items()} for _ in range(steps)]


def test_exponents_are_those_of_the_paper() -> None:
    assert power_exponent(0.05) == pytest.approx(16.97, abs=0.005)
    assert power_exponent(0.10) == pytest.approx(6.94, abs=0.005)
    assert power_exponent(12**-0.5) == pytest.approx(0, abs=1e-6)
    for std in (0.01, 0.03, 0.2, 0.28):
        gamma = power_exponent(std)
        assert (gamma + 1) / (gamma + 2) ** 2 / (gamma + 3) == pytest.approx(std**2, rel=1e-9)
    for std in (0, -0.1, 0.3, float("nan")):
        with pytest.raises(UserError, match="width of an average"):
            power_exponent(std)


def test_standard_average_follows_the_formula() -> None:
    values = trajectory(30)
    average = StandardAverage(0.7)
    average.start(values[0])
    expected = values[0]["a"].double()
    for n, value in enumerate(values[1:]):
        average.update(value)
        decay = min(0.7, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value["a"]
    assert torch.allclose(average.averages["a"].double(), expected, atol=1e-6)
    assert average.updates == 29
    with pytest.raises(UserError, match="decay"):
        StandardAverage(1.0)


def test_power_average_has_the_profile_of_the_paper() -> None:
    values = trajectory(61)
    average = PowerAverage(0.1)
    average.start(values[0])
    for value in values[1:]:
        average.update(value)
    # The share of step i of 60 is the profile's mass between i − 1 and i.
    edges = (torch.arange(61).double() / 60) ** (power_exponent(0.1) + 1)
    expected = sum(share * value["b"].double() for share, value in zip(edges.diff(), values[1:], strict=True))
    assert torch.allclose(average.averages["b"].double(), expected, atol=1e-6)
    beta = (1 - 1 / 60) ** (6.94 + 1)
    assert 1 - average.weight(60) == pytest.approx(beta, abs=1e-4)


def test_first_power_update_forgets_the_beginning() -> None:
    before, after = trajectory(2)
    average = PowerAverage(0.05)
    average.start(before)
    assert torch.equal(average.averages["a"], before["a"])
    average.update(after)
    assert torch.equal(average.averages["a"], after["a"])


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NO_GPU)])
@pytest.mark.parametrize("make", MAKERS)
def test_averages_go_on_bit_by_bit(make, device: str) -> None:
    values = trajectory(41, device)
    whole = make()
    whole.start(values[0])
    for value in values[1:]:
        whole.update(value)
    first = make()
    first.start(values[0])
    for value in values[1:18]:
        first.update(value)
    again = make()
    state = first.state_dict()  # read from a file, it is on the CPU
    again.load_state_dict({**state, "averages": {n: t.cpu() for n, t in state["averages"].items()}})
    again.start(values[17])
    for value in values[18:]:
        again.update(value)
    assert again.updates == whole.updates == 40
    for name in ("a", "b"):
        assert again.averages[name].device.type == device
        assert torch.equal(again.averages[name], whole.averages[name])


def test_state_of_other_tensors_is_refused() -> None:
    values = trajectory(1)[0]
    average = StandardAverage(0.9)
    average.start(values)
    for other in ({"a": values["a"]}, {**values, "b": torch.zeros(8)}, {**values, "c": torch.zeros(1)}):
        again = StandardAverage(0.9)
        again.load_state_dict(average.state_dict())
        with pytest.raises(UserError, match="of other tensors"):
            again.start(other)


@pytest.mark.parametrize("make", MAKERS)
def test_halves_are_averaged_in_full_precision_and_masters_left_alone(make) -> None:
    average = make()
    masters = {"a": torch.ones(4, dtype=torch.bfloat16), "none": torch.zeros(0)}
    average.start(masters)
    for _ in range(3):
        masters["a"] += 0.25
        average.update(masters)
    assert average.averages["a"].dtype == torch.float32
    assert (masters["a"] == 1.75).all()
    assert (average.averages["a"] != average.averages["a"].bfloat16()).any()


@pytest.fixture
def mesh() -> Iterator[torch.distributed.DeviceMesh]:
    from torch.distributed.device_mesh import init_device_mesh

    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    torch.distributed.init_process_group("gloo", init_method=f"tcp://localhost:{port}", rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("make", MAKERS)
def test_shards_are_averaged_as_they_are(make, mesh) -> None:
    from torch.distributed.tensor import DTensor, Shard, distribute_tensor

    values = trajectory(9)
    plain, sharded = make(), make()

    def spread(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: distribute_tensor(t.clone(), mesh, [Shard(0)]) for name, t in tensors.items()}

    plain.start(values[0])
    sharded.start(spread(values[0]))
    for value in values[1:5]:
        plain.update(value)
        sharded.update(spread(value))
    again = make()
    state = sharded.state_dict()
    again.load_state_dict({**state, "averages": {n: local(t).clone() for n, t in state["averages"].items()}})
    again.start(spread(values[4]))
    for value in values[5:]:
        plain.update(value)
        again.update(spread(value))
    for name, average in again.averages.items():
        assert isinstance(average, DTensor)
        assert torch.equal(average.full_tensor(), plain.averages[name])
