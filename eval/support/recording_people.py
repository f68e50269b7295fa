"""What is filmed rather than captured: a camera's lens over a desk, and a streamer's face in a corner."""

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # (H, W, 3)


class Lens:
    """A camera's faults: perspective where it does not look straight down, vignette, drifting brightness, tint, noise.

    `tilt`: 0 for a camera on a stand, aligned to the sheet; 1 turns by up to 3 degrees and shifts corners by up to 3 %
    of the frame.
    """

    def __init__(self, random: np.random.Generator, size: tuple[int, int], tilt: float = 0.0):
        height, width = size
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        dark = 1 - random.uniform(0.05, 0.22) * (x * x + y * y) / 2
        tint = random.uniform(0.95, 1.0, 3) * random.uniform(0.88, 0.99)
        self.gain = (dark[..., None] * tint).astype(np.float32)
        self.drift = random.uniform(0.01, 0.05), random.uniform(4, 12), random.uniform(0, 6)
        self.noise = (random.normal(0, random.uniform(1.5, 4), (height + 64, width + 64, 3))).astype(np.float32)
        self.random = random
        plain = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
        turn = np.radians(random.uniform(-3, 3) * tilt)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        middle = np.array([width / 2, height / 2])
        moved = (plain - middle) @ rotation.T * (1 - 0.04 * tilt) + middle
        moved += random.uniform(-0.03, 0.03, (4, 2)) * tilt * (width, height)
        self.perspective = cv2.getPerspectiveTransform(plain.astype(np.float32), moved.astype(np.float32))
        self.straight = tilt == 0

    def points(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(..., 2): where points of the screen are seen."""
        flat = points.reshape(1, -1, 2)
        return points if self.straight else cv2.perspectiveTransform(flat, self.perspective).reshape(points.shape)

    def __call__(self, frame: Picture, seconds: float) -> Picture:
        if not self.straight:
            half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
            matrix = np.linalg.inv(half) @ self.perspective @ half
            frame = cv2.warpPerspective(frame, matrix, frame.shape[1::-1], borderMode=cv2.BORDER_REFLECT)
        depth, period, phase = self.drift
        bright = 1 + depth * np.sin(2 * np.pi * seconds / period + phase)
        y, x = self.random.integers(0, 64, 2)
        noise = self.noise[y : y + frame.shape[0], x : x + frame.shape[1]]
        return np.clip(frame * (self.gain * np.float32(bright)) + noise + 0.5, 0, 255).astype(np.uint8)


class Facecam:
    """A face that moves all the time, in a small picture at a corner of the screen, and a line of chat under it."""

    def __init__(self, random: np.random.Generator, size: tuple[int, int]):
        height, width = size
        self.size = (round(height * random.uniform(0.16, 0.26)), round(height * random.uniform(0.2, 0.32)))
        right, low = random.random() < 0.5, random.random() < 0.7
        self.left = width - self.size[1] - 4 if right else 4
        self.top = height - self.size[0] - 4 if low else 4
        self.room = random.integers(30, 150, 3)
        self.skin = np.array([90, 55, 40]) + random.uniform(0, 1) * np.array([150, 140, 130])
        self.random = random
        self.phase = random.uniform(0, 6, 2)

    def draw(self, frame: Picture, seconds: float) -> None:
        """In place."""
        height, width = self.size
        picture = np.empty((height, width, 3), np.uint8)
        picture[:] = self.room
        sway = np.sin(seconds * np.array([1.1, 1.7]) + self.phase) * 0.06
        x, y = round((0.5 + sway[0]) * width), round((0.5 + sway[1]) * height)
        skin = tuple(float(v) for v in self.skin)
        cv2.ellipse(picture, (x, round(1.05 * height)), (width // 3, height // 3), 0, 0, 360, (70, 60, 90), -1)
        cv2.ellipse(picture, (x, y), (width // 6, height // 4), 0, 0, 360, skin, -1, cv2.LINE_AA)
        cv2.ellipse(
            picture, (x, y - height // 8), (width // 6, height // 6), 0, 180, 360, (30, 22, 20), -1, cv2.LINE_AA
        )
        noisy = picture + self.random.normal(0, 3, picture.shape)
        y0, x0 = self.top, self.left
        frame[y0 : y0 + height, x0 : x0 + width] = np.clip(noisy, 0, 255).astype(np.uint8)
