import copy
import math
import pickle

import numpy as np
import pytest
import torch
from toy_denoisers import bad, exact, gaussian_mean, prediction, run, signal_at

from paintsundo.diffusion import DynamicTSNRScheduler
from paintsundo.errors import UserError

SHAPE = (2, 4, 3, 6, 5)


def normal(seed: int, shape=SHAPE, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def reference(steps: int, x: np.ndarray, noises: list[np.ndarray], network, rounded: bool) -> np.ndarray:
    """The published formulas in float64. network(x, t) -> v.

    rounded: with alphas and direction rounded to float32 as published.
    """
    kind = np.float32 if rounded else np.float64
    root = np.sqrt(np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2))
    alphas = (((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2).astype(kind).astype(np.float64)
    scale = np.concatenate([np.linspace(1, 0.7, 400), np.full(600, 0.7)])
    ascending = (np.round(np.arange(1000, 0, -1000 / steps))[:steps] - 1).astype(int)[::-1]
    before = np.concatenate([[0], ascending[:-1]])
    for t, previous, noise in zip(ascending[::-1], before[::-1], noises, strict=True):
        a, b = alphas[t], alphas[previous]
        v = network(x, t)
        epsilon = np.sqrt(a) * v + np.sqrt(1 - a) * x
        x0 = (np.sqrt(a) * x - np.sqrt(1 - a) * v) * scale[previous] / scale[t]
        sigma = np.sqrt((1 - b) / (1 - a) * (1 - a / b))
        direction = kind(1) - kind(b) - kind(sigma) ** 2
        x = np.sqrt(b) * x0 + np.sqrt(max(float(direction), 0)) * epsilon + sigma * noise
    return x


@pytest.mark.parametrize(("rounded", "tolerance"), [(True, 2e-6), (False, 2e-3)])
@pytest.mark.parametrize("steps", [1, 2, 4, 5, 8, 11, 14, 22, 30, 50, 61, 100])
def test_steps_equal_the_plain_formulas(steps, rounded, tolerance):
    start, noises = normal(0), [normal(1 + i) for i in range(steps)]

    def network(x, t):
        return np.tanh(x * (1 + t / 1000)) + 0.1 * np.sin(t)

    scheduler = DynamicTSNRScheduler()
    scheduler.set_timesteps(steps)
    x = start
    for t, noise in zip(scheduler.timesteps, noises, strict=True):
        x = scheduler.step(torch.from_numpy(network(x.numpy(), int(t))), t, x, noise=noise).prev_sample
    theirs = reference(steps, start.numpy(), [noise.numpy() for noise in noises], network, rounded)
    # What is left is the rounding of coefficients to float32; that of a direction near 0 is the larger one.
    assert np.abs(x.numpy() - theirs).max() < tolerance * np.abs(theirs).max()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_every_step_count_is_finite(dtype):
    scheduler = DynamicTSNRScheduler()
    for steps in range(1, 101):
        scheduler.set_timesteps(steps)
        assert len(scheduler.timesteps) == steps
        assert int(scheduler.timesteps.min()) >= 0
        start = normal(steps, (4, 2, 2), torch.float32).to(dtype)
        sample = run(scheduler, start, bad, generator=generators(steps)[0])
        assert sample.dtype == dtype
        assert bool(sample.isfinite().all()), steps


@pytest.mark.parametrize("kind", ["epsilon", "sample"])
def test_other_predictions_are_finite_where_they_mean_something(kind):
    scheduler = DynamicTSNRScheduler(prediction_type=kind, rescale_betas_zero_snr=False)
    for steps in range(1, 101):
        scheduler.set_timesteps(steps)
        sample = run(scheduler, normal(steps, (4, 2, 2), torch.float16), bad)
        assert bool(sample.isfinite().all()), steps
    with pytest.raises(UserError, match="zero terminal SNR"):
        DynamicTSNRScheduler(prediction_type="epsilon")


@pytest.mark.parametrize("kind", ["v_prediction", "epsilon", "sample"])
def test_an_exact_denoiser_gives_its_sample_at_timestep_0(kind):
    """The last step goes to timestep 0, whose noise remains: sqrt(1 - a_0) = 0.029."""
    scheduler = DynamicTSNRScheduler(prediction_type=kind, rescale_betas_zero_snr=kind == "v_prediction")
    x0, alpha = normal(2, (1, 20000)), float(scheduler.schedule.alphas_cumprod[0])
    for steps in (1, 4, 10, 50):
        scheduler.set_timesteps(steps)
        start, last_noise = normal(3, (1, 20000)), normal(4, (1, 20000))
        denoise = exact(scheduler, x0, kind)
        x = start
        for i, t in enumerate(scheduler.timesteps):
            noise = last_noise if i == steps - 1 else normal(5 + i, (1, 20000))
            x = scheduler.step(denoise(x, t), t, x, noise=noise).prev_sample
        remaining = (x - math.sqrt(alpha) * x0) / math.sqrt(1 - alpha)
        assert float(remaining.mean().abs()) < 0.03
        assert float(remaining.std()) == pytest.approx(1, abs=0.03)


def test_gaussian_data_keep_their_mean_and_variance():
    """With the exact denoiser of N(mean, deviation²), samples tend to that distribution (and a_0's noise).

    The step noise is the smaller of DDPM's two choices, hence too little variance at few steps.
    """
    mean, deviation, count = 0.4, 0.5, 20000
    scheduler = DynamicTSNRScheduler()

    def denoise(x, t):
        root_alpha, root_beta, scale = signal_at(scheduler, t)
        x0 = gaussian_mean(x, mean, deviation, root_alpha * scale, root_beta)
        return prediction(x, x0, root_alpha, root_beta, scale, "v_prediction")

    alpha = float(scheduler.schedule.alphas_cumprod[0])
    expected = math.sqrt(alpha * deviation**2 + 1 - alpha)
    errors = []
    for steps in (20, 100, 1000):
        scheduler.set_timesteps(steps)
        sample = run(scheduler, normal(6, (1, count)), denoise, generator=generators(7)[0])
        assert float(sample.mean()) == pytest.approx(math.sqrt(alpha) * mean, abs=0.012)
        errors.append(abs(float(sample.std()) / expected - 1))
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    assert errors[2] < 0.03


def test_without_noise_it_follows_the_probability_flow():
    """eta 0: (x - sqrt(a) s mean) / sqrt(a s² deviation² + 1 - a) is kept, to first order in the step."""
    mean, deviation = 0.3, 0.5
    scheduler = DynamicTSNRScheduler(eta=0.0)
    start, alpha = normal(8), float(scheduler.schedule.alphas_cumprod[0])
    end_deviation = math.sqrt(alpha * deviation**2 + 1 - alpha)
    # At the terminal timestep x is pure noise.
    expected = math.sqrt(alpha) * mean + end_deviation * start

    def denoise(x, t):
        root_alpha, root_beta, scale = signal_at(scheduler, t)
        x0 = gaussian_mean(x, mean, deviation, root_alpha * scale, root_beta)
        return prediction(x, x0, root_alpha, root_beta, scale, "v_prediction")

    errors = []
    for steps in (25, 100, 400):
        scheduler.set_timesteps(steps)
        errors.append(float((run(scheduler, start, denoise) - expected).abs().max()))
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
    assert errors[2] < 0.02


def test_prediction_types_agree():
    results = []
    for kind in ("v_prediction", "epsilon", "sample"):
        scheduler = DynamicTSNRScheduler(prediction_type=kind, rescale_betas_zero_snr=False)
        scheduler.set_timesteps(12)

        def denoise(x, t, kind=kind, scheduler=scheduler):
            return prediction(x, torch.tanh(x + 0.1), *signal_at(scheduler, t), kind)

        results.append(run(scheduler, normal(9), denoise, generator=generators(1)[0]))
    # 1e-5: coefficients are float32, and epsilon divides by sqrt(a) = 0.07 at the start.
    assert torch.allclose(results[0], results[1], rtol=0, atol=1e-5)
    assert torch.allclose(results[0], results[2], rtol=0, atol=1e-5)


def test_samples_draw_from_their_own_generator_whatever_the_batch():
    def film(seeds: list[int]) -> torch.Tensor:
        streams = generators(*seeds)
        shape = (1, *SHAPE[1:])
        start = torch.cat([torch.randn(shape, generator=stream) for stream in streams])
        scheduler = DynamicTSNRScheduler()
        scheduler.set_timesteps(6)
        return run(scheduler, start, lambda x, t: torch.tanh(x), generator=streams)

    together = film([123, 124, 125])
    assert torch.equal(together[1:2], film([124]))
    assert torch.equal(together[[0, 2]], film([123, 125]))


def test_every_step_draws_once_also_the_last():
    stream, other = generators(5, 5)
    scheduler = DynamicTSNRScheduler()
    scheduler.set_timesteps(4)
    start = torch.randn((1, 4, 2, 2), generator=stream)
    run(scheduler, start, lambda x, t: x, generator=stream)
    for _ in range(1 + 4):
        torch.randn((1, 4, 2, 2), generator=other)
    assert torch.equal(stream.get_state(), other.get_state())


def test_noise_and_generator_are_two_ways_to_say_the_same():
    scheduler = DynamicTSNRScheduler()
    scheduler.set_timesteps(5)
    x, v = normal(1, dtype=torch.float32), normal(2, dtype=torch.float32)
    noise = torch.randn(SHAPE, generator=generators(3)[0])
    drawn = scheduler.step(v, 599, x, generator=generators(3)[0]).prev_sample
    given = scheduler.step(v, 599, x, noise=noise).prev_sample
    assert torch.equal(drawn, given)
    assert scheduler.step(v, 599, x, noise=noise, return_dict=False)[0].equal(given)
    with pytest.raises(ValueError, match="3 generators for a batch of 2"):
        scheduler.step(v, 599, x, generator=generators(1, 2, 3))


def test_samples_of_a_batch_may_be_at_different_timesteps():
    scheduler = DynamicTSNRScheduler()
    scheduler.set_timesteps(10)
    x, v, noise = (normal(i, dtype=torch.float32) for i in (1, 2, 3))
    both = scheduler.step(v, torch.tensor([999, 199]), x, noise=noise).prev_sample
    for i, t in enumerate((999, 199)):
        one = scheduler.step(v[i : i + 1], t, x[i : i + 1], noise=noise[i : i + 1]).prev_sample
        assert torch.equal(both[i : i + 1], one)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 0.01), (torch.bfloat16, 0.08)])
