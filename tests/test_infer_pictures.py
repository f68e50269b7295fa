"""Pictures that `infer.py` takes: folders, patterns, odd names and formats, own keyframes, other shapes."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paintsundo.pipelines.command import main
from tiny_models import FRAMES, MODELS, SMALL, arguments, drawing, pictures


class TestInput:
    def test_folder_of_odd_and_bad_pictures(
        self, tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = tmp_path / "in"
        folder.mkdir()
        drawing().convert("RGBA").save(folder / "alpha, [1] = 'é' (2).png")
        drawing().convert("CMYK").save(folder / "print.jpg")
        Image.fromarray(np.asarray(drawing())[..., 0].astype(np.uint16) * 257).save(folder / "deep.png")
        drawing().save(folder / "moving.gif", save_all=True, append_images=[drawing(60, 80)])
        exif = Image.Exif()
        exif[274] = 6  # turned by a quarter
        drawing(80, 60).save(folder / "turned.jpg", exif=exif)
        drawing().save(folder / "same.png")
        drawing().save(folder / "same.bmp")
        (folder / "text.png").write_text("not a picture")
        Image.new("RGB", (1, 1)).save(folder / "dot.png")
        Image.new("RGB", (20000, 100)).save(folder / "strip.png")
        (folder / "notes.txt").write_text("not meant as a picture")
        assert main(arguments(folder, output)) == 2
        good = ["alpha, [1] = 'é' (2)", "deep", "moving", "print", "same.bmp", "same.png", "turned"]
        assert sorted(path.name for path in output.iterdir()) == good
        for name in good:
            assert len(list((output / name / "frames").iterdir())) == FRAMES
            assert json.loads((output / name / "run.json").read_text(encoding="utf-8"))["complete"]
        told = capsys.readouterr().err
        assert "skipped notes.txt" in told
        assert "7 of 10 pictures done" in told
        for bad in ("text.png", "dot.png", "strip.png"):
            assert bad in told
        # Orientation is applied: the finished picture stands upright.
        upright = np.asarray(Image.open(output / "turned" / "keyframes" / "00.png")).astype(int)
        other = np.asarray(drawing(80, 60).rotate(-90, expand=True).resize((36, 48)))[:, 2:34]
        assert np.abs(upright - other).mean() < 12

    def test_glob(self, tmp_path: Path, output: Path) -> None:
        for name in ("a1.png", "a2.png", "b.png"):
            drawing().save(tmp_path / name)
        assert main(arguments(tmp_path / "a*.png", output)) == 0
        assert sorted(path.name for path in output.iterdir()) == ["a1", "a2"]

    @pytest.mark.parametrize("name", ["a, b [x] k=v été (1).png", "${oc.env:HOME}\\${x}.png", "'q'.png", "*.png"])
    def test_names_are_taken_literally(self, tmp_path: Path, output: Path, name: str) -> None:
        drawing().save(tmp_path / name)
        assert main(arguments(tmp_path / name, output, "prompt=${x}, 'a', [b]={c}")) == 0
        folder = output / Path(name).stem
        assert (folder / "prompt.txt").read_text(encoding="utf-8") == "${x}, 'a', [b]={c}"
        assert len(pictures(folder / "frames")) == FRAMES

    def test_own_keyframes(self, tmp_path: Path, output: Path) -> None:
        own = tmp_path / "states"
        own.mkdir()
        # Numbers in names count as numbers.
        for name, shade in (("s2", 0), ("s9", 120), ("s10", 255)):
            drawing(32, 48).point(lambda value, shade=shade: max(value, shade)).save(own / f"{name}.png")
        command = [f"output={output}", *MODELS, *SMALL, f"keyframes.folder={own}", "prompt=x"]
        assert main(command) == 0
        written = pictures(output / "states" / "keyframes")
        for keyframe, name in zip(written, ("s2", "s9", "s10"), strict=True):
            assert (keyframe == np.asarray(Image.open(own / f"{name}.png"))).all()
        assert len(pictures(output / "states" / "frames")) == FRAMES

    def test_padding_keeps_the_whole_picture(self, tmp_path: Path, output: Path, capsys) -> None:
        Image.new("RGB", (90, 30), "black").save(tmp_path / "wide.png")
        assert main(arguments(tmp_path / "wide.png", output, "keyframes.fit=pad")) == 0
        keyframe = pictures(output / "wide" / "keyframes")[0]
        assert (keyframe[0] == 255).all()
        assert (keyframe[24] == 0).all()
        assert "cropped from 90x30" not in capsys.readouterr().err

    def test_crop_is_told(self, tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
        drawing(90, 30).save(tmp_path / "wide.png")
        assert main(arguments(tmp_path / "wide.png", output)) == 0
        assert "% of the width" in capsys.readouterr().err
