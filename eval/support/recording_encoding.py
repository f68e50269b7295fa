"""Writing frames as video files: H.264 or VP9, in the colours players expect, with or without sound."""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

TICKS = Fraction(1, 90000)
BT709, SMPTE170M, LIMITED = 1, 6, 1  # numbers of the H.273 standard and of FFmpeg's ranges


def encode(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    times: NDArray[np.float64],
    size: tuple[int, int],
    crf: int,
    sound: bool = False,
    options: dict[str, str] | None = None,
) -> None:
    """Write RGB frames (H, W, 3) at times in seconds as H.264, or VP9 for .webm, in 4:2:0 and limited range.

    Colours are BT.709 and said to be where the picture is 720 pixels high or more, else BT.601, as players assume.
    `sound` puts a silent track before the pictures; `options` are the encoder's.
    """
    webm = path.suffix == ".webm"
    steps = np.diff(times)
    rate = round(1 / float(np.median(steps))) if len(steps) else 25
    with av.open(str(path), "w") as container:
        container.flags |= 0x400  # bit-exact: no random identifiers
        quiet = container.add_stream("libopus" if webm else "aac", rate=48000, layout="mono") if sound else None
        said = {"crf": str(crf), "preset": "veryfast"}
        if webm:  # its scale reaches to 63
            said = {"crf": str(crf + 12), "b": "0", "deadline": "realtime", "cpu-used": "8", "threads": "1"}
        stream = container.add_stream("libvpx-vp9" if webm else "libx264", rate=rate, options=said | (options or {}))
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = TICKS
        high = size[0] >= 720
        matrix = BT709 if high else SMPTE170M
        stream.codec_context.colorspace = stream.codec_context.color_primaries = matrix
        stream.codec_context.color_trc, stream.codec_context.color_range = matrix, LIMITED
        if quiet is not None:
            _silence(container, quiet, float(times[-1]))
        for frame, time in zip(frames, times, strict=True):
            coded = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24").reformat(
                format="yuv420p", dst_colorspace="ITU709" if high else "ITU601", dst_color_range="MPEG"
            )
            coded.pts, coded.time_base = round(float(time) * 90000), TICKS
            container.mux(stream.encode(coded))
        container.mux(stream.encode())


def _silence(container: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    for number in range(int(seconds * 50)):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, 960 * number, Fraction(1, 48000)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())
