"""`infer.py` where outputs are already: what it keeps, what it adds, and what needs `overwrite=true`."""

import json
from pathlib import Path

import pytest

from command_errors import one_line_error
from paintsundo.pipelines import loading
from paintsundo.pipelines.command import main
from tiny_models import arguments, drawing, pictures


class TestSecondRun:
    def test_finished_run_is_kept(self, picture: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(arguments(picture, output)) == 0
        before = {file: file.stat().st_mtime_ns for file in output.rglob("*") if file.is_file()}
        capsys.readouterr()
        assert main(arguments(picture, output)) == 0
        assert "kept" in capsys.readouterr().err
        assert before == {file: file.stat().st_mtime_ns for file in output.rglob("*") if file.is_file()}

    def test_other_settings_need_overwrite(
        self, picture: Path, output: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(arguments(picture, output)) == 0
        keyframes = pictures(output / "picture" / "keyframes")
        frames = pictures(output / "picture" / "frames")
        capsys.readouterr()
        other = arguments(picture, output, "keyframes.seed=7")
        assert main(other) == 2
        error = one_line_error(capsys)
        assert "keyframes.seed: 12345 then, 7 now" in error
        assert "overwrite=true" in error
        assert (pictures(output / "picture" / "frames") == frames).all()
        assert main([*other, "overwrite=true"]) == 0
        assert (pictures(output / "picture" / "keyframes") != keyframes).any()
        assert json.loads((output / "picture" / "run.json").read_text())["seeds"]["keyframes"] == 7

    def test_other_picture_under_the_same_name_needs_overwrite(self, picture: Path, output: Path) -> None:
        assert main(arguments(picture, output)) == 0
        drawing(50, 50).save(picture)
        assert main(arguments(picture, output)) == 2

    def test_overwrite_makes_an_equal_film_anew(self, picture: Path, output: Path) -> None:
        assert main(arguments(picture, output)) == 0
        first = output / "picture" / "frames" / "00000.png"
        before, pixels = first.stat().st_mtime_ns, pictures(output / "picture" / "frames")
        assert main(arguments(picture, output, "overwrite=true")) == 0
        assert first.stat().st_mtime_ns > before
        assert (pictures(output / "picture" / "frames") == pixels).all()

    def test_more_formats_are_added_without_models(
        self, picture: Path, output: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert main(arguments(picture, output)) == 0
        monkeypatch.setattr(loading, "load_multi_frame", pytest.fail)
        assert main(arguments(picture, output, "video.formats=[mp4,gif]")) == 0
        assert (output / "picture" / "film.gif").is_file()
        record = json.loads((output / "picture" / "run.json").read_text())
        assert record["complete"]
        assert record["times"]["interpolation"] > 0

    def test_pictures_that_were_taken_away_are_made_again(self, picture: Path, output: Path) -> None:
        assert main(arguments(picture, output)) == 0
        before = pictures(output / "picture" / "frames")
        (output / "picture" / "frames" / "00007.png").unlink()
        assert main(arguments(picture, output)) == 0
        assert (pictures(output / "picture" / "frames") == before).all()

    def test_outputs_of_unknown_origin_are_not_overwritten(self, picture: Path, output: Path) -> None:
        (output / "picture").mkdir(parents=True)
        (output / "picture" / "film.mp4").write_bytes(b"somebody's")
        assert main(arguments(picture, output)) == 2
        assert (output / "picture" / "film.mp4").read_bytes() == b"somebody's"
