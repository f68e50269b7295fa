"""The page's engine: everything the interface and the REST service can ask for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from paintsundo.app.options import AppOptions
from paintsundo.app.run_settings import RunSettings
from paintsundo.app.state import Candidate, KeyframeState, ModelChoice, RunSummary, Status

__all__ = ["Candidate", "ExportKind", "KeyframeState", "ModelChoice", "RunSettings", "RunSummary", "Status", "Studio"]

ExportKind = Literal["mp4", "webp", "gif", "zip", "ora", "sheet"]
Upload = bytes | Image.Image


class Studio:
    """All runs of all visitors; every method takes the visitor (`request.state.user`) and sees only that one's.

    Methods can be called from any thread and return at once; work is done by workers of the queue. They raise
    `UserError`, whose text is one sentence for the visitor, for whatever cannot be done.
    """

    def __init__(self, options: AppOptions) -> None:
        self.options = options

    def close(self) -> None:
        """Stop the workers, what is done kept: running work becomes "interrupted"."""
        raise NotImplementedError

    # What can be chosen

    def models(self) -> list[ModelChoice]:
        """Models that a run can be made with, the server's own first."""
        raise NotImplementedError

    def loras(self) -> list[str]:
        """Names of adapters for `RunSettings.lora`."""
        raise NotImplementedError

    def schedulers(self) -> list[str]:
        """Names for `RunSettings.scheduler` and `video_scheduler`."""
        raise NotImplementedError

    def placements(self) -> list[str]:
        """Presets of operation steps, for `placed`."""
        raise NotImplementedError

    def placed(self, placement: str, count: int) -> list[int]:
        """Operation steps of a preset."""
        raise NotImplementedError

    def defaults(self, model: str | None = None) -> RunSettings:
        """What suits a model (the server's own by default)."""
        raise NotImplementedError

    def examples(self) -> list[Path]:
        """Pictures to try."""
        raise NotImplementedError

    # Before a run

    def picture(self, upload: Upload) -> Image.Image:
        """A checked upload as RGB."""
        raise NotImplementedError

    def tag(self, user: str, picture: Upload, settings: RunSettings | None = None) -> str:
        """The tagger's words for a picture, separated by commas."""
        raise NotImplementedError

    def suggest_size(self, picture: Image.Image, model: str | None = None) -> tuple[int, int]:
        """(width, height) of the picture's shape, with about as many pixels as the model's own size."""
        raise NotImplementedError

    def crop_preview(self, picture: Image.Image, settings: RunSettings, side: int = 512) -> Image.Image:
        """The picture, what will be cut off dimmed (`fit="crop"`), or white around it (`fit="pad"`)."""
        raise NotImplementedError

    # A run

    def create(
        self, user: str, picture: Upload, settings: RunSettings | None = None, title: str = "", original: bytes = b""
    ) -> str:
        """A new draft; returns its id. `original`: the uploaded file, where `picture` was decoded from it."""
        raise NotImplementedError

    def update(self, user: str, run_id: str, settings: RunSettings) -> None:
        """Other settings, for what is made from now on."""
        raise NotImplementedError

    def start_keyframes(self, user: str, run_id: str, seeds: Sequence[int] | None = None) -> None:
        """Make the keyframes, or with several seeds candidates to choose from; earlier ones are replaced."""
        raise NotImplementedError

    def choose(self, user: str, run_id: str, candidate: int) -> None:
        """Take the keyframes of one candidate, numbered from 0, as the run's; the others stay to be chosen."""
        raise NotImplementedError

    def regenerate(self, user: str, run_id: str, index: int, seed: int) -> None:
        """Make one keyframe anew with another seed."""
        raise NotImplementedError

    def replace(self, user: str, run_id: str, index: int, picture: Upload) -> None:
        """Put an uploaded picture, fitted to the keyframes' size, in the place of a keyframe."""
        raise NotImplementedError

    def remove(self, user: str, run_id: str, index: int) -> None:
        """Take a keyframe out; at least two stay."""
        raise NotImplementedError

    def move(self, user: str, run_id: str, index: int, to: int) -> None:
        """Put keyframe `index` in place `to`, counted after it was taken out."""
        raise NotImplementedError

    def add(self, user: str, run_id: str, operation_step: int, seed: int | None = None) -> None:
        """Make one more keyframe, in the place that its operation step has among the others."""
        raise NotImplementedError

    def start_film(self, user: str, run_id: str) -> None:
        """Make the film between the keyframes; makes these first where there are none."""
        raise NotImplementedError

    def cancel(self, user: str, run_id: str) -> None:
        """Stop waiting or working; what is done stays."""
        raise NotImplementedError

    def resume(self, user: str, run_id: str) -> None:
        """Go on with what was cancelled, interrupted or failed."""
        raise NotImplementedError

    def status(self, user: str, run_id: str) -> Status:
        """The run at this moment; cheap enough to be asked several times a second."""
        raise NotImplementedError

    # Runs

    def runs(self, user: str) -> list[RunSummary]:
        """The visitor's runs, newest first."""
        raise NotImplementedError

    def delete(self, user: str, run_id: str) -> None:
        """Remove a run and its files for good; a working one is stopped first."""
        raise NotImplementedError

    def keep(self, user: str, run_id: str, kept: bool = True) -> None:
        """Mark a run so that it is never cleaned away (or no longer)."""
        raise NotImplementedError

    def repeat(self, user: str, run_json: bytes, picture: Upload | None = None) -> str:
        """A new draft with the settings of a `run.json`, the page's or the command line's.

        The picture is found among the visitor's own runs by its hash where none is given.
        """
        raise NotImplementedError

    # Results

    def picture_file(self, user: str, run_id: str) -> Path:
        """The uploaded picture as a PNG or JPEG that a browser shows."""
        raise NotImplementedError

    def frame(self, user: str, run_id: str, index: int) -> Path:
        """A frame of the film, 0 (blank) … ; PNG, or while the film is made a JPEG preview."""
        raise NotImplementedError

    def frame_numbers(self, user: str, run_id: str) -> list[int]:
        """Numbers of the frames that can be looked at now."""
        raise NotImplementedError

    def curves(self, user: str, run_id: str) -> dict[str, Any]:
        """Over the film's frames, blank … finished: {"progress": [...], "edges": [...], "colour": [...],
        "operation_steps": [...]}, each 0…1 but the last, which is 999…0 interpolated between keyframes."""
        raise NotImplementedError

    def export(self, user: str, run_id: str, kind: ExportKind) -> Path:
        """The finished film as a file to download, made at first asking."""
        raise NotImplementedError

    def url(self, user: str, run_id: str, file: Path) -> str:
        """Where the server gives a file of a run to its owner: `/files/<run>/…`."""
        raise NotImplementedError
