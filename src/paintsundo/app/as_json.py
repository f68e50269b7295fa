"""What the REST service tells of the engine's objects: paths become addresses."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from paintsundo.app.run import Run
from paintsundo.app.state import Candidate, KeyframeState, RunSummary, Status


def file_url(run_id: str, folder: Path, file: Path | None) -> str | None:
    """Where a file of a run is given to its owner."""
    return None if file is None else f"/files/{run_id}/{file.relative_to(folder).as_posix()}"


def status_json(status: Status, folder: Path) -> dict[str, Any]:
    """A status; `path` and `preview_path` of keyframes are `url` and `preview_url`."""
    told = {each.name: getattr(status, each.name) for each in dataclasses.fields(status)}
    told["settings"] = dataclasses.asdict(status.settings)
    told["keyframes"] = [_keyframe(each, status.run_id, folder) for each in status.keyframes]
    told["candidates"] = [_candidate(each, status.run_id, folder) for each in status.candidates]
    return told


def run_json(run: Run, status: Status) -> dict[str, Any]:
    """A run with its picture, settings and status."""
    picture = run.record.picture
    return {
        "id": run.id,
        "name": run.record.title,
        "created": run.record.created,
        "picture": {
            "url": file_url(run.id, run.folder, run.picture),
            "name": picture.name,
            "width": picture.width,
            "height": picture.height,
        },
        "settings": dataclasses.asdict(status.settings),
        "status": status_json(status, run.folder),
    }


def summary_json(summary: RunSummary) -> dict[str, Any]:
    """One line of a list of runs."""
    return {
        "id": summary.run_id,
        "name": summary.title,
        "created": summary.created,
        "stage": summary.stage,
        "thumbnail": file_url(summary.run_id, summary.thumbnail.parent, summary.thumbnail),
        "prompt": summary.prompt,
        "keyframes": summary.keyframes,
        "frames": summary.frames,
        "kept": summary.kept,
        "settings": dataclasses.asdict(summary.settings),
    }


def _keyframe(keyframe: KeyframeState, run_id: str, folder: Path) -> dict[str, Any]:
    return {
        "id": keyframe.id,
        "operation_step": keyframe.operation_step,
        "seed": keyframe.seed,
        "origin": keyframe.origin,
        "done": keyframe.done,
        "url": file_url(run_id, folder, keyframe.path),
        "preview_url": file_url(run_id, folder, keyframe.preview_path),
    }


def _candidate(candidate: Candidate, run_id: str, folder: Path) -> dict[str, Any]:
    keyframes = [_keyframe(each, run_id, folder) for each in candidate.keyframes]
    return {"seed": candidate.seed, "done": candidate.done, "keyframes": keyframes}
