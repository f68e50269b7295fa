import copy
import math
import pickle

import numpy as np
import pytest
import torch
from toy_denoisers import bad, exact, gaussian_mean, prediction, run, signal_at

from paintsundo.diffusion import KarrasDPMSolverScheduler
from paintsundo.errors import UserError

KINDS = ("epsilon", "v_prediction", "sample")
SHAPE = (2, 4, 6, 5)


def normal(seed: int, shape=SHAPE, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def reference(steps: int, start: np.ndarray, network) -> np.ndarray:
    """The sampler as plain formulas, all in float64. network(x, t) -> epsilon."""
    alphas = np.cumprod(1 - np.linspace(0.00085, 0.020, 1000))
    table = np.sqrt((1 - alphas) / alphas)
    low, high = table[0] ** (1 / 7), table[-1] ** (1 / 7)
    sigmas = [(high + i / max(steps - 1, 1) * (low - high)) ** 7 for i in range(steps)] + [0.0]
    x, previous = start * table[-1], None
    for i in range(steps):
        sigma, after = sigmas[i], sigmas[i + 1]
        t = int(np.argmin(np.abs(np.log(sigma) - np.log(table))))
        denoised = x - sigma * network(x / np.sqrt(sigma**2 + 1), t)
        if after == 0:
            x = denoised
        else:
            h = np.log(sigma) - np.log(after)
            d = denoised
            if previous is not None:
                r = (np.log(sigmas[i - 1]) - np.log(sigma)) / h
                d = (1 + 1 / (2 * r)) * denoised - 1 / (2 * r) * previous
            x = after / sigma * x - (np.exp(-h) - 1) * d
        previous = denoised
    return x


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 17, 50, 61, 100])
def test_steps_equal_the_plain_formulas(steps):
    start = normal(0)

    def network(x, t):  # smooth, nonlinear, and telling timesteps apart
        return np.tanh(x * (1 + t / 1000)) + 0.1 * np.sin(t)

    scheduler = KarrasDPMSolverScheduler()
    scheduler.set_timesteps(steps)
    ours = run(
        scheduler,
        start * scheduler.init_noise_sigma,
        lambda x, t: torch.from_numpy(network(x.numpy(), int(t))),
    )
    theirs = reference(steps, start.numpy(), network)
    # What is left is the rounding of the sigmas to float32.
    assert np.abs(ours.numpy() - theirs).max() < 2e-5 * np.abs(theirs).max()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_every_step_count_is_finite(dtype, kind):
    scheduler = KarrasDPMSolverScheduler(prediction_type=kind)
    for steps in range(1, 101):
        scheduler.set_timesteps(steps)
        assert len(scheduler.timesteps) == steps
        start = (normal(steps, (4, 2, 2), torch.float32) * scheduler.init_noise_sigma).to(dtype)
        sample = run(scheduler, start, bad)
        assert sample.dtype == dtype
        assert bool(sample.isfinite().all()), steps


def test_a_nan_of_the_network_is_not_hidden():
    scheduler = KarrasDPMSolverScheduler()
    scheduler.set_timesteps(3)
    sample = run(scheduler, torch.ones(1, 2), lambda x, t: torch.full_like(x, math.nan))
    assert bool(sample.isnan().all())


@pytest.mark.parametrize("dynamic_scale", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_an_exact_denoiser_gives_its_sample(kind, dynamic_scale):
    scheduler = KarrasDPMSolverScheduler(prediction_type=kind, dynamic_scale=dynamic_scale)
    x0 = normal(1)
    for steps in (1, 2, 4, 10, 33):
        scheduler.set_timesteps(steps)
        sample = run(scheduler, normal(2) * scheduler.init_noise_sigma, exact(scheduler, x0, kind))
        assert float((sample - x0).abs().max()) < 1e-6


@pytest.mark.parametrize("dynamic_scale", [False, True])
@pytest.mark.parametrize(("order", "factor"), [(1, 1.7), (2, 3.0)])
def test_error_on_gaussian_data_falls_with_the_solver_order(order, factor, dynamic_scale):
    """For N(mean, deviation²) the probability flow is known: (y - mean) / sqrt(deviation² + sigma²) stays."""
    mean, deviation = 0.3, 0.5
    scheduler = KarrasDPMSolverScheduler(solver_order=order, dynamic_scale=dynamic_scale)
    y = normal(3) * scheduler.init_noise_sigma
    sigma_max = scheduler.init_noise_sigma
    expected = mean + deviation * (y - mean) / math.sqrt(deviation**2 + sigma_max**2)

    def denoise(x, t):
        root_alpha, root_beta, scale = signal_at(scheduler, t)
        x0 = gaussian_mean(x, mean, deviation, root_alpha * scale, root_beta)
        return prediction(x, x0, root_alpha, root_beta, scale, "epsilon")

    errors = []
    for steps in (20, 40, 80):
        scheduler.set_timesteps(steps)
        errors.append(float((run(scheduler, y, denoise) - expected).abs().max()))
    assert errors[0] > factor * errors[1] > factor**2 * errors[2]
    assert errors[2] < (0.1 if order == 1 else 0.004)


def test_prediction_types_agree():
    """One denoiser told as noise, velocity or clean sample takes the same path."""
    results = []
    for kind in KINDS:
        scheduler = KarrasDPMSolverScheduler(prediction_type=kind)
        scheduler.set_timesteps(12)

        def denoise(x, t, kind=kind, scheduler=scheduler):
            root_alpha, root_beta, scale = signal_at(scheduler, t)
            return prediction(x, torch.tanh(x + 0.1), root_alpha, root_beta, scale, kind)

        results.append(run(scheduler, normal(4) * scheduler.init_noise_sigma, denoise))
    assert torch.allclose(results[0], results[1], rtol=0, atol=1e-9)
    assert torch.allclose(results[0], results[2], rtol=0, atol=1e-9)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 0.01), (torch.bfloat16, 0.08)])
