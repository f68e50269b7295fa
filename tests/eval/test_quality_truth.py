"""True processes pass every measure and every null baseline fails one, by a margin. No limit was chosen on these
pictures: the scenes are made here, and of the two from examples/ no figure was seen before the limits were set."""

import random
from pathlib import Path

import numpy as np
import pytest

from paintsundo.data.source import Canvas, Item
from paintsundo.data.sources import source_class

EXAMPLES = Path(__file__).parents[2] / "examples"
SEEDS = (7001, 7002, 7003)
NULLS = {
    *("cross_fade", "random_tiles", "wipe", "blur_to_sharp", "edges_then_colour", "stroke_rendering"),
    *("faded_keyframes", "nearest_keyframe_hold"),
}


def scene(seed: int) -> bytes:
    """Blobs, some outlined, with lighter and darker patches on them."""
    pick = random.Random(seed)
    outline = ' stroke="#1a1a1a" stroke-width="2.5"' if seed % 2 else ""
    shapes = []
    for _ in range(7):
        x, y, radius = pick.uniform(14, 58), pick.uniform(14, 58), pick.uniform(8, 17)
        tones = [pick.randint(40, 230) for _ in range(3)]
        colour, shade = ("#" + "".join(f"{round(t * k):02x}" for t in tones) for k in (1.0, 0.7))
        width = radius * pick.uniform(0.6, 1.3)
        shapes.append(
            f'<ellipse cx="{x:.1f}" cy="{y:.1f}" rx="{width:.1f}" ry="{radius:.1f}" fill="{colour}"{outline}/>'
        )
        shapes.append(
            f'<ellipse cx="{x + width / 4:.1f}" cy="{y + radius / 3:.1f}" rx="{width / 3:.1f}" ry="{radius / 4:.1f}" '
            f'fill="{shade}"/>'
        )
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72">{"".join(shapes)}</svg>'.encode()


def processes():
    for seed in SEEDS:
        yield f"scene {seed}", "svg", Item(f"{seed}.svg", scene(seed), {"subject": str(seed), "source": f"test/{seed}"})
    for name in ("boat.png", "astronaut.jpg"):
        yield name, "pictures", Item(name, EXAMPLES / name, {"subject": name, "source": f"examples/{name}"})


@pytest.fixture(scope="module")
def measured():
    from support.process_run import process_figures

    found = {}
    for name, kind, item in processes():
        source = source_class(kind)(source_class(kind).Options())
        process = source.draw(item, Canvas(112), 0, 5)
        found[name] = process_figures(process, process, frames=60)
    return found


@pytest.mark.parametrize("name", [name for name, _, _ in processes()])
def test_true_processes_pass_and_every_null_fails_by_a_margin(measured, name):
    figures = measured[name]
    assert figures["checks"]["all"] is True, figures["checks"]
    assert min(figures["margins"].values()) > 0.05, figures["margins"]
    assert set(figures["baseline_checks"]) == NULLS
    for null in NULLS:
        assert figures["baseline_checks"][null]["all"] is False, null
        assert min(figures["baseline_margins"][null].values()) < -0.25, (null, figures["baseline_margins"][null])


def test_every_null_that_is_made_of_two_pictures_fails_without_the_truth_too(measured):
    """But edges then colour, which is drawn paint by paint: only the truth tells it from a drawing."""
    alone = ("local", "abrupt_between_keyframes", "local_between_keyframes", "progress_rises", "paint_by_paint")
    for name, figures in measured.items():
        for null in ("cross_fade", "blur_to_sharp", "stroke_rendering", "faded_keyframes", "nearest_keyframe_hold"):
            found = figures["baseline_margins"][null]
            assert min(found[check] for check in alone if check in found) < -0.1, (name, null, found)
    spreads = [
        [figures["film"]["palette_spread"], figures["baselines"]["random_tiles"]["palette_spread"]]
        for figures in measured.values()
    ]
    assert all(np.diff(spread) > 0.05 for spread in spreads), spreads
