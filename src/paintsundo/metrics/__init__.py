"""Measures of a drawing process: how a film comes from a blank canvas to the finished picture.

Every measure is a function on films, uint8 (N,H,W,3), blank → finished, and says what fools it; `baselines`
makes the null films that a figure must be read beside.
"""

from paintsundo.metrics.baselines import null_baselines
from paintsundo.metrics.bootstrap import Interval, bootstrap, paired_difference
from paintsundo.metrics.calibration import StepReading, read_steps, shown_progress
from paintsundo.metrics.change import change_masks, change_region_iou, changed_share, flicker
from paintsundo.metrics.diversity import Distances, distances, diversity, state_effect
from paintsundo.metrics.fidelity import Blankness, blankness, interpolation_fidelity, psnr, ssim
from paintsundo.metrics.locality import (
    BetweenKeyframes,
    abruptness,
    between_keyframes,
    effective_changed_share,
    keyframe_positions,
)
from paintsundo.metrics.paint import palette_spread
from paintsundo.metrics.progress import (
    backtrack,
    monotonicity,
    operation_step_calibration,
    progress,
    progress_curve_error,
)
from paintsundo.metrics.report import measure_film
from paintsundo.metrics.stage_order import StageOrder, outline_share, stage_order, stage_order_error

__all__ = [
    "BetweenKeyframes",
    "Blankness",
    "Distances",
    "Interval",
    "StageOrder",
    "StepReading",
    "abruptness",
    "backtrack",
    "between_keyframes",
    "blankness",
    "bootstrap",
    "change_masks",
    "change_region_iou",
    "changed_share",
    "distances",
    "diversity",
    "effective_changed_share",
    "flicker",
    "interpolation_fidelity",
    "keyframe_positions",
    "measure_film",
    "monotonicity",
    "null_baselines",
    "operation_step_calibration",
    "outline_share",
    "paired_difference",
    "palette_spread",
    "progress",
    "progress_curve_error",
    "psnr",
    "read_steps",
    "shown_progress",
    "ssim",
    "stage_order",
    "stage_order_error",
    "state_effect",
]
