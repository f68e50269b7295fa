"""Recorded networks give what called ones give; a recorder that calls again stands in for CUDA's."""

import contextlib
import gc
import types
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from paintsundo import PaintsUndoPipeline
from paintsundo.models.context_keys import ContextKeys
from paintsundo.pipelines import graphs, interpolation, keyframes


class Recorder:
    """Like a CUDA graph: a call is made with the tensors of the recording alone, its result written over."""

    def __init__(self) -> None:
        self.recorded = self.played = 0

    def __call__(self, call: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], Any]]:
        self.recorded += 1
        result = torch.full_like(call(), float("nan"))  # nothing is there before the first replay

        def replay() -> None:
            self.played += 1
            result.copy_(call())

        return result, replay


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    made = Recorder()

    def graphed(predict: Any, network: Any, device: Any, wanted: bool) -> Any:
        return graphs.GraphedCalls(predict, made) if wanted else predict

    monkeypatch.setattr(interpolation, "graphed", graphed)
    monkeypatch.setattr(keyframes, "graphed", graphed)
    return made


def film(pipe: PaintsUndoPipeline) -> tuple[np.ndarray, np.ndarray]:
    picture = np.random.default_rng(0).integers(0, 256, (28, 20, 3), dtype=np.uint8)
    states = pipe.generate_keyframes(picture, "a boat")
    conditions = pipe.prepare_interpolation(states, pipe.video_options)
    clips = dict(pipe.sample_clips(conditions, pipe.video_options))
    return np.stack([np.asarray(state) for state in states]), np.stack([clip.numpy() for clip in clips.values()])


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_recorded_film_is_the_same(pipe: PaintsUndoPipeline, recorder: Recorder, scale: float) -> None:
    """Unguided too: the sampler then keeps the network's very predictions."""
    pipe.keyframe_options.guidance_scale = pipe.video_options.guidance_scale = scale
    pipe.keyframe_options.num_inference_steps = pipe.video_options.num_inference_steps = 5
    pipe.video_options.batch = 2
    expected = film(pipe)
    assert recorder.recorded == 0
    pipe.graphs = True
    found = film(pipe)
    # One for the keyframes, and one for each batch of pairs: 2 and 1.
    assert recorder.recorded == 3
    assert recorder.played == 3 * (5 - 1)
    for plain, played in zip(expected, found, strict=True):
        assert np.array_equal(plain, played)


def test_other_shapes_and_other_keys_are_recorded_anew() -> None:
    recorder = Recorder()
    calls = graphs.GraphedCalls(lambda x, keys, scale: x * scale + keys.of(layer)[0], recorder)
    layer = torch.nn.Identity()
    one, two = (ContextKeys({layer: (torch.tensor([value]),)}, 1) for value in (10.0, 20.0))
    for keys, expected in ((one, 12.0), (two, 22.0), (one, 12.0)):
        for _ in range(3):
            assert float(calls(x=torch.tensor([1.0]), keys=keys, scale=2)) == expected
    assert recorder.recorded == 2
    for rows in (2, 2, 2):
        assert calls(x=torch.ones(rows), keys=one, scale=2).tolist() == [12.0, 12.0]
    assert recorder.recorded == 3
    assert [float(calls(x=torch.ones(1), keys=one, scale=s)) for s in (3, 3, 3)] == [13.0] * 3


def test_what_changes_from_call_to_call_is_not_recorded() -> None:
    recorder = Recorder()
    seen: list[int] = []
    calls = graphs.GraphedCalls(lambda x, features: x + len(features), recorder)
    for count in range(3):
        assert float(calls(x=torch.ones(1), features=seen)) == 1 + count
        seen.append(count)
    assert recorder.recorded == 0


def test_what_cannot_be_recorded_is_called(pipe: PaintsUndoPipeline) -> None:
    def refused(call: Callable[[], Tensor]) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing\nmore about it")

    calls = graphs.GraphedCalls(lambda x: 2 * x, refused)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert [calls(x=torch.tensor(value)).item() for value in (1, 2, 3, 4)] == [2, 4, 6, 8]
    assert len(told) == 1
    assert "operation not permitted when stream is capturing: networks are called" in str(told[0].message)
    pipe.graphs = True
    with pytest.warns(UserWarning, match="runtime.graphs: there are none on the device 'cpu'"):
        pipe.generate_keyframes(np.zeros((28, 20, 3), np.uint8), "a boat")


