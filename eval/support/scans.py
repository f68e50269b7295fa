"""Line drawings made to look photographed or scanned, by recipe: as a camera sees a sketch on paper."""

from __future__ import annotations

import dataclasses
import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from paintsundo.data.process import DrawingProcess
from paintsundo.data.source import Canvas, Item, Unusable
from paintsundo.data.sources import source_class

LINES = ("ink", "lines", "line")
Picture = NDArray[np.uint8]


def line_drawing(process: DrawingProcess) -> Picture:
    """The state in which a process has its lines and nothing else. Raises Unusable where it never has."""
    ends = [span.end for span in process.spans() if span.name in LINES]
    if not ends:
        raise Unusable("has no stage of lines")
    return process.state(ends[-1])


def scanned(drawing: Picture, seed: int) -> Picture:
    """A line drawing (H,W,3) as a synthetic scan of the same size: pencil grey lines with grain, paper with fibres,
    a slightly tilted view, light that falls off to one side, the camera's noise and JPEG. Equal seeds, equal scans."""
    rng = np.random.default_rng(seed)
    height, width = drawing.shape[:2]
    ink = 1 - cv2.cvtColor(drawing, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    grain = cv2.GaussianBlur(rng.normal(size=(height, width)).astype(np.float32), (0, 0), 0.7)
    pencil = cv2.GaussianBlur(ink, (0, 0), 0.6) * np.clip(0.72 + 0.5 * grain, 0.3, 1.0)
    fibres = cv2.GaussianBlur(rng.normal(size=(height, width)).astype(np.float32), (0, 0), sigmaX=3, sigmaY=1)
    paper = np.array([0.965, 0.95, 0.915], np.float32) + 0.04 * fibres[..., None]
    picture = paper * (1 - pencil[..., None]) + np.array([0.29, 0.29, 0.31], np.float32) * pencil[..., None]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    seen = corners + rng.uniform(-0.045, 0.045, corners.shape).astype(np.float32) * [width, height]
    view = cv2.getPerspectiveTransform(corners, seen.astype(np.float32))
    picture = cv2.warpPerspective(picture, view, (width, height), borderMode=cv2.BORDER_REPLICATE)
    y, x = np.mgrid[:height, :width] / max(height, width)
    angle = rng.uniform(0, 2 * np.pi)
    light = 1.03 - 0.22 * (np.cos(angle) * x + np.sin(angle) * y - min(0, np.cos(angle)) - min(0, np.sin(angle)))
    picture = picture * light[..., None] + rng.normal(0, 0.012, picture.shape)
    levels = (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)
    packed = io.BytesIO()
    Image.fromarray(levels).save(packed, "JPEG", quality=int(rng.integers(60, 85)))
    return np.asarray(Image.open(packed).convert("RGB"))


def scan_process(item: Item, canvas: Canvas, seed: int) -> DrawingProcess:
    """The process, as the painter of pictures draws it, of a synthetic scan of a vector file's line art.

    Its record says "scan/…" and that it is synthetic; its hash is that of the vector file. Raises Unusable.
    """
    vector = source_class("svg")(source_class("svg").Options())
    drawing = line_drawing(vector.draw(item, canvas, 0, seed))
    packed = io.BytesIO()
    Image.fromarray(scanned(drawing, seed + int(item.hash()[:6], 16))).save(packed, "PNG")
    record = {**item.record, "source": f"scan/{item.record['source'].rpartition('/')[2]}"}
    pictures = source_class("pictures")(source_class("pictures").Options())
    process = pictures.draw(Item(f"{item.stem}.png", packed.getvalue(), record), canvas, 0, seed)
    extra = {**process.extra, "synthetic_scan": True}
    return dataclasses.replace(process, hash=item.hash(), extra=extra)
