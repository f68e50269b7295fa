"""Contact sheets: states of drawing processes side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from paintsundo.data.process import DrawingProcess


def contact_sheet(processes: Sequence[DrawingProcess], states: int = 12, side: int = 128) -> Image.Image:
    """One row per process, `states` columns from the blank canvas to the finished picture, `side` pixels
    each.
    """
    rows = []
    for process in processes:
        cells = []
        for work in np.linspace(0, 1, states):
            picture = Image.fromarray(process.state(float(work)))
            cell = picture.resize((side, side), Image.Resampling.LANCZOS)
            cells.append(np.pad(np.asarray(cell), ((1, 1), (1, 1), (0, 0)), constant_values=200))
        rows.append(np.concatenate(cells, axis=1))
    return Image.fromarray(np.concatenate(rows, axis=0))
