"""Models that are loaded: one pipeline for each device, used by one run after another."""

from __future__ import annotations

import functools
import gc
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paintsundo.checkpoints.fingerprint import folder_hashes
from paintsundo.checkpoints.noise import trained_stage
from paintsundo.checkpoints.sources import resolve
from paintsundo.file_hashes import file_hash
from paintsundo.pipelines.model_set import ModelSet
from paintsundo.pipelines.options import InferOptions

if TYPE_CHECKING:
    from paintsundo.conditioning.tagger import Tagger
    from paintsundo.pipelines.film import PaintsUndoPipeline

_KINDS = ("single_frame", "multi_frame", "tagger")
_SET_LATER = {"input", "output", "prompt", "overwrite", "keyframes", "video", "tags"}


class LoadedModels:
    """The pipeline that each device has, and taggers.

    Attributes:
        pipelines: device → (the options that the pipeline was built with, the pipeline).
    """

    def __init__(self) -> None:
        self.pipelines: dict[str, tuple[dict[str, Any], PaintsUndoPipeline]] = {}
        self._taggers: dict[str, Tagger] = {}
        self._lock = threading.Lock()

    def tagger(self, options: InferOptions) -> Tagger:
        """A tagger, loaded once; can be used by several threads."""
        from paintsundo.checkpoints import load_tagger

        source = options.models.tagger
        with self._lock:
            if source not in self._taggers:
                self._taggers[source] = load_tagger(source)
            return self._taggers[source]

    def pipeline(self, options: InferOptions, folders: Mapping[str, Path]) -> PaintsUndoPipeline:
        """The loaded pipeline set up for these options; another one on the same device is dropped first.

        To be used by one thread a device.
        """
        from paintsundo.diffusion import build_scheduler
        from paintsundo.pipelines.film import PaintsUndoPipeline

        device = options.runtime.device
        # All that `from_pretrained` builds in; the rest is set below.
        key = {name: value for name, value in asdict(options).items() if name not in _SET_LATER}
        key["patch_positions"] = options.video.patch_positions
        known, pipe = self.pipelines.get(device, (None, None))
        if pipe is None or known != key:
            pipe = None
            self.pipelines.pop(device, None)
            _empty_caches()
            sources = {kind: folders.get(kind) or resolve(getattr(options.models, kind), kind) for kind in _KINDS}
            pipe = PaintsUndoPipeline.from_pretrained(**sources, options=options)
            pipe.set_progress_bar_config(disable=True)
            self.pipelines[device] = key, pipe
        for stage, kind in (("keyframe", "single_frame"), ("video", "multi_frame")):
            chosen = options.keyframes if stage == "keyframe" else options.video
            source = folders.get(kind) or resolve(getattr(options.models, kind), kind)
            trained = chosen.noise_schedule.applied_to(trained_stage(source, kind))
            setattr(pipe, f"{stage}_scheduler", build_scheduler(chosen.scheduler, trained))
            setattr(pipe, f"{stage}_options", chosen)
        pipe.tag_options = options.tags
        return pipe

    def model_set(self, options: InferOptions) -> SharedModelSet:
        """The models of one run. Raises UserError where they cannot be used."""
        return SharedModelSet(options, self)


class SharedModelSet(ModelSet):
    """A command's models, whose hashes and pipeline outlive the command."""

    def __init__(self, options: InferOptions, shelf: LoadedModels) -> None:
        super().__init__(options)
        self._shelf = shelf
        self._ready: Any = None
        self.watched: Callable[[PaintsUndoPipeline], Any] = lambda pipe: pipe

    @property
    def hashes(self) -> dict[str, Any]:
        found: dict[str, Any] = {part: _hashes(folder) for part, folder in self.folders.items()}
        if self.options.models.lora is not None:
            found["lora"] = {"file": _file_hash(Path(self.options.models.lora))}
        return found

    @property
    def loaded(self) -> bool:
        return self._ready is not None

    @property
    def pipe(self) -> Any:
        """The loaded pipeline, as `watched` hands it on."""
        if self._ready is None:
            self._ready = self.watched(self._shelf.pipeline(self.options, self.folders))
        return self._ready


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(file for file in (*folder.glob("*"), *folder.glob("*/*")) if file.is_file())
    state = tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)
    return dict(_hashes_of(folder, state))


@functools.lru_cache(maxsize=64)
def _hashes_of(folder: Path, state: tuple[Any, ...]) -> dict[str, str]:
    # Read again only where a file changed: gigabytes take their time.
    return folder_hashes(folder)


def _file_hash(file: Path) -> str:
    return _file_hash_of(file, file.stat().st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _file_hash_of(file: Path, changed: int) -> str:
    return file_hash(file)


def _empty_caches() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
