"""Short videos of samples: mp4 where PyAV is installed, else an animated GIF."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import numpy as np
from einops import rearrange
from PIL import Image
from torch import Tensor

from paintsundo.pipelines.writers import whole


def side_by_side(rows: Tensor) -> np.ndarray:
    """Pairs of clips, one beside the other, as they play: blank to finished.

    Args:
        rows: uint8 (2·N, T, 3, H, W), the two clips of each pair one after the other, finished end first.

    Returns:
        uint8 (T, N·H, 2·W, 3).
    """
    film = rearrange(rows.flip(1).cpu(), "(n two) t c h w -> t (n h) (two w) c", two=2)
    return np.ascontiguousarray(film.numpy())


def gif_bytes(frames: np.ndarray, fps: float) -> bytes:
    """An animated GIF of uint8 (T, H, W, 3) that starts again at its end."""
    first, *others = (Image.fromarray(frame) for frame in frames)
    stream = io.BytesIO()
    first.save(
        stream, format="GIF", save_all=True, append_images=others, duration=round(1000 / fps), loop=0, optimize=False
    )
    return stream.getvalue()


def write_video(file: Path, frames: np.ndarray, fps: float) -> Path:
    """Write uint8 (T, H, W, 3) as a whole, odd sides extended by one pixel.

    Args:
        file: name with the suffix `.mp4`.

    Returns:
        the file written: that, or the same name with the suffix `.gif` where PyAV cannot write H.264.
    """
    try:
        import av

        av.Codec("libx264", "w")
    except (ImportError, ValueError):
        file = file.with_suffix(".gif")
        with whole(file) as temporary:
            temporary.write_bytes(gif_bytes(frames, fps))
        return file
    height, width = frames.shape[1:3]
    frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    with whole(file) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        video.pix_fmt, video.options = "yuv420p", {"crf": "12"}
        video.height, video.width = frames.shape[1:3]
        for frame in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(video.encode())
    return file
