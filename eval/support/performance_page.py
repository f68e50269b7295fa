"""The page and the table that eval/performance.py writes: words around figures."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from paintsundo.errors import UserError
from support.film_parts import PAIR, WHOLE
from support.inference_modes import MODES, scaling
from support.inference_tables import mode_table
from support.marks import with_part
from support.reference import PUBLISHED, comparison
from support.stopwatch import Part
from support.tables import markdown, number

Results = Mapping[str, Mapping[str, Any]]
BEGIN, END = "<!-- performance: written by eval/performance.py -->", "<!-- end of performance -->"
HELPS = 1.02
"""Times as fast as the rung below, from which a change counts as one that helped."""

TITLE = """\
# How fast films are made

Written by `python eval/performance.py` from the files it names; not by hand. PSNR is per frame, to the film that it is
said to be compared with; 99 dB are equal pictures.
"""
ABOUT = {
    "film": (
        "The film in its parts",
        "`python eval/benchmark.py inference output=DIR`: the default film, models on the card as infer.py puts them.",
    ),
    "ladder": (
        "What each change brought",
        "`python eval/benchmark.py inference modes=[ladder] output=DIR`: from the bottom up, each rung with those "
        "below it, each in a process of its own. PSNR to the first rung's film.",
    ),
    "kernels": (
        "Kernels of one pass",
        "`python eval/benchmark.py kernels output=DIR`: every Triton kernel at every size of one pass of the 3D UNet "
        "(a clip, both halves of guidance) beside PyTorch's own operation and what memory alone would take; every "
        "convolution, beside another form of the same sums.",
    ),
    "fast": (
        "Fast mode: time",
        "`python eval/benchmark.py inference modes=[fast] output=DIR`: every setting of `configs/fast`. PSNR to the "
        "exact film of these weights; if they are random ones, read the drift of trained ones instead.",
    ),
    "drift": (
        "Fast mode: how far off",
        "`python eval/drift.py pictures=FOLDER output=DIR`: films of trained models beside the exact films of the same "
        "noise. `another seed` says how far apart two films of one picture are anyway.",
    ),
    "int8": (
        "What did not help: linear layers in 8-bit integers",
        "`python eval/int8.py output=DIR`: one pass of a network on a processor. bfloat16 is what the video network "
        "computes in where the processor gains from it (`runtime.dtype=auto`).",
    ),
    "agreement": (
        "How exact the default path is",
        "`python eval/benchmark.py inference modes=[agreement] output=DIR`: latents of all clips against the plain "
        "path in float32, ‖x − judge‖ / ‖judge‖, for the plain path and the default one in their usual number type; "
        "PSNR of these two films to each other.",
    ),
    "cold": (
        "From nothing",
        "`python eval/benchmark.py inference modes=[cold] output=DIR`: from the start of a process to a film on disk, "
        "reading and hashing checkpoints, and writing every frame, included.",
    ),
    "memory": (
        "In little memory",
        "`python eval/benchmark.py inference modes=[memory] output=DIR`: caps are enforced with "
        "`torch.cuda.set_per_process_memory_fraction`; a process that needs more fails. PSNR to the film without one.",
    ),
    "devices": (
        "On several devices",
        "`python eval/benchmark.py inference modes=[devices] output=DIR`: seconds without imports.",
    ),
}


def kind_of(figures: Mapping[str, Any]) -> str | None:
    """What a file of figures holds: "film", "drift", "kernels", one of the modes, or None for something else."""
    if figures.get("mode") in MODES:
        return str(figures["mode"])
    if figures.get("kind") == "int8":
        return "int8"
    if "convolutions" in figures and "kernels" in figures:
        return "kernels"
    if "runs" in figures and "keyframes" in figures:
        return "film"
    return "drift" if "off" in figures.get("settings", {}) and "pictures" in figures else None


def page(results: Results, folder: str) -> str:
    """The whole page, Markdown; `folder` is where it will lie, for its links."""
    sections = [TITLE]
    for kind, (title, about) in ABOUT.items():
        files = [(name, figures) for name, figures in results.items() if kind_of(figures) == kind]
        if files:
            sections.append(f"## {title}\n\n{about}\n")
        for name, figures in files:
            sections.append("\n".join([_surroundings(name, figures, folder), "", *_body(kind, figures)]) + "\n")
            sections += _strips(name, folder)
    curve = curve_table(results)
    if curve is not None:
        sections.append(
            f"## Which fast setting\n\nTime of the full-size film and drift of trained models.\n\n{curve}\n"
        )
    return "\n".join(sections).rstrip("\n") + "\n"


def _surroundings(name: str, figures: Mapping[str, Any], folder: str) -> str:
    machine, versions = figures.get("machine", {}), figures.get("versions", {})
    where = machine.get("device_name", "unknown device")
    link = Path(os.path.relpath(name, folder)).as_posix()
    torch = versions.get("torch", "?")
    return f"{where} ({machine.get('device', '?')}), torch {torch}; [`{Path(name).name}`]({link}):"


def _strips(name: str, folder: str) -> list[str]:
    """The picture of the same name beside a file of figures, where there is one."""
    picture = Path(name).with_suffix(".png")
    return [f"![Films]({Path(os.path.relpath(picture, folder)).as_posix()})\n"] if picture.is_file() else []


def _body(kind: str, figures: Mapping[str, Any]) -> Iterator[str]:
    if kind == "film":
        yield comparison(dict(figures), _best(figures), figures.get("published") is not None)
    elif kind == "drift":
        from drift import drift_table

        yield drift_table(figures)
    elif kind == "kernels":
        from support.kernel_convolutions import convolution_table
        from support.kernel_times import kernel_table

        yield kernel_table(figures["kernels"])
        yield ""
        yield convolution_table(figures["convolutions"])
    elif kind == "int8":
        from int8 import int8_table

        yield int8_table(figures)
    elif kind == "ladder":
        yield ladder_table(figures["rows"])
        useless = [found["name"] for found, step in ladder_steps(figures["rows"]) if step is not None and step < HELPS]
        if useless:
            yield ""
            yield f"Did not help (less than {100 * (HELPS - 1):.0f} %): {'; '.join(useless)}."
    else:
        yield mode_table(figures)


def _best(figures: Mapping[str, Any]) -> dict[str, Part]:
    best = min(figures["runs"], key=lambda parts: parts[WHOLE]["seconds"])
    return {name: Part(part["seconds"], part["peak_GiB"]) for name, part in best.items()}


def ladder_steps(rows: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], float | None]]:
    """Rungs, each with how many times as fast it is as the one below it that was measured."""
    out: list[tuple[Mapping[str, Any], float | None]] = []
    below: float | None = None
    for found in rows:
        own = None if found["error"] is not None else found["seconds"][WHOLE]
        out.append((found, below / own if below and own else None))
        below = own or below
    return out


def ladder_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rungs: seconds, times as fast as the rung below and as the first, peak, least PSNR."""
    first = next((found["seconds"][WHOLE] for found in rows if found["error"] is None), None)
    cells = []
    for found, step in ladder_steps(rows):
        own = None if found["error"] is not None else found["seconds"][WHOLE]
        psnr = found.get("psnr_db")
        cells.append(
            [
                found["name"] if found["error"] is None else f"{found['name']} ({found['error']})",
                number(own, 2),
                number(step, 2),
                number(first / own if first and own else None, 2),
                number(found.get("peak_GiB"), 2),
                number(psnr["least"] if psnr else None, 1),
            ]
        )
    return markdown(["rung", "whole film, s", "× rung below", "× first", "peak GiB", "least dB"], cells)