def test_failed_recordings_hold_no_memory() -> None:
    """What they have computed is gone before the same is computed without them."""
    seen: list[weakref.ref[Tensor]] = []
    left: list[bool] = []

    def refused(call: Callable[[], Tensor]) -> Any:
        activations = call()
        seen.append(weakref.ref(activations))
        raise torch.OutOfMemoryError("CUDA out of memory")

    def predict(x: Tensor) -> Tensor:
        left.extend(found() is not None for found in seen)
        return 2 * x

    calls = graphs.GraphedCalls(predict, refused)
    gc.disable()
    try:
        with pytest.warns(UserWarning, match="out of memory"):
            assert [calls(x=torch.tensor(value)).item() for value in (1, 2, 3)] == [2, 4, 6]
    finally:
        gc.enable()
    assert left == [False, False]


class Cuda(types.ModuleType):
    """Of `torch.cuda` what recording asks of it, with the device and its stream; `refuses` to record."""

    def __init__(self, refuses: bool = False) -> None:
        super().__init__("cuda")
        self.here, self.on = 0, {0: "usual", 1: "usual"}
        self.recorded: list[tuple[int, str]] = []
        self.refuses = refuses

    def CUDAGraph(self) -> Any:
        return types.SimpleNamespace(replay=lambda: None)

    def Stream(self, device: int) -> str:
        return f"recording on {device}"

    def current_device(self) -> int:
        return self.here

    def current_stream(self) -> str:
        return self.on[self.here]

    @contextlib.contextmanager
    def device(self, device: torch.device) -> Iterator[None]:
        before, self.here = self.here, device.index
        yield
        self.here = before

    @contextlib.contextmanager
    def stream(self, stream: str) -> Iterator[None]:
        before, self.on[self.here] = self.on[self.here], stream
        try:
            yield
        finally:
            self.on[self.here] = before

    @contextlib.contextmanager
    def graph(self, graph: Any, stream: str = "recording on 0") -> Iterator[None]:
        before, self.on[self.here] = self.on[self.here], stream
        yield
        if self.refuses:  # as torch's, which leaves its stream to be the current one
            raise RuntimeError("capture was invalidated")
        self.recorded.append((self.here, stream))
        self.on[self.here] = before


def test_each_device_records_on_a_stream_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """One stream serves all recordings of a device: libraries keep workspaces for every stream they have seen."""
    cuda = Cuda()
    monkeypatch.setattr(graphs.torch, "cuda", cuda)
    graphs._recording_stream.cache_clear()
    for index in (0, 1, 1):
        graphs.record_on_gpu(lambda: torch.zeros(1), torch.device("cuda", index))
    assert cuda.recorded == [(0, "recording on 0"), (1, "recording on 1"), (1, "recording on 1")]
    assert graphs._recording_stream.cache_info().misses == 2
    graphs._recording_stream.cache_clear()


def test_failed_recordings_leave_the_usual_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Cuda(refuses=True)
    monkeypatch.setattr(graphs.torch, "cuda", cuda)
    with pytest.raises(RuntimeError, match="invalidated"):
        graphs.record_on_gpu(lambda: torch.zeros(1), torch.device("cuda", 0))
    graphs._recording_stream.cache_clear()
    assert cuda.on[0] == "usual"


def test_both_halves_of_guidance_are_one_recording() -> None:
    predict: Any = lambda sample: sample  # noqa: E731
    predict.repeats_rows = True
    assert graphs.GraphedCalls(predict, Recorder()).repeats_rows


def test_predictions_are_not_written_over() -> None:
    """Multistep samplers keep them over the steps."""
    calls = graphs.GraphedCalls(lambda x: 2 * x, Recorder())
    kept = [calls(x=torch.tensor(value)) for value in (1.0, 2.0, 3.0, 4.0)]
    assert [prediction.item() for prediction in kept] == [2, 4, 6, 8]
