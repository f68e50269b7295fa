"""Reading and writing one network of the official layout: a folder of `config.json` and safetensors."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from paintsundo.errors import UserError

logger = logging.getLogger(__name__)
Network = TypeVar("Network", bound="OfficialLayoutMixin")
Built = TypeVar("Built", bound=nn.Module)


def read_config(folder: str | Path) -> dict[str, Any]:
    """The `config.json` of a folder; `UserError` where it is missing or not a JSON object."""
    path = Path(folder) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {_one_line(error)}") from None
    if not isinstance(config, dict):
        raise UserError(f"{path} is not a JSON object")
    return config


def read_tensors(folder: str | Path, file_name: str, device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
    """All tensors of a safetensors file, or of the shards its index names; `UserError` where that fails."""
    path = Path(folder) / file_name
    index = path.with_name(path.name + ".index.json")
    paths = [path]
    if not path.exists() and index.exists():
        try:
            names = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
            paths = [path.parent / Path(name).name for name in sorted(set(names))]
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise UserError(f"{index} cannot be read: {error!r}") from None
    tensors: dict[str, torch.Tensor] = {}
    for part in paths:
        try:
            tensors |= load_file(part, device=str(device))
        except FileNotFoundError:
            raise UserError(f"{part} is missing") from None
        except (OSError, SafetensorError) as error:
            raise UserError(f"{part} is damaged or not a safetensors file: {_one_line(error)}") from None
    return tensors


def load_tensors(network: nn.Module, tensors: Mapping[str, torch.Tensor], source: str | Path) -> None:
    """Give a network (which may be on the meta device) its tensors, name for name and shape for shape.

    Args:
        network: keeps its parameters' `requires_grad`; takes over the tensors' dtype and device.
        tensors: by name.
        source: what to call them in errors.

    Raises:
        UserError: tensors are missing, unknown or of another shape; the message names them.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    missing = [name for name in wanted if name not in tensors]
    extra = [name for name in tensors if name not in wanted]
    wrong = [
        f"{name} (is {tuple(tensors[name].shape)}, should be {shape})"
        for name, shape in wanted.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    ]
    faults = [
        _listed(what, names)
        for what, names in (("missing", missing), ("unknown", extra), ("wrongly shaped", wrong))
        if names
    ]
    if faults:
        raise UserError(f"{source} does not fit {type(network).__name__}: {'; '.join(faults)}")
    network.load_state_dict(dict(tensors), strict=True, assign=True)


def build(make: Callable[[], Built], source: str | Path) -> Built:
    """A network without values (on the meta device); `UserError` where its configuration is impossible."""
    try:
        with torch.device("meta"):
            return make()
    except UserError as error:
        raise UserError(f"{source}: {error}") from None
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError, RuntimeError) as error:
        raise UserError(f"{source} describes no possible network: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _listed(what: str, names: list[str], shown: int = 5) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return f"{len(names)} {what}: {', '.join(names[:shown])}{more}"


def cast_floating(tensors: Mapping[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """The same tensors, those of floating point in `dtype`."""
    return {name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors.items()}


def write_network(folder: str | Path, config: str, tensors: Mapping[str, torch.Tensor], file_name: str) -> None:
    """Write `config.json` and the tensors; each file appears under its name only when it is whole."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{file_name}.partial"
    try:
        save_file({k: v.detach().contiguous() for k, v in tensors.items()}, partial, metadata={"format": "pt"})
        partial.replace(folder / file_name)
    finally:
        partial.unlink(missing_ok=True)
    partial = folder / ".config.json.partial"
    partial.write_text(config, encoding="utf-8")
    partial.replace(folder / "config.json")


class OfficialLayoutMixin:
    """`from_pretrained` and `save_pretrained` for the official layout; goes before `ModelMixin` in the bases.

    Attributes:
        weights_file: name of the safetensors file.
        optional_config: configuration keys that the published files do not have, with the published behaviour
            as their value; written only where they differ from it.
    """

    weights_file: ClassVar[str] = "model.safetensors"
    optional_config: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def from_pretrained(
        cls: type[Network],
        folder: str | Path,
        *,
        subfolder: str | None = None,
        torch_dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        changes: Mapping[str, Any] | None = None,
    ) -> Network:
        """Load a network, in evaluation mode, from a local folder.

        Args:
            folder: holds `config.json` and the weights (or a subfolder does).
            subfolder: of `folder`.
            torch_dtype: of the loaded network, whatever that of the file.
            device: where to put it.
            changes: values of the configuration in place of the file's.

        Raises:
            UserError: a file is missing or damaged, the configuration is another network's, a change is unknown, or
                tensors are missing, unknown or wrongly shaped.
        """
        folder = Path(folder) / subfolder if subfolder else Path(folder)
        if strange := sorted(set(changes or ()) - cls._configurable()):
            raise UserError(f"the configuration of a {cls.__name__} has no {', '.join(strange)}")
        config = cls._known_config(read_config(folder), folder) | dict(changes or {})
        network = build(lambda: cls.from_config(config), folder / "config.json")  # type: ignore[attr-defined]
        tensors = read_tensors(folder, cls.weights_file, device)
        load_tensors(network, cast_floating(tensors, torch_dtype), folder / cls.weights_file)
        return network.to(device).eval()

    @classmethod
    def _configurable(cls) -> set[str]:
        # `_get_init_keys` is of diffusers' ConfigMixin, which every network has beside this class.
        return set(cls._get_init_keys(cls)) - {"self", "kwargs"}  # type: ignore[attr-defined]

    @classmethod
    def _known_config(cls, config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """The keys of the configuration that this network knows; the others are told, and ignored."""
        known = cls._configurable()
        public = {key for key in config if not key.startswith("_")}
        unknown = sorted(public - known)
        if len(unknown) >= max(1, len(public & known)):
            raise UserError(f"{folder / 'config.json'} is not the configuration of a {cls.__name__}")
        if unknown:
            logger.warning("%s: ignored unknown keys %s", folder / "config.json", ", ".join(unknown))
        return {key: config[key] for key in config if key in known}

    def save_pretrained(self, folder: str | Path, *, torch_dtype: torch.dtype | None = None) -> None:
        """Write the network as `from_pretrained` (and other readers of the official layout) takes it.

        Args:
            folder: made where it does not exist; files of the same names are replaced.
            torch_dtype: of the stored tensors; that of the network without it.
        """
        tensors: Mapping[str, torch.Tensor] = self.state_dict()  # type: ignore[attr-defined]
        if torch_dtype is not None:
            tensors = cast_floating(tensors, torch_dtype)
        write_network(folder, self.to_json_string(), tensors, self.weights_file)

    def to_json_string(self) -> str:
        """The configuration as published: sorted keys, optional ones only where not at their default."""
        config = self.config  # type: ignore[attr-defined]
        return published_json(
            (key, value)
            for key, value in config.items()
            if not key.startswith("_")
            and not (key in self.optional_config and _plain(value) == _plain(self.optional_config[key]))
        )


def published_json(items: Iterable[tuple[str, Any]]) -> str:
    """JSON with the key order and indentation of the published files."""
    return json.dumps(dict(items), indent=2, sort_keys=True)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
