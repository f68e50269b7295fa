"""Construction: the few simple shapes from which a drawing begins."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data import strokes
from paintsundo.data.painter.hierarchy import Labels
from paintsundo.data.svg_paths import Polyline

SIDE = 160
"""Simple shapes are seen on a picture this small (side of a square of the same area)."""
ROUND_LEAST, SQUARE = 0.84, 0.89
"""Masses are drawn as ellipses that overlap them by more than this (intersection over union), unless they fill more
than this share of their rectangle."""
LEAST, MOST = 0.008, 7  # share of the canvas below which a mass is not constructed; how many are
ACCENT_LEAST, ACCENT_LARGEST, ACCENTS = 0.002, 0.05, 6  # small round parts, shares of the canvas; how many
BEHIND = 0.42  # share of the canvas's edge from which a mass lies behind the others


def ellipse_of(mask: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Centre (x, y), half axes as two vectors (2, 2), longer first, of the ellipse with the moments of a mask (H, W) of
    0 and 1, and the overlap of the two, 0 ... 1."""
    found = cv2.moments(mask, True)
    area = found["m00"]
    centre = np.array([found["m10"], found["m01"]]) / area
    spread = np.array([[found["mu20"], found["mu11"]], [found["mu11"], found["mu02"]]]) / area + np.eye(2) / 12
    values, vectors = np.linalg.eigh(spread)
    axes = (2 * np.sqrt(values) * vectors).T[::-1]
    ring = np.zeros_like(mask)
    cv2.fillPoly(ring, [np.round(ellipse(centre, axes)).astype(np.int32)], 1)
    return centre + 0.5, axes, float((ring & mask).sum() / max(1, int((ring | mask).sum())))


def ellipse(centre: NDArray[np.float64], axes: NDArray[np.float64]) -> Polyline:
    """The outline of an ellipse, drawn from the top, a little past its beginning."""
    angles = np.linspace(0, 2 * np.pi, 72)
    ring = strokes.canonical(centre + np.column_stack([np.cos(angles), np.sin(angles)]) @ axes)
    return np.vstack([ring, ring[1:5]])


def overshot(one: NDArray[np.float64], other: NDArray[np.float64], part: float = 0.06) -> Polyline:
    """A straight stroke between two points that begins before the one and ends behind the other."""
    ahead = (other - one) * part
    return np.stack([one - ahead, other + ahead])


def box_share(mask: NDArray[np.uint8]) -> float:
    """Share of the smallest rectangle around a mask (H, W) that it fills, 0 ... 1: 1 of a rectangle, 0.79 of an
    ellipse."""
    points = cv2.findNonZero(mask)
    width, height = cv2.minAreaRect(points)[1]
    return min(1.0, float(len(points) / ((width + 1) * (height + 1))))


def straight_sides(mask: NDArray[np.uint8]) -> list[Polyline]:
    """The envelope of a mask (H, W) in a few straight strokes; none along the canvas's edge.

    The envelope is the outline, or the convex hull where the outline is ragged.
    """
    height, width = mask.shape
    found = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]
    contour = max(found, key=cv2.contourArea)
    hull = cv2.convexHull(contour)
    if cv2.arcLength(contour, True) > 1.25 * cv2.arcLength(hull, True) and cv2.contourArea(contour) > 0.6 * (
        cv2.contourArea(hull)
    ):
        contour = hull
    corners = cv2.approxPolyDP(contour, 0.035 * SIDE, True)[:, 0].astype(np.float64) + 0.5
    lines = []
    for one, other in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        x, y = np.stack([one, other]).T
        on_edge = (x < 3).all() or (y < 3).all() or (x > width - 3).all() or (y > height - 3).all()
        if not on_edge and np.hypot(*(other - one)) > 0.06 * SIDE:
            lines.append(overshot(one, other))
    return lines


def construction(masses: Labels, parts: Labels) -> list[Polyline]:
    """Ellipses with their axes for round masses, straight strokes for the others, ellipses for small round parts; in
    drawing order, in pixels.

    `masses`, `parts`: a coarse and a finer cut of the picture (H, W).
    """
    height, width = masses.shape
    scale = SIDE / float(np.sqrt(height * width))
    size = (max(8, round(width * scale)), max(8, round(height * scale)))
    lines: list[Polyline] = []
    for labels, least, largest, most in (
        (masses, LEAST, 1.0, MOST),
        (parts, ACCENT_LEAST, ACCENT_LARGEST, ACCENTS),
    ):
        small = cv2.resize(labels.astype(np.float32), size, interpolation=cv2.INTER_NEAREST).astype(np.int32)
        area = np.bincount(small.ravel()) / small.size
        drawn = 0
        for number in np.argsort(-area, kind="stable").tolist():
            if area[number] < least or drawn == most:
                break
            mask = (small == number).astype(np.uint8)
            edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean()
            if area[number] > largest or edge > BEHIND:
                continue
            centre, axes, overlap = ellipse_of(mask)
            if overlap > ROUND_LEAST and edge < 0.02 and box_share(mask) < SQUARE:
                lines.append(ellipse(centre, axes))
                if labels is masses:
                    lines += [overshot(centre - axis, centre + axis, 0.08) for axis in axes]
                drawn += 1
            elif labels is masses:
                lines += straight_sides(mask)
                drawn += 1
    return [line * (width / size[0], height / size[1]) for line in lines]
