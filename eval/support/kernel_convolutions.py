"""Convolutions of one pass of the 3D UNet: PyTorch's, PyTorch's with cuDNN's algorithms tried out, and other forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from paintsundo.models import fused
from paintsundo.models.temporal_products import three_products
from support.kernel_calls import Call
from support.kernel_cases import Data, last
from support.kernel_times import Row, microseconds, relative_error
from support.tables import markdown, number

# Others than a convolution of the same sums.
FORMS = {
    "pointwise": "fused.pointwise",
    "temporal": "temporal_products.three_products",
    "doubled": "fused.upsample_convolve",
}


@dataclass
class Convolution:
    """One convolution as PyTorch computes it, in another form where there is one, and exactly; operations of it."""

    torch: Callable[[], Tensor]
    form: Callable[[], Tensor] | None
    exact: Callable[[], Tensor]
    operations: int
    shape: str


def measure_convolutions(calls: Mapping[Call, int], data: Data) -> list[Row]:
    """Every convolution at every size: times (µs), TFLOP/s and errors, without and with cudnn.benchmark (tuned).

    Operations are those of the plain convolution, for other forms too. Each setting has a process of its own, for
    PyTorch keeps the algorithm that it found for a shape.
    """
    chosen = {call: count for call, count in calls.items() if call.name in MAKERS}
    found: list[list[Row]] = []
    for tuned in (False, True) if data.device.type == "cuda" else (False,):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            found.append(pool.submit(times, list(chosen), data, tuned).result())
    rows = []
    for index, (call, count) in enumerate(chosen.items()):
        plain = found[0][index]
        other = found[1][index] if len(found) > 1 else dict.fromkeys(plain)
        row = {"convolution": call.name, "sizes": call.sizes, "form": FORMS.get(call.name), "calls": count, **plain}
        rows.append(row | {f"tuned_{name}": value for name, value in other.items() if name != "shape"})
    return sorted(rows, key=lambda row: list(MAKERS).index(row["convolution"]))


@torch.no_grad()
def times(calls: Sequence[Call], data: Data, tuned: bool) -> list[Row]:
    """In a process of its own: each call's shape, µs, TFLOP/s and error, and those of the other form."""
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = tuned
    return [_times(call, data) for call in calls]


def _times(call: Call, data: Data) -> Row:
    case = MAKERS[call.name](data, *call.sizes)
    with torch.backends.cudnn.flags(enabled=True, benchmark=False):  # trying out algorithms takes long in float64
        exact = case.exact()
    row: Row = {"shape": case.shape}
    for prefix, function in (("", case.torch), ("form_", case.form)):
        time = None if function is None else microseconds(function, data.device)
        row[f"{prefix}us"] = time
        row[f"{prefix}tflops"] = None if time is None else case.operations / time / 1e6
        row[f"{prefix}error"] = None if function is None else relative_error(function(), exact)
    return row


def _conv(data: Data, inputs: int, outputs: int, kernel: tuple[int, int], stride: int = 1) -> nn.Conv2d:
    padding = (kernel[0] // 2, kernel[1] // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding).to(data.device, data.dtype)
    return conv.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _exactly(conv: nn.Conv2d, x: Tensor) -> Tensor:
    assert conv.bias is not None
    return F.conv2d(x.double(), conv.weight.double(), conv.bias.double(), conv.stride, conv.padding)


def spatial(data: Data, n: int, c: int, h: int, w: int, outputs: int, stride: int) -> Convolution:
    """Kernel 3×3 of frames (N, C, h, w)."""
    conv, x = _conv(data, c, outputs, (3, 3), stride), data.frames(n, c, h, w)
    operations = 18 * n * c * outputs * -(-h // stride) * -(-w // stride)
    shape = f"{n}x{h}x{w}x{c}->{outputs}" + (f" /{stride}" if stride > 1 else "")
    return Convolution(lambda: conv(x), None, lambda: _exactly(conv, x), operations, shape)


def temporal(data: Data, batch: int, c: int, frames: int, places: int, outputs: int) -> Convolution:
    """Kernel (3, 1) of clips (B, C, T, h·w)."""
    conv, x = _conv(data, c, outputs, (3, 1)), data.frames(batch, c, frames, places)

    def products() -> Tensor:
        return three_products(x, conv.weight, conv.bias)

    operations = 6 * batch * frames * places * c * outputs
    shape = f"{batch}x{frames}x{places}x{c}->{outputs}"
    return Convolution(lambda: conv(x), products, lambda: _exactly(conv, x), operations, shape)


def pointwise(data: Data, n: int, c: int, h: int, w: int, outputs: int) -> Convolution:
    """Kernel 1 of frames (N, C, h, w)."""
    conv, x = _conv(data, c, outputs, (1, 1)), data.frames(n, c, h, w)
    operations = 2 * n * h * w * c * outputs
    shape = f"{n}x{h}x{w}x{c}->{outputs}"
    return Convolution(lambda: conv(x), lambda: fused.pointwise(conv, x), lambda: _exactly(conv, x), operations, shape)


def doubled(data: Data, n: int, c: int, h: int, w: int, outputs: int) -> Convolution:
    """Kernel 3×3 of frames (N, C, h, w) doubled by nearest neighbour."""
    conv, x = _conv(data, c, outputs, (3, 3)), data.frames(n, c, h, w)

    def twice() -> Tensor:
        return F.interpolate(x, scale_factor=2.0, mode="nearest")

    return Convolution(
        lambda: conv(twice()),
        lambda: fused.upsample_convolve(conv, x),
        lambda: _exactly(conv, last(twice())),
        18 * n * 4 * h * w * c * outputs,
        f"{n}x{2 * h}x{2 * w}x{c}->{outputs}",
    )


MAKERS: dict[str, Callable[..., Convolution]] = {
    make.__name__: make for make in (spatial, temporal, pointwise, doubled)
}


def convolution_table(rows: Sequence[Row]) -> str:
    """Of `measure_convolutions`: times, TFLOP/s in brackets, errors (the worse, tuned or not), ms a pass not tuned."""
    cells = []
    for row in rows:
        pairs = [(row[f"{name}us"], row[f"{name}tflops"]) for name in ("", "tuned_", "form_", "tuned_form_")]
        cells.append(
            [
                row["convolution"],
                row["shape"],
                *(number(us) if us is None else f"{us:.1f} ({tflops:.0f})" for us, tflops in pairs),
                *(_worse(row[name], row[f"tuned_{name}"]) for name in ("error", "form_error")),
                str(row["calls"]),
                number(None if row["us"] is None else row["calls"] * row["us"] / 1e3, 3),
            ]
        )
    header = ["convolution", "shape", "µs (TFLOP/s)", "tuned", "other form", "other form, tuned", "error"]
    names = ", ".join(f"{kind}: {form}" for kind, form in FORMS.items())
    table = markdown([*header, "of the form", "calls", "ms a pass"], cells)
    sums = [_sum(rows, name) for name in ("us", "tuned_us")]
    total = "" if None in sums else f"\n\nSum of a pass: {sums[0]:.2f} ms, tuned {sums[1]:.2f} ms."
    return f"{table}{total}\n\nOther forms: {names}."


def _sum(rows: Sequence[Row], name: str) -> float | None:
    """Milliseconds of a pass; None where not all were timed."""
    timed = all(row[name] is not None for row in rows)
    return sum(row["calls"] * row[name] for row in rows) / 1e3 if timed else None


def _worse(*errors: float | None) -> str:
    found = [error for error in errors if error is not None]
    return f"{max(found):.1e}" if found else "–"
