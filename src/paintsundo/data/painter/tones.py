"""Colours of the stages: flat areas, shadows and lights laid over them, and what lines look like on top."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.painter.field import Floats
from paintsundo.data.painter.hierarchy import Labels
from paintsundo.data.painter.study import Study, means, to_rgb
from paintsundo.data.process import Picture

PAPER_LEAST = 0.5  # share of an area that is all but white, from which it is bare paper
TONE_LEAST = 2.5  # difference in Lab from which a shadow or a light is worth a stroke


def flat(study: Study, areas: Labels) -> Floats:
    """Every area (H, W) in one colour, in Lab (H, W, 3); those white for the most part are bare paper."""
    colours = means(study.clean, areas)
    size = np.maximum(np.bincount(areas.ravel(), minlength=len(colours)), 1)
    white = study.paper if study.ink is None else study.paper | study.ink[1]
    light = np.bincount(areas.ravel(), white.ravel(), len(colours)) / size
    colours[(light > PAPER_LEAST) & (colours[:, 0] > 80)] = (100, 0, 0)
    return colours.astype(np.float32)[areas]


def without_specks(mask: NDArray[np.bool_], unit: float) -> NDArray[np.bool_]:
    """A mask (H, W) without what is thinner than about 1.5 units."""
    side = max(3, 2 * round(0.75 * unit) + 1)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, kernel) > 0


def shadows(below: Floats, tones: Floats, unit: float) -> Floats:
    """What lies below (H, W, 3, Lab) with the darker of the tones laid over it."""
    darker = without_specks(tones[..., 0] < below[..., 0] - TONE_LEAST, unit)
    return np.where(darker[..., None], tones, below)


def all_tones(below: Floats, tones: Floats, unit: float) -> Floats:
    """What lies below (H, W, 3, Lab) with all tones that differ laid over it."""
    other = without_specks(np.abs(tones - below).max(axis=2) > TONE_LEAST, unit)
    return np.where(other[..., None], tones, below)


def coarse_to_fine(study: Study, areas: Labels, planes: Labels) -> tuple[Floats, Floats, Floats]:
    """What brushes from large to small aim at, in Lab (H, W, 3): masses, planes, all but the texture.

    Part of each is a flat colour for each area, so that masses keep their edges; the rest gives strokes their variety.
    Bare paper stays bare.
    """
    flats = flat(study, areas)
    paper = (flats[..., 0] > 99.5)[..., None]
    return (
        np.where(paper, flats, 0.5 * study.broad + 0.5 * flats),
        np.where(paper, flats, 0.4 * study.broad + 0.6 * flat(study, planes)),
        np.where(paper & study.paper[..., None], flats, study.soft),
    )


def line_colours(study: Study) -> Picture:
    """Colours of lines (H, W, 3): a dark tone of what is darkest beside them, so that they belong to the picture."""
    side = 2 * round(1.5 * study.unit) + 1
    light = cv2.erode(study.soft[..., 0], np.ones((side, side), np.uint8))
    hue = cv2.blur(study.soft[..., 1:], (side, side)) * np.float32(0.5)
    return to_rgb(np.concatenate([(5 + 0.4 * light)[..., None], hue], axis=2))
