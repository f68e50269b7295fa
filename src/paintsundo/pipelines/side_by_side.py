"""Clips on a processor: several at once, each by its share of the threads.

Threads that share out the short layers of small networks wait for each other at the end of each; threads with a clip of
their own do not. The ladder in docs/performance.md says what it brings.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from paintsundo.pipelines.sampling import OnStep

Item = TypeVar("Item")
Result = TypeVar("Result")

MEMORY_SHARE = 0.5
"""Of the free memory, what clips that are computed at once may take."""
UNET_NUMBERS = 100
DECODER_NUMBERS = 16
"""Numbers held at once for each of the widest layer's, with room to spare: tracing them (`memory_needs`) takes a second
for each network. It finds 78 for the bundled video UNet, weights among them."""


def clips_at_once(device: torch.device, clips: int, wanted: int | None, clip_bytes: int, *networks: nn.Module) -> int:
    """How many clips are computed at once, each by an equal share of the threads.

    Args:
        device: where; anything but a processor computes one after the other here.
        clips: of the whole film, those that are finished already too: a film that goes on is then computed as one that
            was never stopped, to the last digit.
        wanted: at most so many; None: as many as there are threads, where memory allows.
        clip_bytes: about what one needs.
        networks: what computes; compiled ones, and ones with hooks that remember, take one clip after the other.
    """
    if device.type != "cpu" or any(_remembers(network) for network in networks):
        return 1
    at_once = min(clips, torch.get_num_threads(), wanted or clips)
    if at_once > 1 and wanted is None:
        import psutil

        at_once = min(at_once, int(MEMORY_SHARE * psutil.virtual_memory().available / max(1, clip_bytes)))
    return max(1, at_once)


def unet_bytes(unet: Any, rows: int, frames: int, height: int, width: int) -> int:
    """About what one pass of the video network needs; height and width of latents."""
    return UNET_NUMBERS * _item_size(unet) * unet.config["model_channels"] * rows * frames * height * width


def decoder_bytes(vae: Any, clips: int, frames: int, height: int, width: int) -> int:
    """About what decoding needs; height and width in pixels."""
    return DECODER_NUMBERS * _item_size(vae.decoder) * vae.config["ch"] * clips * frames * height * width


class StepsInTurn:
    """A callback of sampling steps that several threads share: one call at a time, and none after `stop`."""

    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step
        self._lock = threading.Lock()
        self._stopped = False

    def stop(self) -> None:
        """Let whoever calls from now on fail, so that no thread goes on for nobody."""
        self._stopped = True

    def __call__(self, index: int, timestep: Tensor, sample: Tensor) -> Tensor | None:
        with self._lock:
            if self._stopped:
                raise RuntimeError("the clips are not wanted any more")
            return self._on_step(index, timestep, sample)


def in_order(
    work: Callable[[Item], Result], items: Sequence[Item], at_once: int, stop: Callable[[], None] = lambda: None
) -> Iterator[Result]:
    """Yield `work(item)` of all items in their order, `at_once` of them computed at the same time.

    Args:
        work: must not change what other calls use.
        stop: called when nobody waits any more, also after an error: work that still runs may end.
    """
    if at_once <= 1:
        yield from map(work, items)
        return
    threads = _shared.take()
    inference = torch.is_inference_mode_enabled()

    def begin() -> None:
        torch.get_num_threads()  # a thread's first look takes over the number that another has set
        torch.set_num_threads(max(1, threads // at_once))

    def done(item: Item) -> Result:
        with torch.inference_mode(inference), torch.no_grad():
            return work(item)

    pool = ThreadPoolExecutor(at_once, thread_name_prefix="clip", initializer=begin)
    try:
        for future in [pool.submit(done, item) for item in items]:
            yield future.result()
    finally:
        stop()
        pool.shutdown(wait=True, cancel_futures=True)
        _shared.give_back()


class _Threads:
    """PyTorch's number of threads, which is partly one for all threads: put right when nobody shares it any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._number = 1

    def take(self) -> int:
        with self._lock:
            if self._users == 0:
                self._number = torch.get_num_threads()
            self._users += 1
            return self._number

    def give_back(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                torch.set_num_threads(self._number)


_shared = _Threads()


def _remembers(network: nn.Module) -> bool:
    compiled = any(module._compiled_call_impl is not None for module in network.modules())
    return compiled or bool(vars(network).get("token_merging"))


def _item_size(network: nn.Module) -> int:
    return next(network.parameters()).element_size()
