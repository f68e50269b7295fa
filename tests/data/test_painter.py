"""The painter's processes: last state, order of stages, nothing fades, the same for the same seed."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from paintsundo.data.painter import STYLES, paint
from paintsundo.data.painter.painting import choose
from paintsundo.data.painter.study import Study
from paintsundo.data.process import DrawingProcess
from paintsundo.data.source import Unusable
from paintsundo.metrics import abruptness, backtrack, effective_changed_share, monotonicity, progress, stage_order


def cartoon(size: int) -> np.ndarray:
    """Inked outlines around flat colours on paper."""
    image = Image.new("RGB", (4 * size, 4 * size), "white")
    draw = ImageDraw.Draw(image)
    box = [round(part * 4 * size) for part in (0.16, 0.16, 0.84, 0.84)]
    draw.ellipse(box, fill=(250, 220, 60), outline=(10, 10, 10), width=size // 8)
    box = [round(part * 4 * size) for part in (0.39, 0.47, 0.61, 0.74)]
    draw.rectangle(box, fill=(220, 60, 60), outline=(10, 10, 10), width=size // 9)
    return np.asarray(image.resize((size, size), Image.Resampling.LANCZOS))


def film_of(process: DrawingProcess, states: int = 41) -> np.ndarray:
    return process.film(np.linspace(0, 1, states))


@pytest.mark.parametrize("style", STYLES)
def test_every_style_ends_at_the_picture_and_never_fades(style: str, landscape: np.ndarray) -> None:
    process = paint(landscape, (7,), style)
    assert process.faults() == []
    assert (process.state(0) == 255).all()
    assert (process.finished == landscape).all()
    assert process.extra["style"] == style
    film = film_of(process)
    curve = progress(film)
    assert monotonicity(curve) > 0.97
    assert backtrack(curve) < 0.05
    assert abruptness(film) > 0.6  # a cross-fade: 2 / 40
    assert effective_changed_share(film) < 0.5  # a cross-fade: 1
    assert (film[1:] != film[:-1]).any(axis=3).sum(axis=0).max() <= len(process.stages)


def test_line_first_draws_edges_before_colour_before_shading(landscape: np.ndarray) -> None:
    process = paint(landscape, (0,), "line")
    names = [stage.name for stage in process.stages]
    assert names[:4] == ["construction", "sketch", "line", "flats"]
    assert names[-1] == "details"
    order = stage_order(film_of(process))
    assert order.edges < order.colour
    assert order.shading is None or order.colour <= order.shading
    colours = [len(np.unique(stage.picture.reshape(-1, 3), axis=0)) for stage in process.stages]
    assert colours[names.index("flats")] < colours[-1]


def test_a_pictures_own_ink_is_drawn_before_its_colours() -> None:
    picture = cartoon(192)
    study = Study(picture)
    assert study.ink is not None
    process = paint(picture, (0,), "line")
    names = [stage.name for stage in process.stages]
    assert "ink" in names
    assert "line" not in names
    inked = process.stages[names.index("ink")].picture
    ink = picture.max(axis=2) < 60
    assert (inked[ink].max(axis=1) < 110).mean() > 0.95
    assert (inked[~study.ink[1]].min(axis=1) > 150).mean() > 0.95


def test_block_in_goes_from_coarse_to_fine(landscape: np.ndarray) -> None:
    process = paint(landscape, (3,), "painting")
    names = [stage.name for stage in process.stages]
    passes = [process.stages[names.index(name)].picture for name in ("block-in", "forms", "refinement", "details")]
    off = [np.abs(picture.astype(int) - landscape).mean() for picture in passes]
    assert off == sorted(off, reverse=True)
    assert off[0] < 30  # no mud: even the first brush has the picture's colours
    assert off[-1] == 0


def test_paper_stays_bare() -> None:
    process = paint(cartoon(192), (1,), "painting")
    first = process.stages[[stage.name for stage in process.stages].index("block-in")].picture
    assert (first[:8] == 255).all()
    assert "ground" not in [stage.name for stage in process.stages]


@pytest.mark.parametrize("style", STYLES)
def test_seeds_decide_habits_and_nothing_else_does(style: str, landscape: np.ndarray) -> None:
    def dumped(seed: int) -> list[bytes]:
        process = paint(landscape.copy(), (seed, 1), style)
        return [stage.picture.tobytes() + stage.reveal.tobytes() for stage in process.stages]

    one = dumped(4)
    assert one == dumped(4)
    assert one != dumped(5)


@pytest.mark.parametrize("shape", [(96, 96), (64, 200), (176, 72), (33, 41)])
@pytest.mark.parametrize("style", STYLES)
def test_any_size_and_proportion(style: str, shape: tuple[int, int], landscape: np.ndarray) -> None:
    picture = np.ascontiguousarray(np.resize(landscape, (*shape, 3)) if min(shape) > 128 else landscape)
    picture = np.tile(picture, (2, 2, 1))[: shape[0], : shape[1]]
    process = paint(picture, (0,), style)
    assert process.size == shape
    assert process.faults() == []
    assert (process.finished == picture).all()


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", ["one colour", "noise", "a dot", "grey ramp", "black", "two halves"])
def test_odd_pictures(style: str, kind: str) -> None:
    picture = np.full((80, 80, 3), 255, np.uint8)
    if kind == "one colour":
        picture[:] = (30, 90, 200)
    elif kind == "noise":
        picture = np.random.default_rng(0).integers(0, 256, picture.shape, np.uint8)
    elif kind == "a dot":
        picture[36:46, 36:46] = 0
    elif kind == "grey ramp":
        picture[:] = np.linspace(0, 255, 80).astype(np.uint8)[None, :, None]
    elif kind == "black":
        picture[:] = 0
    else:
        picture[:, 40:] = (200, 40, 40)
    process = paint(picture, (2,), style)
    assert process.faults() == []
    assert (process.finished == picture).all()


def test_blank_pictures_are_refused() -> None:
    with pytest.raises(Unusable, match="blank"):
        paint(np.full((64, 64, 3), 254, np.uint8), (0,))


def test_styles_are_drawn_by_weight_and_inked_pictures_line_first(landscape: np.ndarray) -> None:
    study = Study(landscape)
    drawn = [choose(study, {"painting": 3, "lineless": 1}, np.random.default_rng(seed)) for seed in range(200)]
    assert set(drawn) == {"painting", "lineless"}
    assert 120 < drawn.count("painting") < 180
    inked = Study(cartoon(192))
    assert choose(inked, {"line": 0.01, "painting": 5}, np.random.default_rng(0)) == "line"
    assert choose(inked, {"painting": 5}, np.random.default_rng(0)) == "painting"
    with pytest.raises(ValueError, match="positive"):
        choose(study, {"line": 0}, np.random.default_rng(0))


def test_photographs_are_not_taken_for_line_art(landscape: np.ndarray) -> None:
    seams = landscape.copy()
    seams[::24] = seams[::24] // 3  # dark seams of all darknesses over texture
    seams = np.clip(seams + np.random.default_rng(0).normal(0, 9, seams.shape), 0, 255).astype(np.uint8)
    assert Study(seams).ink is None
