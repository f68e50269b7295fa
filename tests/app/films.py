"""Runs of an engine carried to their keyframes or film, and what the command line makes of the same picture."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from studios import ANNA, png

from paintsundo.app.state import Status
from paintsundo.app.studio import Studio
from paintsundo.pipelines.command import main
from tiny_models import MODELS, SMALL

EVERYTHING = ("prompt.txt", "keyframes", "frames", "film.mp4")


def same_files(first: Path, second: Path, *parts: str) -> None:
    """Named files and folders of two runs are equal, byte for byte."""
    for part in parts:
        ours, theirs = first / part, second / part
        if ours.is_dir():
            names = [file.name for file in sorted(ours.iterdir())]
            assert names == [file.name for file in sorted(theirs.iterdir())], part
            assert names, part
            same_files(ours, theirs, *names)
        else:
            assert ours.read_bytes() == theirs.read_bytes(), f"{ours} and {theirs} differ"


def pixels(file: Path | None) -> np.ndarray:
    assert file is not None
    return np.asarray(Image.open(file).convert("RGB"))


def finished(studio: Studio, run_id: str, stage: str, user: str = ANNA) -> Status:
    status = studio.wait(user, run_id, 120)
    assert status.stage == stage, (status.message, status.error)
    return status


def drawn(studio: Studio, *seeds: int, **changes: Any) -> str:
    """A run with its keyframes."""
    settings = dataclasses.replace(studio.defaults(), **{"operation_steps": [300, 700], **changes})
    run_id = studio.create(ANNA, png(), settings, "drawing.png")
    studio.start_keyframes(ANNA, run_id, seeds or None)
    finished(studio, run_id, "draft")
    return run_id


def filmed(studio: Studio, run_id: str) -> Status:
    """Its film is made to the end."""
    studio.start_film(ANNA, run_id)
    return finished(studio, run_id, "done")


def command(folder: Path, picture: Path, *others: str) -> Path:
    """What the command line makes of a run's picture; its folder."""
    given = folder / "drawing.png"
    folder.mkdir(parents=True)
    shutil.copyfile(picture, given)
    assert main([f"input={given}", f"output={folder / 'out'}", *MODELS, *SMALL, *others]) == 0
    return folder / "out" / "drawing"
