"""Prompts for training: the tags of a process as the tagger would have spelt them, tokenized."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import Tensor
from transformers import CLIPTokenizer

from paintsundo.errors import UserError
from paintsundo.training.text import tokenize
from paintsundo.training.vocabulary import prompt_from_tags


def read_vocabulary(file: str | Path) -> list[str]:
    """Names of the tags in a tagger's CSV, in file order.

    Raises:
        UserError: the file is missing or has no column `name`.
    """
    try:
        with open(file, newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    except OSError as error:
        raise UserError(f"model.tags: {file}: {error.strerror}") from None
    if not rows or "name" not in rows[0]:
        raise UserError(f"model.tags: {file} is no list of tags: it has no column `name`")
    return [row["name"] for row in rows]


class Prompts:
    """Tags → token ids.

    Args:
        tokenizer: of the text encoder.
        vocabulary: the only tags that count, in this order; None takes all tags as they come.
    """

    def __init__(self, tokenizer: CLIPTokenizer, vocabulary: Sequence[str] | None) -> None:
        self.tokenizer, self.vocabulary = tokenizer, vocabulary

    def text(self, tags: Iterable[str]) -> str:
        """The prompt of one process."""
        tags = list(tags)
        return prompt_from_tags(tags, tags if self.vocabulary is None else self.vocabulary)

    def ids(self, tags: Iterable[Iterable[str]]) -> Tensor:
        """int64 (B, 77)."""
        return tokenize(self.tokenizer, [self.text(each) for each in tags])

    def fingerprint(self) -> str:
        """Equal for prompts that are made the same way."""
        vocabulary = None if self.vocabulary is None else list(self.vocabulary)
        content = json.dumps([sorted(self.tokenizer.get_vocab().items()), vocabulary], ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()
