"""What a layered file may ask for before it is refused."""

from __future__ import annotations

from dataclasses import dataclass

from paintsundo.data.source import Unusable


@dataclass(frozen=True)
class Limits:
    """Bounds for files that nobody has checked.

    Attributes:
        megapixels: of the canvas and of any layer.
        layers: layers and groups together.
        depth: groups within groups.
        gigabytes: of all layers' pixels, unpacked.
    """

    megapixels: float = 80.0
    layers: int = 2000
    depth: int = 60
    gigabytes: float = 16.0

    def check_size(self, width: int, height: int, what: str = "the canvas") -> None:
        """Raises Unusable for sides below 1 or too many pixels."""
        if width < 1 or height < 1:
            raise Unusable(f"{what} measures {width} × {height} pixels")
        if width * height > self.megapixels * 1e6:
            raise Unusable(f"{what} measures {width} × {height} pixels, more than {self.megapixels:g} megapixels")

    def check_count(self, count: int) -> None:
        """Raises Unusable for too many layers."""
        if count > self.layers:
            raise Unusable(f"more than {self.layers} layers")

    def check_depth(self, depth: int) -> None:
        """Raises Unusable for groups nested too deep."""
        if depth > self.depth:
            raise Unusable(f"groups nested more than {self.depth} deep")

    def check_bytes(self, count: int) -> None:
        """Raises Unusable for layers that unpack to too much."""
        if count > self.gigabytes * 2**30:
            raise Unusable(f"layers of more than {self.gigabytes:g} GiB unpacked")
