"""Pointers that rest on the canvas are taken off by the look they have while they move."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from paintsundo.data.recording import pointers
from paintsundo.data.recording.plateaus import Rules
from paintsundo.data.recording.timeline import Timeline

SIZE = (120, 160)
SAMPLES = 200
INK = (200, 40, 30)
Picture = np.ndarray
Place = tuple[int, int]


def arrow(picture: Picture, place: Place) -> None:
    """A black arrow, 12 x 8 pixels, its tip at a place (x, y), cut off at the border."""
    x, y = place
    for row in range(12):
        left, right = max(0, x), max(0, x + 1 + (row * 7) // 11)
        if 0 <= y + row < SIZE[0]:
            picture[y + row, left:right] = (10, 10, 20)


def wandering(number: int) -> Place:
    """A place of its own at each sample."""
    return 12 + (number * 37) % 120, 8 + (number * 23) % 90


def cleaned(pointer: Callable[[int], Place | None], drawn: Callable[[Picture, int], None]) -> list[Picture]:
    blank = np.full((*SIZE, 3), 255, np.uint8)
    timeline = Timeline(SIZE, SAMPLES, blank)
    for number in range(SAMPLES):
        picture = blank.copy()
        drawn(picture, number)
        place = pointer(number)
        if place is not None:
            arrow(picture, place)
        timeline.append(picture, np.ones(SIZE, bool))
    return list(timeline.clean(Rules(short=8, long=100)))


def line(picture: Picture, number: int) -> None:
    picture[110:114, 10 : 10 + max(0, min(120, number - 10))] = INK


def dark(picture: Picture) -> int:
    return int((picture.max(axis=2) < 120).sum())


def test_a_pointer_that_rests_until_the_end_is_not_in_the_finished_picture() -> None:
    states = cleaned(lambda number: wandering(number) if number < 165 else (70, 40), line)
    assert dark(states[-1]) == 0
    assert (states[-1][110:114, 10:130] == INK).all()


def test_a_pointer_that_rests_partly_beyond_the_border_is_taken_off() -> None:
    states = cleaned(lambda number: wandering(number) if number < 165 else (155, 50), line)
    assert dark(states[-1]) == 0


def test_a_pointer_that_rests_while_drawing_goes_on_elsewhere_is_taken_off() -> None:
    """As where another hand, or an animation, draws: longer than anything that merely passes."""
    states = cleaned(lambda number: wandering(number) if not 60 <= number < 110 else (70, 40), line)
    assert max(dark(state) for state in states) == 0


def test_what_looks_like_the_pointer_stays_if_it_was_drawn() -> None:
    def drawn(picture: Picture, number: int) -> None:
        line(picture, number)
        if number >= 90:
            arrow(picture, (70, 40))

    states = cleaned(wandering, drawn)
    assert dark(states[-1]) > 40


def test_nothing_is_a_pointer_where_nothing_moves() -> None:
    pictures = []
    for number in range(60):
        picture = np.full((*SIZE, 3), 255, np.uint8)
        line(picture, number)
        if number >= 30:
            arrow(picture, (70, 40))
        pictures.append(picture)
    assert pointers.resting(lambda number: pictures[number], SIZE, 60, 8) == []


def test_an_area_in_the_colour_of_the_pointer_is_none() -> None:
    def drawn(picture: Picture, number: int) -> None:
        line(picture, number)
        if number >= 170:
            picture[20:80, 30:100] = (10, 10, 20)

    states = cleaned(lambda number: wandering(number) if number < 165 else None, drawn)
    assert dark(states[-1]) == 60 * 70


def test_a_pointer_of_another_look_at_the_end_is_taken_off() -> None:
    """As one that is an arrow only where nothing is drawn: never seen before it comes to rest."""

    def drawn(picture: Picture, number: int) -> None:
        line(picture, number)
        if number >= 170:
            picture[30:42, 40:47] = (20, 90, 60)

    states = cleaned(lambda number: wandering(number) if number < 170 else None, drawn)
    assert dark(states[-1]) == 0


def test_the_last_stroke_stays() -> None:
    def drawn(picture: Picture, number: int) -> None:
        line(picture, number)
        picture[30:35, 40 : 40 + max(0, min(30, 2 * (number - 170)))] = (20, 90, 60)

    states = cleaned(lambda number: wandering(number) if number < 170 else None, drawn)
    assert dark(states[-1]) == 5 * 30


def test_a_last_dab_stays_where_there_is_no_pointer() -> None:
    def drawn(picture: Picture, number: int) -> None:
        line(picture, number)
        if number >= 170:
            picture[30:42, 40:47] = (20, 90, 60)

    states = cleaned(lambda number: None, drawn)
    assert dark(states[-1]) == 12 * 7
