"""Latents, CLIP-Vision tokens and text tokens worked out once and kept on disk, keyed by content and model.

What is kept of a process is found by the hash of its bytes, in a folder named by the hash of everything else that
matters (`CacheRecipe`): a changed picture, weight, bucket table or rule finds nothing, and is encoded anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from paintsundo.conditioning.buckets import choose_bucket
from paintsundo.data.faults import Fault, FaultyData
from paintsundo.data.plan import generator
from paintsundo.data.process_source import ProcessSource
from paintsundo.data.samples import fitted
from paintsundo.errors import UserError

FORMAT = 1
Encode = Callable[[Tensor], tuple[Tensor, Tensor]]
EncodeEnds = Callable[[Tensor], Tensor]
Tokenize = Callable[[Sequence[str]], Tensor]


def model_hash(model: nn.Module | Mapping[str, Tensor], config: Mapping[str, Any] | None = None) -> str:
    """SHA-256 of a model: names, types, shapes and bytes of its tensors, and its configuration (a module's own where
    none is given), less what is private to it.
    """
    if isinstance(model, nn.Module):
        config = _config_of(model) if config is None else config
        model = model.state_dict()
    digest = hashlib.sha256()
    for name, tensor in sorted(model.items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes() if values.numel() else b"")
    public = {key: value for key, value in (config or {}).items() if not key.startswith("_")}
    digest.update(json.dumps(public, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def _config_of(model: nn.Module) -> dict[str, Any]:
    """Of a module of diffusers' kind or of transformers', less which release of a library wrote it."""
    config: Any = getattr(model, "config", {})
    config = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    return {key: value for key, value in config.items() if key != "transformers_version"}


@dataclass(frozen=True)
class CacheRecipe:
    """Everything that what is kept depends on, besides the processes themselves.

    Attributes:
        vae: `model_hash` of the autoencoder.
        buckets: the (height, width) table of the plan.
        positions: states per process; position 0 is finished, the last blank, those between equally spaced and moved
            together by a part of a step, drawn for each process, so that all operation steps occur.
        seed: of that part.
        precision: that the encoders compute in, as the run names it.
        image_encoder: `model_hash` of the CLIP-Vision model; None: no tokens are kept.
        token_every: tokens are kept of every so many positions, from 0: where clips may begin and end.
        tokenizer: a hash of the tokenizer (and of how it words tags); None: no text is kept.
    """

    vae: str
    buckets: tuple[tuple[int, int], ...]
    positions: int
    seed: int = 0
    precision: str = "32-true"
    image_encoder: str | None = None
    token_every: int = 1
    tokenizer: str | None = None

    def __post_init__(self) -> None:
        if self.positions < 2:
            raise UserError(f"a cache needs at least 2 positions, not {self.positions}")
        if self.token_every < 1 or (self.positions - 1) % self.token_every:
            raise UserError(f"token_every={self.token_every} must divide {self.positions - 1}, positions less one")

    @property
    def identity(self) -> str:
        """The folder's name."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    @property
    def token_positions(self) -> list[int]:
        """Positions of which CLIP-Vision tokens are kept."""
        return list(range(0, self.positions, self.token_every))

    def works(self, content_hash: str) -> NDArray[np.float64]:
        """Work positions of a process, (positions,), from 1 (finished) to 0 (blank)."""
        offset = (generator(self.seed, int(content_hash[:16], 16)).random() - 0.5) / (self.positions - 1)
        works = np.linspace(1.0, 0.0, self.positions) + offset
        works[0], works[-1] = 1.0, 0.0
        return works


@dataclass(frozen=True)
class _States:
    """A process ready to be encoded: uint8 (K, 3, H, W)."""

    index: int
    bucket: tuple[int, int]
    pictures: Tensor
    tags: tuple[str, ...]


