"""Times of the Triton kernels at the sizes of one pass of the 3D UNet, beside PyTorch's, and errors against float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from paintsundo.models import triton_norms
from support.kernel_calls import Call
from support.kernel_cases import CASES, EPS, Data, case_of
from support.tables import markdown, number

Row = dict[str, Any]

# Of the copy that measures the memory's rate, and of what is written between calls: several times any cache.
COPIED_BYTES = 2**31
CLEARED_BYTES = 2**28
WARM_UPS, TIMED_CALLS = 3, 20
# Some 25 ms: all calls are queued meanwhile, or small kernels would be measured waiting for the processor.
SLEEP_CYCLES = 50_000_000


def microseconds(call: Callable[[], object], device: torch.device) -> float | None:
    """Median time of a call on a GPU, caches cold; None elsewhere, where nothing is called."""
    if device.type != "cuda":
        return None
    for _ in range(WARM_UPS):
        call()
    cache = torch.empty(CLEARED_BYTES, dtype=torch.uint8, device=device)
    events = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(TIMED_CALLS)]
    torch.cuda.synchronize(device)
    torch.cuda._sleep(SLEEP_CYCLES)
    for start, end in events:
        cache.zero_()
        start.record()
        call()
        end.record()
    torch.cuda.synchronize(device)
    return 1e3 * median(start.elapsed_time(end) for start, end in events)


def memory_rate(device: torch.device) -> float | None:
    """Bytes a second of a large copy on a GPU, read and written ones counted; None elsewhere."""
    if device.type != "cuda":
        return None
    source = torch.empty(COPIED_BYTES, dtype=torch.uint8, device=device).fill_(1)
    target = torch.empty_like(source)
    time = microseconds(lambda: target.copy_(source), device)
    assert time is not None
    return 2e6 * COPIED_BYTES / time


def relative_error(value: Tensor, exact: Tensor) -> float:
    """‖value − exact‖ / ‖exact‖."""
    return float((value.double() - exact).norm() / exact.norm())


def measure_kernels(calls: Mapping[Call, int], data: Data, rate: float | None) -> list[Row]:
    """Every kernel at every size: times (µs), the largest error of its results, how often in one pass.

    Args:
        calls: how often each is called.
        data: what is computed with.
        rate: of the memory, bytes a second.
    """
    rows = []
    for call, count in calls.items():
        if call.name not in CASES:
            continue
        case = case_of(call, data)
        error = max(relative_error(a, b) for a, b in zip(case.ours(), case.exact(), strict=True))
        ours, plain = (microseconds(function, data.device) for function in (case.ours, case.torch))
        row = {"kernel": call.name, "sizes": call.sizes, "shape": case.shape, "us": ours, "torch_us": plain}
        row |= {"memory_us": None if rate is None else 1e6 * case.moved / rate, "error": error}
        rows.append({**row, "calls": count, "ms_a_pass": None if ours is None else count * ours / 1e3})
    return sorted(rows, key=lambda row: list(CASES).index(row["kernel"]))


def measure_norm_parts(calls: Mapping[Call, int], data: Data) -> list[Row]:
    """The three kernels of GroupNorm one by one (µs), the error of their result, and the whole where one does it."""
    sizes = dict.fromkeys(call.sizes[:5] for call in calls if call.name == "group_norm")
    return [norm_parts(data, *shape) for shape in sizes]


def norm_parts(data: Data, n: int, c: int, h: int, w: int, groups: int) -> Row:
    """Of activations (N, C, h, w), with SiLU."""
    x, weight, bias = data.frames(n, c, h, w, mean=1.0), data.rand(c), data.rand(c)
    rows = h * w
    plan = triton_norms.plan_group_norm(n, rows, c, groups)
    moments = torch.empty(2 * n * plan.blocks * c, device=data.device, dtype=torch.float32)
    affine, out = torch.empty(2 * n * c, device=data.device, dtype=torch.float32), torch.empty_like(x)
    launches: dict[str, Callable[[], object]] = {
        "moments": lambda: triton_norms._moments[plan.moments](
            x, moments, rows, c, plan.block_rows, plan.blocks, plan.across,
            BLOCK_R=plan.moments_r, BLOCK_C=plan.block_c,
        ),
        "scales": lambda: triton_norms._scales[plan.scales](
            moments, x, weight, bias, affine, rows, c, plan.block_rows, plan.blocks, 1, c // groups, EPS,
            BLOCK_B=plan.block_b, BLOCK_W=plan.block_w, SHIFTED=False, num_warps=plan.scales_warps,
        ),
        "apply": lambda: triton_norms._apply[plan.apply](
            x, affine, out, rows, c, plan.across, SILU=True, BLOCK_R=plan.block_r, BLOCK_C=plan.block_c
        ),
    }  # fmt: skip
    found: Row = {"shape": f"{n}x{rows}x{c}", "whole_us": None}
    for name, launch in launches.items():
        launch()
        found[f"{name}_us"] = microseconds(launch, data.device)
    exact = F.silu(F.group_norm(x.double(), groups, weight.double(), bias.double(), EPS))
    found["error"] = relative_error(out, exact)
    if plan.whole is not None:
        found["whole_us"] = microseconds(
            lambda: triton_norms.group_norm(x, groups, weight, bias, EPS, silu=True), data.device
        )
    return found


def kernel_table(rows: Sequence[Row]) -> str:
    """Of `measure_kernels`, with the sums of a pass below."""
    cells = [
        [
            row["kernel"],
            row["shape"],
            *(number(row[name], 1) for name in ("us", "torch_us", "memory_us")),
            f"{row['error']:.1e}",
            str(row["calls"]),
            number(row["ms_a_pass"], 3),
        ]
        for row in rows
    ]
    sums = sums_of(rows)
    total = [f"{number(sums[name], 2)} ms" for name in ("ms", "torch_ms", "memory_ms")]
    cells.append(["sum of a pass", "", *total, "", str(sum(row["calls"] for row in rows)), number(sums["ms"], 3)])
    return markdown(["kernel", "shape", "µs", "PyTorch, µs", "memory, µs", "error", "calls", "ms a pass"], cells)


def sums_of(rows: Sequence[Row]) -> dict[str, float | None]:
    """Milliseconds of a pass by our kernels, by PyTorch's and by memory alone; None where nothing was timed."""
    names = {"ms": "us", "torch_ms": "torch_us", "memory_ms": "memory_us"}
    timed = all(row["us"] is not None for row in rows)
    return {key: sum(row["calls"] * row[name] for row in rows) / 1e3 if timed else None for key, name in names.items()}


def parts_table(rows: Sequence[Row]) -> str:
    """Of `measure_norm_parts`."""
    names = ("moments_us", "scales_us", "apply_us", "whole_us")
    cells = [[row["shape"], *(number(row[name], 1) for name in names), f"{row['error']:.1e}"] for row in rows]
    return markdown(["GroupNorm", "moments, µs", "scales, µs", "apply, µs", "as one kernel, µs", "error"], cells)
