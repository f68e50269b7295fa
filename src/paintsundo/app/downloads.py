"""A run's files to download, made when they are first asked for."""

from __future__ import annotations

import json
from pathlib import Path

from paintsundo.app.exports import Material, export, keyframe_name
from paintsundo.app.run import Run
from paintsundo.errors import UserError
from paintsundo.pipelines.provenance import Provenance
from paintsundo.pipelines.writers import write_text

_FILE = "provenance.json"


def export_run(run: Run, kind: str) -> Path:
    """The film, frames or layers of a run.

    Raises:
        UserError: no such kind, or the run has not come that far.
    """
    status = run.status()
    keyframes = [each.path for each in status.keyframes if each.path is not None]
    if len(keyframes) < len(status.keyframes) or len(keyframes) < 2:
        raise UserError("the keyframes are not finished yet")
    frames = list(run.frame_files().values()) if run.has_film else []
    if frames:
        keyframes = sorted((run.folder / "keyframes").glob("*.png"))
    elif kind != "ora":
        raise UserError("the film is not finished yet")
    material = Material(
        keyframes=keyframes,
        names=[keyframe_name(each, index) for index, each in enumerate(status.keyframes)],
        frames=frames,
        fps=run.record.settings.fps,
        provenance=_provenance(run.folder),
        beside=[file for file in (run.folder / "prompt.txt", run.folder / "run.json") if frames and file.is_file()],
        film=run.folder / "film.mp4" if frames else None,
    )
    with run.exporting:
        return export(material, kind, run.folder / "exports")


def write_provenance(folder: Path, provenance: Provenance) -> None:
    """Keep what made a run's pictures, for the files that are made of them later."""
    told = {"models": dict(provenance.models), "settings": provenance.settings}
    write_text(folder / _FILE, json.dumps(told, ensure_ascii=False))


def _provenance(folder: Path) -> Provenance:
    return Provenance(**json.loads((folder / _FILE).read_text(encoding="utf-8")))
