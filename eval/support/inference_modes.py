"""What `benchmark.py inference modes=[…]` measures, each in processes of its own, figures as plain numbers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from PIL import Image

from paintsundo.errors import UserError
from paintsundo.metrics.films import Film
from paintsundo.settings import config_directory
from support.drift_run import EXACT, fast_settings, setting_overrides
from support.film_jobs import FilmJobs, film_peak, film_times, has_video
from support.film_parts import WHOLE, example_picture, film_psnr
from support.film_worker import LATENTS, FilmJob

WINDOWS = ("none", "prv", "first", "roll")
Row = dict[str, Any]
Keep = Callable[[list[Row]], None]


@dataclass
class ModeOptions:
    """Of all modes; see the top of eval/benchmark.py."""

    repeats: int = 1
    warmup: bool = True
    ladder: str = "inference"
    rungs: list[str] | None = None
    fast: list[str] | None = None
    caps: list[float] = field(default_factory=lambda: [4.0, 2.5])
    large: int = 1024
    large_cap: float = 8.0
    devices: list[int] = field(default_factory=lambda: [1, 2])
    pictures: int = 2
    device: str = "cuda"


def row(name: str, result: Mapping[str, Any], variant: str = "") -> Row:
    """Figures of one film: parts in seconds, peak, what went wrong if it did."""
    if result["error"] is not None:
        return {"name": name, "seconds": None, "error": result["error"], "marks": result["marks"]}
    return {
        "name": name,
        "seconds": film_times(result, variant),
        "peak_GiB": film_peak(result, variant),
        "memory": result["variants"][variant]["peak"],
        "plan": result["variants"][variant]["plan"],
        "marks": result["marks"],
        "error": None,
    }


def ladder_file(name: str) -> Path:
    """configs/benchmark/<name>.yaml, or a file of one's own."""
    own = config_directory() / "benchmark" / f"{name}.yaml"
    return own if own.is_file() else Path(name)


def read_ladder(name: str) -> list[tuple[str, list[str]]]:
    """(rung, overrides of infer.py) from the bottom up; each rung keeps those below it.

    Raises UserError: no such file, or not a list of {name, overrides}.
    """
    file = ladder_file(name)
    if not file.is_file():
        raise UserError(f"ladder={name}: there is no such file")
    try:
        rungs = [(str(rung["name"]), [str(o) for o in rung["overrides"]]) for rung in OmegaConf.load(file).rungs]
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{file}: rungs, a list of name and overrides, is needed") from error
    below: list[str] = []
    out = []
    for name, overrides in rungs:
        changed = {override.partition("=")[0] for override in overrides}
        below = [kept for kept in below if kept.partition("=")[0] not in changed] + overrides
        out.append((name, list(below)))
    return out


def measure_ladder(jobs: FilmJobs, options: ModeOptions, keep: Keep) -> list[Row]:
    """What each change brought: rungs from the bottom up, each with the PSNR of its film to the first one's."""
    rungs = read_ladder(options.ladder)
    if options.rungs is not None:
        unknown = sorted(set(options.rungs) - {name for name, _ in rungs})
        if unknown:
            raise UserError(f"rungs: {', '.join(unknown)} is not in the ladder")
        rungs = [rung for rung in rungs if rung[0] in options.rungs]
    for _, overrides in rungs:
        jobs.options(*overrides)  # a mistake in one is told before any work
    rows: list[Row] = []
    first = None
    with tempfile.TemporaryDirectory() as folder:
        for name, overrides in rungs:
            file = Path(folder) / "film.npz"
            job = FilmJob(overrides, repeats=options.repeats, warmup=options.warmup, frames=str(file))
            found = row(name, jobs.run(job))
            found["overrides"] = overrides
            if found["error"] is None:
                film = np.load(file)["film"]
                first = film if first is None else first
                found["psnr_db"] = film_psnr(film, first)
            rows.append(found)
            keep(rows)
    return rows


