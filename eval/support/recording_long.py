"""Recordings of many hours, cheap to make: drawing is encoded once, and pauses repeat the packets of one second.

For measuring memory and speed of extraction. Drawing comes in bouts; between them nothing is drawn for minutes and the
cursor goes round and round over the canvas.
"""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from support.recording_encoding import TICKS, encode
from support.recording_kit import Recording, Truth, prepare
from support.recording_overlays import cursor, paste
from support.recording_subjects import Shown


def render_long(
    process: Shown,
    path: str | Path,
    seed: int,
    hours: float,
    size: tuple[int, int] = (1920, 1080),
    rate: int = 30,
    drawn: float = 240.0,
    bouts: int = 24,
) -> Truth:
    """Record a process over so many hours, of which `drawn` seconds in `bouts` bouts show drawing, as PATH.mp4.

    `size`: (width, height). The truth has an entry for each frame of the bouts and for each second of the pauses.
    """
    path = Path(path).with_suffix(".mp4")
    plain = path.with_name(f"{path.stem}_bouts.mp4")
    recording = prepare(
        process, seed, "plain", seconds=(drawn, drawn), rates=(rate,), sizes=(size,), crf=(26, 26), containers=("mp4",)
    )
    count = len(recording.times)
    ends = [round(count * (k + 1) / bouts / rate) * rate for k in range(bouts - 1)]  # a pause follows each of them
    closed = {"g": str(rate), "keyint_min": str(rate), "sc_threshold": "0", "bf": "0"}
    times = np.arange(count + rate * len(ends)) / rate
    encode(plain, _with_pauses(recording, ends, rate), times, recording.size, 26, options=closed)
    film = recording.truth(path, "plain", seed)
    missing = max(0, round(hours * 3600 - count / rate))
    pauses = [missing // len(ends) + (k < missing % len(ends)) for k in range(len(ends))]
    numbers, shown = _repeat(plain, path, ends, pauses, rate)
    plain.unlink()
    numbers = np.minimum(numbers, count - 1)
    return replace(
        film,
        times=shown,
        works=film.works[numbers],
        corners=film.corners[numbers],
        cards=film.cards[numbers],
        hidden=film.hidden[numbers],
        drawn=film.drawn[numbers],
        settings={**film.settings, "hours": float(shown[-1]) / 3600, "drawn": count / rate},
    )


def _with_pauses(recording: Recording, ends: list[int], rate: int) -> Iterator[NDArray[np.uint8]]:
    """The frames, and after each end one second in which a cursor goes round once."""
    sprite, x, y = cursor("arrow", 0.04 * recording.size[0], (0, 0, 0))
    left, top, width, height = recording.scene.box
    for number, frame in enumerate(recording.frames(), 1):
        yield frame
        if number in ends:
            for turn in 2 * np.pi * np.arange(rate) / rate:
                still = frame.copy()
                at_x = round(left + width * (0.5 + 0.3 * np.cos(turn))) - x
                paste(still, sprite, at_x, round(top + height * (0.5 + 0.3 * np.sin(turn))) - y)
                yield still


def _repeat(
    plain: Path, path: Path, ends: list[int], pauses: list[int], rate: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Copy packets, seconds after `ends` so many times as `pauses` says; returns numbers of frames and their times."""
    numbers: list[NDArray[np.int64]] = []
    times: list[NDArray[np.float64]] = []
    step, now, at, drawn = 90000 // rate, 0, 0, 0
    with av.open(str(plain)) as source, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        packets = [(bytes(packet), packet.is_keyframe) for packet in source.demux(video=0) if packet.size]
        for end, pause in zip([*ends, None], [*pauses, 0], strict=True):
            long = (end - drawn) if end is not None else len(packets) - at
            bout, still = packets[at : at + long], packets[at + long : at + long + rate]
            numbers.append(np.arange(drawn, drawn + long))
            times.append(now / rate + np.arange(long) / rate)
            numbers.append(np.full(pause, drawn + long - 1))
            times.append((now + long) / rate + np.arange(pause))
            for part in (bout, *[still] * pause):
                for data, key in part:
                    packet = av.Packet(data)
                    packet.pts = packet.dts = now * step
                    packet.time_base, packet.is_keyframe, packet.stream = Fraction(TICKS), key, stream
                    out.mux(packet)
                    now += 1
            drawn, at = drawn + long, at + long + rate
    return np.concatenate(numbers), np.concatenate(times)
