"""The styles of the painter: line-first illustration, block-in painting, lineless painting.

Each is a function from a study of the picture to the drafts of its stages. What happens is decided by the picture, so
that it can be inferred from it; the seed decides habits: pencils, brushes, the kind of shading.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from paintsundo.data import brush
from paintsundo.data.painter import lines, pen, tones
from paintsundo.data.painter.hierarchy import Labels
from paintsundo.data.painter.lines import Pencil
from paintsundo.data.painter.passes import careful, loose
from paintsundo.data.painter.study import Study, to_rgb
from paintsundo.data.process import Picture
from paintsundo.data.timeline import Draft, changed

PENCILS = (
    Pencil((117, 152, 216)),  # the blue that copying does not see
    Pencil((110, 108, 112)),  # graphite
    Pencil((196, 120, 104)),  # red
)
UMBER = (104, 70, 48)
WIDE, MIDDLE, SMALL = 15.0, 8.0, 4.5  # brushes of flats, in units
WIDTH_OF = np.array([WIDE, MIDDLE, SMALL])

WEIGHTS: Mapping[str, float] = {
    "construction": 0.05,
    "sketch": 0.10,
    "line": 0.17,
    "ink": 0.2,
    "flats": 0.24,
    "shading": 0.16,
    "light": 0.10,
    "details": 0.18,
    "ground": 0.04,
    "drawing": 0.12,
    "block-in": 0.24,
    "forms": 0.2,
    "refinement": 0.2,
    "shapes": 0.22,
    "parts": 0.2,
    "gradients": 0.18,
}


def masses(study: Study) -> Labels:
    """The few areas one sees with half-closed eyes."""
    return study.areas(int(np.clip(study.hierarchy.areas_above(300 * study.unit**0.9), 3, 10)))


def flats(study: Study) -> Labels:
    """The areas that get a flat colour of their own."""
    return study.areas(int(np.clip(study.hierarchy.areas_above(60 * study.unit**0.9), 4, 70)))


def shapes(study: Study) -> Labels:
    """The areas one sketches the outlines of."""
    return study.areas(int(np.clip(study.hierarchy.areas_above(110 * study.unit**0.9), 4, 24)))


def forms(study: Study) -> Labels:
    """The planes inside the flats."""
    return study.areas(int(np.clip(study.hierarchy.areas_above(16 * study.unit**0.9), 8, 250)))


def brush_widths(study: Study, areas: Labels, factor: float = 1.0) -> np.ndarray:
    """Width of the brush in pixels for each area (max + 1,): broad ones for large areas."""
    share = np.bincount(areas.ravel()) / areas.size
    kind = (share < 0.1).astype(int) + (share < 0.015)
    return WIDTH_OF[kind] * study.unit * factor


def line_first(study: Study, rng: np.random.Generator) -> list[Draft]:
    """Construction, rough sketch, clean lines (the picture's own ink, where it has some), flat colours large to small,
    shading, light, details."""
    pencil = PENCILS[int(rng.integers(len(PENCILS)))]
    cel = bool(rng.random() < 0.4)
    areas, planes = flats(study), forms(study)
    white = np.full_like(study.picture, 255)
    drafts = [lines.construct(study, white, masses(study), areas, pencil, rng)]
    drafts.append(lines.sketch(study, drafts[-1].picture, shapes(study), pencil, rng))
    if study.ink is not None:
        drawn, mask = study.ink
        strokes, name = lines.own_lines(mask, study.unit), "ink"
        ink, covered = np.zeros_like(white), lines.ink_cover(drawn)
    else:
        strokes, name = lines.clean_lines(study, areas, float(rng.uniform(1.0, 1.3))), "line"
        ink, covered = tones.line_colours(study), pen.cover(strokes, study.height, study.width)
    picture = pen.drawn(white, covered, ink)
    drafts.append(Draft(name, picture, pen.drawing_order(strokes, changed(drafts[-1].picture, picture))))
    colours = tones.flat(study, areas)
    tone = tones.flat(study, planes) if cel else study.soft
    shaded = tones.shadows(colours, tone, study.unit)
    lit = tones.all_tones(shaded, tone, study.unit)
    field, widths = study.tangent, brush_widths(study, areas)
    for name, lab, factor in (("flats", colours, 1.0), ("shading", shaded, 0.6), ("light", lit, 0.6)):
        drafts.append(careful(name, pen.drawn(to_rgb(lab), covered, ink), field, areas, widths * factor, rng))
    drafts.append(careful("details", study.picture, field, areas, np.minimum(widths, SMALL * study.unit) * 0.7, rng))
    return drafts


def block_in(study: Study, rng: np.random.Generator) -> list[Draft]:
    """A pale ground, a sparse drawing with the brush, then brushes from large to small, details last."""
    unit = study.unit
    big, areas = masses(study), flats(study)
    white = np.full_like(study.picture, 255)
    drafts: list[Draft] = []
    canvas = white
    if study.paper.mean() < 0.4 and rng.random() < 0.6:
        tone = study.lab.mean(axis=(0, 1))
        ground = np.array([100 - 0.3 * (100 - tone[0]), 0.3 * tone[1] + 2, 0.3 * tone[2] + 5], np.float32)
        canvas = np.broadcast_to(to_rgb(ground[None, None]), white.shape).copy()
        order = brush.sweep(study.height, study.width, brush.BROAD * 256 * unit)
        drafts.append(Draft("ground", canvas, np.array(order)))
    pencil = Pencil(UMBER, 1.6, 0.75)
    drafts.append(lines.drafted("drawing", canvas, block_in_lines(study, shapes(study), pencil, rng), pencil.colour))
    blocks, planes, soft = tones.coarse_to_fine(study, areas, forms(study))
    first = float(rng.uniform(13, 17))
    plan = (
        ("block-in", blocks, study.flow, big, first, 14.0, 3.0),
        ("forms", planes, study.flow, big, first / 2.2, 10.0, 4.0),
        ("refinement", soft, study.tangent, areas, first / 4.6, 8.0, 4.0),
    )
    for name, reference, field, parts, width, tolerance, wrong in plan:
        canvas = drafts[-1].picture
        drafts.append(loose(name, canvas, reference, field, parts, width * unit, rng, tolerance=tolerance, wrong=wrong))
    if study.ink is not None:
        drafts.append(inked(study, drafts[-1].picture))
    drafts.append(careful("details", study.picture, study.tangent, areas, 1.8 * unit, rng))
    return drafts


def inked(study: Study, canvas: Picture) -> Draft:
    """The picture's own ink drawn over a painted canvas (H, W, 3)."""
    assert study.ink is not None
    drawn, mask = study.ink
    picture = pen.drawn(canvas, lines.ink_cover(drawn), (0, 0, 0))
    return Draft("ink", picture, pen.drawing_order(lines.own_lines(mask, study.unit), changed(canvas, picture)))


def block_in_lines(study: Study, areas: Labels, pencil: Pencil, rng: np.random.Generator) -> list[pen.Stroke]:
    """A painter's drawing: outlines of the areas, in few long strokes of a thin brush."""
    unit = study.unit
    return [
        pen.Stroke(pen.wobbled(line, 0.6 * unit, 16 * unit, rng), pencil.width * unit, pencil.dark, 14 * unit)
        for line in lines.outlines(study, areas, 3.5, 20.0, 6.0)
    ]


def lineless(study: Study, rng: np.random.Generator) -> list[Draft]:
    """Faint construction, then shape by shape flat colours, the parts inside them, gradients, texture."""
    pencil = Pencil(PENCILS[int(rng.integers(len(PENCILS)))].colour, 1.0, 0.45)
    big, areas = masses(study), flats(study)
    white = np.full_like(study.picture, 255)
    field = study.tangent
    drafts = [lines.construct(study, white, big, areas, pencil, rng)]
    shapes = to_rgb(tones.flat(study, big))
    drafts.append(careful("shapes", shapes, study.flow, big, brush_widths(study, big, 1.2), rng))
    widths = brush_widths(study, areas)
    parts = tones.flat(study, areas)
    drafts.append(careful("parts", to_rgb(parts), field, areas, widths, rng))
    smooth = tones.all_tones(parts, study.soft, study.unit)
    drafts.append(careful("gradients", to_rgb(smooth), field, areas, widths * 0.7, rng))
    if study.ink is not None:
        drafts.append(inked(study, drafts[-1].picture))
    drafts.append(careful("details", study.picture, field, areas, np.minimum(widths, SMALL * study.unit) * 0.7, rng))
    return drafts


STYLES: Mapping[str, Callable[[Study, np.random.Generator], list[Draft]]] = {
    "line": line_first,
    "painting": block_in,
    "lineless": lineless,
}
