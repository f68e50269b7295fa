"""What a prompt and a seed change: states under other prompts, films of many seeds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from paintsundo.errors import UserError
from paintsundo.metrics import distances, measure_film, state_effect
from paintsundo.metrics.bootstrap import bootstrap
from paintsundo.metrics.films import Film
from paintsundo.pipelines.placement import choose_device
from support.checks import check_film_figures
from support.json_files import write_json
from support.tables import markdown, number
from support.true_processes import true_processes

DIVERSITY = 0.005
"""Mean L1 distance, of 1, that any two films of different seeds must have: about one level of 255 everywhere."""
VALID = ("starts_blank", "ends_finished", "progress_rises")
SEED_STEP = 1000


def measure_sensitivity(
    models: str | os.PathLike[str],
    test_set: str | os.PathLike[str],
    output: str | os.PathLike[str],
    overrides: Sequence[str] = (),
    *,
    seeds: int = 10,
    words: Sequence[str] = (),
    limit: int | None = 3,
    split: str | None = None,
    size: int | None = None,
    batch: int | None = None,
    prompts: str = "tagger",
) -> dict[str, Any]:
    """How much prompts, operation steps and seeds change; also written to `output`/sensitivity.json.

    Args:
        seeds: films of each picture, at least two.
        words: each is put before the picture's own prompt; without any, the next picture's prompt takes its place.
        limit, split, size, batch, prompts: as of `quality_run.measure_pair`.

    Returns:
        {"processes": name → figures, "summary": measure → interval}. Of each process: `prompt_effect` and `seed_effect`
        (mean L1 of the states, the same noise under another prompt, the same prompt under other noise), `same` (the
        same of both: must be 0), `diversity` of the films and `least` of any two, `valid`: how many films start blank,
        end finished and make progress.

    Raises UserError: an option is impossible, the models or the data set cannot be used.
    """
    from support.pair_batch import PairBatch
    from support.pair_maker import PairMaker, pair_options

    if seeds < 2:
        raise UserError(f"seeds={seeds}: at least 2")
    options = pair_options(models, overrides)
    on_cpu = choose_device(options.runtime.device).type == "cpu"
    pair = PairBatch(PairMaker(options, prompts), batch or (1 if on_cpu else 4), size)
    chosen = list(true_processes(test_set, limit, split))
    own = [pair.maker._prompt(true) for true in chosen]
    found = {}
    for place, true in enumerate(tqdm(chosen, desc="sensitivity", disable=None)):
        (made,) = pair.make([true], [])
        asked = own[place]
        others = [f"{word}, {asked}" for word in words] or [own[(place + 1) % len(own)] if len(own) > 1 else ""]
        first = options.keyframes.seed
        rows = [(asked, first), (asked, first), (asked, first + SEED_STEP), *((other, first) for other in others)]
        states = pair.states(
            [made.finished] * len(rows), [p for p, _ in rows], pair.maker.steps, [seed for _, seed in rows]
        )
        states = [row[1:-1] for row in states]
        films = _films(pair, made.finished, asked, seeds)
        apart = distances(films)
        assert apart is not None
        found[true.name] = {
            "subject": true.subject,
            "group": true.group,
            "prompt": asked,
            "prompts": others,
            "same": state_effect(states[0], states[1]),
            "seed_effect": state_effect(states[0], states[2]),
            "prompt_effects": [state_effect(states[0], other) for other in states[3:]],
            "diversity": apart.mean,
            "least": apart.least,
            "films": seeds,
            "valid": sum(film_is_valid(film, made.finished, made.ceilings["video"]) for film in films),
        }
        found[true.name]["prompt_effect"] = float(np.mean(found[true.name]["prompt_effects"]))
    report = {"bound": DIVERSITY, "processes": found, "summary": _summary(found)}
    Path(output).mkdir(parents=True, exist_ok=True)
    write_json(Path(output) / "sensitivity.json", report)
    return report


def _films(pair: Any, finished: Any, prompt: str, seeds: int) -> list[Film]:
    first, video = pair.maker.options.keyframes.seed, pair.video_options(finished.shape[:2])
    films = []
    for start in range(0, seeds, pair.together):
        chunk = [SEED_STEP * number for number in range(start, min(seeds, start + pair.together))]
        pictures = [finished] * len(chunk)
        keyframes = pair.states(pictures, [prompt] * len(chunk), pair.maker.steps, [first + shift for shift in chunk])
        films += pair.films(keyframes, video, [video.seed + shift for shift in chunk])
    return films


def film_is_valid(film: Film, finished: Any, ceiling: float | None) -> bool:
    """Whether a film starts blank, ends finished and makes progress (see `checks`)."""
    figures = {**measure_film(film, None, finished), "baselines": {}}
    figures["end"]["round_trip_psnr"] = ceiling
    checks = check_film_figures(figures)
    return all(checks[name] is not False for name in VALID)


def _summary(found: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    names = ("prompt_effect", "seed_effect", "same", "diversity", "least")
    subjects = [figures["subject"] for figures in found.values()]
    return {
        name: interval._asdict()
        for name in names
        if (interval := bootstrap([figures[name] for figures in found.values()], subjects)) is not None
    }


def sensitivity_table(report: Mapping[str, Any]) -> str:
    """Markdown of `measure_sensitivity`."""
    columns = ("prompt_effect", "seed_effect", "same", "diversity", "least")
    rows = [
        [name, *(number(figures[c], 4) for c in columns), f"{figures['valid']} of {figures['films']}"]
        for name, figures in report["processes"].items()
    ]
    titles = ["another prompt changes", "another seed", "the same again", "films of seeds differ by", "nearest two"]
    legend = f"Mean L1 distances, of 1. Films of seeds should differ by {report['bound']} or more, any two of them."
    return "\n".join([markdown(["picture", *titles, "valid films"], rows), "", legend])
