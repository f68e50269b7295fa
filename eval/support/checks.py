"""What a film of a drawing process must meet, next to its own null baselines."""

from typing import Any

LEAST_FRAMES = 30
START_MEAN = 0.95
START_WHITE_SHARE = 0.85
END_PSNR = 22.0
ROUND_TRIP_MARGIN = 1.0
SPEARMAN = 0.9
ABRUPTNESS = 0.5
ABRUPTER_THAN_FADE = 2.0
SHARE_OF_FADE = 0.5
OUTLINED = 0.75
LINE_LEAD = 0.05
CURVE_ERROR = 0.15
LOCAL = 0.35
PALETTE_SPREAD = 0.85
REGION_IOU = 0.3
STAGE_ORDER_ERROR = 0.2


def check_film_figures(figures: dict[str, Any]) -> dict[str, bool | None]:
    """Which demands a film meets: True, False, or None where it cannot be said. `all` is None only if all
    are.

    * long_enough: at least 30 frames.
    * starts_blank: mean of the first frame ≥ 0.95 and 85 % of its pixels within 0.03 of white.
    * ends_finished: the last frame has PSNR ≥ 22 dB to the picture, or is within 1 dB of the autoencoder's
    round trip. * progress_rises: Spearman ≥ 0.9. * abrupt_between_keyframes: at least 0.5, and twice the
    faded keyframes'. * local_between_keyframes: at most half of the faded keyframes' effective changed share.
    * line_before_colour: where three quarters of the picture's edges are outlines, they lead by 5 % of the film's time.
    * local: a step takes up at most 35 % of the changed area, at twenty steps a film.
    * paint_by_paint: at most 85 % of the variance of colours lies within single steps.
    """
    end, stages = figures["end"], figures["stages"]
    checks: dict[str, bool | None] = {
        "long_enough": figures["frames"] >= LEAST_FRAMES,
        "starts_blank": figures["start"]["mean"] >= START_MEAN and figures["start"]["white_share"] >= START_WHITE_SHARE,
        "ends_finished": None,
        "progress_rises": None,
        "abrupt_between_keyframes": None,
        "local_between_keyframes": None,
        "line_before_colour": None,
        "local": None if (area := figures["effective_changed_share"]) is None else area <= LOCAL,
        "paint_by_paint": None if (spread := figures["palette_spread"]) is None else spread <= PALETTE_SPREAD,
    }
    if end["psnr"] is not None:
        ceiling = end.get("round_trip_psnr")
        least = END_PSNR if ceiling is None else min(END_PSNR, ceiling - ROUND_TRIP_MARGIN)
        checks["ends_finished"] = end["psnr"] >= least
    if figures["progress"]["spearman"] is not None:
        checks["progress_rises"] = figures["progress"]["spearman"] >= SPEARMAN
    between, fade = figures["between_keyframes"], figures["baselines"].get("faded_keyframes")
    if between is not None and fade is not None:
        null = fade["between_keyframes"]
        if between["abruptness"] is not None and null["abruptness"] is not None:
            least = max(ABRUPTNESS, ABRUPTER_THAN_FADE * null["abruptness"])
            checks["abrupt_between_keyframes"] = between["abruptness"] >= least
        if between["effective_changed_share"] is not None and null["effective_changed_share"] is not None:
            most = SHARE_OF_FADE * null["effective_changed_share"]
            checks["local_between_keyframes"] = between["effective_changed_share"] <= most
    if stages["line_before_colour"] is not None and stages["outline_share"] >= OUTLINED:
        checks["line_before_colour"] = stages["line_before_colour"] >= LINE_LEAD
    known = [value for value in checks.values() if value is not None]
    checks["all"] = all(known) if known else None
    return checks


def check_against_truth(figures: dict[str, Any]) -> dict[str, bool | None]:
    """Which demands a film meets next to a true process of the same picture; None where it was not compared.

    * follows_progress: progress-curve error at most 0.15. * paints_where_true: change-region IoU at least 0.3.
    * stages_as_true: stage order error at most 0.2.
    """
    true = figures["true_process"] or {}
    error, iou, order = (true.get(k) for k in ("progress_curve_error", "change_region_iou", "stage_order_error"))
    return {
        "follows_progress": None if error is None else error <= CURVE_ERROR,
        "paints_where_true": None if iou is None else iou >= REGION_IOU,
        "stages_as_true": None if order is None else order <= STAGE_ORDER_ERROR,
    }


def margins(figures: dict[str, Any]) -> dict[str, float]:
    """How far a film is from the limit of every graded check, as a share of the limit: ≥ 0 meets it, −1 is far off.

    Only what was measured; `figures` as for the checks. Spearman's rank correlation is taken against 1 − 0.9.
    """
    true, between = figures["true_process"] or {}, figures["between_keyframes"] or {}
    fade = (figures["baselines"].get("faded_keyframes") or {}).get("between_keyframes") or {}
    share, spearman = fade.get("effective_changed_share"), figures["progress"]["spearman"]
    at_least = {
        "abrupt_between_keyframes": (between.get("abruptness"), ABRUPTNESS),
        "paints_where_true": (true.get("change_region_iou"), REGION_IOU),
    }
    at_most = {
        "progress_rises": (None if spearman is None else 1 - spearman, 1 - SPEARMAN),
        "local": (figures["effective_changed_share"], LOCAL),
        "local_between_keyframes": (between.get("effective_changed_share"), SHARE_OF_FADE * (share or 0) or None),
        "paint_by_paint": (figures["palette_spread"], PALETTE_SPREAD),
        "follows_progress": (true.get("progress_curve_error"), CURVE_ERROR),
        "stages_as_true": (true.get("stage_order_error"), STAGE_ORDER_ERROR),
    }
    found = {name: value / limit - 1 for name, (value, limit) in at_least.items() if None not in (value, limit)}
    return found | {name: 1 - value / limit for name, (value, limit) in at_most.items() if None not in (value, limit)}
