"""Models of how drawings are made: a finished picture in, the film of its making out."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paintsundo.pipelines.film import PaintsUndoOutput, PaintsUndoPipeline

__version__ = "0.1.0"
__all__ = ["PaintsUndoOutput", "PaintsUndoPipeline", "__version__"]


def __getattr__(name: str) -> Any:
    # Lazy, so that `import paintsundo` stays instant and touches neither torch nor a device.
    if name in ("PaintsUndoOutput", "PaintsUndoPipeline"):
        from paintsundo.pipelines import film

        return getattr(film, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
