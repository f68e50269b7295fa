import numpy as np
import pytest

from paintsundo.training.averages import power_exponent
from paintsundo.training.power_profiles import combine, inner_product


def profile(std: float, time: float, grid: np.ndarray) -> np.ndarray:
    gamma = power_exponent(std)
    return np.where(grid <= time, (gamma + 1) * (grid / time) ** gamma / time, 0.0)


@pytest.mark.parametrize(("first", "second"), [((0.05, 700.0), (0.1, 1000.0)), ((0.2, 900.0), (0.07, 300.0))])
def test_inner_products_are_the_integrals(first: tuple[float, float], second: tuple[float, float]) -> None:
    grid = (np.arange(400_000) + 0.5) / 400
    integral = (profile(*first, grid) * profile(*second, grid)).sum() / 400
    (std1, t1), (std2, t2) = first, second
    for a, b, c, d in ((std1, t1, std2, t2), (std2, t2, std1, t1)):
        product = inner_product(np.float64(b), power_exponent(a), np.float64(d), power_exponent(c))  # type: ignore[arg-type]
        assert product == pytest.approx(integral, rel=1e-4)


@pytest.mark.parametrize(("snapshots", "std", "least", "most"), [(50, 0.07, 0, 1e-3), (50, 0.03, 1e-3, 1e-2)])
def test_residual_is_the_distance_of_the_profiles(snapshots: int, std: float, least: float, most: float) -> None:
    times = [20.0 * (i + 1) for i in range(snapshots) for _ in range(2)]
    stds = [0.05, 0.1] * snapshots
    found = combine(times, stds, times[-1], std)
    grid = (np.arange(100_000) + 0.5) / 100
    wanted = profile(std, times[-1], grid)
    made = sum(c * profile(s, t, grid) for c, s, t in zip(found.coefficients, stds, times, strict=True))
    distance = np.sqrt(((made - wanted) ** 2).sum() / (wanted**2).sum())
    assert found.residual == pytest.approx(distance, rel=0.05)
    assert least < found.residual < most
    assert found.coefficients.sum() == pytest.approx(1, abs=1e-12)


def test_no_other_combination_is_closer() -> None:
    times, stds = [100.0, 100.0, 200.0, 200.0, 300.0, 300.0], [0.05, 0.1] * 3
    best = combine(times, stds, 300, 0.08)
    gamma = np.array([power_exponent(s) for s in stds])
    t, wanted = np.array(times), power_exponent(0.08)

    def squared(x: np.ndarray) -> float:
        gram = inner_product(t[:, None], gamma[:, None], t[None], gamma[None])
        return float(x @ gram @ x - 2 * x @ inner_product(t, gamma, np.float64(300), wanted))  # type: ignore[arg-type]

    generator = np.random.default_rng(0)
    for _ in range(50):
        aside = generator.normal(size=6) * 1e-3
        assert squared(best.coefficients + aside - aside.mean()) > squared(best.coefficients)


def test_stored_profile_is_itself() -> None:
    found = combine([10, 10, 20, 20], [0.05, 0.1, 0.05, 0.1], 20, 0.05)
    assert found.coefficients.tolist() == [0, 0, 1, 0]
    assert found.residual == 0
