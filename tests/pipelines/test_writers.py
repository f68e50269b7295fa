"""Films and pictures on disk: read back with the libraries that others use."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import av
import numpy as np
import pytest
from PIL import Image

from paintsundo.pipelines.provenance import DIGITAL_SOURCE_TYPE, Provenance
from paintsundo.pipelines.writers import WRITERS, whole, write_mp4, write_png, write_text

PROVENANCE = Provenance({"video": "<model> & é"}, {"keyframes": {"seed": 5, "prompt": "画 <b>"}})


@pytest.fixture
def frames(tmp_path: Path) -> list[Path]:
    (tmp_path / "frames").mkdir()
    files = []
    for index in range(9):
        pixels = np.full((31, 45, 3), 255, np.uint8)
        pixels[: 3 * index + 1, :20] = (200, 30 * index, 60)
        files.append(tmp_path / "frames" / f"{index:05d}.png")
        write_png(files[-1], pixels, PROVENANCE)
    return files


def decoded(file: Path) -> np.ndarray:
    with av.open(str(file)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


ENCODES = """
import sys
from pathlib import Path
import numpy as np
from paintsundo.pipelines.provenance import Provenance
from paintsundo.pipelines.writers import write_mp4, write_png
provenance = Provenance({}, {})
for seed, side in ((0, 40), (0, 96), (1, 32), (1, 48), (2, 96)):
    folder = Path(sys.argv[1]) / f"{seed}-{side}"
    folder.mkdir()
    drawn = np.random.default_rng(seed)
    pixels = np.full((side, side, 3), 255, np.uint8)
    for index in range(45):
        top, left = drawn.integers(0, side - 6), drawn.integers(0, side - 6)
        pixels[top : top + 6, left : left + 6] = drawn.integers(0, 255, 3)
        grain = drawn.integers(0, 2, pixels.shape) if index % 2 else 0
        write_png(folder / f"{index:05d}.png", (pixels + grain).clip(0, 255).astype(np.uint8), provenance)
    write_mp4(folder / "film.mp4", sorted(folder.glob("*.png")), 15, provenance)
"""


def test_mp4_does_not_depend_on_what_memory_held(tmp_path: Path) -> None:
    """glibc fills fresh memory with the given byte, so that what is read without being written shows."""
    films = []
    for byte in ("0", "85", "255"):
        (tmp_path / byte).mkdir()
        environment = os.environ | {"MALLOC_PERTURB_": byte}
        subprocess.run([sys.executable, "-c", ENCODES, tmp_path / byte], env=environment, check=True)
        films.append({file.parent.name: file.read_bytes() for file in (tmp_path / byte).glob("*/film.mp4")})
    assert len(films[0]) == 5
    assert films[0] == films[1] == films[2]


def test_png_is_lossless_and_labelled(frames: list[Path]) -> None:
    image = Image.open(frames[4])
    assert np.asarray(image)[12, 19].tolist() == [200, 120, 60]
    assert "Synthetic media" in image.info["Comment"]
    assert '"seed": 5' in image.info["Settings"]
    assert "画 <b>" in image.info["Settings"]
    assert DIGITAL_SOURCE_TYPE in image.info["XML:com.adobe.xmp"]
    packet = ElementTree.fromstring(image.info["XML:com.adobe.xmp"])
    source = packet.find(".//{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType")
    assert source is not None
    assert source.text == DIGITAL_SOURCE_TYPE
    statement = packet.find(".//{http://www.w3.org/1999/02/22-rdf-syntax-ns#}li")
    assert statement is not None
    assert "<model> & é" in (statement.text or "")


def test_mp4_of_odd_size(tmp_path: Path, frames: list[Path]) -> None:
    write_mp4(tmp_path / "film.mp4", frames, 12.5, PROVENANCE)
    film = decoded(tmp_path / "film.mp4")
    # One pixel more, equal to its neighbour.
    assert film.shape == (9, 32, 46, 3)
    original = np.stack([np.asarray(Image.open(file)) for file in frames])
    assert np.abs(film[:, :31, :45].mean(-1) - original.mean(-1)).mean() < 2
    with av.open(str(tmp_path / "film.mp4")) as container:
        assert float(container.streams.video[0].average_rate) == 12.5
        assert "Synthetic media" in container.metadata["comment"]
        assert "画 <b>" in container.metadata["comment"]
        assert DIGITAL_SOURCE_TYPE in container.metadata["comment"]


@pytest.mark.parametrize("format", ["gif", "webp"])
def test_animations(tmp_path: Path, frames: list[Path], format: str) -> None:
    name, write = WRITERS[format]
    write(tmp_path / name, frames, 4, PROVENANCE)
    film = Image.open(tmp_path / name)
    assert film.n_frames == 9
    assert film.info["loop"] == 0
    for index in (0, 8):
        film.seek(index)
        film.load()
        assert film.info["duration"] == 250
        original = np.asarray(Image.open(frames[index])).astype(int)
        assert np.abs(np.asarray(film.convert("RGB")) - original).mean() < 4


def test_sheet_shows_the_film_in_rows(tmp_path: Path, frames: list[Path]) -> None:
    name, write = WRITERS["sheet"]
    write(tmp_path / name, frames, 4, PROVENANCE)
    sheet = np.asarray(Image.open(tmp_path / name))
    height = round(192 * 31 / 45)
    assert sheet.shape == (2 * height, 6 * 192, 3)
    # The last of nine is the third of the second row; the rest of that row is white.
    assert sheet[height + 40, 2 * 192 + 20].tolist() == [200, 240, 60]
    assert (sheet[height:, 3 * 192 :] == 255).all()


@pytest.mark.parametrize("format", sorted(WRITERS))
def test_a_failed_film_leaves_nothing(
    tmp_path: Path, frames: list[Path], format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, write = WRITERS[format]
    (tmp_path / name).write_bytes(b"an older film")
    frames[5].write_bytes(b"broken")
    with pytest.raises(OSError, match="identify"):
        write(tmp_path / name, frames, 4, PROVENANCE)
    assert (tmp_path / name).read_bytes() == b"an older film"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["frames", name])


def test_whole_replaces_only_at_the_end(tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    with whole(file) as temporary:
        temporary.write_text("new")
        assert not file.exists()
    assert file.read_text() == "new"
    newer = "newer \udc80"  # cannot be encoded: fails after the file was opened
    with pytest.raises(UnicodeEncodeError):
        write_text(file, newer)
    assert file.read_text() == "new"
    assert list(tmp_path.iterdir()) == [file]
