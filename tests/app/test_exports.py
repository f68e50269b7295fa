"""Downloads: those of a real run equal what the command line writes; nothing stale is handed out."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyora import Project

from paintsundo.app.exports import KINDS, Material, export, keyframe_name
from paintsundo.app.state import KeyframeState
from paintsundo.errors import UserError
from paintsundo.pipelines.provenance import Provenance
from paintsundo.pipelines.writers import WRITERS, write_png

PROVENANCE = Provenance({"multi_frame": "bundled"}, {"film": {"fps": 5.0}})


def material(folder: Path, frames: int = 6, **others: object) -> Material:
    """A made-up run on disk."""
    for part, count in (("keyframes", 3), ("frames", frames)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            shade = 40 * index if part == "frames" else 255 - 60 * index
            write_png(folder / part / f"{index:05d}.png", np.full((20, 30, 3), shade, np.uint8), PROVENANCE)
    (folder / "prompt.txt").write_text("a boat", encoding="utf-8")
    return Material(
        keyframes=sorted((folder / "keyframes").glob("*.png")),
        names=["finished picture", "operation step 400 (synthetic)", "blank canvas"],
        frames=sorted((folder / "frames").glob("*.png")),
        fps=5.0,
        provenance=PROVENANCE,
        beside=[folder / "prompt.txt"],
        **others,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("kind", WRITERS)
def test_films_are_those_that_the_command_line_writes(tmp_path: Path, kind: str) -> None:
    run = material(tmp_path / "run")
    name, write = WRITERS[kind]
    write(tmp_path / name, run.frames, run.fps, PROVENANCE)
    file = export(run, kind, tmp_path / "exports")
    assert file.name == name
    assert file.read_bytes() == (tmp_path / name).read_bytes()


def test_the_film_that_is_there_is_handed_out_itself(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(b"film")
    assert export(material(tmp_path / "run", film=film), "mp4", tmp_path / "exports") == film


def test_the_zip_holds_every_file_unchanged(tmp_path: Path) -> None:
    run = material(tmp_path / "run")
    with zipfile.ZipFile(export(run, "zip", tmp_path / "exports")) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 6 + 3 + 1
        for file in [*run.frames, *run.keyframes]:
            assert archive.read(f"{file.parent.name}/{file.name}") == file.read_bytes()
        assert archive.read("prompt.txt") == b"a boat"
        assert not [name for name in archive.namelist() if name.startswith("/") or ".." in name]


def test_layers_need_no_film(tmp_path: Path) -> None:
    project = Project.load(str(export(material(tmp_path / "run", frames=0), "ora", tmp_path / "exports")))
    named = {layer.name: np.asarray(layer.get_image_data().convert("RGB"))[0, 0, 0] for layer in project.iter_layers}
    assert named == {"blank canvas": 135, "operation step 400 (synthetic)": 195, "finished picture": 255}


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    run = material(tmp_path / "run", frames=0)
    for kind in sorted({*KINDS} - {"ora"}):
        with pytest.raises(UserError, match="not finished"):
            export(run, kind, tmp_path / "exports")
    with pytest.raises(UserError, match=r"no download of kind '\.\./film': choose from mp4"):
        export(run, "../film", tmp_path / "exports")


def test_a_changed_run_is_exported_anew_and_the_old_file_goes(tmp_path: Path) -> None:
    run = material(tmp_path / "run")
    first = export(run, "gif", tmp_path / "exports")
    stamp = first.stat().st_mtime_ns
    assert export(run, "gif", tmp_path / "exports").stat().st_mtime_ns == stamp  # kept, not made again
    beside = export(run, "zip", tmp_path / "exports")
    assert first.is_file()
    write_png(run.frames[2], np.zeros((20, 30, 3), np.uint8), PROVENANCE)
    second = export(run, "gif", tmp_path / "exports")
    assert second != first
    assert not first.exists()
    assert not beside.exists()
    film = Image.open(second)
    film.seek(2)
    assert np.asarray(film.convert("RGB")).max() < 8


def test_a_download_that_breaks_off_leaves_no_half_file(tmp_path: Path) -> None:
    run = material(tmp_path / "run")
    run.frames[3].write_bytes(b"no picture")
    with pytest.raises(OSError, match="cannot identify"):
        export(run, "webp", tmp_path / "exports")
    assert not list((tmp_path / "exports").rglob("*.webp"))


@pytest.mark.parametrize(
    ("state", "name"),
    [
        (KeyframeState("a", 0, None, "picture"), "finished picture"),
        (KeyframeState("a", 950, 7, "generated"), "operation step 950 (synthetic)"),
        (KeyframeState("a", None, None, "upload"), "keyframe 2 (uploaded)"),
        (KeyframeState("a", None, None, "blank"), "blank canvas"),
    ],
)
def test_names_tell_what_a_person_gave(state: KeyframeState, name: str) -> None:
    assert keyframe_name(state, 2) == name
