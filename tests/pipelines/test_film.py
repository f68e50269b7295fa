"""The pipeline's own promises, on models of odd sizes: nothing is fixed to the published ones."""

import copy
import dataclasses
import pickle
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline, EulerDiscreteScheduler
from PIL import Image
from torch import nn

from paintsundo import PaintsUndoOutput, PaintsUndoPipeline
from paintsundo.diffusion import build_scheduler
from paintsundo.errors import UserError
from paintsundo.pipelines import film
from paintsundo.pipelines.film import bucket_notice
from paintsundo.pipelines.options import VideoOptions
from paintsundo.pipelines.placement import Placement
from tiny_models import drawing

SCHEDULERS = ["DDIMScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler", "UniPCMultistepScheduler"]


def arrays(images: list[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(image) for image in images])


def assert_equal_but_for_rounding(a: np.ndarray, b: np.ndarray) -> None:
    assert a.shape == b.shape
    difference = np.abs(a.astype(int) - b)
    assert difference.max() <= 1
    assert difference.mean() < 0.02


@pytest.fixture(scope="module")
def keyframes() -> list[Image.Image]:
    finished = drawing(28, 20)
    half = finished.point(lambda value: min(255, value + 120))
    return [finished, half, Image.new("RGB", (28, 20), "white")]


def test_call_makes_prompt_keyframes_and_frames(pipe: PaintsUndoPipeline) -> None:
    picture = drawing()
    result = pipe(picture, video={"attention_window": "prv"})
    assert isinstance(result, PaintsUndoOutput)
    assert isinstance(pipe, DiffusionPipeline)
    assert result.prompt == pipe.tag(picture)
    assert [keyframe.size for keyframe in result.keyframes] == [(20, 28)] * 4
    # Three pairs of 8 frames, each without its last; the upright bucket.
    assert result.frames.shape == (3 * 7, 24, 16, 3)
    assert result.frames.dtype == np.uint8
    assert result.frames.std() > 5


def test_keyframes_run_from_finished_to_blank_in_order_of_steps(pipe: PaintsUndoPipeline) -> None:
    sorted_ = arrays(pipe.generate_keyframes(drawing(), "x", operation_steps=[300, 700]))
    shuffled = arrays(pipe.generate_keyframes(drawing(), "x", operation_steps=[700, 300, 700]))
    assert (sorted_ == shuffled).all()
    assert (sorted_[-1] == 255).all()
    assert (sorted_[1] != sorted_[2]).any()


def test_all_keyframes_share_one_noise(pipe: PaintsUndoPipeline) -> None:
    together = arrays(pipe.generate_keyframes(drawing(), "x", operation_steps=[100, 500, 900]))
    alone = arrays(pipe.generate_keyframes(drawing(), "x", operation_steps=[500]))
    assert_equal_but_for_rounding(together[2], alone[1])


def test_seeds_decide_the_film(pipe: PaintsUndoPipeline, keyframes: list[Image.Image]) -> None:
    assert (pipe.interpolate(keyframes, seed=1) == pipe.interpolate(keyframes, seed=1)).all()
    assert (pipe.interpolate(keyframes, seed=1) != pipe.interpolate(keyframes, seed=2)).any()
    first = arrays(pipe.generate_keyframes(drawing(), "x", seed=1))
    assert (first == arrays(pipe.generate_keyframes(drawing(), "x", seed=1))).all()
    assert (first != arrays(pipe.generate_keyframes(drawing(), "x", seed=2))).any()


def test_each_pair_has_its_own_stream_of_noise(pipe: PaintsUndoPipeline, keyframes: list[Image.Image]) -> None:
    both = pipe.interpolate(keyframes, seed=50)
    second = pipe.interpolate(keyframes[1:], seed=51)
    # The film runs from blank to finished: the later pair comes first.
    assert_equal_but_for_rounding(both[:7], second)


def test_film_does_not_depend_on_the_batch(pipe: PaintsUndoPipeline, keyframes: list[Image.Image]) -> None:
    assert_equal_but_for_rounding(pipe.interpolate(keyframes, batch=1), pipe.interpolate(keyframes, batch=2))


def test_guidance_in_two_passes_gives_the_same_film(pipe: PaintsUndoPipeline, keyframes: list[Image.Image]) -> None:
    batched = pipe.interpolate(keyframes), arrays(pipe.generate_keyframes(drawing(), "x"))
    pipe.batched_guidance = False
    sequential = pipe.interpolate(keyframes), arrays(pipe.generate_keyframes(drawing(), "x"))
    for one, other in zip(batched, sequential, strict=True):
        assert_equal_but_for_rounding(one, other)


