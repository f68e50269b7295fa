"""Recordings of known processes: what the source finds against what was drawn."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import recording_clips as clips

from paintsundo.data.frames import FrameProcess
from paintsundo.data.shards import decode, encode
from paintsundo.data.source import Canvas, Item, Unusable
from paintsundo.data.sources import source_class
from paintsundo.errors import UserError

FPS = 30
SOURCE = source_class("recording")


def drawn(path: Path, size: int = 128, **options: object) -> FrameProcess:
    """The process of a file."""
    source = SOURCE(SOURCE.Options(**options))
    source.check()
    process = source.draw(Item(path.name, path, {"subject": "s", "source": "test"}), Canvas(size, "source"), 0, 0)
    assert isinstance(process, FrameProcess)
    assert process.faults() == []
    return process


def compared(process: FrameProcess, truth: list[np.ndarray]) -> tuple[float, float]:
    """Mean PSNR of the states against the true canvas at their time, mean error of their operation steps."""
    height, width = process.size
    small = [cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA) for picture in truth]
    labs = [cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) for picture in small]
    area, last = [0.0], labs[0].copy()
    for lab in labs[1:]:
        changed = np.linalg.norm(lab - last, axis=2) > 10
        last[changed] = lab[changed]
        area.append(area[-1] + float(changed.sum()))
    steps = 999 * (1 - np.array(area) / area[-1])
    times = process.extra["times"]
    assert len(times) == len(process)
    frames = [round(time * FPS) for time in times]
    errors = [np.mean((process.frame(k) - small[f].astype(float)) ** 2) for k, f in enumerate(frames)]
    apart = [abs(999 * (1 - process.works[k]) - steps[f]) for k, f in enumerate(frames)]
    return float(np.mean(np.minimum(50, 10 * np.log10(65025 / np.maximum(errors, 0.1))))), float(np.mean(apart))


def overlap(found: list[float], true: tuple[int, ...]) -> float:
    """Intersection over union of two boxes: left, top, width, height."""
    (a, b, c, d), (e, f, g, h) = found, true
    shared = max(0, min(a + c, e + g) - max(a, e)) * max(0, min(b + d, f + h) - max(b, f))
    return shared / (c * d + g * h - shared)


@pytest.fixture(scope="module")
def truth() -> list[np.ndarray]:
    return clips.states(3, 110)


@pytest.fixture(scope="module")
def plain(truth: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.write(tmp_path_factory.mktemp("plain") / "plain.mp4", clips.Clip(truth).frames())


@pytest.fixture(scope="module")
def plain_process(plain: Path) -> FrameProcess:
    return drawn(plain)


def test_the_canvas_states_and_steps_of_a_plain_recording(plain_process: FrameProcess, truth: list[np.ndarray]) -> None:
    process = plain_process
    psnr, step = compared(process, truth)
    assert process.extra["canvas"] == list(clips.BOX)
    assert psnr > 34
    assert step < 20
    assert "changed" in process.work_rule
    assert (process.frame(0) == process.frame(0)[0, 0]).all()
    assert process.extra["kind"] == "screen"
    assert process.extra["flags"] == []
    assert len(process) > 80


def test_the_same_file_gives_the_same_bytes(plain: Path, plain_process: FrameProcess) -> None:
    threads = cv2.getNumThreads()
    one, other = encode(plain_process), encode(drawn(plain))
    assert {name: hashlib.sha256(data).digest() for name, data in one.items()} == {
        name: hashlib.sha256(data).digest() for name, data in other.items()
    }
    assert decode(one).extra["times"] == plain_process.extra["times"]
    assert cv2.getNumThreads() == threads


@pytest.mark.parametrize("crf", [30, pytest.param(38, marks=pytest.mark.slow)])
def test_strong_compression(tmp_path: Path, truth: list[np.ndarray], crf: int) -> None:
    process = drawn(clips.write(tmp_path / "a.mp4", clips.Clip(truth).frames(), crf=crf))
    psnr, step = compared(process, truth)
    assert overlap(process.extra["canvas"], clips.BOX) > 0.99
    assert psnr > (30 if crf == 30 else 26)
    assert step < 25


def test_a_cursor_and_palettes_are_taken_off(tmp_path: Path, truth: list[np.ndarray]) -> None:
    random = np.random.default_rng(0)
    places = np.cumsum(random.normal(0, 9, (len(truth), 2)), 0) + np.array((340, 180))

    def over(number: int):
        def paint(screen: np.ndarray) -> None:
            if 30 <= number < 55:
                clips.palette(screen, 250, 100)
            if 80 <= number < 96:
                clips.palette(screen, 380, 180)
            clips.cursor(screen, *np.clip(places[number], (190, 60), (480, 290)))

        return paint

    clip = clips.Clip(truth, over=[over(number) for number in range(len(truth))])
    process = drawn(clips.write(tmp_path / "a.mp4", clip.frames()))
    psnr, step = compared(process, truth)
    assert process.extra["canvas"] == list(clips.BOX)
    assert psnr > 29
    assert step < 25
    assert process.extra["masked"] > 0.01
    left, top, width, height = clips.BOX
    part = (slice(100 - top, 180 - top), slice(250 - left, 360 - left))
    frame = next(k for k, time in enumerate(process.extra["times"]) if time * FPS >= 45)
    state = cv2.resize(process.frame(frame), (width, height), interpolation=cv2.INTER_AREA)[part]
    shown = truth[round(process.extra["times"][frame] * FPS)]  # states that hardly can be known are left out
    assert np.abs(state - shown[part].astype(float)).mean() < 12


def test_zoom_turn_and_flip_are_followed(tmp_path: Path, truth: list[np.ndarray]) -> None:
    views = [clips.view()] * len(truth)
    views[40:60] = [clips.view(zoom=1.8, shift=(20, -10))] * 20
    views[68:82] = [clips.view(angle=24)] * 14
    views[90:100] = [clips.view(flip=True)] * 10
    clip = clips.Clip(truth, views=views)
    process = drawn(clips.write(tmp_path / "a.mp4", clip.frames()))
    psnr, step = compared(process, truth)
    assert process.extra["canvas"] == list(clips.BOX)
    assert psnr > 30
    assert step < 25
    found = [view for view in process.extra["views"] if "zoom" in view]
    assert any(view["zoom"] == pytest.approx(1.8, abs=0.03) for view in found)
    assert any(view["degrees"] == pytest.approx(-24, abs=1) for view in found)
    assert any(view["mirrored"] for view in found)


def test_cuts_titles_and_pauses_are_left_out(tmp_path: Path, truth: list[np.ndarray]) -> None:
    title = np.full((*clips.SCREEN, 3), (30, 10, 60), np.uint8)
    cv2.putText(title, "speedpaint", (150, 200), cv2.FONT_HERSHEY_SIMPLEX, 2, (250, 220, 120), 4, cv2.LINE_AA)
    states = [*[truth[0]] * 15, *truth[:60], *[truth[60]] * 40, *truth[60:], *[truth[-1]] * 15]
    whole = dict.fromkeys((*range(12), *range(62, 75), *range(len(states) - 12, len(states))), title)
    clip = clips.Clip(states, whole=whole)
    process = drawn(clips.write(tmp_path / "a.mp4", clip.frames()))
    psnr, step = compared(process, states)
    assert process.extra["canvas"] == list(clips.BOX)
    assert psnr > 33
    assert step < 25
    assert any(view.get("shown") is False for view in process.extra["views"])
    pause = [time for time in process.extra["times"] if 79 / FPS < time < 111 / FPS]
    assert len(pause) <= 2


def test_an_exported_time_lapse_fills_the_frame(tmp_path: Path, truth: list[np.ndarray]) -> None:
    process = drawn(clips.write(tmp_path / "a.mp4", clips.Clip(truth, chrome=False).frames()))
    psnr, step = compared(process, truth)
    assert process.extra["canvas"] == [0, 0, 320, 264]
    assert psnr > 33
    assert step < 15


def test_a_trembling_camera_is_held_still(tmp_path: Path, truth: list[np.ndarray]) -> None:
    random = np.random.default_rng(0)
    wander = np.cumsum(random.normal(0, 0.8, (len(truth), 2)), 0)
    views = [clips.view(shift=(x, y)) for x, y in wander - wander.mean(0)]

    def noisy():
        for number, frame in enumerate(clips.Clip(truth, views=views).frames()):
            light = 0.93 + 0.03 * np.sin(number / 9)
            yield np.clip(frame * light + random.normal(0, 3, frame.shape), 0, 255).astype(np.uint8)

    process = drawn(clips.write(tmp_path / "a.mp4", noisy(), crf=16))
    psnr, step = compared(process, truth)
    assert process.extra["kind"] == "camera"
    assert overlap(process.extra["canvas"], clips.BOX) > 0.95
    assert psnr > 22
    assert step < 40


def test_the_canvas_can_be_given(plain: Path) -> None:
    left, top, width, height = clips.BOX
    half = [left, top, width // 2, height]
    process = drawn(plain, canvas=half)
    assert process.extra["canvas"] == half
    height_, width_ = process.size
    assert width_ / height_ == pytest.approx(half[2] / half[3], rel=0.1)


def test_a_square_canvas_and_fewer_states(plain: Path) -> None:
    source = SOURCE(SOURCE.Options(states=20, samples=60))
    process = source.draw(Item("a", plain.read_bytes(), {"subject": "s", "source": "t"}), Canvas(96), 0, 0)
    assert process.size == (96, 96)
    assert 10 < len(process) <= 20


def test_a_part_of_the_recording(plain: Path) -> None:
    process = drawn(plain, begin=0, end=2)
    assert max(process.extra["times"]) <= 2


def test_a_recording_that_begins_drawn(tmp_path: Path, truth: list[np.ndarray]) -> None:
    path = clips.write(tmp_path / "a.mp4", clips.Clip(truth[50:]).frames())
    process = drawn(path)
    assert "begins drawn" in process.extra["flags"]
    assert overlap(process.extra["canvas"], clips.BOX) > 0.97
    assert process.works[1] > 0.1
    with pytest.raises(Unusable, match="begins with something drawn"):
        drawn(path, unfinished="refuse")


def test_recordings_without_drawing_are_refused(tmp_path: Path) -> None:
    still = clips.write(tmp_path / "still.mp4", [clips.desk()] * 60)
    with pytest.raises(Unusable, match=r"nothing is drawn|no canvas"):
        drawn(still)
    random = np.random.default_rng(0)
    scenes = [cv2.resize(random.integers(0, 255, (5, 8, 3), np.uint8), (640, 360)) for _ in range(6)]
    film = clips.write(tmp_path / "film.mp4", [scenes[number // 12] for number in range(72)])
    with pytest.raises(Unusable):
        drawn(film)
    with pytest.raises(Unusable, match="too short"):
        drawn(clips.write(tmp_path / "short.mp4", [clips.desk()] * 3))


def test_the_item_is_recorded(plain: Path) -> None:
    record = {"subject": "cat", "source": "set/cat", "licence": "CC0", "author": "me", "tags": ["cat"]}
    process = SOURCE().draw(Item("cat.mp4", plain, record), Canvas(64, "source"), 0, 0)
    assert (process.subject, process.licence, process.author, process.tags) == ("cat", "CC0", "me", ("cat",))
    assert process.hash == hashlib.sha256(plain.read_bytes()).hexdigest()
    assert process.extra["stems"] == ["cat"]


@pytest.mark.parametrize(
    "options",
    [
        {"canvas": "left"},
        {"canvas": [0, 0, 100]},
        {"canvas": [0, 0, 2, 2]},
        {"samples": 1},
        {"states": 1},
        {"threshold": 0},
        {"occlusion": 2},
        {"begin": 5, "end": 5},
        {"unfinished": "maybe"},
        {"quality": 0},
        {"settle": 0},
    ],
)
def test_impossible_options_are_told(options: dict[str, object]) -> None:
    with pytest.raises(UserError, match=f"source.{next(iter(options))}="):
        SOURCE(SOURCE.Options(**options)).check()
