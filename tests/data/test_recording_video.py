"""Reading of video files: chosen frames, containers, and files that are none."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import recording_clips as clips

from paintsundo.data.recording import video
from paintsundo.data.source import Unusable


def counting(count: int, size: tuple[int, int] = (96, 128)) -> list[np.ndarray]:
    """Frames that show their number as a grey level and a bar."""
    made = []
    for number in range(count):
        frame = np.full((*size, 3), 40, np.uint8)
        frame[:, : 1 + number * size[1] // count] = 200
        made.append(frame)
    return made


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.write(tmp_path_factory.mktemp("film") / "film.mp4", counting(90), gop=15)


def test_probe_knows_frames_and_times(film: Path) -> None:
    found = video.probe(film)
    assert (len(found), found.size) == (90, (96, 128))
    assert found.fps == pytest.approx(30, rel=1e-3)
    assert found.duration == pytest.approx(89 / 30, rel=1e-3)
    assert found.keys[0] == 0
    assert len(found.keys) >= 6


@pytest.mark.parametrize("numbers", [[0, 1, 2], [7, 44, 89], [31], [0, 15, 30, 45], []])
def test_the_frames_asked_for_are_read(film: Path, numbers: list[int]) -> None:
    truth = counting(90)
    found = list(video.read(video.probe(film), numbers))
    assert [number for number, _ in found] == numbers
    for number, picture in found:
        assert np.abs(picture.astype(int) - truth[number]).mean() < 6


def test_sparse_frames_are_reached_by_jumps(tmp_path: Path) -> None:
    path = clips.write(tmp_path / "long.mkv", counting(300), gop=10)
    found = video.probe(path)
    wanted = [3, 155, 298]
    assert len(found.keys) > 4 * len(wanted)
    pictures = dict(video.read(found, wanted))
    assert list(pictures) == wanted
    for number in wanted:
        assert np.abs(pictures[number].astype(int) - counting(300)[number]).mean() < 6


def test_frames_can_be_read_small(film: Path) -> None:
    (_, picture), *_ = video.read(video.probe(film), [5], longest=64)
    assert picture.shape == (48, 64, 3)


def test_long_recordings_are_sampled_at_frames_that_stand_alone(tmp_path: Path) -> None:
    found = video.probe(clips.write(tmp_path / "long.mp4", counting(400), gop=8))
    chosen = found.chosen(40)
    assert len(chosen) == 40
    assert np.isin(chosen, found.keys).all()
    few = found.chosen(200)
    assert len(few) == 200
    assert few[0] == 0
    assert few[-1] == 399


@pytest.mark.parametrize(("name", "codec"), [("a.webm", "libvpx-vp9"), ("a.mkv", "libx264"), ("a.mov", "libx264")])
def test_other_containers(tmp_path: Path, name: str, codec: str) -> None:
    found = video.probe(clips.write(tmp_path / name, counting(20), codec=codec))
    assert len(found) == 20
    assert len(list(video.read(found, range(20)))) == 20


def test_the_content_counts_not_the_name(tmp_path: Path, film: Path) -> None:
    renamed = tmp_path / "film.webm"
    renamed.write_bytes(film.read_bytes())
    assert len(video.probe(renamed)) == 90


def sound_only(path: Path) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate, frame.time_base, frame.pts = 16000, Fraction(1, 16000), 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def test_what_is_no_video_is_refused(tmp_path: Path, film: Path) -> None:
    whole = film.read_bytes()
    listed = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{film}\n#EXT-X-ENDLIST\n"
    cases = {
        "empty": (b"", "empty"),
        "text": (b"no video at all " * 99, "not a readable video"),
        "cut": (whole[: len(whole) // 2], "not a readable video"),
        "playlist": (listed.encode(), "not a readable video"),
        "concat": (f"ffconcat version 1.0\nfile {film}\n".encode(), "not a readable video"),
    }
    for name, (data, reason) in cases.items():
        path = tmp_path / f"{name}.mp4"
        path.write_bytes(data)
        with pytest.raises(Unusable, match=reason):
            video.probe(path)


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="only sound"):
        video.probe(sound_only(tmp_path / "sound.mp4"))


def test_tiny_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="32 x 32 pixels"):
        video.probe(clips.write(tmp_path / "tiny.mp4", counting(5, (32, 32))))


def test_a_file_that_breaks_off_gives_what_it_has(tmp_path: Path) -> None:
    whole = clips.write(tmp_path / "whole.mkv", counting(60), gop=10).read_bytes()
    path = tmp_path / "cut.mkv"
    path.write_bytes(whole[: int(0.6 * len(whole))])
    found = video.probe(path)
    assert 8 < len(found) < 60
    read = [number for number, _ in video.read(found, range(len(found)))]
    assert len(read) >= len(found) - 2


def test_damage_in_the_middle_loses_only_frames(tmp_path: Path) -> None:
    data = bytearray(clips.write(tmp_path / "whole.mp4", counting(60), gop=10).read_bytes())
    middle = len(data) // 3
    data[middle : middle + 60] = bytes(60)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    found = video.probe(path)
    numbers = [number for number, _ in video.read(found, range(len(found)))]
    assert 40 < len(numbers) < 60
    assert numbers == sorted(set(numbers))