def curve_table(results: Results) -> str | None:
    """Settings that were both timed and compared: seconds beside PSNR, fastest last; None without both."""
    timed = _first(results, "fast")
    drifts = _drifts(results)
    if timed is None or not drifts:
        return None
    cells = []
    for found in sorted(timed["rows"], key=lambda r: -(r["seconds"] or {WHOLE: 0})[WHOLE]):
        compared = drifts.get(found["name"])
        if found["error"] is not None or compared is None or found["name"] == "off":
            continue
        frames = compared["summary"]["frames_db"]
        cells.append(
            [
                f"`fast={found['name']}`",
                number(found["seconds"][WHOLE], 2),
                *(number(frames[key], 1) for key in ("mean", "low", "least")),
            ]
        )
    return markdown(["setting", "whole film, s", "mean dB", "5 %", "least"], cells) if cells else None


def _first(results: Results, kind: str) -> Mapping[str, Any] | None:
    return next((figures for figures in results.values() if kind_of(figures) == kind), None)


def _drifts(results: Results) -> dict[str, Any]:
    """Setting → its drift: of the first file, and what others add that were made by the same models and options."""
    found = [figures for figures in results.values() if kind_of(figures) == "drift"]
    alike = [f for f in found if all(f[name] == found[0][name] for name in ("models", "overrides"))]
    settings: dict[str, Any] = {}
    for figures in alike:
        settings = {**figures["settings"], **settings}
    return settings


