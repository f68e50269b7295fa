"""Small pictures with every kind of colour and opacity, for the layers of test files."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 96, 64


def field() -> NDArray[np.uint8]:
    """Opaque colours, dark to light and of all hues, with hard borders between bands."""
    ys, xs = np.mgrid[0:HEIGHT, 0:WIDTH]
    hue = (xs * 179 // (WIDTH - 1)).astype(np.uint8)
    saturation = np.where(ys % 16 < 5, 0, np.where(ys % 16 < 10, 130, 255)).astype(np.uint8)
    value = (255 - ys * 255 // (HEIGHT - 1)).astype(np.uint8)
    rgb = cv2.cvtColor(np.dstack([hue, saturation, value]), cv2.COLOR_HSV2RGB)
    return np.dstack([rgb, np.full((HEIGHT, WIDTH), 255, np.uint8)])


def soft() -> NDArray[np.uint8]:
    """Colours of all hues with opacity from nothing to full."""
    ys, xs = np.mgrid[0:HEIGHT, 0:WIDTH]
    hue = ((ys * 5 + xs) % 180).astype(np.uint8)
    saturation = ((xs * 7) % 256).astype(np.uint8)
    value = ((xs * 255 // (WIDTH - 1) + ys * 2) % 256).astype(np.uint8)
    rgb = cv2.cvtColor(np.dstack([hue, saturation, value]), cv2.COLOR_HSV2RGB)
    far = np.hypot((xs - WIDTH * 0.45) / WIDTH, (ys - HEIGHT * 0.5) / HEIGHT)
    alpha = np.clip(np.round(255 * (1.25 - 2.2 * far)), 0, 255).astype(np.uint8)
    return np.dstack([rgb, alpha])


def shapes() -> NDArray[np.uint8]:
    """Opaque shapes with smooth edges, nothing between them."""
    canvas = np.zeros((HEIGHT * 4, WIDTH * 4, 4), np.uint8)
    cv2.circle(canvas, (110, 110), 80, (220, 60, 40, 255), -1)
    cv2.rectangle(canvas, (200, 60), (340, 200), (40, 160, 90, 255), -1)
    cv2.ellipse(canvas, (230, 190), (120, 40), 20, 0, 360, (50, 80, 220, 255), -1)
    return _reduced(canvas)


def lines() -> NDArray[np.uint8]:
    """Dark smooth lines."""
    canvas = np.zeros((HEIGHT * 4, WIDTH * 4, 4), np.uint8)
    ink = (30, 20, 40, 255)
    cv2.circle(canvas, (110, 110), 80, ink, 7)
    cv2.rectangle(canvas, (200, 60), (340, 200), ink, 7)
    cv2.ellipse(canvas, (230, 190), (120, 40), 20, 0, 360, ink, 7)
    return _reduced(canvas)


def patch() -> NDArray[np.uint8]:
    """A patch smaller than the canvas (30 × 40), half of it half transparent."""
    picture = np.zeros((30, 40, 4), np.uint8)
    picture[:, :20] = (250, 200, 30, 255)
    picture[:, 20:] = (30, 120, 250, 128)
    return picture


def ramp() -> NDArray[np.uint8]:
    """A mask (H, W): a slope with a hole and a full part."""
    ys, xs = np.mgrid[0:HEIGHT, 0:WIDTH]
    mask = (xs * 255 // (WIDTH - 1)).astype(np.uint8)
    mask[(ys - 20) ** 2 + (xs - 60) ** 2 < 120] = 0
    mask[44:, :50] = 255
    return mask


def disc() -> NDArray[np.uint8]:
    """A mask (H, W): a disc with a smooth edge."""
    canvas = np.zeros((HEIGHT * 4, WIDTH * 4), np.uint8)
    cv2.circle(canvas, (190, 120), 100, 255, -1)
    return cv2.resize(canvas, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def _reduced(canvas: NDArray[np.uint8]) -> NDArray[np.uint8]:
    alpha = canvas[..., 3:].astype(np.float32)
    weighted = cv2.resize(canvas[..., :3] * alpha, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    alpha = cv2.resize(alpha[..., 0], (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)[..., None]
    colour = np.divide(weighted, alpha, out=np.zeros_like(weighted), where=alpha > 0)
    return np.round(np.dstack([colour, alpha])).astype(np.uint8)


LAYERS = {make.__name__: make for make in (field, soft, shapes, lines, patch)}
MASKS = {make.__name__: make for make in (ramp, disc)}
