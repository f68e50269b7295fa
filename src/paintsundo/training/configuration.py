"""From command-line arguments to the configuration of a training run, and `--help`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict

from paintsundo.errors import UserError
from paintsundo.pipelines.help import explained_options, option_line
from paintsundo.settings import compose, config_directory, split_literals

LITERAL = (
    "output",
    "start",
    "data.path",
    "data.cache",
    "model.autoencoder",
    "model.tags",
    "model.start",
    "model.text_encoder",
    "lora.start",
)

_USAGE = """python train.py experiment=NAME data.path=DATASET output=DIR [option=value …]

Trains a model and writes DIR/final in the official layout; the same command again goes on where it stopped.
Folders and files are taken as they stand. With -m, options may have several values: option=a,b.
Options and their values:
"""

# Group → what its entries are; chosen as group=entry.
GROUPS = {
    "experiment": "what is trained, and how",
    "trainer": "devices and strategy",
    "ema": "averages of the weights",
    "optimizer": "and its course",
    "logger": "where figures go",
    "loss_weight@model.loss_weight": "weight of the loss by timestep",
    "attention_window": "of the multi-frame model",
    "debug": "short runs that look at something",
    "sweep": "several runs, compared",
}
# Prefix of options → the configuration files whose comments explain them.
_EXPLAINED = {
    "": "train",
    "trainer.": "trainer/one",
    "ema.": "ema/standard",
    "optimizer.": "optimizer/adamw",
    "logger.": "logger/csv",
}


def configure(arguments: Sequence[str]) -> DictConfig:
    """The configuration of `name=value` arguments, references in it not yet resolved.

    Options of the model that its class knows may be given although the experiment does not name them.

    Raises:
        UserError: an option is unknown, or not one of the experiment's model.
    """
    literals, others = split_literals(arguments, LITERAL)
    given = [name.removeprefix("model.") for name in literals if name.startswith("model.")]
    others = with_model_options(others, given)
    return settle(compose("train", [*_again(literals), *others], LITERAL))


def with_model_options(overrides: Sequence[str], literal: Sequence[str] = ()) -> list[str]:
    """Overrides of model options that the experiment does not name get the "+" with which hydra adds them.

    Args:
        overrides: all overrides of a command line, less literal ones.
        literal: options of the model given beside them, names only.

    Raises:
        UserError: the model has no such option.
    """
    wanted = [o.partition("=")[0].strip().removeprefix("model.").split(".")[0] for o in overrides if _of_model(o)]
    if not wanted and not literal:
        return list(overrides)
    base = compose("train", [first_value(o) for o in overrides if not _of_model(o)])
    named = set(base.model or ())
    if not (set(wanted) | set(literal)) - named:
        return list(overrides)
    target = (base.model or {}).get("_target_")
    if target is None:
        first = [*wanted, *literal][0]
        raise UserError(f"unknown option model.{first}: no experiment is chosen")
    # Imports torch, so only where it must.
    from paintsundo.training.model_options import known_options, module_class, unknown_model_option

    known = known_options(module_class(target))
    for name in wanted:
        if name not in named and name not in known:
            raise UserError(unknown_model_option(name, known))
    for name in literal:
        if name not in named and name not in known:
            raise UserError(f"unknown option model.{name}: this experiment has none")
    heads = [f"model.{name}" for name in wanted if name not in named]
    return [f"+{o}" if _of_model(o) and o.partition("=")[0].strip() in heads else o for o in overrides]


def first_value(override: str) -> str:
    """An override with several values (hydra's sweeps: a,b, range(…), interval(…)) with the first of them alone."""
    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException:
        return override
    if not parsed.is_sweep_override():
        return override
    name = override.partition("=")[0]
    if parsed.is_interval_sweep():
        return f"{name}={cast(Any, parsed.value()).start}"
    return f"{name}={next(iter(parsed.sweep_string_iterator()))}"


def settle(config: DictConfig) -> DictConfig:
    """Turn options that stand for others into those; returns the configuration, changed in place."""
    if not config.condition_dropout and config.model is not None:
        from paintsundo.training.model_options import dropouts_of, module_class

        with open_dict(config):
            for name in dropouts_of(module_class(config.model._target_)):
                config.model[name] = 0.0
    return config


def help_text(arguments: Sequence[str]) -> str:
    """All options with the values that they have after `arguments`, each with what it means.

    Raises:
        UserError: an option is unknown.
    """
    options = cast(dict[str, Any], OmegaConf.to_container(configure(arguments), resolve=True))
    lines = [option_line(f"{group}=NAME", f"{', '.join(entries(group))}: {what}") for group, what in GROUPS.items()]
    return "\n".join([_USAGE, *lines, "", *explained_options(options, _EXPLAINED)])


def entries(group: str) -> list[str]:
    """Names of a configuration group's entries."""
    folder = config_directory() / group.partition("@")[0]
    return sorted(file.relative_to(folder).with_suffix("").as_posix() for file in folder.rglob("*.yaml"))


def _of_model(override: str) -> bool:
    return override.lstrip().startswith("model.")


def _again(literals: dict[str, str | None]) -> list[str]:
    """Literal arguments as they would be typed."""
    return [f"{name}=null" if value is None else f"{name}='{value}'" for name, value in literals.items()]