def readme_table(results: Results) -> str:
    """The README's short table: what was measured of the default film at full size, published code beside it.

    Raises UserError: the film at published sizes was not measured.
    """
    film = next((f for f in results.values() if kind_of(f) == "film" and f.get("published")), None)
    if film is None:
        raise UserError("results: no benchmark.json of the film at published sizes, which the README's table shows")
    parts = _best(film)
    rows = [
        _readme_row("6 keyframes, 512×640, 50 steps", parts["keyframes"], "keyframes", True),
        _readme_row("one pair, 16 frames, 50 steps", parts[PAIR], PAIR, False),
        _readme_row("whole film, 7 pairs", parts[WHOLE], WHOLE, True, strong=True),
    ]
    rows += list(_more_rows(results))
    device = film["machine"]["device_name"]
    head = ["", "this code", "published code"]
    lines = ["| " + " | ".join(head) + " |", "|---|---|---|"]
    lines += ["| " + " | ".join(cells) + " |" for cells in rows]
    return f"One {device}, random weights, {film['dtype']}:\n\n" + "\n".join(lines)


def _readme_row(title: str, part: Part, published: str, memory: bool, strong: bool = False) -> list[str]:
    theirs = PUBLISHED[published]
    own = f"{part.seconds:.1f} s" + (f", {part.peak_GiB:.1f} GiB" if memory and part.peak_GiB else "")
    other = f"{theirs['seconds']:.1f} s" + (f", {theirs['peak_GiB']:.1f} GiB" if memory else "")
    return [title, f"**{own}**" if strong else own, other]


def _more_rows(results: Results) -> Iterator[list[str]]:
    """Whole films in other ways, of the same full-size networks, as far as they were measured without failing."""
    for figures in results.values():
        kind = kind_of(figures)
        if kind not in MODES or not figures["settings"]["full_size"] or figures["machine"]["device"] != "cuda":
            continue
        good = [found for found in figures["rows"] if found["error"] is None]
        if kind == "fast":
            drift = _drifts(results)
            for found in good:
                if found["name"] in drift and found["name"] != "off":
                    least = drift[found["name"]]["summary"]["frames_db"]["mean"]
                    title = f"whole film, `fast={found['name']}` ({least:.0f} dB to the exact one, bundled models)"
                    yield [title, f"{found['seconds'][WHOLE]:.1f} s", "–"]
        elif kind == "memory":
            for found in good:
                if found["cap_GiB"] is not None:
                    yield [f"whole film, {found['name']} at most", f"{found['seconds'][WHOLE]:.1f} s", "–"]
        elif kind == "cold":
            for found in good:
                yield [f"from starting the program, {found['name']}", f"{found['seconds'][WHOLE]:.1f} s", "–"]
        elif kind == "devices":
            for found in scaling(good):
                if found["devices"] > 1 and found["efficiency"] is not None:
                    title = f"{found['name']} on {found['devices']} cards"
                    yield [title, f"{found['times']:.2f} times as fast as on one", "–"]


def with_table(text: str, table: str, file: str) -> str:
    """A page with the table between its two marks. Raises UserError where they are missing."""
    return with_part(text, BEGIN, END, table, file)