@pytest.mark.parametrize("steps", [4, 6, 14, 25, 50])
def test_half_precision_stays_near_float32(dtype, tolerance, steps):
    results = []
    for kind in (torch.float32, dtype):
        scheduler = DynamicTSNRScheduler()
        scheduler.set_timesteps(steps)
        start = normal(5, dtype=torch.float32).to(kind)
        network = lambda x, t: (0.5 * x.float()).to(x.dtype)  # noqa: E731
        results.append(run(scheduler, start, network, generator=generators(1)[0]).float())
    assert float((results[0] - results[1]).abs().max()) < tolerance * float(results[0].abs().max())


def test_noise_added_and_velocity_are_those_of_training(golden):
    scheduler = DynamicTSNRScheduler()
    x0, noise, t = golden["mf.train.x0"], golden["mf.train.noise"], golden["mf.train.t"]
    assert torch.allclose(scheduler.add_noise(x0, noise, t), golden["mf.train.xt"], rtol=0, atol=1e-6)
    assert torch.allclose(scheduler.get_velocity(x0, noise, t), golden["mf.train.target"], rtol=0, atol=1e-6)
    assert scheduler.add_noise(x0.half(), noise.half(), t).dtype == torch.float16


def test_misuse_is_told():
    x = torch.zeros(1, 3)
    with pytest.raises(ValueError, match="set_timesteps"):
        DynamicTSNRScheduler().step(x, 999, x)
    with pytest.raises(UserError, match="eta"):
        DynamicTSNRScheduler(eta=2.0)
    with pytest.raises(UserError, match="prediction_type"):
        DynamicTSNRScheduler(prediction_type="v")


def test_saved_copied_and_pickled_schedulers_sample_alike(tmp_path):
    scheduler = DynamicTSNRScheduler(eta=0.5, dynamic_scale=False)
    scheduler.save_pretrained(tmp_path)
    loaded = DynamicTSNRScheduler.from_pretrained(tmp_path)
    assert loaded.config.eta == 0.5
    results = []
    for each in (scheduler, loaded, copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler))):
        each.set_timesteps(6)
        results.append(run(each, normal(12), lambda x, t: torch.sin(x), generator=generators(2)[0]))
    assert all(torch.equal(results[0], other) for other in results[1:])
