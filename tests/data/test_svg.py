import io

import numpy as np
import pytest
import resvg_py
from PIL import Image

from paintsundo.data.compose import background, compose
from paintsundo.data.report.change import changed_shares
from paintsundo.data.scene import Placed, Scene
from paintsundo.data.staged import StagedProcess
from paintsundo.data.svg import scene_process, svg_process
from paintsundo.data.svg_reader import parse

HEAD = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72">'


def direct(data: bytes, size: int) -> np.ndarray:
    """The file itself through the renderer."""
    text = data.decode().replace("<svg ", f'<svg width="{size}" height="{size}" ', 1)
    out = resvg_py.svg_to_bytes(svg_string=text, background="#ffffff", skip_system_fonts=True)
    return np.asarray(Image.open(io.BytesIO(bytes(out))).convert("RGB"))


@pytest.mark.parametrize("name", ["inked", "shaded"])
@pytest.mark.parametrize("size", [96, 256])
def test_the_last_state_is_the_direct_rendering(name: str, size: int, request: pytest.FixtureRequest) -> None:
    data = request.getfixturevalue(name)
    process = svg_process(data, size)
    assert process.faults() == []
    assert (process.finished == direct(data, size)).all()
    assert (process.state(0) == 255).all()


def test_lines_come_before_colour_and_sketch_lines_vanish(inked: bytes) -> None:
    process = svg_process(inked, 128)
    names = [stage.name for stage in process.stages]
    assert names[:3] == ["sketch", "ink", "flats"]
    ends = {stage.name: stage.reveal[stage.reveal != 65535].max() / 65534 for stage in process.stages}
    inked_state = process.state(ends["ink"]).astype(int)
    assert (np.ptp(inked_state, axis=2) < 12).mean() > 0.99  # grey: no colour yet
    black = (process.finished < 40).all(axis=2)
    assert (inked_state[black] < 60).mean() > 0.95  # all lines are there
    sketch = process.stages[0].picture
    assert ((sketch != 255).any(axis=2) & (sketch[..., 2] > sketch[..., 0])).mean() > 0.01
    colours = {tuple(c) for c in sketch[(sketch != 255).any(axis=2)].tolist()}
    bluest = min(colours, key=lambda c: c[0])
    assert not (process.finished == bluest).all(axis=2).any()


def test_gradients_and_overlays_are_shaded_last(shaded: bytes) -> None:
    process = svg_process(shaded, 128)
    names = [stage.name for stage in process.stages]
    assert names[0] == "sketch"
    assert names[-1] == "shading"
    assert "ink" not in names
    flat = process.stages[-2].picture
    body = flat[90:100, 30:40].reshape(-1, 3)
    assert (body == body[0]).all()  # one colour where the finished picture has a gradient
    assert len(np.unique(process.finished[90:100, 30:40].reshape(-1, 3), axis=0)) > 5


@pytest.mark.parametrize("name", ["inked", "shaded", "wide"])
def test_change_is_local_and_abrupt(name: str, request: pytest.FixtureRequest) -> None:
    process = svg_process(request.getfixturevalue(name), 128)
    shares = changed_shares(process, 50)
    assert shares.max() < 0.12
    assert (shares > 0).mean() > 0.9
    film = process.film(np.linspace(0, 1, 101))
    values = (film[1:] != film[:-1]).any(axis=3).sum(axis=0)
    assert values.max() <= len(process.stages)  # a pixel jumps at most once in a stage: nothing fades


@pytest.mark.parametrize("name", ["inked", "shaded", "wide"])
def test_progress_rises(name: str, request: pytest.FixtureRequest) -> None:
    process = svg_process(request.getfixturevalue(name), 128)
    film = process.film(np.linspace(0, 1, 41)).astype(float)
    distance = np.abs(film - film[-1]).mean(axis=(1, 2, 3))
    after_sketch = np.abs(film[len(film) // 3 :] - film[-1]).mean(axis=(1, 2, 3))
    assert (np.diff(after_sketch) <= 0.35).all()  # sketch lines and white ground under paint: small steps back only
    assert distance[0] == distance.max() or distance[:12].max() - distance[0] < 3
    for stage in process.stages:
        order = stage.reveal[stage.reveal != 65535]
        assert order.min() >= 1
        assert len(np.unique(order)) > 20 or len(order) < 60


def test_the_same_file_gives_the_same_process(shaded: bytes) -> None:
    first, second = svg_process(shaded, 96), svg_process(shaded, 96)
    for one, other in zip(first.stages, second.stages, strict=True):
        assert one.name == other.name
        assert (one.picture == other.picture).all()
        assert (one.reveal == other.reveal).all()


def test_sizes_without_view_box_are_in_pixels(wide: bytes) -> None:
    art = parse(wide)
    np.testing.assert_allclose(art.view_box, (0, 0, 40 * 96 / 25.4, 20 * 96 / 25.4))
    finished = svg_process(wide, 64).finished
    assert (finished[:14] == 255).all()  # centred in the square
    assert (finished[32, 10] == (192, 64, 64)).all()


def composition(elements: list[bytes], seed: int) -> StagedProcess:
    placed, behind = compose(elements, seed)
    return scene_process(placed, 128, behind)


def test_compositions_are_deterministic_and_complete(inked: bytes, shaded: bytes) -> None:
    for seed in range(4):
        process = composition([inked, shaded, inked], seed)
        again = composition([inked, shaded, inked], seed)
        assert process.faults() == []
        assert all((a.reveal == b.reveal).all() for a, b in zip(process.stages, again.stages, strict=True))
    assert not (composition([inked, shaded], 1).finished == composition([inked, shaded], 2).finished).all()


def test_a_background_fills_the_canvas_and_comes_with_the_flats(inked: bytes) -> None:
    placed, behind = compose([inked], 3)
    assert behind
    process = scene_process(placed, 128, behind)
    assert (process.finished != 255).any(axis=2).mean() > 0.9
    flats = next(stage for stage in process.stages if stage.name == "flats")
    begin = flats.reveal.min() / 65534
    before = process.state(max(0.0, begin - 0.001))
    assert (before == 255).all(axis=2).mean() > 0.7


def test_all_backgrounds_are_drawable() -> None:
    import random

    for seed in range(12):
        art = parse(background(random.Random(seed)))
        assert (Scene([Placed(art)], 64).paint() != 255).any()
