"""Films that a pair of models makes of pictures of which no true process is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from paintsundo.conditioning.images import crop_to
from paintsundo.conditioning.picture_file import open_picture
from paintsundo.metrics import keyframe_positions
from paintsundo.metrics.films import Film
from paintsundo.pipelines.inputs import find_pictures
from paintsundo.pipelines.sizes import nearest
from support.pair_batch import PairBatch
from support.pair_maker import PairMaker, pair_options

Made = tuple[Film, list[int] | None, NDArray[np.uint8]]


def films_of_pictures(models: str, pictures: str, overrides: Sequence[str], size: int) -> Iterator[tuple[str, Made]]:
    """(name, (film, frame numbers of its keyframes, the picture as it was taken)) of each picture of a folder or
    pattern, in the picture's proportions at the area of a square of this side.

    Raises UserError: no pictures, a damaged one, or models that cannot be used.
    """
    found = find_pictures(pictures)
    maker = PairMaker(pair_options(models, overrides))
    pair = PairBatch(maker, size=size)
    for file, name in tqdm(found.pictures, desc="films", disable=None):
        picture = np.asarray(open_picture(file))
        scale = size / (picture.shape[0] * picture.shape[1]) ** 0.5
        height, width = (
            max(maker.multiple, nearest(round(side * scale), maker.multiple)) for side in picture.shape[:2]
        )
        finished = crop_to(picture, width, height)
        prompt = maker.prompt if maker.prompt is not None else maker.pipe.tag(picture)
        (keyframes,) = pair.states([finished], [prompt], maker.steps)
        (film,) = pair.films([keyframes], pair.video_options((height, width)))
        yield name, (film, keyframe_positions(len(film), len(keyframes)), finished)
