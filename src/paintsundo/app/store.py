"""Where runs lie: FOLDER/<visitor>/<run>/, both names random hexadecimal, never anything that a visitor wrote."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import re
import secrets
import shutil
import threading
import time
from pathlib import Path

from filelock import FileLock, Timeout
from PIL import Image

from paintsundo.app.faults import NotThere
from paintsundo.app.options import LimitOptions, RunsOptions
from paintsundo.app.record import FILE, PictureFile, Record
from paintsundo.app.run import Run
from paintsundo.app.run_settings import RunSettings
from paintsundo.app.uploads import Upload, display_name
from paintsundo.errors import UserError

log = logging.getLogger(__name__)

_ID = re.compile(r"[0-9a-f]{32}")
_SHOWN_SIDE = 1280  # pixels of the longer side of the picture as a browser shows it
_THUMBNAIL_SIDE = 256
_REMOVED = ".removed-"
_DAY = 86400.0


def new_id() -> str:
    """A name that nobody guesses."""
    return secrets.token_hex(16)


class RunStore:
    """All runs of all visitors in one folder, which one server has for itself.

    Raises:
        UserError: the folder cannot be made, or another server uses it.
    """

    def __init__(self, options: RunsOptions, limits: LimitOptions) -> None:
        self.folder = Path(options.folder).resolve()
        self.options = options
        self.limits = limits
        self._runs: dict[str, Run] = {}
        self._lock = threading.RLock()
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file_lock = FileLock(self.folder / ".lock", blocking=False)
            self._file_lock.acquire()
        except Timeout:
            raise UserError(f"runs.folder: another server uses {self.folder}; choose another folder") from None
        except OSError as error:
            raise UserError(f"runs.folder: {self.folder} cannot be used: {error.strerror}") from error
        for left in (*self.folder.glob(f"*/{_REMOVED}*"), self.uploads):
            shutil.rmtree(left, ignore_errors=True)
        self._read_all()

    @property
    def uploads(self) -> Path:
        """Where uploads lie while they are read."""
        return self.folder / ".uploads"

    def close(self) -> None:
        """Let another server have the folder."""
        self._file_lock.release()

    def secret(self) -> bytes:
        """What the server signs visitors' names with; the same after a restart."""
        file = self.folder / ".secret"
        if not file.is_file():
            file.touch(mode=0o600)
            file.write_text(secrets.token_hex(32), encoding="ascii")
        return file.read_bytes()

    def _read_all(self) -> None:
        for file in self.folder.glob(f"*/*/{FILE}"):
            folder = file.parent
            if not (_ID.fullmatch(folder.name) and _ID.fullmatch(folder.parent.name)):
                continue
            try:
                run = Run(folder, Record.read(folder))
            except UserError as error:
                log.warning("run %s: %s", folder.name, error)
                continue
            if run.busy:
                run.record.stage = "interrupted"
                run.record.message = "The server was stopped while this run was at work; it can go on."
                run.save()
            self._runs[run.id] = run

    def create(self, user: str, upload: Upload, settings: RunSettings, name: str) -> Run:
        """A new run with its picture.

        Raises:
            UserError: the visitor has as many runs, or as much on disk, as is allowed.
        """
        folder = self._of(user) / new_id()
        with self._lock:
            runs = self.runs(user)
            if len(runs) >= self.limits.runs_per_user:
                raise UserError(f"you have {len(runs)} runs, which is as many as you may: delete some first")
            self.check_space(user)
            folder.mkdir(parents=True, mode=0o700)
            (folder / "states").mkdir()
        original = folder / f"original.{upload.suffix}"
        original.write_bytes(upload.data)
        picture = PictureFile(
            file=original.name,
            name=display_name(name, f"picture.{upload.suffix}"),
            sha256=hashlib.sha256(upload.data).hexdigest(),
            width=upload.image.width,
            height=upload.image.height,
        )
        run = Run(folder, Record(picture=picture, settings=settings, title=picture.name))
        _scaled(upload.image, _SHOWN_SIDE).save(run.picture)
        _scaled(upload.image, _THUMBNAIL_SIDE).save(run.thumbnail, quality=85)
        run.save()
        with self._lock:
            self._runs[run.id] = run
        return run

    def check_space(self, user: str) -> None:
        """Raise UserError where a visitor has as much on disk as is allowed."""
        used = sum(size(run.folder) for run in self.runs(user))
        if used > self.limits.user_mib * 2**20:
            raise UserError(
                f"your runs take {used / 2**20:.0f} MiB, more than the {self.limits.user_mib:g} MiB you may have: "
                "delete some first"
            )

    def open(self, user: str, run_id: str) -> Run:
        """A visitor's run.

        Raises:
            NotThere: there is none of this name, or it is another's, which is told in the same words.
        """
        run = self._runs.get(run_id) if _ID.fullmatch(str(run_id)) else None
        if run is None or run.user != user or run.live.deleted:
            raise NotThere("this run does not exist, or not any more")
        return run

    def runs(self, user: str) -> list[Run]:
        """A visitor's runs, newest first."""
        with self._lock:
            own = [run for run in self._runs.values() if run.user == user]
        return sorted(own, key=lambda run: run.record.created, reverse=True)

    def all_runs(self) -> list[Run]:
        """All visitors' runs, those used last first."""
        with self._lock:
            return sorted(self._runs.values(), key=lambda run: run.record.used, reverse=True)

    def remove(self, run: Run) -> None:
        """Remove a run and its files for good."""
        with self._lock, run.lock:
            self._runs.pop(run.id, None)
            run.live.deleted = True
            gone = run.folder.with_name(f"{_REMOVED}{run.id}")
            run.folder.rename(gone)  # at once; what is left by a crash in the next line goes at the next start
        shutil.rmtree(gone, ignore_errors=True)
        with contextlib.suppress(OSError):  # others lie there
            run.folder.parent.rmdir()

    def clean(self, now: float | None = None) -> list[str]:
        """Remove what is older than `keep_days`, then the oldest while all together are larger than `keep_gib`.

        Runs that are kept or at work stay, and count. Returns the ids of those removed.
        """
        now = time.time() if now is None else now
        removed = []
        room = self.options.keep_gib * 2**30
        for run in self.all_runs():
            stays = run.record.kept or run.busy
            room -= size(run.folder)
            if stays or (now - run.record.used <= self.options.keep_days * _DAY and room >= 0):
                continue
            room += size(run.folder)
            self.remove(run)
            removed.append(run.id)
        if removed:
            log.info("cleaned away %d old runs", len(removed))
        return removed

    def _of(self, user: str) -> Path:
        if not _ID.fullmatch(user):
            raise UserError("you are not known here: load the page again")
        return self.folder / user


def size(folder: Path) -> int:
    """Bytes of all files below a folder; those that vanish meanwhile do not count."""
    total = 0
    for file in folder.rglob("*"):
        try:
            total += file.stat().st_size
        except OSError:
            continue
    return total


def _scaled(image: Image.Image, side: int) -> Image.Image:
    scaled = image.copy()
    scaled.thumbnail((side, side))
    return scaled
