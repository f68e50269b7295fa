"""Presets for the operation steps at which keyframes are made."""

from __future__ import annotations

from paintsundo.errors import UserError

# Shares of the way from finished (0) to blank (1), by how a share u of the keyframes is spread over it.
_CURVES = {
    "uniform": lambda u: u,
    "blank_heavy": lambda u: 1 - (1 - u) ** 2,
    "finished_heavy": lambda u: u**2,
}
PLACEMENTS = ("listed", *_CURVES)
_RANGE = 1000  # operation steps: 0 (finished) … 999 (first stroke)


def placed_steps(placement: str, count: int) -> list[int]:
    """Operation steps of `count` keyframes, ascending; the finished picture and the blank canvas are not among them.

    Args:
        placement: "uniform" spreads them evenly; "blank_heavy" puts them closer towards the first stroke, as the
            published list does; "finished_heavy" closer towards the finished picture.
        count: of keyframes; steps that round to the same are taken once, so there may be fewer.

    Raises:
        UserError: another name, or no possible count.
    """
    if placement not in _CURVES:
        raise UserError(f"keyframes.placement cannot be {placement!r}: choose from {', '.join(PLACEMENTS)}")
    if not 1 <= count < _RANGE:
        raise UserError(f"keyframes.count is {count}: from 1 to {_RANGE - 1} keyframes are possible")
    curve = _CURVES[placement]
    steps = [round(_RANGE * curve(index / (count + 1))) for index in range(1, count + 1)]
    return sorted({min(max(step, 1), _RANGE - 1) for step in steps})
