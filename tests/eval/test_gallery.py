"""The page of films: chosen by rule, small, never over other files."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paintsundo.errors import UserError
from paintsundo.metrics import keyframe_positions, null_baselines

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_models import MODELS, SMALL

POSITIONS = keyframe_positions(45, 4)


def save(folder: Path, pictures) -> None:
    folder.mkdir(parents=True)
    for index, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{index:05d}.png")


@pytest.fixture(scope="module")
def films(tmp_path_factory, drawn):
    folder = tmp_path_factory.mktemp("films")
    film = drawn[np.round(np.linspace(0, 104, 45)).astype(int)]
    keyframes = [film[p] for p in reversed(POSITIONS)]
    nulls = null_baselines(film, POSITIONS)
    for name, frames in {"b fade": nulls["cross_fade"], "a drawing": film, "c drawing": film}.items():
        save(folder / name / "frames", frames)
        save(folder / name / "keyframes", keyframes)
    return folder


def test_failures_are_among_them_by_rule(films, tmp_path):
    import gallery

    gallery.main([f"films={films}", f"output={tmp_path / 'g'}", "most=2", "worst=1"])
    page = (tmp_path / "g/README.md").read_text()
    worst, even = page.split("## Evenly")[0], page.split("## Evenly")[1]
    assert "**b fade**: fails" in worst
    assert "**a drawing**: meets every check" in even
    assert "3 films were measured, 2 meet every check" in page
    files = sorted((tmp_path / "g").glob("*.webp"))
    assert [file.name for file in files] == ["a-drawing.webp", "b-fade.webp"]
    assert Image.open(files[0]).width > 9 * 96
    assert all(f"({file.name})" in page for file in files)
    (tmp_path / "note.md").write_text("By whom and under what licence.\n")
    arguments = ["most=3", "worst=0", f"note={tmp_path / 'note.md'}"]
    gallery.main([f"films={films}", f"output={tmp_path / 'g'}", *arguments])  # in place of the one before
    noted = (tmp_path / "g/README.md").read_text()
    assert noted.index("not written by hand") < noted.index("under what licence") < noted.index("3 films were measured")
    assert len(list((tmp_path / "g").glob("*.webp"))) == 3


def test_other_files_and_too_large_pages_are_refused(films, tmp_path):
    import gallery

    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files than a gallery"):
        gallery.main([f"films={films}", f"output={tmp_path}"])
    with pytest.raises(UserError, match=r"note=.*none\.md: no such file"):
        gallery.main([f"films={films}", f"output={tmp_path / 'g'}", f"note={tmp_path / 'none.md'}"])
    with pytest.raises(UserError, match=r"megabytes=0\.001"):
        gallery.main([f"films={films}", f"output={tmp_path / 'g'}", "megabytes=0.001"])
    with pytest.raises(UserError, match="films=FOLDER, or models=PAIR and pictures=FOLDER"):
        gallery.main([f"output={tmp_path / 'g'}", "models=bundled"])
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_films_are_made_of_pictures(drawn, tmp_path):
    import gallery

    save(tmp_path / "in", drawn[-2:])
    given = ",".join(f"'{override}'" for override in [*MODELS[1:], *SMALL])
    gallery.main(
        [
            f"pictures={tmp_path / 'in'}",
            "models=official",
            f"overrides=[{given}]",
            "size=32",
            f"output={tmp_path / 'g'}",
        ]
    )
    page = (tmp_path / "g/README.md").read_text()
    assert "2 films were measured, 0 meet every check" in page  # random weights