def measure_fast(jobs: FilmJobs, options: ModeOptions, keep: Keep) -> list[Row]:
    """Every fast setting in one process, with the PSNR of its film to the exact one (of these weights)."""
    wanted = [EXACT, *(name for name in (options.fast or fast_settings()) if name != EXACT)]
    variants = {name: setting_overrides(name) for name in wanted}
    for overrides in variants.values():
        jobs.options(*overrides)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "films.npz"
        job = FilmJob([], variants, options.repeats, options.warmup, frames=str(file))
        result = jobs.run(job)
        rows = [row(name, result, name) for name in wanted]
        if result["error"] is None:
            films = np.load(file)
            for found in rows:
                found["psnr_db"] = film_psnr(films[found["name"]], films[EXACT])
    keep(rows)
    return rows


def measure_agreement(jobs: FilmJobs, options: ModeOptions, keep: Keep) -> list[Row]:
    """How exact the default path is: clips' latents of all windows, in float32 by the plain path (the judge), and in
    the usual number type by the plain path and by the default one. Errors: ‖x - judge‖ / ‖judge‖."""
    plain = read_ladder(options.ladder)[0][1]
    paths = {"judge": [*plain, "runtime.dtype=float32"], "plain": plain, "default": []}
    variants = {window: [f"video.attention_window={window}"] for window in WINDOWS}
    for overrides in paths.values():
        jobs.options(*overrides)
    latents: dict[str, Any] = {}
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for path, overrides in paths.items():
            file = Path(folder) / f"{path}.npz"
            result = jobs.run(FilmJob(overrides, variants, warmup=False, frames=str(file)))
            if result["error"] is not None:
                rows = [{"name": path, "error": result["error"]}]
                keep(rows)
                return rows
            latents[path] = np.load(file)
        for window in WINDOWS:
            judge, one, other = (latents[path][f"{window}{LATENTS}"].astype(np.float64) for path in paths)
            errors = [float(np.linalg.norm(found - judge) / np.linalg.norm(judge)) for found in (one, other)]
            found: Row = {"name": window, "error": None, "plain_error": errors[0], "default_error": errors[1]}
            found["psnr_db"] = film_psnr(latents["default"][window], latents["plain"][window])
            found["finite"] = bool(np.isfinite(other).all())
            rows.append(found)
    keep(rows)
    return rows


def measure_cold(jobs: FilmJobs, options: ModeOptions, keep: Keep) -> list[Row]:
    """From the start of a process to a film on disk: first ever (nothing compiled is kept), and again."""
    rows: list[Row] = []
    jobs.prepare()
    compiles = hasattr(jobs.options().runtime, "compile")
    plain = ["runtime.compile=none"] if compiles else []
    with tempfile.TemporaryDirectory() as folder:
        pictures = write_pictures(Path(folder) / "pictures", 1, jobs)
        for kind, caches, overrides in (
            ("first ever", "kept", []),
            ("second time", "kept", []),
            ("not compiled", "other", plain),
        ):
            if kind == "not compiled" and not compiles:
                continue
            output = Path(folder) / kind.replace(" ", "_")
            job = FilmJob(overrides, folder=str(pictures), output=str(output))
            result = jobs.run(job, env=own_caches(Path(folder) / caches))
            found: Row = {"name": kind, "error": _films_error(result), "marks": result["marks"]}
            found["seconds"] = None if found["error"] else {WHOLE: result["marks"]["end"]}
            found["video_encoded"] = has_video()
            rows.append(found)
            keep(rows)
    return rows