@pytest.mark.parametrize("steps", [4, 5, 22, 50])
def test_half_precision_stays_near_float32(dtype, tolerance, steps):
    def network(x, t):
        return (0.9 * x.float()).to(x.dtype)

    results = []
    for kind in (torch.float32, dtype):
        scheduler = KarrasDPMSolverScheduler()
        scheduler.set_timesteps(steps)
        start = (normal(5) * scheduler.init_noise_sigma).to(kind)
        results.append(run(scheduler, start, network).float())
    assert float((results[0] - results[1]).abs().max()) < tolerance * float(results[0].abs().max())


def test_first_input_has_unit_variance_and_inputs_are_scaled_by_sigma():
    scheduler = KarrasDPMSolverScheduler()
    scheduler.set_timesteps(10)
    noise = normal(6)
    scaled = scheduler.scale_model_input(noise * scheduler.init_noise_sigma, scheduler.timesteps[0])
    expected = noise / math.sqrt(1 + scheduler.init_noise_sigma**-2)
    assert torch.allclose(scaled, expected, rtol=1e-6)


def test_a_run_can_begin_in_the_middle():
    x0, noise = normal(7), normal(8)
    scheduler = KarrasDPMSolverScheduler()
    scheduler.set_timesteps(20)
    scheduler.set_begin_index(12)
    sample = x0 + float(scheduler.sigmas[12]) * noise
    for t in scheduler.timesteps[12:]:
        x = scheduler.scale_model_input(sample, t)
        sample = scheduler.step(exact(scheduler, x0, "epsilon")(x, t), t, sample, return_dict=False)[0]
    assert float((sample - x0).abs().max()) < 1e-6


def test_two_runs_in_a_row_are_the_same():
    scheduler = KarrasDPMSolverScheduler()
    results = []
    for _ in range(2):
        scheduler.set_timesteps(7)
        results.append(run(scheduler, normal(9) * 100, lambda x, t: torch.tanh(x)))
    assert torch.equal(*results)


def test_noise_added_is_what_the_network_is_told():
    scheduler = KarrasDPMSolverScheduler(prediction_type="v_prediction")
    x0, noise, t = normal(10), normal(11), torch.tensor([3, 700])
    y = scheduler.add_noise(x0, noise, t)
    sigma = scheduler.train_sigmas.double()[t].reshape(2, 1, 1, 1)
    assert torch.allclose(y, x0 + sigma * noise, rtol=0, atol=1e-4)  # sigmas are float32
    alpha = scheduler.schedule.alphas_cumprod[t].reshape(2, 1, 1, 1)
    velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * x0
    assert torch.allclose(scheduler.get_velocity(x0, noise, t), velocity, rtol=0, atol=1e-12)


def test_misuse_is_told():
    scheduler = KarrasDPMSolverScheduler()
    x = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="set_timesteps"):
        scheduler.step(x, 999, x)
    scheduler.set_timesteps(3)
    with pytest.raises(ValueError, match="not one of this run"):
        scheduler.step(x, 998, x)
    with pytest.raises(ValueError, match="same timestep"):
        scheduler.step(x, torch.tensor([999, 3]), x)
    run(scheduler, x, lambda x, t: x)
    with pytest.raises(ValueError, match="finished"):
        scheduler.step(x, 0, x)
    with pytest.raises(UserError, match="prediction_type"):
        KarrasDPMSolverScheduler(prediction_type="velocity")
    with pytest.raises(UserError, match="solver_order"):
        KarrasDPMSolverScheduler(solver_order=3)


def test_saved_copied_and_pickled_schedulers_sample_alike(tmp_path):
    scheduler = KarrasDPMSolverScheduler(rho=5.0, prediction_type="v_prediction", dynamic_scale=True)
    scheduler.save_pretrained(tmp_path)
    loaded = KarrasDPMSolverScheduler.from_pretrained(tmp_path)
    assert loaded.config.rho == 5.0
    results = []
    for each in (scheduler, loaded, copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler))):
        each.set_timesteps(6)
        results.append(run(each, normal(12) * each.init_noise_sigma, lambda x, t: torch.sin(x)))
    assert all(torch.equal(results[0], other) for other in results[1:])
