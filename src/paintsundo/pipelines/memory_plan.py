"""What fits into the memory there is: how much is computed together, and which weights wait elsewhere.

Every choice gives the same film up to rounding. In the order of their cost in time: fewer rows in a pass of a UNet,
feed-forward layers on some tokens at a time, the guided and the unguided half in two passes, weights fetched block by
block; and clips decoded a few frames at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from paintsundo.errors import UserError
from paintsundo.models.chunking import set_feed_forward_chunks
from paintsundo.pipelines.memory_needs import MemoryNeeds, Size
from paintsundo.pipelines.memory_trace import weight_bytes
from paintsundo.pipelines.offload import stop_streaming, stream_weights, streamed_bytes
from paintsundo.pipelines.options import memory_size

Need = Callable[[int, int | None], int]

GiB = 2**30
# Inner activations of a feed-forward layer at once, where memory is short: enough to fill a GPU.
CHUNK_ELEMENTS = 2**24
# Held beside what is counted: the matrix library's workspace, conditions, the sampler's state; and, in proportion, what
# the allocator cannot use. tests/pipelines/test_memory_plan.py compares with what was measured.
RESERVE = 96 * 2**20
RESERVE_SHARE = 0.06
# Of the free memory of a device, for "auto"; other programs may take some meanwhile.
FREE_SHARE = 0.92
# Upper bounds, twice what is traced for the published models: numbers in a UNet's activations per row, position and
# channel of its first level, and in the temporal decoder's per pixel and channel of its last.
GENEROUS_PASS = 64
GENEROUS_DECODING = 17
_SLICES = (None, 8, 4, 2, 1)


@dataclass(frozen=True)
class PassPlan:
    """How a UNet is used.

    Attributes:
        batch: rows (keyframes or pairs) in one pass.
        batched_guidance: the guided and the unguided half in one pass, not two.
        streamed: weights come to the device block by block.
        chunk_elements: most inner activations of a feed-forward layer at once; None for all.
        bytes: expected peak on the device; None where nothing was planned.
    """

    batch: int
    batched_guidance: bool = True
    streamed: bool = False
    chunk_elements: int | None = None
    bytes: int | None = None

    def apply(self, unet: nn.Module, device: torch.device) -> None:
        """Make a network ready for this plan; may be called again and again."""
        set_feed_forward_chunks(unet, self.chunk_elements)
        if self.streamed:
            stream_weights(unet, device)
        else:
            stop_streaming(unet)

    def __str__(self) -> str:
        words = [f"{self.batch} together"]
        words += [] if self.batched_guidance else ["guidance in two passes"]
        words += ["feed-forward layers in chunks"] if self.chunk_elements else []
        words += ["weights fetched block by block"] if self.streamed else []
        return ", ".join(words)


@dataclass(frozen=True)
class DecodePlan:
    """How clips are decoded.

    Attributes:
        slice_frames: frames at a time of one clip; None for whole clips.
        bytes: as in `PassPlan`.
        clips_together: whole clips in one pass.
    """

    slice_frames: int | None = None
    bytes: int | None = None
    clips_together: int = 1

    def apply(self, vae: Any) -> None:
        """Make a `VideoAutoencoderKL` ready for this plan."""
        if self.slice_frames is None:
            vae.disable_slicing()
        else:
            vae.enable_slicing(self.slice_frames)

    def __str__(self) -> str:
        if self.slice_frames is not None:
            return f"frames by {self.slice_frames}"
        return "a clip at once" if self.clips_together == 1 else f"{self.clips_together} clips at once"


class MemoryPlanner:
    """Finds for each part of a film the fastest way that fits.

    Args:
        device: where to compute.
        budget: bytes there; None for no planning: keyframes all together, pairs one by one.
        guidance: "auto"; "batched" or "sequential" hold for every plan.
        strict: raise a UserError where nothing fits; otherwise take what needs least.
    """

    def __init__(
        self, device: torch.device, budget: int | None = None, guidance: str = "auto", strict: bool = False
    ) -> None:
        self.device = device
        self.budget = budget
        self.guidance = guidance
        self.strict = strict
        self.staying: tuple[nn.Module, ...] = ()  # networks that are on the device all the time
        self.chosen: dict[str, PassPlan | DecodePlan] = {}
        self.tell: Callable[[str], None] | None = None  # is given each plan in words, once
        self.needs = MemoryNeeds(device)
        self._told: set[str] = set()

    @classmethod
    def from_option(cls, device: torch.device, memory: str = "auto", guidance: str = "auto") -> MemoryPlanner:
        """The planner that `runtime.memory` means; a size is enforced on a CUDA device."""
        if memory not in ("auto", "high", "low"):
            size = memory_size(memory)
            enforce_cap(device, size)
            return cls(device, size, guidance, strict=True)
        return cls(device, free_bytes(device) if memory == "auto" else None, guidance)

    def keyframes(self, unet: Any, vae: Any, rows: int, height: int, width: int, guided: bool) -> PassPlan:
        """For `rows` keyframes of height × width pixels."""
        factor = 2 ** (len(vae.config.block_out_channels) - 1)
        size = (height // factor, width // factor)

        def need(rows: int, chunk_elements: int | None) -> int:
            return self.needs.keyframe_unet(unet, rows, size, chunk_elements)

        numbers = unet.config.block_out_channels[0] * math.prod(size)
        plan = self._pass("keyframes", unet, rows, rows, guided, numbers, need)
        if self.budget is not None and self.strict:
            decoding = self._total(vae, weight_bytes(vae), self.needs.picture_decoder(vae, size))
            self._check("decoding keyframes", decoding)
        return plan

    def video(
        self,
        unet: Any,
        vae: Any,
        pairs: int,
        frames: int,
        height: int,
        width: int,
        guided: bool,
        window: str = "none",
        unplanned: int = 1,
    ) -> PassPlan:
        """For `pairs` clips of `frames` frames of height × width pixels; `unplanned` of them without a budget."""
        size = (height // vae.downsampling, width // vae.downsampling)

        def need(rows: int, chunk_elements: int | None) -> int:
            return self.needs.video_unet(unet, rows, frames, size, window, chunk_elements)

        numbers = unet.config["model_channels"] * frames * math.prod(size)
        return self._pass("in-between frames", unet, pairs, unplanned, guided, numbers, need)

    def decode(self, vae: Any, frames: int, height: int, width: int, clips: int = 1) -> DecodePlan:
        """For clips of `frames` frames of height × width pixels, at most `clips` of them together."""
        plan = DecodePlan(clips_together=clips)
        if self.budget is not None:
            size = (height // vae.downsampling, width // vae.downsampling)
            for plan in self._decodings(vae, frames, size, clips):
                if plan.bytes is not None and plan.bytes <= self.budget:
                    break
            self._check("decoding", plan.bytes or 0)
        self._choose("decoding", plan)
        return plan

    def let_stay(self, networks: Sequence[nn.Module], plans: Sequence[Callable[[], PassPlan | DecodePlan]]) -> bool:
        """Whether all networks can be on the device all the time without slowing anything down.

        Args:
            networks: all of them.
            plans: what will be computed: calls of `keyframes`, `video` and `decode`.
        """
        if self.budget is None or self.device.type == "cpu":
            return False
        if sum(weight_bytes(network) for network in networks) > self.budget:
            return False
        self.staying, self.chosen = tuple(networks), {}
        try:
            fits = all((plan().bytes or 0) <= self.budget for plan in plans)
        except UserError:
            fits = False
        slower = any(isinstance(plan, DecodePlan) and plan.slice_frames for plan in self.chosen.values())
        for part in self.chosen.values():
            slower |= isinstance(part, PassPlan) and (part.streamed or part.chunk_elements is not None)
        if not fits or slower:
            self.staying = ()
        self.chosen = {}
        return bool(self.staying)

    def lines(self) -> Iterator[str]:
        """What was chosen, for people."""
        if self.budget is None:
            return
        where = "all networks stay there" if self.staying else "networks are there only while they work"
        yield f"memory: {self.budget / GiB:.2f} GiB on {self.device}, {where}"
        for part, plan in self.chosen.items():
            yield f"memory: {part}: {plan}; {(plan.bytes or 0) / GiB:.2f} GiB expected"

    def record(self) -> dict[str, Any]:
        """The same for `run.json`."""
        return {
            "budget": self.budget,
            "networks_stay": bool(self.staying),
            "plans": {part: asdict(plan) for part, plan in self.chosen.items()},
        }

    def _pass(
        self, part: str, unet: nn.Module, rows: int, unplanned: int, guided: bool, numbers: int, need: Need
    ) -> PassPlan:
        plan = PassPlan(unplanned, self.guidance != "sequential")
        if self.budget is not None:
            for plan in self._candidates(unet, rows, guided, numbers, need):
                if plan.bytes is not None and plan.bytes <= self.budget:
                    break
            self._check(part, plan.bytes or 0)
        self._choose(part, plan)
        return plan

    def _choose(self, part: str, plan: PassPlan | DecodePlan) -> None:
        self.chosen[part] = plan
        if self.tell is not None:
            for line in self.lines():
                if line not in self._told:
                    self.tell(line)
                    self._told.add(line)

    def _candidates(self, unet: nn.Module, rows: int, guided: bool, numbers: int, need: Need) -> Iterator[PassPlan]:
        """From the fastest to the smallest."""
        if self.guidance != "sequential" and not self.strict:
            # Where memory is plenty nothing is traced, which takes a second.
            generous = GENEROUS_PASS * rows * (1 + guided) * numbers * _item_size(unet)
            yield PassPlan(rows, bytes=self._total(unet, weight_bytes(unet), generous))
        batches = sorted({-(-rows // passes) for passes in range(1, rows + 1)}, reverse=True)
        shapes = [(batch, True) for batch in batches] if self.guidance != "sequential" else []
        if guided and self.guidance == "auto":
            shapes.append((1, False))
        elif self.guidance == "sequential":
            shapes += [(batch, False) for batch in batches]
        ways = [(False, weight_bytes(unet))]
        if self.device.type != "cpu" and unet not in self.staying:
            ways.append((True, streamed_bytes(unet)))
        for streamed, weights in ways:
            for batch, batched in shapes:
                for chunk_elements in (None, CHUNK_ELEMENTS):
                    together = 2 * batch if guided and batched else batch
                    size = self._total(unet, weights, need(together, chunk_elements))
                    yield PassPlan(batch, batched, streamed, chunk_elements, size)

    def _decodings(self, vae: Any, frames: int, size: Size, clips: int) -> Iterator[DecodePlan]:
        weights = weight_bytes(vae)
        numbers = vae.config["ch"] * frames * math.prod(size) * vae.downsampling**2
        if not self.strict:
            generous = clips * GENEROUS_DECODING * numbers * _item_size(vae)
            yield DecodePlan(None, self._total(vae, weights, generous), clips)
        for together in range(clips, 1, -1):
            size_of_all = self.needs.video_decoder(vae, frames, size, None, together)
            yield DecodePlan(None, self._total(vae, weights, size_of_all), together)
        for slices in _SLICES:
            if slices is None or slices < frames:
                yield DecodePlan(slices, self._total(vae, weights, self.needs.video_decoder(vae, frames, size, slices)))

    def _total(self, network: nn.Module, weights: int, activations: int) -> int:
        others = sum(weight_bytes(other) for other in self.staying if other is not network)
        return others + weights + RESERVE + int((1 + RESERVE_SHARE) * activations)

    def _check(self, part: str, need: int) -> None:
        if self.strict and self.budget is not None and need > self.budget:
            raise UserError(
                f"runtime.memory: {part} needs {need / GiB:.2f} GiB at this size even with every saving, "
                f"and {self.budget / GiB:.2f} GiB are allowed"
            )


def enforce_cap(device: torch.device, size: int) -> None:
    """Let PyTorch take no more than so many bytes of a CUDA device: what is asked for beyond them fails."""
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        total = torch.cuda.get_device_properties(index).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, size / total), index)


def free_bytes(device: torch.device) -> int | None:
    """What "auto" may use: most of a CUDA device's free memory and of what PyTorch holds unused; None elsewhere."""
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(FREE_SHARE * (free + unused))


def _item_size(network: Any) -> int:
    return torch.empty((), dtype=network.dtype).element_size()
