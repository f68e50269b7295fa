"""Previews and progress: close to what it becomes, often enough, and without effect on it."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from paintsundo import PaintsUndoPipeline
from paintsundo.app import previews
from paintsundo.app.previews import EstimateTap, KeyframePreviews, LatentColours, save_preview
from paintsundo.app.watch import Clock
from paintsundo.conditioning.images import crop_to
from paintsundo.diffusion import build_scheduler
from paintsundo.pipelines.film import fit_picture
from paintsundo.pipelines.keyframes import encode_picture

PICTURE = Path(__file__).parents[2] / "examples" / "chili.png"


@pytest.fixture(scope="module")
def pipe() -> PaintsUndoPipeline:
    made = PaintsUndoPipeline.from_pretrained(multi_frame=None, device="cpu")
    made.set_progress_bar_config(disable=True)
    made.keyframe_options.width = made.keyframe_options.height = 64
    made.keyframe_options.num_inference_steps = 6
    made.keyframe_options.operation_steps = [200, 600]
    return made


def draw(pipe: PaintsUndoPipeline, show: Any = None) -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
    """Keyframes, and the previews of each row, oldest first."""
    shown: list[list[np.ndarray]] = [[], []]
    fitted = fit_picture(Image.open(PICTURE).convert("RGB"), pipe.keyframe_options)
    if show is None:
        return [np.asarray(each) for each in pipe.generate_keyframes(PICTURE, "flat colours")], shown
    with KeyframePreviews(pipe, fitted, lambda row, picture: shown[row].append(np.asarray(picture))) as watching:

        def on_step(pipe: Any, index: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
            watching.on_step(values["latents"])
            return {}

        made = pipe.generate_keyframes(PICTURE, "flat colours", callback_on_step_end=on_step)
    return [np.asarray(each) for each in made], shown


@pytest.mark.parametrize("way", ["decoded", "colours"])
@pytest.mark.parametrize(
    "scheduler", [None, "diffusers.EulerDiscreteScheduler", "diffusers.DPMSolverMultistepScheduler"]
)
def test_they_come_closer_and_change_nothing(
    way: str, scheduler: str | None, pipe: PaintsUndoPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = pipe.keyframe_scheduler
    if scheduler is not None:
        monkeypatch.setattr(pipe, "keyframe_scheduler", build_scheduler({"_target_": scheduler}, _stage()))
    monkeypatch.setattr(previews, "EVERY", 0.0)
    monkeypatch.setattr(KeyframePreviews, "_cheap", lambda self, latents: way == "decoded")
    plain, _ = draw(pipe)
    watched, shown = draw(pipe, show=True)
    assert [np.array_equal(first, second) for first, second in zip(plain, watched, strict=True)] == [True] * 4
    assert [len(row) for row in shown] == [6, 6]
    for row, final in zip(shown, watched[1:-1], strict=True):
        errors = [float(np.abs(picture.astype(int) - final).mean()) for picture in row]
        assert row[0].shape == final.shape
        assert errors[-1] < 0.6 * errors[0] or errors[-1] < 6, errors
        # The decoder's last one is all but the keyframe; colours alone are it blurred, and not quite its colours.
        assert errors[-1] < (4 if way == "decoded" else blurring(final) + 8), errors
    assert "step" not in vars(pipe.keyframe_scheduler)
    assert own is not None


def blurring(picture: np.ndarray) -> float:
    """How far a picture is from itself at an eighth of its size."""
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (width // 8, height // 8), interpolation=cv2.INTER_AREA)
    blurred = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return float(np.abs(blurred.astype(int) - picture).mean())


def _stage() -> Any:
    from paintsundo.checkpoints.noise import trained_stage

    return trained_stage("bundled", "single_frame")


def test_they_wait_between_one_another(pipe: PaintsUndoPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("paintsundo.app.previews.time.monotonic", lambda: now[0])
    monkeypatch.setattr(KeyframePreviews, "_cheap", lambda self, latents: False)
    shown: list[int] = []
    picture = np.full((64, 64, 3), 200, np.uint8)
    watching = KeyframePreviews(pipe, picture, lambda row, _: shown.append(row))
    latents = torch.zeros(2, *encode_picture(pipe.keyframe_vae, picture, torch.device("cpu")).shape[1:])
    for later in (0, 0.5 * previews.EVERY, 0.49 * previews.EVERY, 0.02 * previews.EVERY, 5):
        now[0] += later
        with torch.no_grad():
            watching.on_step(latents)
    assert shown == [0, 1] * 3


def test_colours_are_those_of_the_picture(pipe: PaintsUndoPipeline) -> None:
    picture = fit_picture(Image.open(PICTURE).convert("RGB"), pipe.keyframe_options)
    colours = LatentColours.fitted(pipe.keyframe_vae, picture, torch.device("cpu"))
    with torch.no_grad():
        latents = encode_picture(pipe.keyframe_vae, picture, torch.device("cpu"))
    height, width = latents.shape[2:]
    seen = colours.pictures(latents, width, height)[0].astype(int)
    wanted = crop_to(picture, width, height).astype(int)
    assert np.abs(seen - wanted).mean() < np.abs(wanted - wanted.mean((0, 1))).mean() / 3
    assert colours.pictures(latents * float("nan"), 64, 64)[0].shape == (64, 64, 3)


def test_what_a_scheduler_does_not_tell_is_the_sample_itself() -> None:
    class Odd:
        timesteps = torch.arange(3)
        config: dict[str, Any] = {}  # noqa: RUF012

        def scale_model_input(self, sample: Any, timestep: Any) -> Any:
            return sample

        def step(self, model_output: Any, timestep: Any, sample: Any) -> Any:
            return (sample,)

    scheduler = Odd()
    with EstimateTap(scheduler) as tap:
        assert tap.estimate(torch.ones(1)) == 1
        scheduler.step(torch.zeros(1), 0, torch.zeros(1))
        assert tap.estimate(torch.ones(1)) == 1
    assert "step" not in vars(scheduler)


def test_a_preview_is_whole_or_not_there(tmp_path: Path) -> None:
    save_preview(tmp_path / "a.jpg", Image.new("RGB", (8, 8), "red"))
    assert Image.open(tmp_path / "a.jpg").size == (8, 8)
    with pytest.raises(OSError, match="JPEG"):
        save_preview(tmp_path / "b.jpg", Image.new("RGBA", (8, 8)))
    assert not (tmp_path / "b.jpg").exists()


def test_the_clock_goes_by_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("paintsundo.app.watch.time.monotonic", lambda: now[0])
    clock = Clock({"passes": (10, 1.0), "decoding": (2, 5.0)})
    assert (clock.progress, clock.seconds_left) == (0.0, None)
    for _ in range(5):
        now[0] += 2
        clock.tick("passes")
    assert clock.seconds_left == 5 * 2 + 2 * 5
    now[0] += 10
    clock.tick("decoding")
    assert clock.seconds_left == 5 * 2 + 10
    assert clock.progress == pytest.approx(20 / 40)
    now[0] += 100
    clock.lap()
    now[0] += 2
    clock.tick("passes", 1)
    assert clock.seconds_left == 4 * 2 + 10
    clock.skip("passes", 99)
    clock.skip("decoding", 99)
    assert clock.progress == 1
    assert clock.seconds_left == 0
