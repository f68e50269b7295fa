"""All measures of one film at once, as plain numbers that can be written to JSON."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from paintsundo.metrics.change import change_region_iou, changed_share, flicker
from paintsundo.metrics.fidelity import blankness, psnr, ssim
from paintsundo.metrics.films import Film, PreparedFilm, prepared
from paintsundo.metrics.locality import abruptness, between_keyframes, effective_changed_share
from paintsundo.metrics.paint import palette_spread
from paintsundo.metrics.progress import backtrack, monotonicity, progress, progress_curve_error
from paintsundo.metrics.stage_order import stage_curves, stage_order, stage_order_error

EQUAL_PSNR = 99.0
"""Written for pictures without any difference, whose PSNR is infinite, which JSON has no number for."""


def finite_psnr(picture: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float:
    """PSNR in dB, at most 99."""
    return min(EQUAL_PSNR, psnr(picture, reference))


def _rounded(curve: NDArray[np.float64] | None) -> list[float] | None:
    return None if curve is None else [round(float(value), 4) for value in curve]


def measure_film(
    film: Film | PreparedFilm,
    positions: Sequence[int] | None = None,
    picture: NDArray[np.uint8] | None = None,
    true_film: Film | PreparedFilm | None = None,
) -> dict[str, Any]:
    """Every measure of a film (N,H,W,3), blank → finished; None for what cannot be measured.

    Args:
        positions: frame numbers of the keyframes, both ends included; without them nothing between keyframes.
        picture: the finished picture (H,W,3); without it no fidelity of the end.
        true_film: a true process (M,H,W,3) of the same picture and size, for curve error and change-region
            IoU; prepared where several films are compared with it, for it is then measured once.
    """
    whole = prepared(film)
    film = whole.film
    true_film = None if true_film is None else prepared(true_film)
    curve = progress(whole)
    shares = changed_share(whole)
    start, order = blankness(film[0]), stage_order(whole)
    between = between_keyframes(whole, positions) if positions is not None else None
    return {
        "frames": len(film),
        "height": film.shape[1],
        "width": film.shape[2],
        "start": {"mean": start.mean, "white_share": start.white_share},
        "end": {
            "psnr": None if picture is None else finite_psnr(film[-1], picture),
            "ssim": None if picture is None or min(picture.shape[:2]) < 11 else ssim(film[-1], picture),
        },
        "progress": {
            "spearman": monotonicity(curve),
            "backtrack": backtrack(curve),
            "curve": _rounded(curve) if np.isfinite(curve).all() else None,
        },
        "flicker": flicker(whole),
        "changed_share": {"mean": float(shares.mean()), "largest": float(shares.max())},
        "effective_changed_share": effective_changed_share(whole),
        "abruptness": abruptness(whole),
        "palette_spread": palette_spread(whole),
        "between_keyframes": None
        if between is None or positions is None
        else {
            "positions": list(positions),
            "effective_changed_share": between.effective_changed_share,
            "abruptness": between.abruptness,
            "clips": {
                "effective_changed_share": between.clip_effective_changed_share,
                "abruptness": between.clip_abruptness,
                "changed_area": between.clip_changed_area,
            },
        },
        "stages": {
            "edges": order.edges,
            "colour": order.colour,
            "shading": order.shading,
            "line_before_colour": order.line_before_colour,
            "outline_share": order.outline_share,
            "curves": {name: _rounded(curve) for name, curve in stage_curves(whole)._asdict().items()},
        },
        "true_process": None
        if true_film is None
        else {
            "progress_curve_error": progress_curve_error(curve, progress(true_film)),
            "change_region_iou": change_region_iou(whole, true_film),
            "stage_order_error": stage_order_error(order, stage_order(true_film)),
        },
    }
