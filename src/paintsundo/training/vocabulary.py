"""The small vocabularies of models trained here: which tags there are, and the CLIP tokenizer that spells them."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

GENERAL = 0


def most_frequent_tags(metas: Iterable[dict[str, Any]], size: int) -> list[tuple[str, int]]:
    """The `size` most frequent tags of a data set with their counts, most frequent first, ties by name."""
    counts = Counter(tag for meta in metas for tag in set(meta.get("tags", [])))
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:size]


def write_tags(tags: Sequence[tuple[str, int]], file: Path) -> None:
    """Write the tagger's CSV of `tag_id,name,category,count` (every tag in category 0, general)."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["tag_id", "name", "category", "count"])
        writer.writerows((number, name, GENERAL, count) for number, (name, count) in enumerate(tags))


def prompt_from_tags(tags: Iterable[str], vocabulary: Sequence[str]) -> str:
    """The prompt the tagger would give for these tags: in vocabulary order, escaped, underscores as blanks."""
    present = set(tags)
    chosen = [name for name in vocabulary if name in present]
    return ", ".join(chosen).replace("(", r"\(").replace(")", r"\)").replace("_", " ")


def train_tokenizer(texts: Iterable[str], size: int, folder: Path) -> CLIPTokenizer:
    """Train a CLIP-style byte-pair vocabulary of at most `size` entries on `texts` and save it to `folder`.

    The two special tokens come last, as in the published tokenizers; padding is the end token. Equal texts give
    equal vocabularies: a run that goes on trains its tokenizer again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix=""))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    # Every byte must exist both inside and at the end of a word, whatever the texts hold. The trainer would number
    # ends as it meets them, in random order, and break ties by those numbers: special tokens it numbers first.
    ends = [byte + "</w>" for byte in alphabet]
    trainer = trainers.BpeTrainer(
        vocab_size=size - 2,
        initial_alphabet=alphabet,
        special_tokens=ends,
        end_of_word_suffix="</w>",
        show_progress=False,
        min_frequency=2,
    )
    tokenizer.train_from_iterator((text.lower() for text in texts), trainer)
    learnt = json.loads(tokenizer.to_str())["model"]
    names = [*alphabet, *ends]
    names += [name for name in sorted(learnt["vocab"], key=learnt["vocab"].get) if name not in set(names)]
    names += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {name: number for number, name in enumerate(names)}
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in learnt["merges"]]
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")
    return CLIPTokenizer.from_pretrained(folder)
