"""Checkpoints on disk: folders that are whole or not there, the newest found by itself, old ones removed by rule.

`step-00001000/` is written as `.step-00001000.partial/` and renamed when every file is on disk and `manifest.json`,
written last, lists them. A fault while saving (a full disk, say) leaves the older checkpoints as they are.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paintsundo.errors import UserError

FORMAT = 1
MANIFEST = "manifest.json"
_NAME = re.compile(r"step-(\d{8,})")
_PARTIAL = re.compile(r"\.step-\d{8,}(\.old)?\.partial")


@dataclass(frozen=True)
class Fault:
    """A checkpoint that could not be saved.

    Attributes:
        step: of the training.
        message: what went wrong, one line.
    """

    step: int
    message: str


class CheckpointStore:
    """The checkpoints of one run.

    Several processes each make their own with the same folder. The first makes folders and manifests and removes
    old checkpoints; all call `save` together and each may write files.

    Args:
        folder: holds the checkpoints.
        keep: how many of the newest stay.
        keep_every: multiples of so many steps stay as well.
        settings: a hash of what the run was configured with, for the manifest.
        rank: of this process.
        share: given this process's fault (or None), waits for all processes and returns the first fault of any.
        say: what to do with one-line notices.

    Attributes:
        faults: saves that failed.

    Raises:
        UserError: a rule is impossible.
    """

    def __init__(
        self,
        folder: Path,
        keep: int = 2,
        keep_every: int | None = None,
        settings: str = "",
        rank: int = 0,
        share: Callable[[str | None], str | None] = lambda fault: fault,
        say: Callable[[str], Any] = print,
    ) -> None:
        if keep < 1 or (keep_every is not None and keep_every < 1):
            raise UserError("keep_checkpoints and keep_every must be at least 1")
        self.folder, self.keep, self.keep_every, self.settings = folder, keep, keep_every, settings
        self.rank, self.share, self.say = rank, share, say
        self.faults: list[Fault] = []
        self._partial: Path | None = None

    def path(self, step: int) -> Path:
        """Where the checkpoint of a step is, if there is one."""
        return self.folder / f"step-{step:08d}"

    def save(self, step: int, write: Callable[[Path], None]) -> Fault | None:
        """Write a checkpoint; afterwards it is complete, or nothing of it is left and the fault is in `faults`.

        What `is_save_fault` recognises goes no further; other exceptions do, once the files are gone. All processes
        must call it, and all learn of a fault of any.

        Args:
            step: of the training.
            write: writes files into the folder it is given; it may take part in collective operations.

        Returns:
            the fault, None where all is well.
        """
        final = self.path(step)
        partial = self._partial = self.folder / f".{final.name}.partial"
        message: str | None = None
        try:
            message = self.share(self._first(lambda: self._begin(partial)))
            if message is None:
                message = self.share(_attempt(lambda: write(partial)))
            if message is None:
                message = self.share(self._first(lambda: self._finish(partial, final, step)))
        finally:
            # It still has this name only where it is not complete.
            if self.rank == 0:
                shutil.rmtree(partial, ignore_errors=True)
            self._partial = None
        if message is None:
            return None
        self.faults.append(Fault(step, message))
        return self.faults[-1]

    def newest(self) -> Path | None:
        """The newest complete checkpoint; newer ones that are not are told."""
        for _, folder in reversed(self._folders()):
            wrong = incomplete(folder)
            if wrong is None:
                return folder
            if self.rank == 0:
                self.say(f"checkpoint {folder} is incomplete ({wrong}); looking for an older one")
        return None

    def prune(self) -> list[Path]:
        """Remove leftovers of killed runs and checkpoints that no rule keeps; returns what was removed.

        The newest complete checkpoint always stays. So do incomplete ones after it, until their step comes again.
        """
        if self.rank != 0 or not self.folder.is_dir():
            return []
        leftovers = [p for p in self.folder.iterdir() if _PARTIAL.fullmatch(p.name) and p != self._partial]
        folders = self._folders()
        complete = [step for step, folder in folders if incomplete(folder) is None]
        kept = set(complete[-self.keep :])
        kept |= {step for step in complete if self.keep_every and step % self.keep_every == 0}
        old = [folder for step, folder in folders if complete and step not in kept and step < complete[-1]]
        removed = []
        for folder in [*leftovers, *old]:
            try:
                if folder in old:
                    # Under a checkpoint's name there is never half of one.
                    hidden = self.folder / f".{folder.name}.partial"
                    shutil.rmtree(hidden, ignore_errors=True)
                    shutil.rmtree(folder.rename(hidden))
                else:
                    shutil.rmtree(folder)
                removed.append(folder)
            except OSError as error:
                self.say(f"{folder} could not be removed: {one_line(error)}")
        return removed

    def _folders(self) -> list[tuple[int, Path]]:
        if not self.folder.is_dir():
            return []
        named = ((_NAME.fullmatch(path.name), path) for path in self.folder.iterdir() if path.is_dir())
        return sorted((int(match[1]), path) for match, path in named if match)

    def _first(self, action: Callable[[], None]) -> str | None:
        """Do something on the first process only; its fault, if it has one."""
        return _attempt(action) if self.rank == 0 else None

    def _begin(self, partial: Path) -> None:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)

    def _finish(self, partial: Path, final: Path, step: int) -> None:
        files = sorted(p for p in partial.rglob("*") if p.is_file())
        for file in files:
            _sync(file)
        manifest = {
            "format": FORMAT,
            "step": step,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "settings": self.settings,
            "files": {file.relative_to(partial).as_posix(): file.stat().st_size for file in files},
        }
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        _sync(partial / MANIFEST)
        for folder in {partial, *(p for p in partial.rglob("*") if p.is_dir())}:
            _sync(folder)
        replaced = self.folder / f".{final.name}.old.partial"
        shutil.rmtree(replaced, ignore_errors=True)
        if final.exists():  # incomplete, or the same step reached again
            final.rename(replaced)
        partial.rename(final)
        _sync(self.folder)
        shutil.rmtree(replaced, ignore_errors=True)


def incomplete(folder: Path) -> str | None:
    """What a checkpoint's folder lacks by its manifest; None if nothing."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            return f"format {manifest['format']} is unknown"
        for name, size in manifest["files"].items():
            file = folder / name
            if not file.is_file():
                return f"{name} is missing"
            if file.stat().st_size != size:
                return f"{name} has {file.stat().st_size:,} bytes, not {size:,}"
    except FileNotFoundError:
        return f"{MANIFEST} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{MANIFEST} is damaged: {one_line(error)}"
    return None


def _attempt(action: Callable[[], None]) -> str | None:
    try:
        action()
    except BaseException as error:
        if not is_save_fault(error):
            raise
        return one_line(error)
    return None


def is_save_fault(error: BaseException) -> bool:
    """Whether an exception means that files could not be written, as opposed to a mistake of the program."""
    kind = type(error).__name__
    if isinstance(error, OSError) or kind == "SafetensorError":
        return True
    if kind == "CheckpointException":  # torch.distributed.checkpoint: exceptions by process
        return all(is_save_fault(failure[0]) for failure in getattr(error, "failures", {}).values())
    # What torch.save makes of its writer's faults.
    return isinstance(error, RuntimeError) and any(
        mark in str(error) for mark in ("PytorchStreamWriter", "inline_container", "iostream", "file write")
    )


def one_line(error: BaseException) -> str:
    """An exception's message in one line, never empty."""
    if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
        error = error.__context__  # what the writer ran into
    return " ".join(str(error).split()) or type(error).__name__


def _sync(path: Path) -> None:
    """Wait until a file's content, or a folder's entries, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