class LatentCache:
    """The files of one recipe, `FOLDER/<identity>/*.safetensors`, each with rows of one bucket: "mean", "std"
    (N, K, C, h, w) and "image_tokens" (N, A, L, E) float16, "token_ids" int32 (N, 77).

    Opening reads the files' headers only; damaged or foreign files count as absent. Copies in other processes open
    their own files.
    """

    def __init__(self, folder: str | Path, recipe: CacheRecipe, most_open: int = 64) -> None:
        self.recipe, self.folder, self.most_open = recipe, Path(folder) / recipe.identity, most_open
        self._open: dict[Path, Any] = {}
        self.refresh()

    def refresh(self) -> None:
        """Look again at what is there: other processes may have added to it."""
        self._rows: dict[str, tuple[Path, int]] = {}
        self._tags: dict[str, list[str]] = {}
        for file in sorted(self.folder.glob("*.safetensors")):
            try:
                with safe_open(file, "pt") as handle:
                    about = handle.metadata() or {}
                if about["identity"] != self.recipe.identity:
                    continue
                hashes, tags = json.loads(about["hashes"]), json.loads(about["tags"])
            except (SafetensorError, OSError, KeyError, ValueError):
                continue
            for row, (content, words) in enumerate(zip(hashes, tags, strict=True)):
                self._rows[content], self._tags[content] = (file, row), words

    def __contains__(self, content_hash: str) -> bool:
        return content_hash in self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def tags(self, content_hash: str) -> list[str]:
        """The tags of a process."""
        return self._tags[content_hash]

    def row(self, content_hash: str, name: str, positions: Sequence[int] | None = None) -> Tensor:
        """A tensor of a process, or of some of its positions (one after another): a copy out of the mapped file.

        Raises KeyError when the process or the tensor is not kept, OSError when its file is gone or damaged.
        """
        file, row = self._rows[content_hash]
        try:
            if file not in self._open:
                while len(self._open) >= self.most_open:
                    self._open.pop(next(iter(self._open)))
                self._open[file] = safe_open(file, "pt").__enter__()
            handle = self._open[file]
            if name not in handle.keys():  # noqa: SIM118  a handle is no mapping
                raise KeyError(name)
            part = handle.get_slice(name)
            if positions is None:
                return part[row]
            return torch.stack([part[row, position] for position in positions])
        except SafetensorError as error:
            raise OSError(f"{file}: {error}") from error

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    def missing(self, source: ProcessSource) -> list[int]:
        """Samples of an index that are not kept yet, each content once."""
        found = dict.fromkeys(source.index.hashes.tolist())
        first = {content: number for number, content in reversed(list(enumerate(source.index.hashes.tolist())))}
        return [first[content] for content in found if content not in self._rows]

    def fill(
        self,
        source: ProcessSource,
        encode: Encode,
        encode_ends: EncodeEnds | None = None,
        tokenize: Tokenize | None = None,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
        encode_batch: int = 16,
        per_file: int = 32,
        workers: int = 4,
        progress: bool = True,
    ) -> list[Fault]:
        """Encode what is missing; a run cut short goes on where it stopped, at most a file back.

        Args:
            source: the processes.
            encode: pictures, float (N, 3, H, W) in [-1, 1] on `device` -> mean and std of their latents.
            encode_ends: likewise -> CLIP-Vision tokens (N, L, E); needed where the recipe names an image encoder.
            tokenize: tags -> token ids (77,); needed where the recipe names a tokenizer.
            device: where the encoders compute.
            rank, world: this process takes its part of the samples; `refresh` after all have finished.
            encode_batch: pictures encoded at a time.
            per_file: processes per file.
            workers: threads that decode.
            progress: show a bar.

        Returns:
            What could not be encoded, which is not kept either.

        Raises:
            UserError: an encoder is missing, or the folder cannot be written.
        """
        for needed, given, name in (
            (self.recipe.image_encoder, encode_ends, "CLIP-Vision tokens"),
            (self.recipe.tokenizer, tokenize, "text tokens"),
        ):
            if (needed is None) != (given is None):
                raise UserError(f"the cache's recipe and its encoders disagree about {name}")
        self._start()
        total = len(source.index)
        mine = range(rank * total // world, (rank + 1) * total // world)
        todo = [index for index in self.missing(source) if index in mine]
        todo.sort(key=lambda index: self._bucket(source, index))  # stable: by bucket, then as they lie
        faults: list[Fault] = []
        waiting: list[tuple[str, dict[str, Tensor], list[str]]] = []
        shape: tuple[int, int] | None = None
        for states in tqdm(self._decoded(source, todo, workers, faults), "encoding", len(todo), disable=not progress):
            if waiting and (len(waiting) >= per_file or states.bucket != shape):
                self._write(waiting)
                waiting = []
            shape = states.bucket
            tensors = self._encode(states, encode, encode_ends, device, encode_batch)
            if tokenize is not None:
                tensors["token_ids"] = tokenize(states.tags).to("cpu", torch.int32)
            if all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
                waiting.append((str(source.index.hashes[states.index]), tensors, list(states.tags)))
            else:
                faults.append(source.fault(states.index, "its latents are not finite").fault)
        if waiting:
            self._write(waiting)
        self.refresh()
        return faults

    def _bucket(self, source: ProcessSource, index: int) -> tuple[int, int]:
        height, width = int(source.index.heights[index]), int(source.index.widths[index])
        return choose_bucket(height, width, self.recipe.buckets)

    def _decoded(
        self, source: ProcessSource, todo: Sequence[int], workers: int, faults: list[Fault]
    ) -> Iterator[_States]:
        """Processes in order, a few ahead of the encoder."""

        def decode(index: int) -> _States:
            process, bucket = source.process(index), self._bucket(source, index)
            works = self.recipe.works(str(source.index.hashes[index]))
            pictures = np.stack([fitted(state, bucket) for state in process.film(works.tolist())])
            return _States(index, bucket, torch.from_numpy(pictures).permute(0, 3, 1, 2), process.tags)

        rest = iter(todo)
        with ThreadPoolExecutor(max(1, workers)) as pool:
            ahead: list[Future[_States]] = [pool.submit(decode, index) for index in islice(rest, 2 * workers)]
            while ahead:
                try:
                    yield ahead.pop(0).result()
                except FaultyData as error:
                    faults.append(error.fault)
                ahead += [pool.submit(decode, index) for index in islice(rest, 1)]

    @torch.no_grad()
    def _encode(
        self,
        states: _States,
        encode: Encode,
        encode_ends: EncodeEnds | None,
        device: torch.device | str,
        encode_batch: int,
    ) -> dict[str, Tensor]:
        def signed(pictures: Tensor) -> Iterator[Tensor]:
            for part in pictures.split(encode_batch):
                yield part.to(device).contiguous().float() / 127.5 - 1.0

        pairs = [encode(part) for part in signed(states.pictures)]
        tensors = {"mean": [mean for mean, _ in pairs], "std": [std for _, std in pairs]}
        if encode_ends is not None:
            tensors["image_tokens"] = [encode_ends(part) for part in signed(states.pictures[self._ends])]
        return {name: torch.cat(parts).to("cpu", torch.float16) for name, parts in tensors.items()}

    @property
    def _ends(self) -> list[int]:
        return self.recipe.token_positions

    def _start(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            about = {"format": FORMAT, **asdict(self.recipe)}
            (self.folder / "recipe.json").write_text(json.dumps(about, indent=1) + "\n")
        except OSError as error:
            raise UserError(f"the cache of latents cannot be written to {self.folder} ({error.strerror})") from error

    def _write(self, rows: Sequence[tuple[str, dict[str, Tensor], list[str]]]) -> None:
        hashes = [content for content, _, _ in rows]
        name = hashlib.sha256("".join(hashes).encode()).hexdigest()[:32]
        tensors = {key: torch.stack([row[key] for _, row, _ in rows]).contiguous() for key in rows[0][1]}
        tags = json.dumps([words for _, _, words in rows], ensure_ascii=False)
        about = {"identity": self.recipe.identity, "hashes": json.dumps(hashes), "tags": tags}
        partial = self.folder / f".{name}.partial"
        try:
            save_file(tensors, partial, about)
            partial.replace(self.folder / f"{name}.safetensors")
        except (OSError, SafetensorError) as error:  # safetensors tells a full disk in its own way
            partial.unlink(missing_ok=True)
            raise UserError(f"the cache of latents cannot be written to {self.folder} ({error})") from error
