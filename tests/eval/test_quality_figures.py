"""What is measured of states and frames between, on inputs whose figures are known; and batches against single ones."""

import json
import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from test_quality_pair import OVERRIDES, process

from paintsundo.data import shards
from paintsundo.data.process import work_of_step
from paintsundo.data.shards import ShardWriter
from paintsundo.data.staged import Stage, StagedProcess

sys.path.insert(0, str(Path(__file__).parent))
STEPS = list(range(100, 1000, 100))


def full(size: int = 96) -> StagedProcess:
    """A whole canvas painted row by row, work even over it, in bands of three colours."""
    y, x = np.mgrid[:size, :size]
    picture = np.array([(200, 60, 50), (40, 130, 90), (60, 80, 190)], np.uint8)[(x // 8 + y // 12) % 3]
    reveal = (1 + (y + x / size) / size * 65500).astype(np.uint16)
    return StagedProcess((Stage("flats", picture, reveal),), subject="bands")


@pytest.fixture(scope="module")
def truth():
    """What a pair that makes the truth itself would have made."""
    from support.pair_batch import faded

    drawn = full()
    works = [1.0, 0.6, 0.3, 0.0]
    film = drawn.film(np.linspace(0, 1, 46)[1:])
    states = drawn.film([work_of_step(step) for step in STEPS])
    clips = [drawn.film(np.linspace(first, last, 16)) for first, last in pairwise(works)]
    return {
        "finished": drawn.finished,
        "true_curve": drawn.film(np.linspace(0, 1, 112)),
        "film": film,
        "true_film": film,
        "keyframes": drawn.film(works),
        "states": states,
        "true_states": states,
        "asked": STEPS,
        "between": {
            "ours": np.concatenate([clip[1:-1] for clip in clips]),
            "true": np.concatenate([clip[1:-1] for clip in clips]),
            "cross_fade": np.concatenate([faded(clip)[1:-1] for clip in clips]),
        },
        "ceilings": {"video": None},
    }


def test_the_truth_has_no_error(truth):
    from support.quality_figures import figures_of

    figures = figures_of(truth)
    assert figures["calibration"]["error"] < 0.5
    assert figures["calibration"]["read"] == pytest.approx(STEPS, abs=1)
    assert min(figures["calibration"]["psnr"]) == 99
    assert figures["interpolation"]["ours"] == 99
    assert figures["interpolation"]["cross_fade"] < 40
    true = figures["film"]["true_process"]
    assert true == {"progress_curve_error": 0, "change_region_iou": 1, "stage_order_error": 0}
    for name, null in figures["baselines"].items():
        found = null["true_process"]["change_region_iou"]
        assert found > 0.7 if name == "wipe" else found < 0.6, (name, found)  # this process is a wipe
    assert figures["calibration"]["baselines"]["wipe"]["error"] < 15


def test_states_that_never_change_are_wrong_by_the_whole_way(truth):
    from support.quality_figures import figures_of

    for picture, wrong in (
        (truth["finished"], STEPS),
        (np.full_like(truth["finished"], 255), [999 - s for s in STEPS]),
    ):
        still = {**truth, "film": None, "between": {}, "states": np.stack([picture] * len(STEPS))}
        found = figures_of(still, baselines=False)["calibration"]
        assert found["errors"] == pytest.approx(wrong, abs=12)
        assert found["slope"] == pytest.approx(0, abs=0.01)
    backwards = figures_of({**truth, "film": None, "between": {}, "states": truth["states"][::-1]}, baselines=False)
    assert backwards["calibration"]["slope"] < -0.9


def test_a_fade_is_read_where_a_faded_process_stands():
    """Of a process that is itself a fade, the cross-fade baseline has no error but for the change that is too faint."""
    from paintsundo.metrics.calibration import read_steps

    end = np.full((32, 32, 3), (200, 40, 90), np.uint8)
    times = np.linspace(0, 1, 112)[:, None, None, None]
    film = np.round(255 * (1 - times) + end * times).astype(np.uint8)
    works = np.array([work_of_step(step) for step in STEPS])[:, None, None, None]
    states = np.round(255 * (1 - works) + end * works).astype(np.uint8)
    assert read_steps(STEPS, states, states, film).error < 6


def test_cross_fades_of_frames_are_their_own_linear_mixture(truth):
    from support.pair_batch import faded

    clip = truth["true_curve"][:5]
    fade = faded(clip)
    assert np.array_equal(fade[[0, 4]], clip[[0, 4]])
    assert np.abs(fade[2] - (clip[0].astype(float) + clip[4]) / 2).max() <= 0.5
    assert np.array_equal(faded(fade), fade)


@pytest.fixture(scope="module")
def discs(tmp_path_factory) -> Path:
    """Two discs of one size and one of another."""
    folder = tmp_path_factory.mktemp("three discs")
    writer = ShardWriter(folder)
    for number, size in enumerate(((32, 32), (48, 32), (32, 32))):
        writer.write(shards.encode(process(number, size)), "test")
    manifest = {"format": 1, "shards": writer.close(), "samples": 3, "splits": {"test": 3}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_batches_and_workers_change_nothing_but_seconds(discs, tmp_path):
    from support.quality_run import measure_pair

    single = measure_pair("official", discs, tmp_path / "a", OVERRIDES, progress=False, clips=1)
    many = measure_pair("official", discs, tmp_path / "b", OVERRIDES, progress=False, clips=1, batch=3, workers=1)
    assert list(single["processes"]) == list(many["processes"])
    for name, one in single["processes"].items():
        other = many["processes"][name]
        assert one["size"] == other["size"]
        assert one["film"]["end"]["psnr"] == pytest.approx(other["film"]["end"]["psnr"], abs=0.02)
        assert one["calibration"]["psnr"] == pytest.approx(other["calibration"]["psnr"], abs=0.02)
        assert one["interpolation"]["ours"] == pytest.approx(other["interpolation"]["ours"], abs=0.02)
        assert one["film"]["progress"]["curve"] == pytest.approx(other["film"]["progress"]["curve"], abs=0.01)
        frames = [np.asarray(Image.open(tmp_path / run / "films" / name / "frames/00007.png"), int) for run in "ab"]
        assert np.abs(frames[0] - frames[1]).max() <= 3
    assert (tmp_path / "b/changes").is_dir()


@pytest.mark.parametrize("size", [(352, 288), (240, 424), (64, 64)])
def test_change_maps_of_any_shape_stand_below_their_pictures(tmp_path, size):
    from support.pair_plots import write_change_maps

    film = np.full((21, *size, 3), 255, np.uint8)
    film[11:, : size[0] // 2] = 0
    write_change_maps(tmp_path / "maps.png", film, film)
    page = np.asarray(Image.open(tmp_path / "maps.png"))
    height, width = round(size[0] * 96 / max(size)) + 2, round(size[1] * 96 / max(size)) + 2
    assert page.shape == (2 * height, 10 * width, 3)
    green = (page[height:, 5 * width : 6 * width] == (40, 140, 60)).all(-1).sum()
    assert 0.4 < green / (height * width) < 0.6


def test_clips_of_several_seeds_tell_chance_from_error(discs, tmp_path):
    from support.quality_figures import figures_of
    from support.quality_run import measure_pair
    from support.quality_summary import summarise

    report = measure_pair(
        "official", discs, tmp_path, OVERRIDES, progress=False, limit=1, clips=1, clip_seeds=2, parts=["interpolation"]
    )
    assert report["settings"]["clip_seeds"] == 2
    (process,) = report["processes"].values()
    assert {"ours", "mean_of_seeds", "between_seeds"} <= process["interpolation"].keys()
    assert process["interpolation"]["between_seeds"] < 90  # the seeds do differ

    # truth 100; two seeds 10 above and 10 below: their mean is the truth, and they are 20 apart
    frames = {"true": 100, "ours": 110, "another_seed": 90, "mean_of_seeds": 100, "cross_fade": 140}
    between = {name: np.full((3, 8, 8, 3), value, np.uint8) for name, value in frames.items()}
    made = {"film": None, "states": None, "between": between}
    figures = {"subject": "disc", "group": "discs", "ceilings": {}, **figures_of(made)}
    summary = summarise({"disc": figures})
    found = {row: interval["mean"] for row, interval in summary["interpolation_psnr"].items()}
    decibel = {row: 20 * np.log10(255 / distance) for row, distance in {"film": 10, "between_seeds": 20}.items()}
    assert found == pytest.approx({**decibel, "cross_fade": 20 * np.log10(255 / 40), "mean_of_seeds": 99}, abs=0.01)
    assert summary["interpolation_gain"]["mean_of_seeds"]["mean"] > summary["interpolation_gain"]["film"]["mean"]


def test_states_of_several_seeds_tell_chance_from_error(truth, discs, tmp_path):
    from support.quality_figures import figures_of
    from support.quality_run import measure_pair

    # The first seed draws as the truth does; of two more, one as well and the other 100 steps late.
    curve = full().film(np.linspace(0, 1, 28))
    late = full().film([work_of_step(min(999, step + 100)) for step in STEPS])
    others = np.concatenate([truth["states"], late])
    made = {**truth, "film": None, "between": {}, "own_curve": curve, "other_states": others}
    found = figures_of(made, baselines=False)["calibration"]
    alone = [figures_of({**made, "states": s, "other_states": None}, baselines=False) for s in (truth["states"], late)]
    errors = [figures["calibration"]["error"] for figures in alone]
    assert errors[0] < 1 < 80 < errors[1] < 110
    assert found["error"] == errors[0]
    assert found["between_seeds"]["error"] == pytest.approx(np.mean(errors), abs=5)
    assert 20 < found["between_seeds"]["psnr"] < 99

    report = measure_pair(
        "official", discs, tmp_path, OVERRIDES, progress=False, limit=1, state_seeds=2, parts=["calibration"]
    )
    assert report["settings"]["state_seeds"] == 2
    (process,) = report["processes"].values()
    assert process["calibration"]["between_seeds"]["psnr"] < 90  # the seeds do differ
    assert {"film", "between_seeds"} <= report["summary"]["calibration_error"].keys()


@pytest.mark.parametrize("fast", ["off", "balanced", "token_merging"])
def test_the_batch_is_the_pipelines_own_film(discs, fast):
    from support.pair_batch import PairBatch
    from support.pair_maker import PairMaker, pair_options
    from support.true_processes import true_processes

    maker = PairMaker(pair_options("official", [*OVERRIDES, f"fast={fast}"]), "empty")
    true = next(true_processes(discs))
    (made,) = PairBatch(maker).make([true], ["film"])
    states = maker.pipe.generate_keyframes(made.finished, made.prompt, height=32, width=32)
    assert np.array_equal(made.keyframes, np.stack([np.asarray(state) for state in states]))
    assert np.array_equal(made.film, maker.pipe.interpolate(states, buckets=[[32, 32]]))


def test_sizes_keep_shape_and_area(discs):
    from support.pair_batch import PairBatch

    maker = SimpleNamespace(pipe=None, steps=[500], multiple=8, own_size=True)
    batch = PairBatch(maker, size=64)
    assert batch.size(SimpleNamespace(size=(256, 256))) == (64, 64)
    assert batch.size(SimpleNamespace(size=(384, 170))) == (96, 40)
    assert PairBatch(maker).size(SimpleNamespace(size=(255, 100))) == (256, 96)


def test_what_a_worker_raises_is_raised_here():
    from support.measuring_pool import MeasuringPool

    with pytest.raises(ZeroDivisionError), MeasuringPool(1) as pool:
        pool.submit(divmod, 1, 0)


def test_prompts_of_the_record_are_worded_as_in_training(tmp_path: Path) -> None:
    from support.pair_maker import PairMaker, known_tags

    known = known_tags("bundled")
    assert known is not None
    assert "lines first" in known
    assert known_tags(None) is None
    assert known_tags("owner/tagger-on-the-hub") is None
    tags = ("outlined", "man teacher", "people body", "lines first")
    true = SimpleNamespace(process=SimpleNamespace(tags=tags))
    for vocabulary, prompt in ((known, "lines first, outlined, people body"), (None, ", ".join(tags))):
        maker = SimpleNamespace(prompt=None, prompts="record", vocabulary=vocabulary)
        assert PairMaker._prompt(maker, true) == prompt  # type: ignore[arg-type]
