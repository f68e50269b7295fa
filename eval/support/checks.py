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


def check_film_figures(figures: dict[str, Any]) -> dict[str, bool | None]:
    """Which demands a film meets: True, False, or None where it cannot be said. `all` is None only if all
    are.

    * long_enough: at least 30 frames.
    * starts_blank: mean of the first frame ≥ 0.95 and 85 % of its pixels within 0.03 of white.
    * ends_finished: the last frame has PSNR ≥ 22 dB to the picture, or is within 1 dB of the autoencoder's
    round trip. * progress_rises: Spearman ≥ 0.9. * abrupt_between_keyframes: at least 0.5, and twice the
    faded keyframes'. * local_between_keyframes: at most half of the faded keyframes' effective changed share.
    * line_before_colour: where three quarters of the picture's edges are outlines, they lead by 5 % of the film's time.
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
