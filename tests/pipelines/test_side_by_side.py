"""Clips on a processor, several at once: the same clips, in order, that stop when they are to."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from paintsundo import PaintsUndoPipeline
from paintsundo.pipelines.side_by_side import StepsInTurn, clips_at_once, in_order


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


CPU = torch.device("cpu")


def test_as_many_as_threads_clips_memory_and_the_user_allow(threads: None) -> None:
    assert clips_at_once(CPU, 6, None, 1) == 4
    assert clips_at_once(CPU, 3, None, 1) == 3
    assert clips_at_once(CPU, 6, 2, 1) == 2
    assert clips_at_once(torch.device("cuda"), 6, None, 1) == 1
    free = psutil.virtual_memory().available
    assert clips_at_once(CPU, 6, None, free // 5) == 2
    assert clips_at_once(CPU, 6, None, free * 10) == 1
    assert clips_at_once(CPU, 6, 3, free * 10) == 3  # who says a number is believed


def test_compiled_networks_take_one_clip_after_the_other(threads: None) -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2))
    assert clips_at_once(CPU, 4, None, 1, network) == 4
    network[0].compile(backend="eager")
    assert clips_at_once(CPU, 4, None, 1, network) == 1


def test_results_come_in_order_and_threads_are_shared(threads: None) -> None:
    together = threading.Barrier(2, timeout=20)

    def work(item: int) -> tuple[int, int, bool]:
        together.wait()  # of two threads, or it fails
        time.sleep(0.05 * (4 - item))
        return item, torch.get_num_threads(), torch.is_grad_enabled()

    with torch.enable_grad():
        assert list(in_order(work, [0, 1, 2, 3], 2)) == [(item, 2, False) for item in range(4)]
    assert torch.get_num_threads() == 4
    # a single clip of several is computed as if the others were there
    assert next(in_order(lambda item: torch.get_num_threads(), [7], 4)) == 1


def test_threads_are_given_back_when_the_last_is_done(threads: None) -> None:
    first, second = (in_order(lambda item: torch.get_num_threads(), [0, 1, 2], 4) for _ in range(2))
    assert (next(first), next(second)) == (1, 1)
    first.close()
    assert list(second) == [1, 1]
    assert torch.get_num_threads() == 4


def test_an_error_stops_the_others_and_is_told() -> None:
    begun, on_step = [], StepsInTurn(lambda *_: None)

    def work(item: int) -> None:
        begun.append(item)
        if item == 0:
            time.sleep(0.1)
            raise ValueError("no")
        while True:
            on_step(0, torch.zeros(()), torch.zeros(()))
            time.sleep(0.001)

    with pytest.raises(ValueError, match="no"):
        list(in_order(work, list(range(6)), 2, on_step.stop))
    assert set(begun) <= {0, 1, 2}  # the one that failed may have begun another


def test_steps_are_told_one_at_a_time() -> None:
    inside = threading.Lock()

    def told(index: int, timestep: torch.Tensor, sample: torch.Tensor) -> torch.Tensor:
        assert inside.acquire(blocking=False)
        time.sleep(0.002)
        inside.release()
        return sample + index

    on_step = StepsInTurn(told)
    zero = torch.zeros(())
    results = list(in_order(lambda item: [float(on_step(item, zero, zero)) for _ in range(5)], [1, 2, 3], 3))
    assert results == [[1.0] * 5, [2.0] * 5, [3.0] * 5]


def test_films_are_those_of_one_clip_after_the_other(pipe: PaintsUndoPipeline) -> None:
    noise = np.random.default_rng(0)
    keyframes = [Image.fromarray(noise.integers(0, 256, (24, 16, 3), dtype=np.uint8)) for _ in range(5)]
    pipe.video_options.num_inference_steps, pipe.clips_at_once = 2, None
    conditions = pipe.prepare_interpolation(keyframes, pipe.video_options)
    before, seen, films = torch.get_num_threads(), set(), []

    def told(pipe: PaintsUndoPipeline, index: int, *_: object) -> dict[str, torch.Tensor]:
        seen.add((threading.current_thread().name, index))
        return {}

    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            latents = dict(pipe.sample_clips(conditions, pipe.video_options, callback_on_step_end=told))
            films.append(np.stack([clip for _, clip in pipe.decode_clips(conditions, latents)]))
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(*films)
    assert len({name for name, _ in seen}) > 2  # the first alone, then several
    assert [pair for pair, _ in pipe.sample_clips(conditions, pipe.video_options, skip=[0, 2])] == [1, 3]
