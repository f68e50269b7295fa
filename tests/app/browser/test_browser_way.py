"""From an upload to downloaded films, which are those of the command line."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image
from pyora import Project

from paintsundo.pipelines.command import main as infer


def test_from_upload_to_films_that_the_command_line_makes_too(visitor: Any, drawing: Path, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    visitor.upload(drawing)
    words = visitor.at("#pu-tags .chip-word").all_inner_texts()
    assert words
    visitor.at("#pu-next").click()
    expect(visitor.at("#pu-keyframes-timeline, .timeline .handle").first).to_be_visible()
    visitor.draw()
    names = visitor.at("#pu-keyframes .card-name").all_inner_texts()
    assert names == ["Blank canvas", "Step 700", "Step 350", "Finished"]
    visitor.film()
    expect(visitor.at("#pu-curves path.curve.progress")).to_have_attribute("d", _drawn())
    status = visitor.status()
    assert status["stage"] == "done"
    assert status["frames"] == status["frames_total"] == 45

    files = {kind: visitor.download(kind) for kind in ("mp4", "webp", "gif", "zip", "ora", "sheet")}
    record = json.loads(visitor.download("run").read_text(encoding="utf-8"))
    assert files["mp4"].name.endswith(".mp4")
    with av.open(str(files["mp4"])) as film:
        assert sum(1 for _ in film.decode(video=0)) == 45
    assert [Image.open(files[kind]).n_frames for kind in ("gif", "webp")] == [45, 45]

    # The command line with the settings of the record.
    code = infer(_arguments(record, drawing, tmp_path / "films"))
    assert code == 0
    folder = next((tmp_path / "films").iterdir())
    with zipfile.ZipFile(files["zip"]) as archive:
        for part in ("keyframes", "frames"):
            ours = sorted((folder / part).glob("*.png"))
            assert [name for name in archive.namelist() if name.startswith(f"{part}/")] == [
                f"{part}/{file.name}" for file in ours
            ]
            for file in ours:
                assert archive.read(f"{part}/{file.name}") == file.read_bytes(), file
        first, last = (
            np.asarray(Image.open(io.BytesIO(archive.read(f"frames/{name}.png")))) for name in ("00000", "00044")
        )
        assert "/" not in json.loads(archive.read("run.json"))["input"]["file"]  # tells no place on the server
    for kind, name in (("mp4", "film.mp4"), ("webp", "film.webp"), ("gif", "film.gif"), ("sheet", "contact_sheet.png")):
        assert files[kind].read_bytes() == (folder / name).read_bytes(), kind
    assert first.mean() > 1.2 * last.mean()  # the film begins with the blank canvas

    # Layers for painting programs, read by a library that is not ours.
    layers = list(Project.load(str(files["ora"])).iter_layers)
    assert [layer.name for layer in layers] == [
        "blank canvas",
        "operation step 700 (synthetic)",
        "operation step 350 (synthetic)",
        "finished picture",
    ]
    pictures = sorted((folder / "keyframes").glob("*.png"), reverse=True)
    for layer, file in zip(layers, pictures, strict=True):
        shown = np.asarray(layer.get_image_data().convert("RGB"))
        np.testing.assert_array_equal(shown, np.asarray(Image.open(file)))


def _drawn() -> Any:
    import re

    return re.compile(r"^M.*L")


def _arguments(record: dict[str, Any], picture: Path, output: Path) -> list[str]:
    """The command line of a record: every option that it tells, but where things lie."""
    told = record["configuration"]
    arguments = [f"input={picture}", f"output={output}", "prompt=" + record["prompt"]]
    for group in ("keyframes", "video"):
        for name, value in told[group].items():
            if name not in ("scheduler", "noise_schedule", "folder", "formats") and value is not None and value != "":
                said = value if isinstance(value, str) else json.dumps(value)
                arguments.append(f"{group}.{name}={said}")
    return [*arguments, "video.formats=[mp4,gif,webp,sheet]", "runtime.progress=false"]
