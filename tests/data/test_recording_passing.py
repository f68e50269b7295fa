"""What passes over a canvas: panels, undone strokes, pointers, codecs mending; and which blank sheet is the canvas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from paintsundo.data.recording import canvas
from paintsundo.data.recording.plateaus import Rules
from paintsundo.data.recording.spool import Spool
from paintsundo.data.recording.timeline import Timeline
from paintsundo.data.recording.work import ChangedArea

SIZE = (60, 80)
WHITE, INK, PANEL = (255, 255, 255), (200, 40, 30), (50, 60, 70)
Picture = np.ndarray


def blank() -> Picture:
    return np.full((*SIZE, 3), 255, np.uint8)


def stroke(picture: Picture, length: int, row: int = 10) -> None:
    """A broad line from the left, so long."""
    picture[row : row + 8, 4 : 4 + max(0, length)] = INK


def cleaned(samples: int, paint: Callable[[Picture, int], None]) -> tuple[list[Picture], Timeline]:
    timeline = Timeline(SIZE, samples, blank())
    for number in range(samples):
        picture = blank()
        paint(picture, number)
        timeline.append(picture, np.ones(SIZE, bool))
    return list(timeline.clean(Rules(short=8, long=60))), timeline


def worked(states: list[Picture]) -> int:
    counted = ChangedArea(blank(), 10)
    for state in states:
        counted.add(state)
    return counted.total


def test_a_panel_beneath_which_is_drawn_is_taken_off_and_its_time_doubted() -> None:
    def paint(picture: Picture, number: int) -> None:
        stroke(picture, number - 5, 40)
        stroke(picture, min(60, 2 * (number - 30)), 10)  # wholly beneath the panel
        if 28 <= number < 65:
            picture[4:30, 2:72] = PANEL
            picture[8:12, 6:60] = (120, 130, 200)

    states, timeline = cleaned(100, paint)
    shows = [bool((state == PANEL).all(axis=2).any()) for state in states]
    assert not any(shows)
    assert (states[-1][10:18, 4:60] == INK).all()
    assert timeline.doubt[:20].max() < 1
    assert timeline.doubt[50] > 100
    assert timeline.doubt[80:].max() < 1


def test_what_is_undone_and_done_again_was_never_gone_and_counts_once() -> None:
    def paint(picture: Picture, number: int) -> None:
        if not 50 <= number < 62:
            stroke(picture, min(60, 2 * (number - 5)))
        stroke(picture, min(60, number - 65), 40)

    states, _ = cleaned(130, paint)
    assert (states[55][10:18, 4:60] == INK).all()
    assert worked(states) <= 1.02 * 2 * 8 * 60


def test_what_is_undone_for_good_goes() -> None:
    def paint(picture: Picture, number: int) -> None:
        if number < 50:
            stroke(picture, min(60, 2 * (number - 5)))
        stroke(picture, min(60, number - 65), 40)

    states, _ = cleaned(130, paint)
    assert (states[40][10:18, 4:60] == INK).all()
    assert (states[-1][10:18] == WHITE).all()


def test_a_pointer_between_two_colours_is_not_drawn() -> None:
    """It hides the paper until the stroke beneath it is there, here and again later."""

    def paint(picture: Picture, number: int) -> None:
        stroke(picture, 2 * (number - 10) if number < 45 else 70)
        for begin in (12, 70):
            if begin <= number < begin + 5:
                picture[10:20, 6:16] = PANEL

    states, _ = cleaned(100, paint)
    assert not any((state == PANEL).all(axis=2).any() for state in states)
    assert worked(states) <= 1.05 * 8 * 70


def test_mended_chroma_is_no_work() -> None:
    counted = ChangedArea(blank(), 10)
    picture = blank()
    picture[:20] = (241, 242, 90)
    assert counted.add(picture) == 20 * SIZE[1]
    picture[:20] = (243, 240, 75)  # the same yellow, a little more of it
    assert counted.add(picture) == 0
    picture[:20] = (120, 118, 40)
    assert counted.add(picture) == 20 * SIZE[1]


def screens(backdrop: int, at: Callable[[int], tuple[int, int, int, int]]) -> Spool:
    """A sheet on a backdrop, its place by sample, on which lines appear."""
    frames = Spool((270, 480, 3))
    for number in range(120):
        frame = np.full((270, 480, 3), 70, np.uint8)
        frame[20:262, 10:400] = backdrop
        left, top, right, bottom = at(number)
        frame[top:bottom, left:right] = 255
        for line in range(max(0, number - 20)):
            y = top + 4 + 2 * line
            if y < bottom - 3:
                frame[y, left + 6 : right - 6] = (30, 60, 90)
        frames.append(frame)
    return frames


def test_a_canvas_that_hardly_stands_out_is_found() -> None:
    with screens(250, lambda _: (130, 30, 300, 250)) as frames:
        home = canvas.find(frames)
    assert home.blank
    assert np.abs(home.corners[[0, 2]] - np.array([(130, 30), (300, 250)])).max() <= 2


def test_a_blank_sheet_seen_enlarged_later_is_not_the_first_view() -> None:
    with screens(90, lambda number: (110, 22, 330, 260) if 8 <= number < 80 else (130, 30, 300, 250)) as frames:
        home = canvas.find(frames)
    assert np.abs(home.corners[[0, 2]] - np.array([(130, 30), (300, 250)])).max() <= 2


def test_a_card_before_the_canvas_is_no_canvas() -> None:
    with screens(90, lambda _: (130, 30, 300, 250)) as shown, Spool((270, 480, 3)) as frames:
        for number, frame in enumerate(shown):
            frames.append(np.full_like(frame, 20) if number < 12 else frame)
        home = canvas.find(frames)
    assert np.abs(home.corners[[0, 2]] - np.array([(130, 30), (300, 250)])).max() <= 2
