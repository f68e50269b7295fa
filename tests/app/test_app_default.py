"""The default as it is, with no option that makes it smaller: the page's engine beside `infer.py`."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from studios import ANNA

from paintsundo.app.options import AppOptions
from paintsundo.app.studio import Studio

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "examples" / "chili.png"
DOWNLOADS = {"mp4": "film.mp4", "webp": "film.webp", "gif": "film.gif", "sheet": "contact_sheet.png"}


@pytest.mark.slow
def test_a_film_of_the_default_is_the_command_lines_to_the_byte(tmp_path: Path) -> None:
    """All of the default: the bundled models at 256x256 pixels, five keyframes of 20 steps between the picture and the
    blank canvas, six pairs of 8 steps, and the samplers, guidance, seeds and number type that come with them.

    The command runs as its users run it, in a process of its own. The processor is named so that the test is the same
    on machines with a GPU.
    """
    picture = tmp_path / PICTURE.name
    shutil.copyfile(PICTURE, picture)
    out = tmp_path / "out"
    command = [sys.executable, ROOT / "infer.py", f"input={picture}", f"output={out}", "runtime.device=cpu"]
    done = subprocess.run(
        [*command, "video.formats=[mp4,gif,webp,sheet]"],
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    theirs = out / picture.stem

    studio = Studio(AppOptions.composed([f"runs.folder={tmp_path / 'runs'}", "runtime.device=cpu"]))
    try:
        run_id = studio.create(ANNA, PICTURE.read_bytes(), None, PICTURE.name)
        studio.start_film(ANNA, run_id)
        status = studio.wait(ANNA, run_id, 3600)
        assert status.stage == "done", (status.message, status.error)
        assert len(status.keyframes) == 7
        assert status.frames == 6 * 15
        downloads = {kind: studio.export(ANNA, run_id, kind).read_bytes() for kind in DOWNLOADS}  # type: ignore[arg-type]
        with zipfile.ZipFile(studio.export(ANNA, run_id, "zip")) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
    finally:
        studio.close()

    for kind, name in DOWNLOADS.items():
        assert downloads[kind] == (theirs / name).read_bytes(), name
    pictures = [*sorted(theirs.glob("keyframes/*.png")), *sorted(theirs.glob("frames/*.png"))]
    assert len(pictures) == 7 + 90
    written = {str(file.relative_to(theirs)): file.read_bytes() for file in [*pictures, theirs / "prompt.txt"]}
    for name, content in written.items():
        assert files[name] == content, name
    assert set(files) == {*written, "run.json"}
    # Both records tell the same settings: neither made its film by a shorter way.
    ours, told = json.loads(files["run.json"]), json.loads((theirs / "run.json").read_bytes())
    for group in ("models", "keyframes", "video"):
        mine = {**ours["configuration"][group], "formats": None}
        assert mine == {**told["configuration"][group], "formats": None}, group
    keyframes, video = (ours["configuration"][group] for group in ("keyframes", "video"))
    assert keyframes["operation_steps"] == [160, 320, 480, 640, 800]
    assert (keyframes["width"], keyframes["height"], keyframes["num_inference_steps"]) == (256, 256, 20)
    assert (video["buckets"], video["num_inference_steps"]) == ([[256, 256]], 8)
