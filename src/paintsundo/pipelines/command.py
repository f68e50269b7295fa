"""`infer.py` and `paintsundo-infer`: from command-line arguments to films on disk."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import paintsundo
from paintsundo.command_line import exit_code

if TYPE_CHECKING:
    from paintsundo.pipelines.options import ModelOptions

LITERAL_KEYS = (
    "input",
    "output",
    "prompt",
    "models.single_frame",
    "models.multi_frame",
    "models.tagger",
    "models.lora",
    "keyframes.negative_prompt",
    "keyframes.folder",
    "video.prompt",
    "video.negative_prompt",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run with command-line arguments (those of the process by default); returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return exit_code(lambda: infer(arguments))


def infer(arguments: Sequence[str]) -> int:
    """Compose the options and make the films.

    Raises:
        UserError: an option is unknown or impossible, or a model or picture cannot be used.
    """
    # Imported late: Ctrl-C during the seconds that it takes is then told as at any other time.
    from paintsundo.file_hashes import begin_hashes
    from paintsundo.pipelines.help import help_text
    from paintsundo.pipelines.options import InferOptions
    from paintsundo.settings import as_schema, compose

    if {"--help", "-h"} & set(arguments):
        print(help_text([argument for argument in arguments if "=" in argument], LITERAL_KEYS))
        return 0
    if "--version" in arguments:
        print(f"paintsundo {paintsundo.__version__}")
        return 0
    options = as_schema(compose("infer", arguments, LITERAL_KEYS), InferOptions)
    options.check()
    begin_hashes(weight_files(options.models))
    # Later still: this needs torch, and a mistyped option should be told at once.
    from paintsundo.pipelines.batch import make_films
    from paintsundo.pipelines.heap import keep_freed_memory
    from paintsundo.pipelines.placement import choose_device

    if choose_device(options.runtime.device).type == "cpu":
        keep_freed_memory()
    return make_films(options)


def weight_files(models: ModelOptions) -> Iterator[Path]:
    """Weights of models in folders; large ones take seconds to hash, which is begun during the imports."""
    for kind in ("single_frame", "multi_frame"):
        folder = Path(getattr(models, kind))
        # A folder may hold the whole pair.
        for part in (folder, folder / kind):
            yield from part.glob("*/*.safetensors")
