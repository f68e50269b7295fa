"""What can be seen of runs and taken home: state, frames, curves, films."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

from paintsundo.app.engine import Engine
from paintsundo.app.faults import NotThere
from paintsundo.app.state import RunSummary, Status
from paintsundo.conditioning.buckets import choose_bucket
from paintsundo.errors import UserError

ExportKind = Literal["mp4", "webp", "gif", "zip", "ora", "sheet"]


class Results(Engine):
    """Everything that only looks at runs."""

    def status(self, user: str, run_id: str) -> Status:
        """The run at this moment; cheap enough to be asked several times a second."""
        run = self.store.open(user, run_id)
        status = run.status(self.queue.place(run))
        sizes = self.model_choices.resolved_film(run.record)
        width, height = int(sizes.width or 0), int(sizes.height or 0)
        film_height, film_width = choose_bucket(height, width, sizes.buckets or [[height, width]])
        return dataclasses.replace(status, size=(width, height), film_size=(film_width, film_height))

    def wait(self, user: str, run_id: str, timeout: float | None = None) -> Status:
        """The run once it neither waits nor works, or after `timeout` seconds."""
        self.queue.wait_for(self.store.open(user, run_id), timeout)
        return self.status(user, run_id)

    def runs(self, user: str) -> list[RunSummary]:
        """The visitor's runs, newest first."""
        return [run.summary() for run in self.store.runs(user)]

    def picture_file(self, user: str, run_id: str) -> Path:
        """The uploaded picture as a PNG that a browser shows."""
        return self.store.open(user, run_id).picture

    def frame(self, user: str, run_id: str, index: int) -> Path:
        """A frame of the film, 0 (blank) … ; PNG, or while the film is made a JPEG preview."""
        found = self.store.open(user, run_id).frame_files().get(index)
        if found is None:
            raise NotThere(f"there is no frame {index} yet")
        return found

    def frame_numbers(self, user: str, run_id: str) -> list[int]:
        """Numbers of the frames that can be looked at now."""
        return list(self.store.open(user, run_id).frame_files())

    def frame_steps(self, user: str, run_id: str) -> list[float]:
        """The operation step that each frame of the film stands at, 999 … 0; empty before its length is known."""
        run = self.store.open(user, run_id)
        return run.frame_steps(run.status().frames_total)

    def curves(self, user: str, run_id: str) -> dict[str, Any]:
        """Over the film's frames, blank … finished: {"progress": [...], "edges": [...], "colour": [...],
        "operation_steps": [...]}, each 0…1 but the last, which is 999…0 interpolated between keyframes."""
        from paintsundo.app.curves import film_curves

        run = self.store.open(user, run_id)
        if not run.has_film:
            raise UserError("the film is not finished yet")
        file = run.folder / "curves.json"
        with contextlib.suppress(OSError, ValueError):
            kept = json.loads(file.read_text(encoding="utf-8"))
            if kept.pop("film") == run.record.film_of:
                return kept
        found = film_curves(list(run.frame_files().values()))
        curves = {**found, "operation_steps": run.frame_steps(len(found["progress"]))}
        file.write_text(json.dumps({"film": run.record.film_of, **curves}), encoding="utf-8")
        return curves

    def export(self, user: str, run_id: str, kind: ExportKind) -> Path:
        """The finished film as a file to download, made at first asking."""
        from paintsundo.app.downloads import export_run

        run = self.store.open(user, run_id)
        return export_run(run, kind)

    def url(self, user: str, run_id: str, file: Path) -> str:
        """Where the server gives a file of a run to its owner: `/files/<run>/…`."""
        run = self.store.open(user, run_id)
        return f"/files/{run.id}/{Path(file).relative_to(run.folder).as_posix()}"
