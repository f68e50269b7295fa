"""A picture as areas inside areas: superpixels merged step by step, cut at any number of areas.

Superpixels by watershed from the flat places of the smoothed picture; neighbours merge in the order of what it costs
the picture to give both one colour (after Ward 1963), with a price on strong borders. Any two cuts are nested, so
flat colours, their shadows and their details share borders.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Labels = NDArray[np.int32]

SIZE_POWER = 0.45
"""How much the size of areas counts in merging: at 1, as in Ward's method, small but striking areas would go first."""
MOST_SEEDS = 2500


@dataclass(frozen=True)
class Hierarchy:
    """Superpixels (H, W), numbered from 0, and their merges in order: (M, 2), the second goes into the first."""

    superpixels: Labels
    merges: NDArray[np.int32]
    costs: NDArray[np.float64]

    def cut(self, areas: int) -> Labels:
        """The picture in at most so many areas: (H, W), numbered from 1, all connected."""
        count = len(self.merges) + 1
        parent = np.arange(count)
        for kept, gone in self.merges[: max(0, count - areas)]:
            parent[gone] = kept
        while True:  # areas given to areas that were given away later
            above = parent[parent]
            if (above == parent).all():
                break
            parent = above
        numbers = np.unique(parent, return_inverse=True)[1].astype(np.int32) + 1
        return numbers[self.superpixels]

    def areas_above(self, cost: float) -> int:
        """How many areas there are when all merges cheaper than `cost` are made."""
        dear = np.flatnonzero(np.maximum.accumulate(self.costs) >= cost)
        return len(self.merges) + 1 - (int(dear[0]) if len(dear) else len(self.merges))


def seeds(gradient: Floats, spacing: float) -> Labels:
    """Numbered places (H, W) from 1 where the gradient is lowest within `spacing` pixels; 0 elsewhere."""
    side = max(3, 2 * round(spacing / 2) + 1)
    rough = np.round(gradient * 2)
    low = rough <= cv2.erode(rough, np.ones((side, side), np.uint8))
    return cv2.connectedComponents(low.astype(np.uint8), connectivity=4, ltype=cv2.CV_32S)[1]


def watershed(picture: NDArray[np.uint8], gradient: Floats, spacing: float) -> Labels:
    """Superpixels (H, W), numbered from 0, of a smoothed picture (H, W, 3)."""
    marks = seeds(gradient, spacing)
    while marks.max() > MOST_SEEDS:
        spacing *= 1.3
        gradient = cv2.GaussianBlur(gradient, (0, 0), spacing / 3)
        marks = seeds(gradient, spacing)
    if marks.max() == 0:
        return np.zeros(gradient.shape, np.int32)
    labels = cv2.watershed(np.ascontiguousarray(picture), marks.copy()).astype(np.float32)
    for _ in range(4):  # lines between areas, marked -1, go to a neighbour
        lines = labels < 1
        if not lines.any():
            break
        labels = np.where(lines, cv2.dilate(labels, np.ones((3, 3), np.uint8)), labels)
    labels = np.maximum(labels, 1)
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape).astype(np.int32)


def borders(labels: Labels, strength: Floats) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Pairs of neighbouring labels (N, 2), the lengths of their borders, and the mean strength there."""
    count = int(labels.max()) + 1
    codes, values = [], []
    for a, b, s, t in (
        (labels[:, :-1], labels[:, 1:], strength[:, :-1], strength[:, 1:]),
        (labels[:-1], labels[1:], strength[:-1], strength[1:]),
    ):
        apart = a != b
        one, other = a[apart].astype(np.int64), b[apart].astype(np.int64)
        codes.append(np.minimum(one, other) * count + np.maximum(one, other))
        values.append(np.maximum(s[apart], t[apart]))
    code, place = np.unique(np.concatenate(codes), return_inverse=True)
    length = np.bincount(place, minlength=len(code)).astype(np.float64)
    mean = np.bincount(place, np.concatenate(values), len(code)) / np.maximum(length, 1)
    return np.column_stack([code // count, code % count]), length, mean


def merged(labels: Labels, lab: Floats, gradient: Floats) -> Hierarchy:
    """All merges of superpixels (H, W, numbered from 0) of a Lab picture, cheapest first, down to one area."""
    count = int(labels.max()) + 1
    flat = labels.ravel()
    size = np.bincount(flat, minlength=count).astype(np.float64)
    means = [np.bincount(flat, lab[..., c].ravel(), count) / size for c in range(3)]
    sizes, light, first, second = size.tolist(), *(m.tolist() for m in means)
    pairs, lengths, strengths = borders(labels, gradient)
    near: list[dict[int, tuple[float, float]]] = [{} for _ in range(count)]
    for (a, b), length, strength in zip(pairs.tolist(), lengths.tolist(), strengths.tolist(), strict=True):
        near[a][b] = near[b][a] = (length, strength)
    age = [0] * count

    def cost(a: int, b: int) -> float:
        apart = (light[a] - light[b]) ** 2 + (first[a] - first[b]) ** 2 + (second[a] - second[b]) ** 2
        weight = sizes[a] * sizes[b] / (sizes[a] + sizes[b])
        return float((apart**0.5 + 0.5 * near[a][b][1]) * weight**SIZE_POWER)

    heap = [(cost(a, b), a, b, 0, 0) for a, b in pairs.tolist()]
    heapq.heapify(heap)
    merges, costs = [], []
    while heap:
        price, a, b, age_a, age_b = heapq.heappop(heap)
        if age[a] != age_a or age[b] != age_b:
            continue
        if len(near[a]) < len(near[b]):
            a, b = b, a
        merges.append((a, b))
        costs.append(price)
        whole = sizes[a] + sizes[b]
        for values in (light, first, second):
            values[a] = (values[a] * sizes[a] + values[b] * sizes[b]) / whole
        sizes[a] = whole
        age[a] += 1
        age[b] = -1
        for other, (length, strength) in near[b].items():
            del near[other][b]
            if other == a:
                continue
            old_length, old_strength = near[a].get(other, (0.0, 0.0))
            both = length + old_length
            joined = (both, (length * strength + old_length * old_strength) / both)
            near[a][other] = near[other][a] = joined
        near[b] = {}
        for other in near[a]:
            low, high = min(a, other), max(a, other)
            heapq.heappush(heap, (cost(a, other), low, high, age[low], age[high]))
    return Hierarchy(labels, np.array(merges, np.int32).reshape(-1, 2), np.array(costs, np.float64))


def hierarchy(picture: NDArray[np.uint8], lab: Floats, unit: float) -> Hierarchy:
    """The areas of a smoothed picture (H, W, 3), also given in Lab; `unit`: pixels in 1/256 of the canvas side."""
    across = cv2.Scharr(lab, cv2.CV_32F, 1, 0, scale=1 / 32)
    down = cv2.Scharr(lab, cv2.CV_32F, 0, 1, scale=1 / 32)
    gradient = np.sqrt((across * across + down * down).max(axis=2))
    return merged(watershed(picture, gradient, 2.5 * unit), lab, gradient)
