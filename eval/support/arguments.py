"""What all evaluations share: name=value arguments, one-line errors, exit codes."""

import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from paintsundo.command_line import exit_code
from paintsundo.errors import UserError
from paintsundo.settings import as_schema, escape, one_line, split_literals

Settings = TypeVar("Settings", bound=Any)


def parse(schema: type[Settings], arguments: Sequence[str], literal_keys: Collection[str]) -> Settings:
    """`name=value` arguments → an instance of the dataclass `schema`; values of `literal_keys` taken as they
    stand.

    Raises UserError: no name=value, an unknown option, a value of the wrong type, a missing one.
    """
    literals, others = split_literals(arguments, literal_keys)
    known = OmegaConf.structured(schema)
    names = [field.name for field in fields(schema)]
    for argument in others:
        if (name := argument.partition("=")[0]) not in names:
            raise UserError(f"unknown option {name}; known are {', '.join(names)}")
        try:
            OmegaConf.from_dotlist([argument])
        except YAMLError as error:
            raise UserError(f"{name} cannot be read: quote what has brackets or commas within a list") from error
    try:
        config = OmegaConf.from_dotlist(others)
    except OmegaConfBaseException as error:
        raise UserError(one_line(error)) from error
    for name, value in literals.items():
        OmegaConf.update(config, name, escape(value))
    missing = [name for name in names if OmegaConf.is_missing(known, name) and config.get(name) in (None, "")]
    if missing:
        raise UserError(f"{' and '.join(f'{name}=…' for name in missing)} must be given")
    return as_schema(config, schema)


def run(main: Callable[[Sequence[str]], None]) -> int:
    """Call an evaluation with the command line's arguments; the exit code is that of every command, and 0 if
    it ends."""

    def command() -> int:
        try:
            main(sys.argv[1:])
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 130
        return 0

    return exit_code(command)
