import numpy as np
import pytest
from drawn_processes import as_frames, two_shapes

from paintsundo.data import shards
from paintsundo.data.behaviours import FUNCTIONS, Behaviour, BehaviourOptions, apply
from paintsundo.data.collage import ORDERS, collage
from paintsundo.data.process import DrawingProcess


def several() -> list[DrawingProcess]:
    record = {"licence": "CC0", "author": "A", "tags": ("shape", "face"), "extra": {"stems": ["one"]}}
    flipped = apply(two_shapes(), BehaviourOptions(flip=Behaviour(1, 0.5)), 3)
    return [
        two_shapes(40, 60, **record, hash="a1"),
        as_frames(two_shapes(), licence="CC-BY-4.0; CC0", author="B", tags=("face",), extra={"stems": ["two"]}),
        flipped,
    ]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("seed", range(5))
def test_collages_are_sound_processes(order: str, seed: int) -> None:
    made = collage(several(), (88, 120), seed, order)
    assert made.faults() == []
    assert made.size == (88, 120)
    assert (made.state(0) == 255).all()
    assert shards.encode(made) == shards.encode(collage(several(), (88, 120), seed, order))
    np.testing.assert_array_equal(shards.decode(shards.encode(made)).finished, made.finished)


def test_metadata_are_those_of_all_elements() -> None:
    made = collage(several(), (64, 64), 0)
    assert made.subject == "shapes+frames+shapes"
    assert made.source == "hand/shapes+hand/frames+hand/shapes"
    assert made.licence == "CC0; CC-BY-4.0"
    assert made.author == "A; B"
    assert made.tags == ("shape", "face")
    assert made.extra["stems"] == ["one", "two"]
    assert "collage" in made.work_rule
    assert "as drawn" in made.work_rule
    assert len(made.extra["collage"]["boxes"]) == 3


@pytest.mark.parametrize("order", ORDERS)
def test_every_element_is_whole_at_its_place(order: str) -> None:
    process = two_shapes(64, 96)
    for seed in range(8):
        made = collage([process, process], (128, 128), seed, order)
        for top, left, height, width in made.extra["collage"]["boxes"]:
            part = made.finished[top : top + height, left : left + width]
            assert part.shape == (height, width, 3)
            # Both fills are there, unmixed with whatever lies behind.
            for colour in ((240, 200, 60), (200, 60, 50)):
                assert (np.abs(part.astype(int) - colour).max(axis=2) <= 2).mean() > 0.04
        boxes = made.extra["collage"]["boxes"]
        seen = np.zeros((128, 128), int)
        for top, left, height, width in boxes:
            seen[top : top + height, left : left + width] += 1
        assert seen.max() == 1


def test_elements_follow_each_other_or_share_their_stages() -> None:
    process = two_shapes()
    names = list(dict.fromkeys(stage.name for stage in process.stages))
    one_by_one = collage([process, process], (96, 128), 1, "elements")
    assert [stage.name for stage in one_by_one.stages if stage.name != "background"] == names * 2
    together = collage([process, process], (96, 128), 1, "stages")
    assert [stage.name for stage in together.stages if stage.name != "background"] == names

    def begun(made: DrawingProcess, work: float) -> int:
        state = made.state(work)
        boxes = made.extra["collage"]["boxes"]
        black = (state < 60).all(axis=2)
        return sum(bool(black[top : top + high, left : left + wide].any()) for top, left, high, wide in boxes)

    inked = next(span.end for span in together.spans() if span.name == "ink")
    assert begun(together, inked) == 2
    first_half = next(span.end for span in one_by_one.spans() if span.name == "shading")
    assert begun(one_by_one, first_half) == 1


def test_backgrounds_come_and_go_with_the_seed() -> None:
    process = two_shapes()
    made = [collage([process], (64, 64), seed, "elements") for seed in range(30)]
    with_background = [one for one in made if one.extra["collage"]["background"]]
    assert 10 < len(with_background) < 29
    places = {[stage.name for stage in one.stages].index("background") for one in with_background}
    assert places == {0, 4}  # painted first, or around what is there
    for one in with_background:
        assert (one.finished[0, 0] != 255).any()
        assert (one.finished == 255).all(axis=2).mean() < 0.02


def test_pictures_that_fill_their_canvas_are_laid_down_whole() -> None:
    process = two_shapes()
    full = process.stages[-1].picture.copy()
    full[(full == 255).all(axis=2)] = (90, 140, 90)
    reveal = process.stages[-1].reveal.copy()
    reveal[reveal == 65535] = 65000
    stages = (*process.stages[:-1], type(process.stages[0])("shading", full, reveal))
    made = collage([type(process)(stages)], (64, 96), 4)
    top, left, height, width = made.extra["collage"]["boxes"][0]
    assert (np.abs(made.finished[top + 1, left + 1].astype(int) - (90, 140, 90)) <= 1).all()
    assert (np.abs(made.finished[top + height - 2, left + width - 2].astype(int) - (90, 140, 90)) <= 1).all()


def test_behaviours_work_on_collages() -> None:
    made = collage(several()[:2], (96, 96), 2)
    options = BehaviourOptions(**{name: Behaviour(1, 0.5) for name in FUNCTIONS}, most_stages=60)
    changed = apply(made, options, 5)
    assert changed.faults() == []
    np.testing.assert_array_equal(changed.finished, made.finished)
    assert len(changed.extra["behaviours"]) >= 3


def test_impossible_collages_are_refused() -> None:
    for processes, canvas, order in (
        ([], (64, 64), "stages"),
        (several(), (4, 64), "stages"),
        (several(), (64, 64), "?"),
    ):
        with pytest.raises(ValueError, match="no collage"):
            collage(processes, canvas, 0, order)
