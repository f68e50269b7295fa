"""Runs that leave work out, against full ones."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from paintsundo import PaintsUndoPipeline
from paintsundo.diffusion import Guidance, Stage, build_scheduler
from paintsundo.diffusion.finished_estimate import FinishedEstimate
from paintsundo.errors import UserError
from paintsundo.pipelines.command import main
from paintsundo.pipelines.fast_mode import FastGuidance, plan_steps, share_of_passes
from paintsundo.pipelines.fast_options import FastOptions, FastStageOptions
from paintsundo.pipelines.film import default_options
from paintsundo.pipelines.noise import draw, streams
from paintsundo.pipelines.options import InferOptions
from paintsundo.pipelines.sampling import denoise
from paintsundo.settings import as_schema, compose, config_directory
from tiny_models import arguments, drawing

STEPS = 12
SHAPE = (4, 3, 5)
PRESETS = sorted(file.stem for file in (config_directory() / "fast").glob("*.yaml"))


def test_nothing_left_out_is_every_step_in_full() -> None:
    for step in plan_steps(FastStageOptions(), STEPS):
        assert (step.asks, step.guides, step.negative, step.inner) == (True, True, True, True)


def test_steps_at_which_the_network_is_asked() -> None:
    plan = plan_steps(FastStageOptions(predict_every=3, predict_first=2, predict_last=2), 12)
    assert [index for index, step in enumerate(plan) if step.asks] == [0, 1, 4, 7, 10, 11]
    assert plan_steps(FastStageOptions(predict_every=9), 1)[0].asks


def test_guidance_in_an_interval() -> None:
    plan = plan_steps(FastStageOptions(guidance_interval=[0.25, 0.75]), 8)
    assert [index for index, step in enumerate(plan) if step.guides] == [2, 3, 4, 5]
    assert all(step.asks and step.inner for step in plan)
    assert [step.negative for step in plan] == [step.guides for step in plan]


def test_inner_blocks_and_negative_passes_are_counted_over_asked_steps() -> None:
    plan = plan_steps(FastStageOptions(predict_every=2, predict_last=0, reuse_every=3, guidance_every=2), 12)
    asked = [step for step in plan if step.asks]
    assert len(asked) == 6
    assert [step.inner for step in asked] == [True, False, False, True, True, False]  # 4: the negative pass needs them
    assert [step.negative for step in asked] == [True, False] * 3


def test_share_of_passes() -> None:
    assert share_of_passes(FastStageOptions(), 50, guidance=True) == 1
    assert share_of_passes(FastStageOptions(guidance_interval=[0, 0.5]), 50, guidance=True) == 0.75
    assert share_of_passes(FastStageOptions(guidance_every=2), 50, guidance=False) == 1
    assert share_of_passes(FastStageOptions(predict_every=5, predict_last=0), 50, guidance=True) == 0.2


def sampled(
    stage: str,
    guidance: Guidance,
    predict: Callable[..., torch.Tensor],
    scheduler: str | None = None,
    steps: int = STEPS,
) -> torch.Tensor:
    own = "KarrasDPMSolverScheduler" if stage == "keyframes" else "DynamicTSNRScheduler"
    target = f"paintsundo.diffusion.{own}" if scheduler is None else f"diffusers.{scheduler}"
    built = build_scheduler({"_target_": target}, stage)

    def ask(sample: torch.Tensor, timestep: torch.Tensor, bias: torch.Tensor, **more: Any) -> torch.Tensor:
        return predict(built, sample, timestep, bias)

    generators = streams([1, 2], "cpu")
    one, two = torch.full((1, 1, 1, 1), 1.0), torch.full((1, 1, 1, 1), -0.5)
    noise = draw(generators, SHAPE, "cpu")
    cond, uncond = {"bias": one}, {"bias": two}
    return denoise(built, noise, ask, {}, cond, uncond, guidance, generators, steps, lambda *_: None)


def oracle(clean: torch.Tensor, calls: list[float]) -> Callable[..., torch.Tensor]:
    """A network that knows the finished latent, whatever it is given."""

    def predict(scheduler: Any, sample: torch.Tensor, timestep: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        calls.append(float(timestep[0]))
        step = int((scheduler.timesteps == timestep[0]).nonzero()[0])
        return FinishedEstimate(scheduler).prediction(clean.repeat(len(sample) // 2, 1, 1, 1), sample, step)

    return predict


@pytest.mark.parametrize("stage", ["keyframes", "video"])
@pytest.mark.parametrize("scheduler", [None, "DDIMScheduler", "EulerAncestralDiscreteScheduler"])
def test_a_network_that_knows_the_end_need_not_be_asked_again(stage: str, scheduler: str | None) -> None:
    """Its estimate stays, so a run that asks at each fourth step, on the same noise, is the full run."""
    clean = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(3))
    full, fast = [], []
    plain = sampled(stage, Guidance(1.0), oracle(clean, full), scheduler)
    options = FastStageOptions(predict_every=4, predict_last=0)
    quick = sampled(stage, FastGuidance(1.0, options=options), oracle(clean, fast), scheduler)
    assert (len(full), len(fast)) == (STEPS, STEPS // 4)
    torch.testing.assert_close(quick, plain, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("stage", ["keyframes", "video"])
@pytest.mark.parametrize("scheduler", [None, "HeunDiscreteScheduler", "DPMSolverMultistepScheduler"])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 61, 100, 1000])
def test_every_number_of_steps_is_finite(stage: str, scheduler: str | None, steps: int) -> None:
    options = FastStageOptions(predict_every=3, extrapolate=0.5, guidance_every=2)
    found = sampled(stage, FastGuidance(3.0, 0.7, options=options), linear, scheduler, steps)
    assert torch.isfinite(found).all()


def linear(scheduler: Any, sample: torch.Tensor, timestep: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """A network whose answer is far from constant; only `bias` tells its two passes apart."""
    return torch.tanh(sample) * (timestep[:, None, None, None] / 1000).cos() + 0.3 * bias


@pytest.mark.parametrize("stage", ["keyframes", "video"])
@pytest.mark.parametrize("batched", [True, False])
def test_fast_guidance_that_leaves_nothing_out_is_guidance(stage: str, batched: bool) -> None:
    plain = sampled(stage, Guidance(3.0, 0.7, batched), linear)
    assert torch.equal(sampled(stage, FastGuidance(3.0, 0.7, batched), linear), plain)


@pytest.mark.parametrize("batched", [True, False])
def test_a_difference_that_stays_need_not_be_computed_again(batched: bool) -> None:
    calls: list[int] = []

    def counted(*given: Any) -> torch.Tensor:
        calls.append(len(given[1]))
        return linear(*given)

    plain = sampled("keyframes", Guidance(3.0, 0.7, batched), linear)
    options = FastStageOptions(guidance_every=3)
    quick = sampled("keyframes", FastGuidance(3.0, 0.7, batched, options), counted)
    torch.testing.assert_close(quick, plain)
    assert sum(calls) == 2 * (STEPS + STEPS // 3)


def test_guidance_outside_its_interval_is_off() -> None:
    def passes(interval: list[float]) -> torch.Tensor:
        guidance = FastGuidance(3.0, options=FastStageOptions(guidance_interval=interval))
        return sampled("keyframes", guidance, linear)

    assert torch.equal(passes([0, 0]), sampled("keyframes", Guidance(1.0), linear))
    assert torch.equal(passes([0, 1]), sampled("keyframes", Guidance(3.0), linear))
    assert not torch.equal(passes([0, 0.5]), sampled("keyframes", Guidance(3.0), linear))


def test_an_estimate_that_changes_evenly_is_extrapolated_exactly() -> None:
    steps = Stage.named("keyframes")
    scheduler = build_scheduler({"_target_": "paintsundo.diffusion.KarrasDPMSolverScheduler"}, steps)
    scheduler.set_timesteps(STEPS)
    guidance = FastGuidance(options=FastStageOptions(predict_every=3, predict_first=2, extrapolate=1.0)).started(
        scheduler
    )
    estimate = FinishedEstimate(scheduler)
    for step in range(STEPS):
        x0 = torch.full((1, *SHAPE), 0.5 + 0.1 * float(estimate.log_snr[step]))
        sample = torch.randn(1, *SHAPE)
        wanted = estimate.prediction(x0, sample, step)
        found = guidance(lambda sample, wanted=wanted: wanted, {"sample": sample}, {})
        torch.testing.assert_close(found, wanted)


@pytest.fixture
def fast_pipe(pipe: PaintsUndoPipeline) -> PaintsUndoPipeline:
    pipe.keyframe_options.num_inference_steps = pipe.video_options.num_inference_steps = 6
    pipe.keyframe_options.guidance_scale, pipe.video_options.guidance_scale = 3.0, 7.5
    return pipe


ALL = FastStageOptions(
    predict_every=2, guidance_every=2, reuse_every=2, reuse_blocks=1, extrapolate=0.5, merge_tokens=0.5
)


def films(pipe: PaintsUndoPipeline) -> tuple[np.ndarray, np.ndarray]:
    keyframes = pipe.generate_keyframes(drawing(), "x")
    return np.stack([np.asarray(k) for k in keyframes]), pipe.interpolate(keyframes)


def test_off_is_byte_for_byte_what_it_was(fast_pipe: PaintsUndoPipeline) -> None:
    plain = films(fast_pipe)
    fast_pipe.fast_options = FastOptions(name="x", keyframes=ALL, video=ALL)
    quick = films(fast_pipe)
    fast_pipe.fast_options = FastOptions()
    again = films(fast_pipe)
    for before, between, after in zip(plain, quick, again, strict=True):
        assert np.array_equal(before, after)
        assert before.shape == between.shape
        assert not np.array_equal(before, between)


def test_both_networks_are_asked_as_planned(fast_pipe: PaintsUndoPipeline) -> None:
    rows: dict[str, list[int]] = {"keyframe_unet": [], "video_unet": []}
    words = {"keyframe_unet": "encoder_hidden_states", "video_unet": "context_text"}
    handles = []
    for name, calls in rows.items():
        # Counted over what tells the halves apart; samples may be repeated later.
        handles.append(
            getattr(fast_pipe, name).register_forward_pre_hook(
                lambda _, args, given, calls=calls, words=words[name]: calls.append(len(given[words])),
                with_kwargs=True,
            )
        )
    fast_pipe.fast_options = FastOptions(name="x", keyframes=ALL, video=ALL)
    try:
        films(fast_pipe)
    finally:
        for handle in handles:
            handle.remove()
    plan = plan_steps(ALL, 6)
    wanted = [2 if step.negative else 1 for step in plan if step.asks]
    assert rows["keyframe_unet"] == [2 * count for count in wanted]  # two operation steps
    assert rows["video_unet"] == wanted * 3  # three pairs, one by one


def test_guidance_in_one_pass_or_two_and_pairs_together_or_not_give_one_film(fast_pipe: PaintsUndoPipeline) -> None:
    fast_pipe.fast_options = FastOptions(name="x", keyframes=ALL, video=ALL)
    made = []
    for batched, pairs in ((True, 1), (False, 1), (True, 3)):
        fast_pipe.batched_guidance, fast_pipe.video_options.batch = batched, pairs
        made.append(films(fast_pipe))
    for other in made[1:]:
        for first, second in zip(made[0], other, strict=True):
            assert np.abs(first.astype(int) - second).max() <= 1


def test_steps_and_schedulers_are_those_of_fast_mode() -> None:
    fast = FastOptions(name="x", video=FastStageOptions(steps=9, scheduler={"_target_": "diffusers.DDIMScheduler"}))
    options = InferOptions(fast=fast)
    assert (options.keyframes.num_inference_steps, options.video.num_inference_steps) == (50, 9)
    assert options.video.scheduler == {"_target_": "diffusers.DDIMScheduler"}
    fewer = InferOptions(fast=FastOptions(video=FastStageOptions(steps=90)))
    assert fewer.video.num_inference_steps == 50


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("models", ["bundled", "official"])
def test_every_setting_composes_and_saves_something(name: str, models: str) -> None:
    options = as_schema(compose("infer", [f"models={models}", f"fast={name}", "input=x", "output=y"]), InferOptions)
    options.check()
    assert options.fast.name == name
    plain = default_options(models)
    saves = []
    for stage in ("keyframes", "video"):
        fast, own, before = getattr(options.fast, stage), getattr(options, stage), getattr(plain, stage)
        share = share_of_passes(fast, own.num_inference_steps, own.guidance_scale != 1)
        fewer = own.num_inference_steps < before.num_inference_steps
        saves.append(share < 1 or fewer or fast.reuse_every > 1 or fast.merge_tokens > 0)
        build_scheduler(own.scheduler, stage).set_timesteps(own.num_inference_steps)
    if name == "off":
        assert not any(saves)
        assert options.fast.keyframes == options.fast.video == FastStageOptions()
    elif models == "official":
        assert any(saves)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"predict_every": 0}, r"fast\.video\.predict_every is 0"),
        ({"predict_first": 0}, r"predict_first is 0"),
        ({"predict_last": -1}, r"predict_last is -1"),
        ({"steps": 0}, r"fast\.video\.steps is 0"),
        ({"extrapolate": 2.0}, r"extrapolate is 2"),
        ({"guidance_interval": [0.5, 0.1]}, r"guidance_interval is \[0\.5, 0\.1\]"),
        ({"guidance_interval": [0.5]}, r"guidance_interval"),
        ({"merge_tokens": 0.8}, r"fast\.video\.merge_tokens is 0\.8: from 0 to 0\.75"),
    ],
)
def test_mistakes_are_one_line(change: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        FastOptions(video=FastStageOptions(**change)).check()
    assert "\n" not in str(caught.value)


def test_a_fast_film_is_another_setting_of_the_same_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture, output = tmp_path / "drawing.png", tmp_path / "films"
    drawing().save(picture)
    command = arguments(picture, output)
    assert main(command) == 0
    record = json.loads((output / "drawing" / "run.json").read_text(encoding="utf-8"))
    assert not any("fast" in settings for settings in record["settings"].values())
    assert record["configuration"]["fast"]["name"] == "off"
    fast = [*command, "fast.video.predict_every=2"]
    assert main(fast) == 2
    assert "video.fast" in capsys.readouterr().err
    before = (output / "drawing" / "keyframes" / "01.png").read_bytes()
    assert main([*fast, "overwrite=true"]) == 0
    record = json.loads((output / "drawing" / "run.json").read_text(encoding="utf-8"))
    assert record["settings"]["video"]["fast"]["predict_every"] == 2
    assert "fast" not in record["settings"]["keyframes"]
    assert (output / "drawing" / "keyframes" / "01.png").read_bytes() == before


def test_options_of_two_runs_do_not_mix(fast_pipe: PaintsUndoPipeline) -> None:
    """A run begun anew forgets the one before: the same call twice is the same film."""
    fast_pipe.fast_options = FastOptions(name="x", keyframes=ALL, video=ALL)
    first, second = films(fast_pipe), films(copy.copy(fast_pipe))
    for one, two in zip(first, second, strict=True):
        assert np.array_equal(one, two)


def test_merged_tokens_alone_are_another_film_and_end_with_their_run(fast_pipe: PaintsUndoPipeline) -> None:
    plain = films(fast_pipe)
    fast_pipe.fast_options = FastOptions(name="x", video=FastStageOptions(merge_tokens=0.5))
    merged = films(fast_pipe)
    assert np.array_equal(merged[0], plain[0])  # keyframes are not asked to
    assert not np.array_equal(merged[1], plain[1])
    fast_pipe.fast_options = FastOptions()
    for before, after in zip(plain, films(fast_pipe), strict=True):
        assert np.array_equal(before, after)


def test_what_is_written_down_of_a_stage() -> None:
    assert FastStageOptions(steps=9).settings() is None
    older = FastStageOptions(predict_every=2).settings()
    assert older is not None
    assert "merge_tokens" not in older  # films made before it came are known again
    assert older["predict_every"] == 2
    merged = FastStageOptions(merge_tokens=0.25).settings()
    assert merged is not None
    assert merged["merge_tokens"] == 0.25