def test_guidance_falls_back_to_two_passes_when_memory_is_short(
    pipe: PaintsUndoPipeline, keyframes: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = pipe.interpolate(keyframes)
    forward = pipe.video_unet.forward
    rows = []

    def scarce(x, *args, **kwargs):
        rows.append(len(kwargs["context_text"]))
        if rows[-1] > 1:
            raise torch.OutOfMemoryError("no room")
        return forward(x, *args, **kwargs)

    monkeypatch.setattr(pipe.video_unet, "forward", scarce)
    assert_equal_but_for_rounding(pipe.interpolate(keyframes), expected)
    # Once too large for each pair, then in halves to its end.
    assert rows == 2 * [2, *[1] * 6]


def test_without_guidance_negative_conditions_are_not_computed(
    pipe: PaintsUndoPipeline, keyframes: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = []
    forward = pipe.video_unet.forward
    monkeypatch.setattr(
        pipe.video_unet, "forward", lambda x, *args, **kwargs: (rows.append(len(x)), forward(x, *args, **kwargs))[1]
    )
    pipe.interpolate(keyframes, guidance_scale=1.0)
    assert rows == [1] * 6


def test_each_keyframe_is_encoded_once(
    pipe: PaintsUndoPipeline, keyframes: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = []
    encode = pipe.video_vae.encode
    monkeypatch.setattr(pipe.video_vae, "encode", lambda frames: (encoded.append(frames.shape[2]), encode(frames))[1])
    pipe.interpolate(keyframes)
    assert encoded == [1] * len(keyframes)


@pytest.mark.parametrize("window", ["prv", "first", "roll"])
def test_attention_windows_change_the_film(pipe: PaintsUndoPipeline, keyframes: list[Image.Image], window: str) -> None:
    assert (pipe.interpolate(keyframes, attention_window=window) != pipe.interpolate(keyframes)).any()


@pytest.mark.parametrize("name", SCHEDULERS)
def test_any_diffusers_scheduler_runs_in_either_stage(
    pipe: PaintsUndoPipeline, keyframes: list[Image.Image], name: str
) -> None:
    published = pipe.interpolate(keyframes, batch=2)
    config = {"_target_": f"diffusers.{name}"}
    pipe.keyframe_scheduler = build_scheduler(config, "keyframes")
    pipe.video_scheduler = build_scheduler(config, "video")
    states = arrays(pipe.generate_keyframes(drawing(), "x"))
    assert states[1:-1].std() > 1
    frames = pipe.interpolate(keyframes, batch=2)
    assert frames.shape == published.shape
    assert (frames != published).any()
    # Stochastic ones as well draw for every pair from its own stream.
    assert_equal_but_for_rounding(pipe.interpolate(keyframes, batch=1), frames)


def test_a_bare_diffusers_scheduler_can_be_put_in(pipe: PaintsUndoPipeline) -> None:
    pipe.keyframe_scheduler = EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.02, beta_schedule="linear")
    assert len(pipe.generate_keyframes(drawing(), "x")) == 4


def test_bucket_is_the_one_nearest_to_the_first_keyframe(
    pipe: PaintsUndoPipeline, keyframes: list[Image.Image]
) -> None:
    assert pipe.interpolate(keyframes).shape[1:3] == (16, 24)
    upright = [keyframe.rotate(90, expand=True) for keyframe in keyframes]
    assert pipe.interpolate(upright).shape[1:3] == (24, 16)
    # Own keyframes may differ in size; the film has one.
    mixed = [keyframes[0], keyframes[1].resize((70, 90)), keyframes[2]]
    assert pipe.interpolate(mixed).shape == (14, 16, 24, 3)


def test_what_the_film_cuts_off_is_told() -> None:
    options = VideoOptions()
    notice = bucket_notice([Image.new("RGB", (512, 640))], options)  # 384x480, of which 384x448 is kept
    assert notice is not None
    assert "512x640" in notice
    assert "7 % of the height" in notice
    assert bucket_notice([Image.new("RGB", (512, 320)), Image.new("RGB", (1024, 640))], options) is None


def test_steps_can_be_watched_and_changed(pipe: PaintsUndoPipeline) -> None:
    seen = []

    def callback(pipeline, index, timestep, tensors):
        seen.append((index, tuple(tensors["latents"].shape)))
        return {"latents": tensors["latents"] * 0} if index == 2 else None

    states = pipe.generate_keyframes(drawing(), "x", callback_on_step_end=callback)
    assert seen == [(index, (2, 6, 7, 5)) for index in range(3)]
    # Latents of zero decode to the same picture for both steps.
    assert (np.asarray(states[1]) == np.asarray(states[2])).all()


def test_networks_moved_on_demand_give_the_same_film(
    pipe: PaintsUndoPipeline, keyframes: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = pipe.interpolate(keyframes)
    moves = []
    from paintsundo.pipelines import placement

    @contextmanager
    def visiting(network: nn.Module, device: torch.device, home: torch.device) -> Iterator[None]:
        moves.append((type(network).__name__, device))
        yield
        moves.append((type(network).__name__, home))

    monkeypatch.setattr(placement, "visiting", visiting)
    pipe.placement = Placement(torch.device("cpu"), "low")
    monkeypatch.setattr(Placement, "rest_device", torch.device("meta"))
    conditions = pipe.prepare_interpolation(keyframes, pipe.video_options)
    # The UNet is not touched while conditions are computed; everything else comes and goes, one after the other.
    assert [name for name, _ in moves] == [
        name
        for name in ("CLIPTextModel", "VideoAutoencoderKL", "ClipVisionEncoder", "ImageProjection")
        for _ in range(2)
    ]
    assert [device.type for _, device in moves] == ["cpu", "meta"] * 4
    assert all(state.device.type == "meta" for state in conditions.hidden)
    monkeypatch.undo()
    pipe.placement = Placement(torch.device("cpu"), "low")
    assert (pipe.interpolate(keyframes) == expected).all()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"operation_steps": [1000]}, "operation step 1000"),
        ({"operation_steps": []}, "empty"),
        ({"width": 21}, "multiple of 4: the nearest is 20"),
        ({"height": 0}, "keyframes.height is 0"),
        ({"num_inference_steps": 0}, "from 1 to 1000"),
        ({"fit": "stretch"}, "keyframes.fit"),
    ],
)
def test_impossible_keyframes_are_refused(pipe: PaintsUndoPipeline, arguments: dict, told: str) -> None:
    with pytest.raises(UserError, match=told):
        pipe.generate_keyframes(drawing(), "x", **arguments)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"buckets": [[24, 20]]}, r"multiples of 8: the nearest is \[24,16\]"),
        ({"attention_window": "all"}, "video.attention_window"),
        ({"batch": 0}, "video.batch"),
        ({"num_inference_steps": 2000}, "from 1 to 1000"),
    ],
)
def test_impossible_films_are_refused(
    pipe: PaintsUndoPipeline, keyframes: list[Image.Image], arguments: dict, told: str
) -> None:
    with pytest.raises(UserError, match=told):
        pipe.interpolate(keyframes, **arguments)


