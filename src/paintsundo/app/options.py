"""The typed options of the page (`python -m paintsundo.app`), and the checks that need no model."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from paintsundo.errors import UserError
from paintsundo.pipelines.command import LITERAL_KEYS as INFER_LITERALS
from paintsundo.pipelines.options import InferOptions
from paintsundo.settings import as_schema, compose

LITERAL_KEYS = (
    *INFER_LITERALS,
    "server.password",
    "runs.folder",
    "choices.models",
    "choices.loras",
    "choices.examples",
)


@dataclass
class ServerOptions:
    """Where the page listens, and who may see it."""

    host: str = "127.0.0.1"
    port: int = 7860
    password: str | None = None
    hosts: list[str] = field(default_factory=list)
    open_browser: bool = False
    devices: list[str] = field(default_factory=list)


@dataclass
class RunsOptions:
    """Where runs lie, and for how long: days, and GiB of all runs together."""

    folder: str = "runs"
    keep_days: float = 30.0
    keep_gib: float = 20.0


@dataclass
class ChoiceOptions:
    """What is offered beside the models of the command line; folders on the server, never named by a visitor."""

    models: str | None = None
    loras: str | None = None
    examples: str | None = None
    download: bool = True


@dataclass
class LimitOptions:
    """What one visitor may ask for."""

    picture_mib: float = 32
    picture_pixels: int = 40_000_000
    keyframe_pixels: int = 1_048_576
    keyframes_count: int = 32
    steps: int = 150
    seeds: int = 8
    prompt_characters: int = 4000
    queue_per_user: int = 4
    queue_total: int = 64
    runs_per_user: int = 200
    user_mib: float = 4096
    requests_per_minute: int = 240
    new_users_per_minute: int = 60
    film_seconds: float = 14400


@dataclass
class AppOptions(InferOptions):
    """Everything the page can be told: what `infer.py` takes, as what a run begins with, and the page's own."""

    server: ServerOptions = field(default_factory=ServerOptions)
    runs: RunsOptions = field(default_factory=RunsOptions)
    choices: ChoiceOptions = field(default_factory=ChoiceOptions)
    limits: LimitOptions = field(default_factory=LimitOptions)

    @classmethod
    def composed(cls, arguments: Sequence[str] = ()) -> AppOptions:
        """The options of `configs/app.yaml` with command-line arguments, checked.

        Raises:
            UserError: an option is unknown or impossible.
        """
        options = as_schema(compose("app", list(arguments), LITERAL_KEYS), cls)
        options.check()
        return options

    def infer(self) -> InferOptions:
        """The options of `infer.py` that a run begins with."""
        return InferOptions(**{each.name: getattr(self, each.name) for each in fields(InferOptions)})

    @property
    def local(self) -> bool:
        """Whether only this machine can reach the page."""
        if self.server.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.server.host).is_loopback
        except ValueError:
            return False

    def check(self) -> None:
        """Raise UserError for values that no server could work with."""
        if not 0 <= self.server.port <= 65535:
            raise UserError(f"server.port is {self.server.port}: from 0 (any free one) to 65535 is possible")
        if self.server.password is not None and not self.server.password.strip():
            raise UserError("server.password is empty: say one, or null for none")
        for group, values in (("limits", self.limits), ("runs", self.runs)):
            for name, value in vars(values).items():
                if not isinstance(value, str) and not value > 0:
                    raise UserError(f"{group}.{name} is {value}: it must be more than 0")
        for name in ("models", "loras", "examples"):
            folder = getattr(self.choices, name)
            if folder is not None and not Path(folder).is_dir():
                raise UserError(f"choices.{name}: the folder {folder} does not exist")
        for name, given in (
            ("input", self.input),
            ("output", self.output),
            ("prompt", self.prompt),
            ("keyframes.folder", self.keyframes.folder),
        ):
            if given is not None:
                raise UserError(f"{name} is for infer.py: on the page, visitors give it")
        if self.runtime.devices:
            raise UserError("runtime.devices is for infer.py: on the page, server.devices=[…] has a run on each")
        infer = self.infer()
        infer.input = infer.output = "."
        infer.check()
