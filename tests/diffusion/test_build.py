"""Any scheduler of the configuration group in either stage."""

import copy
import dataclasses
import pickle
from pathlib import Path

import diffusers
import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from toy_denoisers import bad, exact, gaussian_mean, prediction, run, signal_at

from paintsundo.diffusion import (
    DynamicTSNRScheduler,
    ForeignScheduler,
    KarrasDPMSolverScheduler,
    Stage,
    build_scheduler,
)
from paintsundo.diffusion.schedules import sd_betas
from paintsundo.errors import UserError

GROUP = Path(__file__).parents[2] / "configs" / "scheduler"
NAMES = sorted(path.stem for path in GROUP.glob("*.yaml"))
STAGES = ("keyframes", "video")
KIND = {"keyframes": "epsilon", "video": "v_prediction"}
SHAPE = (2, 4, 3, 4, 5)
# Their last step goes to timestep 0 and leaves its noise, of deviation sqrt(1 - a_0) = 0.029.
ENDS_AT_TIMESTEP_0 = {"published_video", "deis", "sa_solver", "tcd"}


def config(name: str) -> dict:
    return yaml.safe_load((GROUP / f"{name}.yaml").read_text())


def normal(seed: int, shape=SHAPE, dtype=torch.float32) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_the_group_has_the_usual_schedulers():
    wanted = {"published_keyframes", "published_video", "ddim", "euler", "euler_ancestral", "heun", "unipc"}
    assert wanted | {"dpmpp_2m", "dpmpp_2m_sde", "dpmpp_sde", "lcm"} <= set(NAMES)


