"""Configurations of the command lines: composed by hydra, with one-line errors and literal values.

hydra's override grammar gives commas, brackets, equals signs and quotes a meaning. File names and prompts are
full of them, so the values of the keys a command calls *literal* never pass through that grammar.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from paintsundo.errors import UserError

Schema = TypeVar("Schema")


def config_directory() -> Path:
    """The folder of configuration groups: the repository's own, or the copy inside an installed wheel."""
    package = Path(__file__).resolve().parent
    for folder in (package / "configs", package.parent.parent / "configs"):
        if (folder / "infer.yaml").is_file():
            return folder
    raise UserError(f"no configuration files found beside the package ({package}); install it again")


def one_line(error: BaseException | str) -> str:
    """The message of an error with all its line breaks and runs of blanks made single blanks."""
    return re.sub(r"\s+", " ", str(error)).strip()


def compose(config_name: str, arguments: Sequence[str], literal_keys: Collection[str] = ()) -> DictConfig:
    """Compose ``configs/<config_name>.yaml`` with command-line arguments of the form ``name=value``.

    Values of ``literal_keys`` are taken as they stand, less one surrounding pair of quotes; an unquoted
    ``null`` means None. They win over every group and over other overrides.

    Raises:
        UserError: an argument is no ``name=value``, or names an unknown option or group entry.
    """
    literals, overrides = split_literals(arguments, literal_keys)
    try:
        with initialize_config_dir(version_base=None, config_dir=str(config_directory())):
            config = _compose_or_explain(config_name, overrides)
    except OmegaConfBaseException as error:
        raise UserError(one_line(error)) from error
    for key, value in literals.items():
        with open_dict(config):
            OmegaConf.update(config, key, escape(value))
    return config


def split_literals(arguments: Sequence[str], literal_keys: Collection[str]) -> tuple[dict[str, str | None], list[str]]:
    """Separate literal ``name=value`` arguments (as a mapping, the last one wins) from hydra's overrides."""
    literals: dict[str, str | None] = {}
    overrides: list[str] = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            raise UserError(f"{argument!r} is not understood: options are written name=value, as in input=PICTURE")
        if key.strip() in literal_keys:
            literals[key.strip()] = None if value == "null" else unquote(value)
            if literals[key.strip()] == "???":
                # To OmegaConf this means "not given", and it has no other way to write it.
                raise UserError(f"{argument}: three question marks alone cannot be a value; for a pattern, say ./???")
        else:
            overrides.append(argument)
    return literals, overrides


def unquote(value: str) -> str:
    """Drop one surrounding pair of equal quotes: some shells pass them on."""
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value


def escape(value: str | None) -> str | None:
    """Write a string so that OmegaConf reads it back unchanged, even with ``${`` in it."""
    if value is None:
        return None
    # OmegaConf gives backslashes a meaning only right before an interpolation.
    return re.sub(r"(\\*)\$\{", lambda match: match.group(1) * 2 + r"\${", value)


def compile_option(value: str) -> str:
    """`runtime.compile` of all commands in one word: "none" for "off", which YAML files may turn into false."""
    return "none" if value.lower() in ("off", "false") else value


def as_schema(config: DictConfig, schema: type[Schema]) -> Schema:
    """Convert a composed configuration to a dataclass, checking every type.

    Raises:
        UserError: an option is missing, unknown to the schema, or of the wrong type.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), config)
        result = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        message = one_line(getattr(error, "msg", None) or error)
        message = re.sub(r" full_key: .*$", "", message)
        if "is not a ListConfig" in message:
            message = "a list is needed, written [a,b]"
        raise UserError(f"{key}: {message}" if key else message) from error
    assert isinstance(result, schema)
    return result


def _compose_or_explain(config_name: str, overrides: list[str]) -> DictConfig:
    for override in overrides:
        try:
            parsed = OverridesParser.create().parse_override(override)
        except HydraException as error:
            raise UserError(f"{override!r} is not understood: {one_line(error).split(' See https')[0]}") from error
        if parsed.is_sweep_override():
            raise UserError(f"{override!r} has several values: a list is written name=[a,b], text name='a,b'")
    try:
        return hydra_compose(config_name=config_name, overrides=overrides)
    except (HydraException, ValueError) as error:
        message = one_line(error)
        unknown = re.match(r"Could not override '([^']+)'", message)
        if unknown:
            raise UserError(_unknown_option(unknown.group(1), _known(config_name, overrides))) from error
        message = re.sub(r"^In '[^']*': | Config search path:.*$", "", message)
        message = re.sub(r"^You must specify '([^']+)', .*? options:", r"say \1=NAME; there are:", message)
        raise UserError(message.replace(" Available options in ", "; there are, in ")) from error


def _known(config_name: str, overrides: Sequence[str]) -> list[str]:
    """The options there are; where a group must be chosen, those of the one that is."""
    try:
        config = hydra_compose(config_name=config_name)
    except HydraException:
        groups = [override for override in overrides if "." not in override.partition("=")[0]]
        for group in groups:
            with suppress(HydraException):
                return list(_keys(OmegaConf.to_container(hydra_compose(config_name=config_name, overrides=[group]))))
        return []
    return list(_keys(OmegaConf.to_container(config)))


def _unknown_option(key: str, known: Sequence[str]) -> str:
    # A misspelt name may also lack its group.
    by_last_part = {name.rsplit(".", 1)[-1]: name for name in known}
    close = difflib.get_close_matches(key, known, n=1) or [
        by_last_part[name] for name in difflib.get_close_matches(key.rsplit(".", 1)[-1], by_last_part, n=1, cutoff=0.7)
    ]
    hint = f"; did you mean {close[0]}?" if close else "; --help lists the options"
    return f"unknown option {key}{hint}"


def _keys(tree: Any, prefix: str = "") -> Iterator[str]:
    if isinstance(tree, dict):
        for name, value in tree.items():
            path = f"{prefix}.{name}" if prefix else str(name)
            yield path
            yield from _keys(value, path)
