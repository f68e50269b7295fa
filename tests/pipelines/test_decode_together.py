"""Several clips decoded in one pass are those decoded one by one."""

import numpy as np
import pytest
from PIL import Image

from paintsundo import PaintsUndoPipeline
from paintsundo.errors import UserError
from paintsundo.pipelines import film
from paintsundo.pipelines.film import default_options
from paintsundo.pipelines.memory_plan import DecodePlan


def test_clips_are_those_of_single_passes(pipe: PaintsUndoPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0)
    keyframes = [Image.fromarray(noise.integers(0, 256, (24, 16, 3), dtype=np.uint8)) for _ in range(5)]
    pipe.video_options.num_inference_steps = 1
    conditions = pipe.prepare_interpolation(keyframes, pipe.video_options)
    latents = dict(pipe.sample_clips(conditions, pipe.video_options))
    del latents[1]  # decoded before
    passes: list[list[int]] = []
    usual = film.start_decoding

    def counted(parts, device, conditions, pairs, latents):
        passes.append(list(pairs))
        return usual(parts, device, conditions, pairs, latents)

    monkeypatch.setattr(film, "start_decoding", counted)
    found = {}
    for together, expected in ((1, [[0], [2], [3]]), (2, [[0, 2], [3]]), (9, [[0, 2, 3]])):
        pipe.decode_batch = together
        passes.clear()
        clips = list(pipe.decode_clips(conditions, latents))
        assert [pair for pair, _ in clips] == [0, 2, 3]
        assert passes == expected
        found[together] = np.stack([clip for _, clip in clips]).astype(int)
    assert found[1].shape == (3, conditions.frames, 24, 16, 3)
    assert np.abs(found[1][0] - found[1][1]).max() > 10  # clips differ
    for together in (2, 9):
        assert np.abs(found[together] - found[1]).max() <= 1


def test_plan_says_how_many(pipe: PaintsUndoPipeline) -> None:
    assert str(DecodePlan(clips_together=3)) == "3 clips at once"
    assert pipe.memory.decode(pipe.video_vae, 8, 24, 16, clips=3).clips_together == 3


def test_none_at_a_time_is_a_mistake() -> None:
    options = default_options("official")
    options.input, options.output, options.runtime.decode_batch = "a", "b", 0
    with pytest.raises(UserError, match="decode_batch is 0"):
        options.check()
