"""Views that may explain a sample: by features, by points followed, mirrored and turned ones, by correlation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.process import Picture
from paintsundo.data.recording.alignment import correlated, follow
from paintsundo.data.recording.canvas_model import CanvasModel
from paintsundo.data.recording.similarity import Matrix, compose, identity, sensible

FEATURES = 600


def proposals(model: CanvasModel, frame: Picture, current: Matrix) -> Iterator[Matrix]:
    """Views that may explain a sample, given that of the sample before."""
    if not model.has_content():
        aligned = _aligned(model, frame, current)
        if aligned is not None:
            yield aligned
        return
    for matrix in _matched(model, frame):
        yield matrix
        better = refined(model, frame, matrix)
        if better is not None:
            yield better
            again = refined(model, frame, better)
            if again is not None:
                yield again
    for base in (current, identity()):
        for turn in turns(model.corners):
            yield compose(base, turn)


def refined(model: CanvasModel, frame: Picture, matrix: Matrix) -> Matrix | None:
    """A view made more exact by following points of the model into the frame (Lucas and Kanade)."""
    size, surroundings = model.size, model.surroundings
    shown = cv2.warpAffine(model.picture, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    foot = cv2.warpAffine(surroundings.around, matrix, size, flags=cv2.INTER_NEAREST)
    change = follow(shown, frame, np.where(surroundings.on_top(frame), 0, foot).astype(np.uint8))
    return None if change is None else compose(change, matrix)


def turns(corners: NDArray[np.float64]) -> Iterator[Matrix]:
    """Mirrored left to right and top to bottom, and turned by half and by quarters, about the middle of the canvas."""
    x, y = corners.mean(axis=0) - 0.5
    for a, b, c, d in ((-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1), (0, -1, 1, 0), (0, 1, -1, 0)):
        yield np.array([[a, b, x - a * x - b * y], [c, d, y - c * x - d * y]], np.float64)


def _aligned(model: CanvasModel, frame: Picture, current: Matrix) -> Matrix | None:
    """The view of before, shifted and turned: where there is nothing but the canvas' border to follow."""
    shown = cv2.warpAffine(model.picture, current, model.size, borderMode=cv2.BORDER_REPLICATE)
    foot = cv2.warpAffine(cv2.dilate(model.surroundings.around, np.ones((7, 7), np.uint8)), current, model.size)
    change = correlated(shown, frame, foot)
    return None if change is None else compose(change, current)


def _matched(model: CanvasModel, frame: Picture) -> Iterator[Matrix]:
    """Similarities by features of the model and of its mirror image found in the frame."""
    inside = model.surroundings.inside
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    known = cv2.cvtColor(model.picture, cv2.COLOR_RGB2GRAY)
    screen = model.surroundings.on_top(frame).astype(np.uint8)
    free = (1 - cv2.dilate(screen, np.ones((3, 3), np.uint8)) * (inside == 0)) * 255
    sift: Any = cv2.SIFT  # its stubs leave `create` out
    detector = sift.create(nfeatures=FEATURES, contrastThreshold=0.02)
    points, marks = detector.detectAndCompute(grey, free.astype(np.uint8))
    if marks is None or len(points) < 6:
        return
    width = model.size[0]
    mirror = np.array([[-1.0, 0, width - 1], [0, 1, 0]])
    for flipped in (False, True):
        picture, mask = (known[:, ::-1], inside[:, ::-1]) if flipped else (known, inside)
        own, own_marks = detector.detectAndCompute(np.ascontiguousarray(picture), np.ascontiguousarray(mask))
        if own_marks is None or len(own) < 6:
            continue
        pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(own_marks, marks, k=2)
        good = [pair[0] for pair in pairs if len(pair) == 2 and pair[0].distance < 0.8 * pair[1].distance]
        if len(good) < 6:
            continue
        source = np.array([own[match.queryIdx].pt for match in good])
        target = np.array([points[match.trainIdx].pt for match in good])
        matrix, inliers = cv2.estimateAffinePartial2D(
            source, target, method=cv2.RANSAC, ransacReprojThreshold=2.0, maxIters=4000, confidence=0.999
        )
        if matrix is None or int(inliers.sum()) < 6 or not sensible(matrix):
            continue
        yield compose(matrix, mirror) if flipped else np.asarray(matrix)