@pytest.mark.parametrize("steps", [1, 4, 10, 61])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", NAMES)
def test_an_exact_denoiser_gives_its_sample(name, stage, steps):
    scheduler = build_scheduler(config(name), stage)
    scheduler.set_timesteps(steps, device="cpu")
    assert float(scheduler.timesteps.min()) >= 0
    assert float(scheduler.timesteps.max()) <= 999
    x0 = normal(0)
    sample = run(
        scheduler,
        normal(1) * scheduler.init_noise_sigma,
        exact(scheduler, x0, KIND[stage]),
        generator=generators(2, 3),
    )
    # At one step sigma spaces lose digits: 5851 * 2^-24 of float32 against a sample of size 1.
    tolerance = 0.16 if name in ENDS_AT_TIMESTEP_0 else 2e-3 if steps == 1 else 1e-4
    assert float((sample - x0).abs().max()) < tolerance


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("name", ["published_keyframes", "published_video", "dpmpp_2m", "euler", "heun", "lcm"])
def test_models_trained_otherwise_are_sampled_as_they_were_trained(name, kind):
    """Any prediction type under the dynamic scale, with the keyframe stage's betas."""
    stage = dataclasses.replace(Stage.named("keyframes"), prediction_type=kind, dynamic_scale=True)
    scheduler = build_scheduler(config(name), stage)
    scheduler.set_timesteps(10, device="cpu")
    x0 = normal(0)
    noise = normal(1) * scheduler.init_noise_sigma
    sample = run(scheduler, noise, exact(scheduler, x0, kind), generator=generators(2, 3))
    assert float((sample - x0).abs().max()) < (0.16 if name in ENDS_AT_TIMESTEP_0 else 1e-3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", NAMES)
def test_samples_are_finite_in_half_precision(name, stage, dtype):
    scheduler = build_scheduler(config(name), stage)
    for steps in (1, 2, 3, 4, 10, 25):
        scheduler.set_timesteps(steps)
        # Three rows: only our own samplers promise to survive the fourth, which overflows float32 itself.
        start = (normal(1, (3, *SHAPE[1:])) * scheduler.init_noise_sigma).to(dtype)
        sample = run(scheduler, start, bad, generator=generators(1, 2, 3))
        assert sample.dtype == dtype
        assert bool(sample.isfinite().all()), steps


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", NAMES)
def test_step_counts_run(name, stage):
    scheduler = build_scheduler(config(name), stage)
    x0 = normal(0)
    for steps in (*range(1, 13), 16, 22, 30, 33, 47, 50, 61, 77, 99, 100):
        scheduler.set_timesteps(steps)
        assert float(scheduler.timesteps.min()) >= 0
        start = normal(1) * scheduler.init_noise_sigma
        sample = run(scheduler, start, exact(scheduler, x0, KIND[stage]), generator=generators(2, 3))
        assert float((sample - x0).abs().max()) < 0.2


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", NAMES)
def test_samples_do_not_depend_on_how_they_are_batched(name, stage):
    def sample(rows: list[int]) -> torch.Tensor:
        scheduler = build_scheduler(config(name), stage)
        scheduler.set_timesteps(5)
        start = torch.cat([normal(row, (1, *SHAPE[1:])) for row in rows]) * scheduler.init_noise_sigma
        return run(scheduler, start, lambda x, t: torch.tanh(x), generator=generators(*rows))

    together = sample([7, 8, 9])
    assert torch.allclose(together[1:2], sample([8]), rtol=1e-6, atol=1e-6)
    assert torch.allclose(together[[0, 2]], sample([7, 9]), rtol=1e-6, atol=1e-6)


def error_on_gaussian_data(scheduler, stage: str) -> float:
    """How far from the probability flow 100 steps with the exact denoiser of N(mean, deviation²) end."""
    mean, deviation, start = 0.3, 0.5, normal(3)
    tables = Stage.named(stage).schedule()

    def denoise(x, t):
        if isinstance(scheduler, ForeignScheduler):
            root_alpha, root_beta, scale = signal_at(scheduler, t)
        else:
            alpha, scale = float(tables.alphas_cumprod[int(t)]), float(tables.scale[int(t)])
            root_alpha, root_beta = alpha**0.5, (1 - alpha) ** 0.5
        x0 = gaussian_mean(x, mean, deviation, root_alpha * scale, root_beta)
        return prediction(x, x0, root_alpha, root_beta, scale, KIND[stage])

    scheduler.set_timesteps(100)
    sample = run(scheduler, start * scheduler.init_noise_sigma, denoise)
    return float((sample - (mean + deviation * start)).abs().max())


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", ["ddim", "euler", "heun", "dpmpp_2m", "dpmpp_2s", "unipc", "lms", "dpm2"])
def test_deterministic_solvers_converge_on_gaussian_data(name, stage):
    first_order = name in ("ddim", "euler")
    error = error_on_gaussian_data(build_scheduler(config(name), stage), stage)
    assert error < (0.08 if first_order else 0.05)


def test_the_change_of_variables_is_what_the_dynamic_scale_needs():
    """The same solver with the stage's betas alone, unaware of the scale, ends far from the right place."""
    unaware = diffusers.DPMSolverMultistepScheduler(
        trained_betas=sd_betas().tolist(),
        rescale_betas_zero_snr=True,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
    )
    aware = build_scheduler(config("dpmpp_2m"), "video")
    assert error_on_gaussian_data(unaware, "video") > 0.2 > 5 * error_on_gaussian_data(aware, "video")


def test_ddim_without_noise_is_our_own_video_sampler_without_noise():
    """Up to the end (clean data against timestep 0), DDIM in the changed variables is the published step."""
    foreign = build_scheduler({"_target_": "diffusers.DDIMScheduler"}, "video")
    ours = DynamicTSNRScheduler(eta=0.0)
    network = lambda x, t: torch.tanh(x) - 0.5  # noqa: E731
    start = normal(4)
    for scheduler in (foreign, ours):
        scheduler.set_timesteps(50)
    assert torch.equal(foreign.timesteps, ours.timesteps)
    x, y = start, start
    for t, previous in zip(ours.timesteps[:-1], ours.timesteps[1:], strict=True):
        x = foreign.step(network(foreign.scale_model_input(x, t), t), t, x).prev_sample
        y = ours.step(network(y, t), t, y).prev_sample
        # The same x_t, seen through the network's input.
        seen = foreign.scale_model_input(x, previous)
        assert torch.allclose(seen, y, rtol=0, atol=2e-3)  # zero SNR met to 2^-24
    assert torch.allclose(seen, y, rtol=0, atol=1e-3)


def test_a_diffusers_scheduler_in_the_keyframe_stage_is_that_scheduler():
    """Nothing to convert there: the same numbers as diffusers' own with the same betas."""
    wrapped = build_scheduler(config("dpmpp_2m"), "keyframes")
    plain = diffusers.DPMSolverMultistepScheduler(
        beta_start=0.00085, beta_end=0.020, beta_schedule="linear", timestep_spacing="trailing"
    )
    results = []
    for scheduler in (wrapped, plain):
        scheduler.set_timesteps(9)
        results.append(run(scheduler, normal(5), lambda x, t: torch.tanh(x)))
    assert torch.allclose(*results, rtol=0, atol=1e-5 * float(results[0].abs().max()))


@pytest.mark.parametrize("stage", STAGES)
def test_options_reach_the_scheduler(stage):
    scheduler = build_scheduler(
        {
            "_target_": "diffusers.EulerDiscreteScheduler",
            "use_karras_sigmas": True,
            "step_options": {"s_noise": 1.1},
        },
        stage,
    )
    assert scheduler.scheduler.config.use_karras_sigmas
    assert scheduler.scheduler.config.timestep_spacing == "trailing"
    assert build_scheduler(config("published_keyframes") | {"rho": 5.0}, stage).config.rho == 5.0


def test_published_schedulers_take_the_settings_of_their_stage():
    keyframes = build_scheduler(config("published_keyframes"), "keyframes")
    assert dict(keyframes.config) == dict(KarrasDPMSolverScheduler().config) | {
        "_use_default_values": keyframes.config["_use_default_values"]
    }
    video = build_scheduler(config("published_video"), "video")
    assert torch.equal(video.alphas_cumprod, DynamicTSNRScheduler().alphas_cumprod)
    assert video.config.dynamic_scale
    assert video.config.prediction_type == "v_prediction"
    crossed = build_scheduler(config("published_keyframes"), "video")
    assert torch.allclose(crossed.alphas_cumprod, video.alphas_cumprod)
    assert crossed.config.prediction_type == "v_prediction"
    assert crossed.config.dynamic_scale


def test_an_instance_of_a_diffusers_scheduler_keeps_its_options_and_gets_the_betas():
    scheduler = build_scheduler(diffusers.EulerDiscreteScheduler(use_karras_sigmas=True, beta_start=0.5), "video")
    assert isinstance(scheduler.scheduler, diffusers.EulerDiscreteScheduler)
    assert scheduler.scheduler.config.use_karras_sigmas
    assert scheduler.scheduler.config.timestep_spacing == "trailing"
    assert torch.equal(scheduler.alphas_cumprod, DynamicTSNRScheduler().alphas_cumprod)
    own = DynamicTSNRScheduler(eta=0.3)
    assert build_scheduler(own, "video") is own


def test_names_work_on_the_command_line():
    with initialize_config_dir(str(GROUP.parent), version_base=None):
        composed = compose(
            overrides=["+scheduler@keyframes.scheduler=ddim", "+scheduler@video.scheduler=published_video"]
        )
    assert isinstance(build_scheduler(composed.keyframes.scheduler, "keyframes"), ForeignScheduler)
    assert isinstance(build_scheduler(composed.video.scheduler, "video"), DynamicTSNRScheduler)


@pytest.mark.parametrize(
    ("given", "stage", "said"),
    [
        ({"_target_": "diffusers.DDIMScheduler"}, "sound", "unknown stage 'sound'"),
        ({}, "video", "needs _target_"),
        ({"_target_": "diffusers.NoScheduler"}, "video", "no scheduler 'NoScheduler'"),
        ({"_target_": "diffusers.ConfigMixin"}, "video", "no scheduler 'ConfigMixin'"),
        ({"_target_": "diffusers.FlowMatchEulerDiscreteScheduler"}, "video", "cannot sample these models"),
        ({"_target_": "diffusers.DDIMScheduler", "speed": 2}, "video", "has no option speed"),
        (
            {"_target_": "diffusers.DDIMScheduler", "beta_start": 0.1},
            "video",
            "beta_start is decided by the stage",
        ),
        (
            {"_target_": "diffusers.DDIMScheduler", "step_options": {"speed": 2}},
            "video",
            "step has no option speed",
        ),
        ({"_target_": "diffusers.UniPCMultistepScheduler", "solver_type": "x"}, "video", "UniPC.*x"),
        ({"_target_": "paintsundo.diffusion.NoScheduler"}, "video", "no scheduler"),
        ({"_target_": "pathlib.Path"}, "video", "not a scheduler"),
        ({"_target_": "paintsundo.diffusion.DynamicTSNRScheduler", "speed": 2}, "video", "no option speed"),
        (
            {"_target_": "paintsundo.diffusion.DynamicTSNRScheduler", "beta_end": 2},
            "video",
            "decided by the stage",
        ),
    ],
)
def test_wrong_configurations_are_told_in_one_line(given, stage, said):
    with pytest.raises(UserError, match=said) as raised:
        build_scheduler(given, stage)
    assert "\n" not in str(raised.value)


def test_step_counts_a_scheduler_cannot_do_are_told():
    scheduler = build_scheduler({"_target_": "diffusers.LCMScheduler"}, "video")  # made for at most 50 steps
    with pytest.raises(UserError, match="LCMScheduler"):
        scheduler.set_timesteps(60)
    with pytest.raises(UserError, match="1 to 1000"):
        scheduler.set_timesteps(0)


def test_saved_copied_and_pickled_schedulers_sample_alike(tmp_path):
    scheduler = build_scheduler(config("euler_ancestral"), "video")
    scheduler.save_pretrained(tmp_path)
    results = []
    for each in (
        scheduler,
        ForeignScheduler.from_pretrained(tmp_path),
        copy.deepcopy(scheduler),
        pickle.loads(pickle.dumps(scheduler)),
    ):
        each.set_timesteps(6)
        start = normal(12) * each.init_noise_sigma
        results.append(run(each, start, lambda x, t: torch.sin(x), generator=generators(1, 2)))
    assert all(torch.equal(results[0], other) for other in results[1:])


def test_noise_added_by_a_foreign_scheduler_is_undone_by_it():
    scheduler = build_scheduler(config("euler"), "video")
    scheduler.set_timesteps(10)
    t = scheduler.timesteps[4]
    x0, noise = normal(1), normal(2)
    x = scheduler.scale_model_input(scheduler.add_noise(x0, noise, t.reshape(1)), t)
    root_alpha, root_beta, scale = signal_at(scheduler, t)
    assert torch.allclose(x, root_alpha * scale * x0 + root_beta * noise, rtol=0, atol=1e-4)
    v = scheduler.get_velocity(x0, noise, t.reshape(1).long())
    assert torch.allclose(v, root_alpha * noise - root_beta * scale * x0, rtol=0, atol=1e-5)
