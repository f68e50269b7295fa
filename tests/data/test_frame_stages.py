from dataclasses import replace

import numpy as np
import pytest

import mixed_sizes
from paintsundo.data.frame_archive import FrameArchive, Whole
from paintsundo.data.frame_stages import as_stages
from paintsundo.data.frames import FrameProcess, FrameWriter


def of_pictures(pictures: list[np.ndarray], labels: list[str] | None = None) -> FrameProcess:
    writer = FrameWriter(pictures[0].shape[:2])
    for number, picture in enumerate(pictures):
        writer.add(picture, number, labels[number] if labels else "")
    return writer.finish(subject="x", licence="CC0-1.0", extra={"a": 1})


def error(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one.astype(int) - other).mean())


@pytest.mark.parametrize("states", [2, 5, 13])
def test_few_states_are_kept_exactly(states: int) -> None:
    process = mixed_sizes.recording(2, 40, 48, states)
    staged = as_stages(process, 12)
    assert staged.faults() == []
    assert len(staged.stages) == len(process) - 1
    for work in [*process.works, *np.linspace(0, 1, 97)]:
        if np.abs(process.works - work).min() > 1e-4 or work in process.works:
            assert (staged.state(work) == process.state(work)).all()
    assert (staged.tags, staged.subject, staged.work_rule) == (process.tags, process.subject, process.work_rule)


@pytest.mark.parametrize("most", [2, 5, 12])
def test_many_states_become_few_stages_that_stay_near(most: int) -> None:
    process = mixed_sizes.recording(5, 48, 64, 200)
    staged = as_stages(process, most)
    assert staged.faults() == []
    assert len(staged.stages) <= most
    assert (staged.finished == process.finished).all()
    assert (staged.state(0) == process.state(0)).all()
    edge = next(span.end for span in process.spans())
    assert (staged.state(edge) == process.state(edge)).all()  # stages end where labels do
    assert {span.name for span in staged.spans()} == {"sketch", "flats"}
    works = np.linspace(0, 1, 50)
    found = np.mean([error(staged.state(work), process.state(work)) for work in works])
    blank, last = process.state(0), process.finished
    fade = np.mean([error(work * last + (1 - work) * blank, process.state(work)) for work in works])
    assert found < (0.9 if most == 2 else 0.4) * fade


def test_more_stages_are_nearer() -> None:
    process = mixed_sizes.recording(6, 48, 64, 200)
    works = np.linspace(0, 1, 50)
    means = [
        np.mean([error(as_stages(process, most).state(work), process.state(work)) for work in works])
        for most in (2, 6, 24)
    ]
    assert means[0] > means[1] > means[2]


def test_each_pixel_changes_when_that_costs_least() -> None:
    pictures = [np.full((1, 3, 3), 255, np.uint8)]
    for colours in ((255, 255, 100), (200, 255, 100), (100, 30, 100), (90, 255, 100), (80, 255, 0)):
        pictures.append(np.repeat(np.array(colours, np.uint8)[None, :, None], 3, axis=2))
    (stage,) = as_stages(of_pictures(pictures), 2).stages[-1:]
    (whole,) = as_stages(of_pictures([pictures[0], *pictures[1:]], [""] * 6), 5).stages[:1]
    assert whole.reveal.min() > 0
    single = as_stages(of_pictures(pictures), 2)
    first = [stage.reveal[0].tolist() for stage in single.stages]
    assert len(first) == 2
    assert stage.picture[0, :, 0].tolist() == [80, 255, 0]
    for x in range(3):  # by trying all: no other moment for any pixel is nearer
        seen = [int(picture[0, x, 0]) for picture in pictures]
        cut = round(single.spans()[0].end * 5)
        for begin, end, reveal in ((0, cut, first[0][x]), (cut, 5, first[1][x])):
            if seen[begin] == seen[end]:
                assert reveal == 65535
                continue
            costs = {
                moment: sum(abs(seen[k] - (seen[end] if k >= moment else seen[begin])) for k in range(begin, end))
                for moment in range(begin + 1, end + 1)
            }
            assert costs[round(reveal / 65534 * 5)] == min(costs.values())


def test_a_coloured_ground_and_what_is_removed_again() -> None:
    ground = np.full((8, 8, 3), (240, 230, 200), np.uint8)
    pictures = [ground.copy()]
    for number in range(1, 30):
        picture = ground.copy()
        picture[number % 8, :4] = number
        pictures.append(picture)
    process = of_pictures([*pictures, ground + 3])
    staged = as_stages(process, 4)
    assert staged.faults() == []
    assert 2 <= len(staged.stages) <= 4
    assert staged.stages[0].name == "ground"
    assert (staged.state(1e-3) == ground).all()
    assert (staged.finished == ground + 3).all()
    with pytest.raises(ValueError, match="at least 2"):
        as_stages(process, 1)


def test_states_nearer_in_work_than_can_be_told_apart() -> None:
    writer = FrameWriter((8, 8))
    canvas = np.full((8, 8, 3), 255, np.uint8)
    for number, work in enumerate((0, 1e-9, 2e-9, 0.5, 0.5 + 1e-9, 1)):
        canvas[number % 8] = 40 * number
        writer.add(canvas if number else np.full_like(canvas, 255), work)
    process = writer.finish()
    staged = as_stages(process)
    assert staged.faults() == []
    assert (staged.state(0.25) == process.state(0.25)).all()
    assert (staged.state(0.75) == process.state(0.75)).all()
    assert (staged.finished == process.finished).all()


def test_damage_is_told() -> None:
    process = mixed_sizes.recording(2, 40, 48, 30)
    archive = bytearray(process.archive)
    archive[process.frames._index.begins[7] + 20] ^= 1
    with pytest.raises(ValueError, match="state 7 is not as it was written"):
        as_stages(replace(process, frames=FrameArchive(Whole(bytes(archive)))))