def test_two_keyframes_at_least(pipe: PaintsUndoPipeline, keyframes: list[Image.Image]) -> None:
    with pytest.raises(UserError, match="at least two"):
        pipe.interpolate(keyframes[:1])


def test_saved_pipeline_makes_the_same_film(pipe: PaintsUndoPipeline, keyframes: list[Image.Image], tmp_path) -> None:
    pipe.clips_at_once = None
    pipe.save_pretrained(tmp_path)
    options = film.default_options("official")
    options.runtime.device = "cpu"
    again = PaintsUndoPipeline.from_pretrained(tmp_path, tmp_path, tagger=None, options=options)
    again.set_progress_bar_config(disable=True)
    arguments = {"num_inference_steps": 3, "buckets": [[16, 24]]}
    assert (again.interpolate(keyframes, **arguments) == pipe.interpolate(keyframes, **arguments)).all()
    with pytest.raises(UserError, match="no tagger"):
        again.tag(drawing())


def test_components_are_attributes_that_can_be_replaced(pipe: PaintsUndoPipeline, keyframes: list[Image.Image]) -> None:
    before = pipe.interpolate(keyframes)
    pipe.video_unet = pickle.loads(pickle.dumps(pipe.video_unet))
    # Products of a single row are rounded by where in memory the weights lie.
    assert_equal_but_for_rounding(pipe.interpolate(keyframes), before)
    pipe.video_unet = copy.deepcopy(pipe.video_unet)
    with torch.no_grad():
        pipe.video_unet.out[2].weight.mul_(1.5)
    assert (pipe.interpolate(keyframes) != before).any()
    assert set(pipe.components) >= {"keyframe_unet", "video_unet", "image_projection", "tagger"}


def test_presets_differ_in_what_models_may_set(pipe: PaintsUndoPipeline) -> None:
    official, bundled = film.default_options("official"), film.default_options("bundled")
    assert official.keyframes.operation_steps == [400, 600, 800, 900, 950, 999]
    assert (official.keyframes.width, official.keyframes.height) == (512, 640)
    assert official.keyframes.num_inference_steps == 50
    assert official.keyframes.guidance_scale == 3.0
    assert official.keyframes.seed == 12345
    assert official.video.num_inference_steps == 50
    assert official.video.guidance_scale == 7.5
    assert official.video.guidance_rescale == 0.7
    assert official.video.seed == 123
    assert official.video.fps == 4
    assert official.video.frame_stride == 3
    assert official.video.buckets == [[320, 512], [384, 448], [448, 384], [512, 320]]
    assert official.video.prompt == "1girl, masterpiece, best quality"
    # Schedulers, window, noise protocol and fit stay the published ones.
    for stage, names in (("keyframes", ("scheduler", "fit", "seed")), ("video", ("scheduler", "attention_window"))):
        for name in names:
            assert getattr(getattr(bundled, stage), name) == getattr(getattr(official, stage), name)
    assert dataclasses.asdict(bundled.runtime) == dataclasses.asdict(official.runtime)
