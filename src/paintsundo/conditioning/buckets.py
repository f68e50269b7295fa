"""The sizes a video model runs at."""

from __future__ import annotations

from collections.abc import Sequence

# (height, width), in the published order, which decides ties.
PUBLISHED_BUCKETS = ((320, 512), (384, 448), (448, 384), (512, 320))


def choose_bucket(height: int, width: int, buckets: Sequence[Sequence[int]] = PUBLISHED_BUCKETS) -> tuple[int, int]:
    """The (height, width) bucket whose shape is nearest to the picture's: least |h * bw - w * bh|.

    Ties go to the later bucket.
    """
    nearest = min(reversed(buckets), key=lambda bucket: abs(height * bucket[1] - width * bucket[0]))
    return int(nearest[0]), int(nearest[1])
