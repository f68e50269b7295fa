"""Files of runs that are deleted while somebody asks for them."""

import shutil
from pathlib import Path
from typing import Any

import anyio
import pytest

pytest.importorskip("fastapi", reason="the page needs the extra `app`")

from clients import API, HOST, filmed, told

GONE = "There is no such file, or not any more."


@pytest.fixture
def frame(anna: Any, studio: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file that is given for every frame of every run of the visitor."""
    file = tmp_path / "frame.png"
    file.write_bytes(b"a picture")
    monkeypatch.setattr(studio, "frame", lambda user, run_id, index: file)
    return file


def test_what_is_there_is_given(anna: Any, frame: Path) -> None:
    answer = anna.get(f"{API}/runs/0/frames/0")
    assert (answer.status_code, answer.content) == (200, b"a picture")
    assert answer.headers["content-length"] == "9"
    part = anna.get(f"{API}/runs/0/frames/0", headers={"range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"pic")


def test_a_frame_that_was_deleted_since_is_not_found(anna: Any, frame: Path) -> None:
    frame.unlink()
    assert told(anna.get(f"{API}/runs/0/frames/0"), 404) == GONE


def test_a_frame_that_is_deleted_before_it_is_opened_is_not_found(
    anna: Any, frame: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = anyio.open_file

    async def too_late(path: Any, *given: Any, **named: Any) -> Any:
        frame.unlink()
        return await opened(path, *given, **named)

    monkeypatch.setattr(anyio, "open_file", too_late)
    assert told(anna.get(f"{API}/runs/0/frames/0"), 404) == GONE


def test_pictures_of_a_run_that_is_being_deleted_are_not_found(anna: Any, studio: Any) -> None:
    run = filmed(anna)["id"]
    for file in Path(studio.options.runs.folder).rglob("thumbnail.jpg"):
        file.unlink()
    assert told(anna.get(f"{HOST}/files/{run}/thumbnail.jpg"), 404) == GONE


def test_a_folder_that_is_deleted_while_it_is_looked_through_has_no_frames(
    anna: Any, studio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = filmed(anna)["id"]
    listed = Path.iterdir

    def too_late(folder: Path) -> Any:
        if folder.name == "frames":
            shutil.rmtree(folder)
        return listed(folder)

    monkeypatch.setattr(Path, "iterdir", too_late)
    assert told(anna.get(f"{API}/runs/{run}/frames/0"), 404) == "There is no frame 0 yet."
