"""Whether linear layers in 8-bit integers make a processor faster: python eval/int8.py output=DIR

Passes of the networks of a film, at its sizes: in float32, with weights and activations of their linear layers as 8-bit
integers (PyTorch's dynamic quantisation: weights once, activations at each call), and in bfloat16, which infer.py takes
for the video network where the processor gains from it. Writes int8.json and int8.md (the table, also printed) to DIR.

models=bundled     or official, or a folder with single_frame/ and multi_frame/
overrides=[…]      infer.py's options: sizes, runtime.layout, runtime.fused
repeats=5          passes of each kind, by turns; the fastest counts, in the processor's own time
threads=1          of the processor
"""

import copy
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from omegaconf import MISSING
from support.arguments import parse, run
from support.json_files import write_json
from support.pair_maker import pair_options
from support.tables import markdown, number
from torch import Tensor, nn

from paintsundo.errors import UserError
from paintsundo.pipelines.model_set import ModelSet
from paintsundo.pipelines.record import machine, versions
from paintsundo.pipelines.sizes import keyframe_multiple

KIND = "int8"
KINDS = ("float32", "int8", "bfloat16")
CPU = torch.device("cpu")


@dataclass
class Int8Settings:
    """Options of `int8.py`, explained at the top of this file."""

    output: str = MISSING
    models: str = "bundled"
    overrides: list[str] = field(default_factory=list)
    repeats: int = 5
    threads: int = 1


def main(arguments: Sequence[str]) -> None:
    settings = parse(Int8Settings, arguments, literal_keys=("output", "models"))
    for name in ("repeats", "threads"):
        if getattr(settings, name) < 1:
            raise UserError(f"{name}={getattr(settings, name)}: at least 1")
    torch.set_num_threads(settings.threads)
    rows = measure(settings)
    report = {
        "kind": KIND,
        "models": settings.models,
        "overrides": settings.overrides,
        "repeats": settings.repeats,
        "threads": settings.threads,
        "engine": torch.backends.quantized.engine,
        "machine": machine(CPU),
        "versions": versions(),
        "rows": rows,
    }
    output = Path(settings.output)
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / "int8.json", report)
    table = int8_table(report)
    (output / "int8.md").write_text(table + "\n", encoding="utf-8")
    print(table)


@torch.no_grad()
def measure(settings: Int8Settings) -> list[dict[str, Any]]:
    """A row for each network: seconds of a pass in each way, how far off the result is, the share in linear layers."""
    rows = []
    for name, network, call in passes(settings):
        whole = call(network)
        calls = {"float32": network, "int8": quantised(network), "bfloat16": copy.deepcopy(network).bfloat16()}
        seconds: dict[str, list[float]] = {kind: [] for kind in calls}
        errors: dict[str, float] = {}
        for _ in range(settings.repeats):
            for kind, one in calls.items():
                began = time.process_time()
                result = call(one)
                seconds[kind].append(time.process_time() - began)
                errors[kind] = float((result.float() - whole).norm() / whole.norm())
        fastest = {kind: min(found) for kind, found in seconds.items()}
        rows.append({"name": name, "seconds": fastest, "errors": errors, "linear_share": linear_share(network, call)})
    return rows


def passes(settings: Int8Settings) -> list[tuple[str, nn.Module, Callable[[Any], Tensor]]]:
    """(name, network in float32 as infer.py prepares it, a call of it on noise at the sizes of a film)."""
    options = pair_options(settings.models, ["runtime.device=cpu", "runtime.dtype=float32", *settings.overrides])
    options.prompt = options.prompt or "x"  # no tagger
    pipe = ModelSet(options).pipe
    still, video = options.keyframes, options.video
    factor, width = keyframe_multiple(pipe.keyframe_vae.config), pipe.keyframe_unet.config.cross_attention_dim
    rows, size = len(still.steps()), (still.height // factor, still.width // factor)
    channels = pipe.keyframe_unet.config.in_channels
    noise = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=noise)

    keyframe = (drawn(rows, channels, *size), torch.full((rows,), 500.0), drawn(rows, 77, width))
    keyframe = (*keyframe, torch.tensor(still.steps()), drawn(1, channels, *size))
    config, frames = pipe.video_unet.config, pipe.image_projection.config["video_length"]
    height, width = (side // pipe.video_vae.downsampling for side in video.buckets[0])
    latents = drawn(1, config["out_channels"], frames, height, width)
    given = drawn(1, config["in_channels"] - config["out_channels"], frames, height, width)
    context = config["context_dim"]
    clip = (latents, torch.full((1,), 500.0), drawn(1, 77, context), drawn(1, frames, 16, context))
    picture = drawn(1, 3, 1, *video.buckets[0]).clamp(-1, 1)

    def ask(network: Any, *inputs: Tensor, **named: Tensor) -> Any:
        kind = next(network.parameters()).dtype  # none but floats: whole networks are of one type here
        args = [x.to(kind) if x.is_floating_point() else x for x in inputs]
        return network(*args, **{name: x.to(kind) for name, x in named.items()})

    return [
        (f"keyframe UNet, {rows} rows", pipe.keyframe_unet, lambda unet: ask(unet, *keyframe).sample),
        ("video UNet, one pair", pipe.video_unet, lambda unet: ask(unet, *clip, concat_cond=given)),
        ("image encoder, one keyframe", pipe.image_encoder, lambda encoder: ask(encoder, picture)),
    ]


def quantised(network: nn.Module) -> nn.Module:
    """A copy whose linear layers compute in 8-bit integers."""
    try:
        from torch.ao.quantization import quantize_dynamic
    except ImportError as error:
        raise UserError("this PyTorch has no dynamic quantisation") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is to move to another package
        return quantize_dynamic(copy.deepcopy(network), {nn.Linear}, dtype=torch.qint8)


def linear_share(network: nn.Module, call: Callable[[Any], Tensor]) -> float:
    """The part of a pass's processor time that matrix products of linear layers take, by PyTorch's profiler."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        call(network)
    events = profile.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    return sum(e.self_cpu_time_total for e in events if e.key in ("aten::addmm", "aten::mm")) / total


def int8_table(report: dict[str, Any]) -> str:
    """Markdown: a row a network, and what to make of it."""
    cells = [
        [
            row["name"],
            *(number(1000 * row["seconds"][kind], 1) for kind in KINDS),
            f"{100 * row['linear_share']:.0f} %",
            *(number(row["seconds"]["float32"] / row["seconds"][kind], 2) for kind in KINDS[1:]),
            *(f"{row['errors'][kind]:.1e}" for kind in KINDS[1:]),
        ]
        for row in report["rows"]
    ]
    header = ["", *(f"{kind}, ms" for kind in KINDS), "linear layers"]
    header += [f"{kind}: {what}" for what in ("times as fast", "error") for kind in KINDS[1:]]
    under = (
        f"{report['models']} models, {report['threads']} thread, engine {report['engine']}, fastest of "
        f"{report['repeats']} by turns, the processor's own time; linear layers: the share of their products in "
        "float32; error: ‖x − y‖ / ‖y‖ of what the network gives, y in float32."
    )
    return "\n".join([markdown(header, cells), "", under])


if __name__ == "__main__":
    raise SystemExit(run(main))