def own_caches(folder: Path) -> dict[str, str]:
    """Environment in which all that is compiled is kept in this folder."""
    names = ("XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "CUDA_CACHE_PATH", "PAINTSUNDO_CACHE")
    return {name: str(folder / name.lower()) for name in names}


def measure_memory(jobs: FilmJobs, options: ModeOptions, keep: Keep) -> list[Row]:
    """The film without a cap, under caps that are enforced, and keyframes of `large` pixels under theirs."""
    rows: list[Row] = []
    films = [("no cap", None, [])]
    films += [(f"{cap:g} GiB", cap, [f"runtime.memory={cap:g}GiB"]) for cap in options.caps]
    if options.large:
        big = [f"keyframes.width={options.large}", f"keyframes.height={options.large}"]
        big.append(f"runtime.memory={options.large_cap:g}GiB")
        films.append((f"keyframes of {options.large} px, {options.large_cap:g} GiB", options.large_cap, big))
    for _, _, overrides in films:
        jobs.options(*overrides)
    reference = None
    with tempfile.TemporaryDirectory() as folder:
        for name, cap, overrides in films:
            file = Path(folder) / "film.npz"
            file.unlink(missing_ok=True)
            job = FilmJob(overrides, warmup=False, cap_GiB=cap, frames=str(file))
            result = jobs.run(job)
            found = row(name, result)
            found |= {"cap_GiB": cap, "cap": result.get("cap")}
            if found["error"] is None:
                film = np.load(file)["film"]
                reference = film if reference is None and not overrides else reference
                same = reference is not None and not name.startswith("keyframes")
                found["psnr_db"] = film_psnr(film, reference) if same else None
            rows.append(found)
            keep(rows)
    return rows


def measure_devices(jobs: FilmJobs, options: ModeOptions, keep: Keep) -> list[Row]:
    """A folder of pictures, and one picture, on so many devices; films compared pixel by pixel with the first's."""
    if not hasattr(jobs.options().runtime, "devices"):
        raise UserError("modes=[devices]: there is no option runtime.devices")
    rows: list[Row] = []
    reference: dict[str, dict[str, Film]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in options.devices:
            names = [f"{options.device}:{n}" if options.device == "cuda" else options.device for n in range(count)]
            chosen = [f"runtime.devices=[{','.join(names)}]"] if count > 1 else [f"runtime.device={names[0]}"]
            for kind, number in (("folder of pictures", options.pictures * max(options.devices)), ("one film", 1)):
                pictures = write_pictures(Path(folder) / f"pictures{number}", number, jobs)
                output = Path(folder) / f"films-{kind[0]}{count}"
                result = jobs.run(FilmJob(chosen, folder=str(pictures), output=str(output)))
                error = _films_error(result)
                found: Row = {"name": kind, "devices": count, "films": number, "error": error}
                found["marks"] = result["marks"]
                if error is None:
                    frames = read_frames(output)
                    found["seconds"] = {WHOLE: result["marks"]["end"]}
                    # Starting and loading are paid once a process, not once a film.
                    found["working_seconds"] = result["marks"]["end"] - result["marks"]["imported"]
                    first = reference.setdefault(kind, frames)
                    found["identical"] = all(np.array_equal(film, first[name]) for name, film in frames.items())
                    found["largest_difference"] = largest_difference(frames, first)
                rows.append(found)
                keep(rows)
    return rows


def read_frames(folder: Path) -> dict[str, Film]:
    """Film → its frames, of all films that infer.py wrote to a folder."""
    films = sorted(folder.glob("*/frames"))
    return {
        film.parent.name: np.stack([np.asarray(Image.open(f)) for f in sorted(film.glob("*.png"))]) for film in films
    }


def largest_difference(films: Mapping[str, Film], others: Mapping[str, Film]) -> int:
    """Of any value of any pixel, in grey levels."""
    return max(int(np.abs(film.astype(int) - others[name]).max()) for name, film in films.items())


def scaling(rows: Sequence[Row]) -> list[Row]:
    """Rows of `measure_devices` with how many times as fast as on one device, and that over their number."""
    one = {r["name"]: r for r in rows if r["devices"] == 1 and r["error"] is None}
    out = []
    for found in rows:
        faster = None
        if found["error"] is None and found["name"] in one:
            faster = one[found["name"]]["working_seconds"] / found["working_seconds"]
        out.append({**found, "times": faster, "efficiency": None if faster is None else faster / found["devices"]})
    return out


def write_pictures(folder: Path, count: int, jobs: FilmJobs) -> Path:
    """A folder of different pictures to draw."""
    folder.mkdir(parents=True, exist_ok=True)
    size = jobs.options().keyframes
    picture = example_picture(size.width, size.height)
    for number in range(count):
        Image.fromarray(np.roll(picture, number * 7, axis=1)).save(folder / f"{number}.png")
    return folder


def _films_error(result: Mapping[str, Any]) -> str | None:
    if result["error"] is not None:
        return str(result["error"])
    return None if result.get("code") == 0 else f"not all films were made (code {result.get('code')})"


MODES: dict[str, Callable[[FilmJobs, ModeOptions, Keep], list[Row]]] = {
    "ladder": measure_ladder,
    "fast": measure_fast,
    "agreement": measure_agreement,
    "cold": measure_cold,
    "memory": measure_memory,
    "devices": measure_devices,
}
