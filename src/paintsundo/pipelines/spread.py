"""Films over several devices of one machine: a process for each, which takes whole pictures or pairs of one film."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from paintsundo.checkpoints.text_encoders import load_tokenizer
from paintsundo.errors import UserError
from paintsundo.pipelines.job import make_film
from paintsundo.pipelines.model_set import ModelSet
from paintsundo.pipelines.options import InferOptions, VideoOptions
from paintsundo.pipelines.placement import choose_device
from paintsundo.pipelines.record import peak_memory

PROCESSOR = "cpu"


def spread_devices(options: InferOptions) -> list[str]:
    """The devices that `runtime.devices` names, "all" being every GPU; one at most where nothing is spread.

    Raises:
        UserError: one of them is not there, or a GPU is named twice.
    """
    names = list(options.runtime.devices)
    if names == ["all"]:
        names = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    found = [choose_device(name) for name in names]
    devices = [f"cuda:{device.index or 0}" if device.type == "cuda" else str(device) for device in found]
    twice = sorted({name for name in devices if devices.count(name) > 1 and name != PROCESSOR})
    if twice:
        raise UserError(f"runtime.devices names {', '.join(twice)} more than once")
    return devices


def launched() -> tuple[int, int, int] | None:
    """(rank, number of processes, number on this machine) where torchrun started this process with others."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return None
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_RANK"])


