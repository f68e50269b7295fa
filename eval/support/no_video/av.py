"""Stands in for PyAV on machines without it, in measurements alone: takes frames and writes nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class _Container:
    def __init__(self) -> None:
        self.metadata: dict[str, str] = {}

    def __enter__(self) -> _Container:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def add_stream(self, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(encode=lambda *_: [])

    def mux(self, _: object) -> None:
        pass


def open(*_: Any, **__: Any) -> _Container:
    return _Container()


class VideoFrame:
    @staticmethod
    def from_ndarray(*_: Any, **__: Any) -> VideoFrame:
        return VideoFrame()

    def reformat(self, *_: Any, **__: Any) -> VideoFrame:
        return self
