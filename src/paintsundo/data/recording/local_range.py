"""The range of values around each pixel: where pictures agree but for slight movements, and what their structure is."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from paintsundo.data.process import Picture

EDGE = 30  # levels of contrast that make a pixel part of the drawing's structure
NEAR = 20  # levels within which a pixel agrees with the model


def local_range(picture: Picture) -> tuple[Picture, Picture]:
    """Lowest and highest values of each pixel and its eight neighbours."""
    around = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.erode(picture, around)), np.asarray(cv2.dilate(picture, around))


def outside(picture: Picture, low: Picture, high: Picture) -> NDArray[np.bool_]:
    """Pixels (H, W) that lie outside a range by more than NEAR in some channel."""
    beyond = cv2.max(cv2.subtract(low, picture), cv2.subtract(picture, high))
    return np.asarray(cv2.inRange(beyond, (0, 0, 0), (NEAR, NEAR, NEAR)) == 0)


def structure(low: Picture, high: Picture) -> NDArray[np.bool_]:
    """Pixels (H, W) whose range is wider than EDGE in some channel."""
    return np.asarray(cv2.inRange(cv2.subtract(high, low), (0, 0, 0), (EDGE, EDGE, EDGE)) == 0)
