"""The WD14 tagger: a picture's tags, which are the keyframe model's prompt."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from paintsundo.errors import UserError

MODEL_FILE = "model.onnx"
TAGS_FILE = "selected_tags.csv"
GENERAL, CHARACTER = 0, 4  # tag categories; 9 is ratings, never part of a prompt


@dataclass(frozen=True)
class Tag:
    """One output of the tagger."""

    name: str
    category: int


class Tagger:
    """A tagger in ONNX with its tag list (`tag_id,name,category,count`), run on the CPU.

    The input size is the model's own, (1, S, S, 3).
    """

    def __init__(self, session: Any, tags: list[Tag]) -> None:
        self._session = session
        self.tags = tags
        self._input = session.get_inputs()[0]
        shape = self._input.shape
        if len(shape) != 4 or not isinstance(shape[1], int):
            raise UserError(f"the tagger's input is {shape}, not a picture of fixed size (batch, S, S, 3)")
        self.size: int = shape[1]

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], threads: int = 0) -> Tagger:
        """Load FOLDER/model.onnx and FOLDER/selected_tags.csv, to run on so many threads (0: one per core).

        Raises UserError naming what is missing or unreadable, or if model and list disagree on the number of
        tags.
        """
        folder = Path(folder)
        for file in (folder / MODEL_FILE, folder / TAGS_FILE):
            if not file.is_file():
                raise UserError(f"tagger: {file} is missing")
        tags = _read_tags(folder / TAGS_FILE)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        try:
            session = onnxruntime.InferenceSession(
                str(folder / MODEL_FILE), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            reason = " ".join(str(error).split())
            raise UserError(f"tagger: {folder / MODEL_FILE} cannot be loaded ({reason})") from error
        outputs = session.get_outputs()[0].shape[-1]
        if isinstance(outputs, int) and outputs != len(tags):
            raise UserError(f"tagger: {folder} has {outputs} outputs but {len(tags)} tags in {TAGS_FILE}")
        return cls(session, tags)

    def preprocess(self, image: Image.Image | NDArray[np.uint8]) -> NDArray[np.float32]:
        """The network's input (1, S, S, 3): float32 0…255, BGR, the picture centred on a white square.

        The picture is scaled with Lanczos so that its longer side is S, sides truncated.
        """
        picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
        picture = picture.convert("RGB")
        # A floating-point factor, as published: it may leave the longer side one pixel short.
        factor = self.size / max(picture.size)
        width, height = (max(1, int(side * factor)) for side in picture.size)
        square = Image.new("RGB", (self.size, self.size), (255, 255, 255))
        offset = (self.size - width) // 2, (self.size - height) // 2
        square.paste(picture.resize((width, height), Image.Resampling.LANCZOS), offset)
        return np.ascontiguousarray(np.asarray(square, dtype=np.float32)[None, :, :, ::-1])

    def probabilities(self, image: Image.Image | NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probability of every tag (len(tags),) for one RGB picture (PIL, or uint8 (H, W, 3))."""
        name = self._session.get_outputs()[0].name
        return self._session.run([name], {self._input.name: self.preprocess(image)})[0][0]

    def tags_of(
        self,
        images: Sequence[Image.Image | NDArray[np.uint8]],
        general_threshold: float = 0.35,
        character_threshold: float = 0.85,
    ) -> list[list[str]]:
        """The tags of several pictures, as their prompts have them; in one batch where the model takes batches."""
        if not images:
            return []
        if isinstance(self._input.shape[0], int):
            rows = [self.probabilities(image) for image in images]
        else:
            batch = np.concatenate([self.preprocess(image) for image in images])
            rows = list(self._session.run([self._session.get_outputs()[0].name], {self._input.name: batch})[0])
        prompts = [self.prompt(row, general_threshold, character_threshold) for row in rows]
        return [prompt.split(", ") if prompt else [] for prompt in prompts]

    def tag(
        self,
        image: Image.Image | NDArray[np.uint8],
        general_threshold: float = 0.35,
        character_threshold: float = 0.85,
    ) -> str:
        """The prompt: character tags, then general ones, in list order, brackets escaped, comma between."""
        return self.prompt(self.probabilities(image), general_threshold, character_threshold)

    def prompt(
        self,
        probabilities: NDArray[np.float32],
        general_threshold: float = 0.35,
        character_threshold: float = 0.85,
    ) -> str:
        """The prompt for given probabilities (len(tags),); a tag counts if strictly above its threshold."""
        names: dict[int, list[str]] = {CHARACTER: [], GENERAL: []}
        thresholds = {CHARACTER: character_threshold, GENERAL: general_threshold}
        for tag, probability in zip(self.tags, probabilities, strict=True):
            if tag.category in names and probability > thresholds[tag.category]:
                names[tag.category].append(tag.name.replace("(", "\\(").replace(")", "\\)"))
        return ", ".join(names[CHARACTER] + names[GENERAL]).replace("_", " ")


def _read_tags(path: Path) -> list[Tag]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return [Tag(row["name"], int(row["category"])) for row in csv.DictReader(file)]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"tagger: {path} is not a tag list (tag_id,name,category,count): {error}") from error
