"""A pipeline on small random models, its pictures, and one on the golden checkpoint."""

from pathlib import Path

import pytest

from paintsundo import PaintsUndoPipeline
from paintsundo.pipelines.film import default_options
from random_checkpoint import write_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="session")
def loaded(checkpoint: Path) -> PaintsUndoPipeline:
    options = default_options("official")
    options.runtime.device = "cpu"
    pipe = PaintsUndoPipeline.from_pretrained(checkpoint, checkpoint, checkpoint, options=options)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def pipe(loaded: PaintsUndoPipeline) -> PaintsUndoPipeline:
    """Small sizes; changes of options and schedulers do not outlive a test."""
    import copy

    fresh = copy.copy(loaded)
    fresh.keyframe_options = copy.deepcopy(loaded.keyframe_options)
    fresh.video_options = copy.deepcopy(loaded.video_options)
    fresh.keyframe_scheduler = copy.deepcopy(loaded.keyframe_scheduler)
    fresh.video_scheduler = copy.deepcopy(loaded.video_scheduler)
    fresh.keyframe_options.operation_steps = [300, 700]
    fresh.keyframe_options.width, fresh.keyframe_options.height = 20, 28
    fresh.keyframe_options.num_inference_steps = 3
    fresh.video_options.buckets = [[24, 16], [16, 24]]
    fresh.video_options.num_inference_steps = 3
    fresh.clips_at_once = 1  # in the same order with any number of threads
    return fresh
