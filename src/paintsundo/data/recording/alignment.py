"""Two pictures of about the same aligned: by points followed from one to the other, or by their correlation."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.process import Picture
from paintsundo.data.recording.similarity import Matrix, sensible


def follow(before: Picture, after: Picture, mask: NDArray[np.uint8], reach: int = 21, least: int = 8) -> Matrix | None:
    """The similarity that brings most points of one picture to their places in a slightly different one, or None."""
    first, second = cv2.cvtColor(before, cv2.COLOR_RGB2GRAY), cv2.cvtColor(after, cv2.COLOR_RGB2GRAY)
    points = cv2.goodFeaturesToTrack(first, 300, 0.01, 4, mask=mask)
    if points is None or len(points) < least:
        return None
    ways: dict[str, Any] = {"winSize": (reach, reach), "maxLevel": 3}
    there, found, _ = cv2.calcOpticalFlowPyrLK(first, second, points, None, **ways)
    back, found_back, _ = cv2.calcOpticalFlowPyrLK(second, first, there, None, **ways)
    error = np.abs(back - points).reshape(-1, 2).max(axis=1)
    good = (found.ravel() == 1) & (found_back.ravel() == 1) & (error < 0.5)
    if good.sum() < least:
        return None
    matrix, inliers = cv2.estimateAffinePartial2D(
        points.reshape(-1, 2)[good],
        there.reshape(-1, 2)[good],
        method=cv2.RANSAC,
        ransacReprojThreshold=0.7,
        maxIters=2000,
        confidence=0.999,
    )
    if matrix is None or int(inliers.sum()) < max(least, 0.4 * int(good.sum())) or not sensible(matrix):
        return None
    return np.asarray(matrix, np.float64)


def correlated(before: Picture, after: Picture, mask: NDArray[np.uint8]) -> Matrix | None:
    """The shift and turn after which two pictures correlate best (Evangelidis and Psarakis 2008), or None."""
    first, second = cv2.cvtColor(before, cv2.COLOR_RGB2GRAY), cv2.cvtColor(after, cv2.COLOR_RGB2GRAY)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)
    change = np.eye(2, 3, dtype=np.float32)
    try:
        _, change = cv2.findTransformECC(first, second, change, cv2.MOTION_EUCLIDEAN, criteria, mask, 5)
    except cv2.error:  # they do not correlate
        return None
    return np.asarray(change, np.float64)
