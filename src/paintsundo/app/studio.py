"""The page's engine: everything the interface and the REST service can ask for."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from paintsundo.app.faults import NotThere, known, sentence
from paintsundo.app.models import Models
from paintsundo.app.options import AppOptions
from paintsundo.app.record import Keyframe, Task
from paintsundo.app.repeating import read_run_json
from paintsundo.app.run import Run
from paintsundo.app.run_settings import RunSettings, scheduler_names
from paintsundo.app.state import Candidate, KeyframeState, ModelChoice, RunSummary, Status
from paintsundo.app.store import RunStore
from paintsundo.app.uploads import Upload, read_upload
from paintsundo.app.worker import Queue
from paintsundo.errors import UserError
from paintsundo.pipelines.keyframe_placement import PLACEMENTS, placed_steps
from paintsundo.pipelines.options import LAST_OPERATION_STEP

__all__ = ["Candidate", "ExportKind", "KeyframeState", "ModelChoice", "RunSettings", "RunSummary", "Status", "Studio"]

log = logging.getLogger(__name__)

ExportKind = Literal["mp4", "webp", "gif", "zip", "ora", "sheet"]
Picture = bytes | Image.Image
_CLEANING = 3600.0  # seconds between two cleanings
_EXAMPLES = (".png", ".jpg", ".jpeg", ".webp")


class Studio:
    """All runs of all visitors; every method takes the visitor (`request.state.user`) and sees only that one's.

    Methods can be called from any thread and return at once; work is done by workers of the queue. They raise
    `UserError`, whose text is one sentence for the visitor, for whatever cannot be done.

    Args:
        options: of the page.
        work: does a run's task on a device; by default `making.Making`.
    """

    def __init__(self, options: AppOptions, work: Callable[[Run, str | None], None] | None = None) -> None:
        self.options = options
        self.limits = options.limits
        self.store = RunStore(options.runs, options.limits)
        self.model_choices = Models(options)
        self._do = work or self._make
        self.queue = Queue(self._work, options.limits, options.server.devices or [None])
        self._closing = threading.Event()
        self._cleaner = threading.Thread(target=self._clean_now_and_then, name="cleaner", daemon=True)
        self._cleaner.start()

    def close(self) -> None:
        """Stop the workers, what is done kept: running work becomes "interrupted"."""
        if self._closing.is_set():
            return
        self._closing.set()
        for run in self.queue.close():
            with run.lock:
                run.record.stage = "interrupted"
                run.record.message = "The server was stopped while this run waited; it can go on."
                run.save()
        self._cleaner.join(10)
        self.store.close()

    # What can be chosen

    def models(self) -> list[ModelChoice]:
        """Models that a run can be made with, the server's own first."""
        return self.model_choices.choices()

    def loras(self) -> list[str]:
        """Names of adapters for `RunSettings.lora`."""
        return self.model_choices.loras()

    def schedulers(self) -> list[str]:
        """Names for `RunSettings.scheduler` and `video_scheduler`."""
        return list(scheduler_names())

    def placements(self) -> list[str]:
        """Presets of operation steps, for `placed`."""
        return [name for name in PLACEMENTS if name != "listed"]

    def placed(self, placement: str, count: int) -> list[int]:
        """Operation steps of a preset."""
        return placed_steps(placement, min(count, self.limits.keyframes_count + 1))

    def defaults(self, model: str | None = None) -> RunSettings:
        """What suits a model (the server's own by default)."""
        return self.model_choices.defaults(model or self.options.models.name)

    def size_multiple(self, model: str | None = None) -> int:
        """Both sides of a keyframe are multiples of this."""
        return self.model_choices.multiples(model or self.options.models.name)[0]

    def examples(self) -> list[Path]:
        """Pictures to try."""
        given = self.options.choices.examples
        folder = Path(__file__).resolve().parents[3] / "examples" if given is None else Path(given)
        if not folder.is_dir():
            return []
        return sorted(file for file in folder.iterdir() if file.suffix.lower() in _EXAMPLES and file.is_file())

    def example(self, name: str) -> Path:
        """The example of this name."""
        for file in self.examples():
            if file.name == name:
                return file
        raise NotThere("there is no such example")

    # Before a run

    def picture(self, upload: Picture) -> Image.Image:
        """A checked upload as RGB."""
        return self._read(upload).image

    def tag(self, user: str, picture: Picture, settings: RunSettings | None = None) -> str:
        """The tagger's words for a picture, separated by commas."""
        settings = settings or self.defaults()
        options = self.model_choices.base(settings.model)
        image = picture if isinstance(picture, Image.Image) else self.picture(picture)
        tagger = self.model_choices.tagger(options)
        return tagger.tag(image.convert("RGB"), settings.general_threshold, settings.character_threshold)

    def tag_run(self, user: str, run_id: str) -> str:
        """The tagger's words for a run's picture."""
        run = self.store.open(user, run_id)
        return self.tag(user, run.original.read_bytes(), run.record.settings)

    def resolved(self, settings: RunSettings, width: int, height: int) -> RunSettings:
        """Settings for a picture of this size, in pixels, where its shape decides the sizes."""
        return self.model_choices.resolved(settings, (width, height))

    def suggest_size(self, picture: Image.Image, model: str | None = None) -> tuple[int, int]:
        """(width, height) of the picture's shape, with about as many pixels as the model's own size."""
        settings = dataclasses.replace(self.defaults(model), width=None, height=None)
        resolved = self.resolved(settings, picture.width, picture.height)
        return int(resolved.width or 0), int(resolved.height or 0)

    def crop_preview(self, picture: Image.Image, settings: RunSettings, side: int = 512) -> Image.Image:
        """The picture, what will be cut off dimmed (`fit="crop"`), or white around it (`fit="pad"`)."""
        from paintsundo.app.cropping import crop_preview

        resolved = self.resolved(settings, picture.width, picture.height)
        return crop_preview(picture, int(resolved.width or 1), int(resolved.height or 1), resolved.fit, side)

    # A run

    def create(
        self, user: str, picture: Picture, settings: RunSettings | None = None, title: str = "", original: bytes = b""
    ) -> str:
        """A new draft; returns its id. `original`: the uploaded file, where `picture` was decoded from it."""
        settings = settings or self.defaults()
        upload = self._read(original or picture)
        self.check(settings, upload.image.size)
        return self.store.create(user, upload, settings, title).id

    def check(self, settings: RunSettings, picture: tuple[int, int] = (512, 512)) -> None:
        """Raise UserError for settings that `infer.py` or the limits would refuse."""
        settings.check(self.limits)
        resolved = self.resolved(settings, *picture)
        resolved.check(self.limits)
        options = resolved.options(self.model_choices.base(settings.model, settings.lora))
        options.input = options.output = "."
        options.check()
        self.model_choices.check(options)

    def update(self, user: str, run_id: str, settings: RunSettings) -> None:
        """Other settings, for what is made from now on."""
        run = self.store.open(user, run_id)
        self.check(settings, (run.record.picture.width, run.record.picture.height))
        with self._editing(run):
            run.record.settings = copy.deepcopy(settings)

    def rename(self, user: str, run_id: str, title: str) -> None:
        """Another title."""
        run = self.store.open(user, run_id)
        with run.lock:
            run.record.title = " ".join(title.split())[:200] or run.record.picture.name
            run.save()

    def start_keyframes(self, user: str, run_id: str, seeds: Sequence[int] | None = None) -> None:
        """Make the keyframes, or with several seeds candidates to choose from; earlier ones are replaced."""
        run = self.store.open(user, run_id)
        with self._editing(run):
            self._begin_keyframes(run, seeds)
            self._submit(run)

    def _begin_keyframes(self, run: Run, seeds: Sequence[int] | None) -> None:
        picture = run.record.picture
        settings = self.resolved(run.record.settings, picture.width, picture.height)
        wanted = list(dict.fromkeys(seeds or [settings.seed]))
        if len(wanted) > self.limits.seeds:
            raise UserError(f"{len(wanted)} seeds are too many side by side: at most {self.limits.seeds}")
        for seed in wanted:
            self.check(dataclasses.replace(settings, seed=seed), (picture.width, picture.height))
        made_with = dataclasses.replace(settings, seed=wanted[0])
        if len(wanted) == 1:
            run.record.settings = dataclasses.replace(run.record.settings, seed=wanted[0])
        self.store.check_space(run.user)
        run.begin_keyframes(made_with, wanted)
        run.record.prompt = settings.prompt
        run.remove_previews()

    def choose(self, user: str, run_id: str, candidate: int) -> None:
        """Take the keyframes of one candidate, numbered from 0, as the run's; the others stay to be chosen."""
        run = self.store.open(user, run_id)
        with self._editing(run):
            run.choose(candidate)

    def regenerate(self, user: str, run_id: str, index: int, seed: int) -> None:
        """Make one keyframe anew with another seed."""
        run = self.store.open(user, run_id)
        with self._editing(run, single=True):
            old = run.inner(index)
            if old.operation_step is None:
                raise UserError("this keyframe has no operation step to be made at: add one at the step you want")
            self._check_single(run, old.operation_step, seed)
            before = old if old.done else old.before
            run.record.keyframes[index] = Keyframe.new("generated", old.operation_step, seed, before)
            self._start_single(run)

    def add(self, user: str, run_id: str, operation_step: int, seed: int | None = None) -> None:
        """Make one more keyframe, in the place that its operation step has among the others."""
        run = self.store.open(user, run_id)
        with self._editing(run, single=True):
            keyframes = run.record.keyframes
            if len(keyframes) < 2 or run.record.made_with is None:
                raise UserError("there are no keyframes yet: make them first")
            if len(keyframes) - 2 >= self.limits.keyframes_count:
                raise UserError(f"there are {len(keyframes) - 2} keyframes, which is as many as there may be")
            seed = run.record.made_with.seed if seed is None else seed
            self._check_single(run, operation_step, seed)
            later = [
                index
                for index, keyframe in enumerate(keyframes[1:-1], start=1)
                if keyframe.operation_step is not None and keyframe.operation_step > operation_step
            ]
            place = min(later, default=len(keyframes) - 1)
            keyframes.insert(place, Keyframe.new("generated", operation_step, seed))
            self._start_single(run)

    def _check_single(self, run: Run, operation_step: int, seed: int) -> None:
        if not 0 <= operation_step <= LAST_OPERATION_STEP:
            raise UserError(f"operation step {operation_step} does not exist: they go from 0 to {LAST_OPERATION_STEP}")
        made_with = run.record.made_with
        if made_with is not None:
            self.check(dataclasses.replace(made_with, seed=seed))
        self.store.check_space(run.user)

    def _start_single(self, run: Run) -> None:
        if not run.busy:
            run.record.task = Task("keyframe")
            self._submit(run)

    def replace(self, user: str, run_id: str, index: int, picture: Picture) -> None:
        """Put an uploaded picture, fitted to the keyframes' size, in the place of a keyframe."""
        from paintsundo.app.cropping import fitted

        upload = self._read(picture)
        run = self.store.open(user, run_id)
        with self._editing(run):
            old = run.keyframe(index)
            made_with = run.record.made_with
            if made_with is None:
                raise UserError("there are no keyframes yet: make them first")
            self.store.check_space(user)
            new = Keyframe.new("upload", old.operation_step)
            new.source = hashlib.sha256(upload.data).hexdigest()
            image = fitted(upload.image, int(made_with.width or 1), int(made_with.height or 1), made_with.fit)
            image.save(run.file(new))
            (run.folder / "replacements").mkdir(exist_ok=True)
            (run.folder / "replacements" / new.source).write_bytes(upload.data)
            new.done = True
            run.record.keyframes[index] = new

    def remove(self, user: str, run_id: str, index: int) -> None:
        """Take a keyframe out; the finished picture and the blank canvas stay."""
        run = self.store.open(user, run_id)
        with self._editing(run):
            run.inner(index)
            del run.record.keyframes[index]

    def move(self, user: str, run_id: str, index: int, to: int) -> None:
        """Put keyframe `index` in place `to`, counted after it was taken out."""
        run = self.store.open(user, run_id)
        with self._editing(run):
            keyframe = run.inner(index)
            run.inner(to)
            run.record.keyframes.remove(keyframe)
            run.record.keyframes.insert(to, keyframe)

    def start_film(self, user: str, run_id: str) -> None:
        """Make the film between the keyframes; makes these first where there are none."""
        run = self.store.open(user, run_id)
        with self._editing(run):
            record = run.record
            if run.has_film:
                raise UserError("the film is finished already: change something to make another one")
            picture = record.picture
            self.check(record.settings, (picture.width, picture.height))
            self.store.check_space(user)
            if record.candidates and not record.keyframes:
                raise UserError("choose one of the candidates first")
            if not record.keyframes:
                self._begin_keyframes(run, None)
            record.task = Task("film")
            self._submit(run)

    def cancel(self, user: str, run_id: str) -> None:
        """Stop waiting or working; what is done stays. Asking twice does no harm."""
        run = self.store.open(user, run_id)
        if self.queue.withdraw(run):
            self._cancelled(run, "Cancelled while it waited; it can go on.")
        elif run.busy:
            with run.lock:
                run.live.cancel.set()
                run.record.message = "Stopping …"
                run.touch()

    def resume(self, user: str, run_id: str) -> None:
        """Go on with what was cancelled, interrupted or failed."""
        run = self.store.open(user, run_id)
        with run.lock:
            if run.busy:
                raise UserError("this run is at work already")
            if run.record.stage not in ("cancelled", "interrupted", "failed") or run.record.task is None:
                raise UserError("there is nothing to go on with: start the keyframes or the film")
            self._submit(run)

    def status(self, user: str, run_id: str) -> Status:
        """The run at this moment; cheap enough to be asked several times a second."""
        run = self.store.open(user, run_id)
        status = run.status(self.queue.place(run))
        picture = run.record.picture
        sizes = run.record.made_with or self.resolved(run.record.settings, picture.width, picture.height)
        return dataclasses.replace(status, size=(int(sizes.width or 0), int(sizes.height or 0)))

    def wait(self, user: str, run_id: str, timeout: float | None = None) -> Status:
        """The run once it neither waits nor works, or after `timeout` seconds."""
        self.queue.wait_for(self.store.open(user, run_id), timeout)
        return self.status(user, run_id)

    # Runs

    def runs(self, user: str) -> list[RunSummary]:
        """The visitor's runs, newest first."""
        return [run.summary() for run in self.store.runs(user)]

    def delete(self, user: str, run_id: str) -> None:
        """Remove a run and its files for good; a working one is stopped first."""
        run = self.store.open(user, run_id)
        self.queue.withdraw(run)
        run.live.cancel.set()
        if not self.queue.wait_for(run, 60):
            raise UserError("this run is being stopped: delete it in a moment")
        self.store.remove(run)

    def keep(self, user: str, run_id: str, kept: bool = True) -> None:
        """Mark a run so that it is never cleaned away (or no longer)."""
        run = self.store.open(user, run_id)
        with run.lock:
            run.record.kept = bool(kept)
            run.save()

    def repeat(self, user: str, run_json: bytes, picture: Picture | None = None) -> str:
        """A new draft with the settings of a `run.json`, the page's or the command line's.

        The picture, and uploads that replaced keyframes, are found among the visitor's own runs by their hashes
        where none is given. Keyframes that were edited are made, and edited, again by `start_film`.
        """
        wanted = read_run_json(run_json, self.model_choices)
        if picture is None:
            known = [run for run in self.store.runs(user) if run.record.picture.sha256 == wanted.sha256]
            if not known:
                raise UserError(
                    f"the picture of this run ({wanted.name}) is not among your runs: upload it together with run.json"
                )
            picture = known[0].original.read_bytes()
        run_id = self.create(user, picture, wanted.settings, wanted.name)
        if wanted.keyframes is not None and wanted.made_with is not None:
            run = self.store.open(user, run_id)
            try:
                with run.lock:
                    self._plan_edited(run, wanted.made_with, wanted.keyframes)
                    run.save()
            except BaseException:
                self.store.remove(run)
                raise
        return run_id

    def _plan_edited(self, run: Run, made_with: RunSettings, keyframes: Sequence[Keyframe]) -> None:
        from paintsundo.app.cropping import fitted

        size = int(made_with.width or 1), int(made_with.height or 1), made_with.fit
        self.check(made_with, (run.record.picture.width, run.record.picture.height))
        if len(keyframes) - 2 > self.limits.keyframes_count:
            raise UserError(f"{len(keyframes)} keyframes are too many: at most {self.limits.keyframes_count}")
        run.record.made_with, run.record.prompt = made_with, made_with.prompt
        for keyframe in keyframes:
            if keyframe.origin == "generated":
                continue
            if keyframe.origin == "upload":
                data = self._replacement(run.user, str(keyframe.source))
                image = fitted(self._read(data).image, *size)
                (run.folder / "replacements").mkdir(exist_ok=True)
                (run.folder / "replacements" / str(keyframe.source)).write_bytes(data)
            elif keyframe.origin == "picture":
                image = fitted(self._read(run.original.read_bytes()).image, *size)
            else:
                image = Image.new("RGB", size[:2], "white")
            image.save(run.file(keyframe))
            keyframe.done = True
        run.record.keyframes = list(keyframes)

    def _replacement(self, user: str, digest: str) -> bytes:
        for run in self.store.runs(user):
            for file in (run.folder / "replacements").glob("*"):
                if file.name == digest:
                    return file.read_bytes()
        raise UserError("a picture that replaced a keyframe of this run is not among your runs")

    # Results

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

    # Inside

    def _read(self, upload: Picture) -> Upload:
        return read_upload(upload, self.limits, self.store.uploads)

    @contextlib.contextmanager
    def _editing(self, run: Run, single: bool = False) -> Iterator[None]:
        """Change a run that is not at work; what the change makes invalid is no longer told of.

        single: keyframes may be added to those being made one by one.
        """
        with run.lock:
            making_single = run.record.task is not None and run.record.task.kind == "keyframe"
            if run.live.deleted:
                raise NotThere("this run does not exist, or not any more")
            if run.busy and not (single and making_single and not run.live.cancel.is_set()):
                raise UserError("this run is at work: wait for it, or cancel it first")
            if not run.busy:
                run.record.error = None
            kept = None if run.busy else json.dumps(dataclasses.asdict(run.record))
            film = run.film_key()
            try:
                yield
            except BaseException:
                if kept is not None:
                    run.restore(kept)  # all or nothing
                raise
            run.record.used = time.time()
            if run.film_key() != film:
                run.remove_previews()  # of a film that will not be
            if not run.busy and run.record.stage != "draft":
                run.record.stage, run.record.message, run.record.task = "draft", "", None
            run.save()
            if not run.busy:
                run.remove_unused()

    def _submit(self, run: Run) -> None:
        before = run.record.stage
        run.live.cancel.clear()
        run.live.progress, run.live.seconds_left = 0.0, None
        run.record.stage, run.record.error, run.record.message = "queued", None, "Waiting for its turn …"
        run.record.used = time.time()
        try:
            self.queue.submit(run)
        except UserError:
            run.record.stage, run.record.message = before, ""
            raise
        run.save()

    def _make(self, run: Run, device: str | None) -> None:
        from paintsundo.app.making import Making

        Making(run, self.model_choices, device, self.limits.film_seconds).work()

    def _work(self, run: Run, device: str | None) -> None:
        """A worker's turn: do the task, and write down how it ended."""
        from paintsundo.app.watch import Stopped, TooLong

        try:
            if run.live.cancel.is_set():
                raise Stopped
            self._do(run, device)
        except Stopped:
            if self.queue.closed:
                self._ended(run, "interrupted", "The server was stopped while this run was at work; it can go on.")
            else:
                self._cancelled(run, "Cancelled; what was done is kept, and it can go on.")
        except TooLong:
            minutes = self.limits.film_seconds / 60
            self._ended(run, "cancelled", f"Stopped after {minutes:g} minutes, which is as long as a run may take.")
        except BaseException as error:
            if known(error):
                log.info("run %s failed: %s", run.id, sentence(error))
            else:
                log.exception("run %s failed", run.id)
            self._ended(run, "failed", "", sentence(error))
        else:
            task = run.record.task
            film = task is not None and task.kind == "film"
            self._ended(run, "done" if film else "draft", "" if film else "The keyframes are ready.")

    def _cancelled(self, run: Run, message: str) -> None:
        with run.lock:
            task = run.record.task
            if task is not None and task.kind == "keyframe":
                # What they should have replaced is back: nothing is left to go on with.
                run.give_up_unmade()
                self._ended(run, "draft", "Cancelled; the keyframes are as they were.")
            elif task is not None and task.kind == "keyframes" and run.back_to_earlier():
                self._ended(run, "draft", "Cancelled; the keyframes are those from before.")
            else:
                self._ended(run, "cancelled", message)

    def _ended(self, run: Run, stage: Any, message: str, error: str | None = None) -> None:
        with run.lock:
            run.record.stage, run.record.message, run.record.error = stage, message, error
            if stage in ("draft", "done"):
                run.record.task = run.record.earlier = None
                run.remove_unused()
            run.live.seconds_left = None
            run.live.previews.clear()
            with contextlib.suppress(OSError):  # the folder may be gone, or the disk full
                run.save()

    def _clean_now_and_then(self) -> None:
        while not self._closing.is_set():
            try:
                self.store.clean()
            except OSError:
                log.exception("old runs could not be cleaned away")
            self._closing.wait(_CLEANING)
