"""`infer.py` and `paintsundo-infer`: from command-line arguments to films on disk."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import paintsundo
from paintsundo.command_line import exit_code
from paintsundo.pipelines.options import InferOptions
from paintsundo.settings import as_schema, compose

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

USAGE = """python infer.py input=PICTURE|FOLDER|GLOB output=DIR [option=value …]

Makes the film of a picture's making: DIR/<stem>/film.mp4, its frames and keyframes.
Values of input, output, prompts and folders are taken as they stand. Options and their defaults:
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run with command-line arguments (those of the process by default); returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return exit_code(lambda: infer(arguments))


def infer(arguments: Sequence[str]) -> int:
    """Compose the options and make the films.

    Raises:
        UserError: an option is unknown or impossible, or a model or picture cannot be used.
    """
    if {"--help", "-h"} & set(arguments):
        print(USAGE)
        print(describe([argument for argument in arguments if "=" in argument]))
        return 0
    if "--version" in arguments:
        print(f"paintsundo {paintsundo.__version__}")
        return 0
    options = as_schema(compose("infer", arguments, LITERAL_KEYS), InferOptions)
    options.check()
    # Late: what follows needs torch, and a mistyped option should be told at once.
    from paintsundo.pipelines.batch import make_films

    return make_films(options)


def describe(arguments: Sequence[str]) -> str:
    """All options with their values after `arguments`, one a line."""
    from omegaconf import OmegaConf

    return OmegaConf.to_yaml(compose("infer", arguments, LITERAL_KEYS))
