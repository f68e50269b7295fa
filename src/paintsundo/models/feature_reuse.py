"""Features that the inner blocks of a UNet gave at an earlier step, in place of computing them again.

What the inner, coarse levels of a denoiser see changes slowly from one sampling step to the next; only the outermost
blocks need every step (DeepCache, Ma et al. 2024).
"""

from __future__ import annotations

from torch import Tensor


class InnerFeatures:
    """Memory of one network over the steps of one run.

    Args:
        blocks: how many of the outermost blocks on either side are computed at every step, at least 1. A network that
            cannot be cut there takes the nearest place where it can.
    """

    def __init__(self, blocks: int = 3) -> None:
        self.blocks = blocks
        self._kept: dict[int, Tensor] = {}
        self._reuse = False
        self._passes = 0

    def begin_step(self, reuse: bool) -> None:
        """Say before each step whether its passes may use what is kept; passes of a step are told apart by order."""
        self._reuse, self._passes = reuse, 0
        if not reuse:
            self._kept.clear()

    def recall(self, rows: int) -> Tensor | None:
        """What to put in the place of the inner blocks' result for this pass, (rows, C, h, w); None: compute them.

        A pass of fewer rows than were kept is that of the first rows: the conditioned half of a guided one.
        """
        kept = self._kept.get(self._passes) if self._reuse else None
        return None if kept is None or len(kept) < rows else kept[:rows]

    def keep(self, inner: Tensor | None = None) -> None:
        """End a pass; `inner` is what the inner blocks gave, if they were computed."""
        if inner is not None:
            self._kept[self._passes] = inner
        self._passes += 1