class Workers:
    """A process for each device, its models loaded from the start; used as a context.

    Args:
        options: of the command.
        devices: their names, one process each.
        hashes: of the checkpoints, so that not every process has to read them.
        films: how many each process will make; a part of one where one film is spread.
    """

    def __init__(
        self, options: InferOptions, devices: Sequence[str], hashes: Mapping[str, Any], films: float = 1.0
    ) -> None:
        self.devices = list(devices)
        context = multiprocessing.get_context("spawn")
        names = context.SimpleQueue()
        for name in devices:
            names.put(name)
        # Processes on the processor share its cores.
        threads = max(1, torch.get_num_threads() // len(devices)) if PROCESSOR in devices else None
        self._before = set(multiprocessing.active_children())
        self._pool = ProcessPoolExecutor(
            len(devices),
            mp_context=context,
            initializer=_begin,
            initargs=(names, options, dict(hashes), threads, films),
        )
        self.peaks: dict[str, dict[str, float]] = {}
        self._pool.submit(os.getpid)  # the first task starts all processes

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            # What is unfinished is taken up again by the next run.
            for process in set(multiprocessing.active_children()) - self._before:
                process.terminate()
        self._pool.shutdown(wait=kind is None, cancel_futures=True)

    def submit(self, task: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Have a process call `task(models, options, *arguments)`; `result` gives the value."""
        return self._pool.submit(_work, task, *arguments)

    def result(self, future: Future[Any]) -> Any:
        """The value of a task.

        Raises:
            UserError: it was the user's mistake.
            RuntimeError: the process died.
        """
        try:
            device, peak, value = future.result()
        except BrokenProcessPool as error:
            raise RuntimeError("a process of runtime.devices died, perhaps for want of memory") from error
        self.peaks[device] = peak
        return value


# In a worker: its models and options.
_own: _Own | None = None


@dataclass
class _Own:
    models: ModelSet
    options: InferOptions
    error: Exception | None = None
    conditions: tuple[str, Any] = ("", None)


def _begin(names: Any, options: InferOptions, hashes: dict[str, Any], threads: int | None, films: float) -> None:
    global _own
    # Ctrl-C reaches all processes of a terminal; the first one says so.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if threads is not None:
        torch.set_num_threads(threads)
    device = choose_device(names.get())
    if device.type == "cuda":
        torch.cuda.set_device(device)
    models = ModelSet(options, device, films)
    models.known_hashes(hashes)
    _own = _Own(models, options)
    try:
        models.pipe.set_progress_bar_config(disable=True)  # loads them
    except Exception as error:  # told by the first task, to the process that asked
        _own.error = error


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(task: Callable[..., Any], *arguments: Any) -> tuple[str, dict[str, float], Any]:
    assert _own is not None
    if _own.error is not None:
        raise _own.error
    value = task(_own, *arguments)
    device = _own.models.device
    return str(device), peak_memory(device), value


def _film(own: _Own, file: Path, name: str) -> str | None:
    """Make a picture's film; what is wrong with the picture, if anything is."""
    from paintsundo.pipelines.batch import begin_job

    try:
        job = begin_job(own.options, file, name, own.models)
    except UserError as error:
        return str(error)
    make_film(job, own.options, own.models)
    return None


def films(workers: Workers, pictures: Sequence[tuple[Path, str]]) -> Iterator[tuple[int, str | None]]:
    """Make all films; (place in `pictures`, mistake or None) as they are done."""
    places = {workers.submit(_film, file, name): place for place, (file, name) in enumerate(pictures)}
    for future in as_completed(places):
        yield places[future], workers.result(future)


# One film: the parts of its pipeline, each spread.


def _tag(own: _Own, image: Image.Image) -> str:
    return own.models.pipe.tag(image)


def _keyframes(own: _Own, image: Image.Image, prompt: str, changes: dict[str, Any]) -> list[Image.Image]:
    return own.models.pipe.generate_keyframes(image, prompt, **changes)


def _conditions(own: _Own, key: str, keyframes: list[Image.Image], options: VideoOptions) -> Any:
    if own.conditions[0] != key:
        own.conditions = (key, own.models.pipe.prepare_interpolation(keyframes, options))
    return own.conditions[1]


def _clips(
    own: _Own, key: str, keyframes: list[Image.Image], options: VideoOptions, pairs: list[int]
) -> list[tuple[int, np.ndarray]]:
    conditions = _conditions(own, key, keyframes, options)
    others = [pair for pair in range(conditions.pairs) if pair not in pairs]
    return [(pair, clip.numpy()) for pair, clip in own.models.pipe.sample_clips(conditions, options, skip=others)]


def _decoded(
    own: _Own, key: str, keyframes: list[Image.Image], options: VideoOptions, pair: int, latents: np.ndarray
) -> np.ndarray:
    conditions = _conditions(own, key, keyframes, options)
    return next(clip for _, clip in own.models.pipe.decode_clips(conditions, {pair: torch.from_numpy(latents)}))


@dataclass
class SpreadConditions:
    """What the processes compute conditions from, each for itself."""

    key: str
    keyframes: list[Image.Image]
    options: VideoOptions

    @property
    def pairs(self) -> int:
        return len(self.keyframes) - 1


class SpreadPipe:
    """The parts of `PaintsUndoPipeline` that make one film, their rows and pairs spread over processes."""

    def __init__(self, workers: Workers, models: ModelSet) -> None:
        self.workers = workers
        self.options = models.options
        self.keyframe_tokenizer = None
        if "single_frame" in models.folders:
            self.keyframe_tokenizer = load_tokenizer(Path(models.folders["single_frame"]) / "tokenizer")

    def tag(self, image: Image.Image) -> str:
        """As the pipeline's."""
        return self.workers.result(self.workers.submit(_tag, image))

    def generate_keyframes(self, image: Image.Image, prompt: str) -> list[Image.Image]:
        """As the pipeline's, some operation steps in each process."""
        options = self.options.keyframes
        steps = options.steps()
        tasks = []
        # Rows computed apart differ in rounding from rows computed together, as one process on a processor does.
        together = PROCESSOR in self.workers.devices and options.batch is None
        parts = [list(range(len(steps)))] if together else self._shares(range(len(steps)), options.batch)
        for part in parts:
            changes: dict[str, Any] = {"operation_steps": [steps[row] for row in part]}
            if options.noise == "independent":
                changes["seed"] = options.seed + part[0]
            tasks.append(self.workers.submit(_keyframes, image, prompt, changes))
        made = [self.workers.result(task) for task in tasks]
        return [made[0][0], *(keyframe for part in made for keyframe in part[1:-1]), made[0][-1]]

    def prepare_interpolation(self, keyframes: list[Image.Image], options: VideoOptions) -> SpreadConditions:
        """As the pipeline's."""
        return SpreadConditions(uuid.uuid4().hex, keyframes, options)

    def sample_clips(
        self, conditions: SpreadConditions, options: VideoOptions, skip: Sequence[int] = ()
    ) -> Iterator[tuple[int, Tensor]]:
        """As the pipeline's, in the order in which they are done."""
        pairs = [pair for pair in range(conditions.pairs) if pair not in skip]
        given = (conditions.key, conditions.keyframes, options)
        tasks = [self.workers.submit(_clips, *given, part) for part in self._shares(pairs, options.batch)]
        for task in as_completed(tasks):
            for pair, latents in self.workers.result(task):
                yield pair, torch.from_numpy(latents)

    def decode_clips(
        self, conditions: SpreadConditions, latents: Mapping[int, Tensor]
    ) -> Iterator[tuple[int, np.ndarray]]:
        """As the pipeline's."""
        given = (conditions.key, conditions.keyframes, conditions.options)
        tasks = {pair: self.workers.submit(_decoded, *given, pair, latents[pair].numpy()) for pair in sorted(latents)}
        for pair, task in tasks.items():
            yield pair, self.workers.result(task)

    def _shares(self, rows: Sequence[int], batch: int | None) -> list[list[int]]:
        """Neighbouring rows for each process, sizes as equal as can be; no more than `batch` together."""
        parts = len(self.workers.devices)
        if batch is None and PROCESSOR in self.workers.devices:
            batch = 1
        if batch is not None:
            parts = max(parts, -(-len(rows) // batch))
        return [list(part) for part in np.array_split(np.asarray(rows), min(parts, len(rows)))] if len(rows) else []


class SpreadModels(ModelSet):
    """Models of one film that is spread over devices; the processes start when the first is needed."""

    def __init__(self, options: InferOptions, devices: Sequence[str]) -> None:
        super().__init__(options, choose_device(devices[0]))
        self.devices = list(devices)
        self.workers: Workers | None = None
        self._spread: SpreadPipe | None = None

    @property
    def loaded(self) -> bool:
        return self._spread is not None

    @property
    def pipe(self) -> Any:
        """The spread pipeline."""
        if self._spread is None:
            self.workers = Workers(self.options, self.devices, self.hashes, films=1 / len(self.devices))
            self._spread = SpreadPipe(self.workers, self)
        return self._spread

    def memory(self) -> dict[str, Any]:
        """Largest memory of each process so far, and of torch on its device."""
        return {"peak_memory": {} if self.workers is None else self.workers.peaks, "memory_plan": None}

    def __enter__(self) -> SpreadModels:
        return self

    def __exit__(self, *error: Any) -> None:
        if self.workers is not None:
            self.workers.__exit__(*error)
