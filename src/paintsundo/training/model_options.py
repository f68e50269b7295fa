"""The model's own options: those of its Lightning module's constructor."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from hydra.errors import HydraException
from hydra.utils import get_class

from paintsundo.errors import UserError

# Keys of hydra's own.
_SPECIAL = ("_target_", "_recursive_", "_convert_", "_partial_", "_args_")
_DROPOUTS = ("text_dropout", "picture_dropout", "step_dropout", "dropout")


def module_class(target: str) -> type:
    """The Lightning module of a dotted name.

    Raises:
        UserError: there is none.
    """
    try:
        return get_class(target)
    except (HydraException, ValueError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"model._target_: no class {target}: {reason}") from error


def known_options(module: type) -> dict[str, inspect.Parameter]:
    """Arguments of a class's constructor, those that it hands on to its bases included."""
    found: dict[str, inspect.Parameter] = {}
    for base in inspect.getmro(module):
        if "__init__" not in vars(base):
            continue
        parameters = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
        for parameter in parameters:
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                found.setdefault(parameter.name, parameter)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return found


def check_model(model: Mapping[str, Any], start: str | None = None) -> None:
    """Compare a model's options with its class.

    Args:
        model: the options, `_target_` among them.
        start: what the run starts from.

    Raises:
        UserError: the class does not exist, does not know an option, or starts from nothing.
    """
    target = model.get("_target_")
    if target is None:
        return
    known = known_options(module_class(str(target)))
    for name in model:
        if name not in known and name not in _SPECIAL:
            raise UserError(unknown_model_option(name, known))
    if start is not None and "start" not in known:
        raise UserError("this model is always trained from scratch: say start=null")


def unknown_model_option(name: str, known: Mapping[str, Any]) -> str:
    """One line about an option that a model does not have."""
    close = difflib.get_close_matches(name, list(known), n=1)
    hint = f"; did you mean model.{close[0]}?" if close else f"; this experiment's are {', '.join(sorted(known))}"
    return f"unknown option model.{name}{hint}"


def dropouts_of(module: type) -> list[str]:
    """The options of a model that are dropouts of its conditions."""
    return [name for name in _DROPOUTS if name in known_options(module)]
