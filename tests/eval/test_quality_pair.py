"""A pair of models measured on true processes: here of random weights, whose films are bad and must be called so."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from paintsundo.data import shards
from paintsundo.data.shards import ShardWriter
from paintsundo.data.staged import Stage, StagedProcess
from paintsundo.errors import UserError

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_models import MODELS, SMALL

OVERRIDES = [*MODELS[1:], *SMALL]


def process(number: int, size: tuple[int, int]) -> StagedProcess:
    """A dark disc's outline, then its colour, top to bottom."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    distance = np.hypot(y - height / 2, x - width / 2)
    line, disc = abs(distance - 10) < 1.5, distance < 10
    outline = np.full((*size, 3), 255, np.uint8)
    outline[line] = 20
    full = outline.copy()
    full[disc & ~line] = (40 * number % 200, 120, 200)
    stages = []
    for name, picture, where, begin in (("ink", outline, line, 1), ("flats", full, disc & ~line, 32000)):
        reveal = np.full(size, 65535, np.uint16)
        reveal[where] = (begin + y[where] / height * 30000).astype(np.uint16)
        stages.append(Stage(name, picture, reveal))
    return StagedProcess(tuple(stages), subject=f"disc {number}", source=f"discs/{number}", hash=f"{number:064d}")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("discs")
    writer = ShardWriter(folder)
    for number, size in enumerate(((32, 32), (48, 32))):
        writer.write(shards.encode(process(number, size)), "test")
    manifest = {"format": 1, "shards": writer.close(), "samples": 2, "splits": {"test": 2}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="module")
def measured(dataset, tmp_path_factory):
    from support.quality_run import measure_pair

    output = tmp_path_factory.mktemp("pair")
    return output, measure_pair("official", dataset, output, OVERRIDES, progress=False)


def test_every_part_is_measured_at_the_size_of_the_process(measured):
    output, report = measured
    assert len(report["processes"]) == 2
    for figures, size in zip(report["processes"].values(), ([32, 32], [48, 32]), strict=True):
        assert figures["size"] == size
        assert figures["film"]["frames"] == 30
        assert figures["calibration"]["asked"] == list(range(100, 1000, 100))
        assert len(figures["baselines"]) == 8
        assert figures["interpolation"]["cross_fade"] > figures["interpolation"]["ours"]  # of random weights
    films = sorted(path.name for path in (output / "films").iterdir())
    assert films == sorted(report["processes"])
    assert len(list((output / "strips").glob("*.png"))) == 2


def test_random_weights_are_called_bad_and_truth_good(measured):
    summary = measured[1]["summary"]
    assert summary["calibration_error"]["film"]["mean"] > 100
    assert summary["interpolation_gain"]["film"]["high"] < 0
    assert summary["abruptness"]["truth"]["mean"] > summary["abruptness"]["cross_fade"]["mean"] + 0.3
    for rows in summary.values():
        for found in rows.values():
            assert found["low"] <= found["mean"] <= found["high"]
            assert found["subjects"] in (1, 2)  # the palette of a film may not be measurable
    json.dumps(measured[1], allow_nan=False)


def test_a_second_call_makes_nothing_again_and_other_settings_are_refused(measured, dataset, monkeypatch):
    from support import pair_maker
    from support.quality_run import measure_pair

    def fail(*_: object) -> None:
        raise AssertionError("made again")

    output, report = measured
    monkeypatch.setattr(pair_maker, "PairMaker", fail)
    assert measure_pair("official", dataset, output, OVERRIDES, progress=False) == report
    with pytest.raises(UserError, match="other settings"):
        measure_pair("official", dataset, output, [*OVERRIDES, "video.seed=5"], progress=False)


def test_networks_of_both_stages_are_recorded_where_that_is_asked_for(measured, dataset, tmp_path, monkeypatch):
    from support.quality_run import measure_pair

    from paintsundo.pipelines import graphs

    recorded = []

    class Calls(graphs.GraphedCalls):
        """On a processor: a call is made again in place of being played."""

        def __init__(self, predict):
            def record(call):
                result = call()
                return result, lambda: result.copy_(call())

            super().__init__(predict, record)
            recorded.append(self)

    def graphed(predict, network, device, wanted):
        return Calls(predict) if wanted else predict

    for module in ("support.pair_batch", "paintsundo.pipelines.interpolation"):
        monkeypatch.setattr(f"{module}.graphed", graphed)
    report = measure_pair(
        "official", dataset, tmp_path, [*OVERRIDES, "runtime.graphs=true"], progress=False, limit=1, workers=0
    )
    ((name, found),) = report["processes"].items()
    truth = measured[1]["processes"][name]
    for part in ("film", "calibration", "interpolation"):
        assert found[part] == truth[part]
    # Keyframes, states at known steps, clips of the film, clips between true keyframes.
    assert len(recorded) >= 4
    assert any(calls._graphs for calls in recorded)


def test_two_runs_are_compared_film_by_film(measured, dataset, tmp_path):
    import quality

    output, report = measured
    given = [f"data={dataset}", "models=official", f"overrides=[{','.join(o for o in OVERRIDES if '[' not in o)}]"]
    steps = ["keyframes.operation_steps=[500]", "video.buckets=[[32,32]]", "keyframes.seed=9"]
    given[2] = given[2][:-1] + "," + ",".join(f"'{step}'" for step in steps) + "]"
    quality.main([*given, "baselines=false", f"output={tmp_path / 'b'}", f"against={output}", "parts=[film]"])
    found = json.loads((tmp_path / "b" / "comparison.json").read_text())["differences"]
    assert found["end_psnr"]["subjects"] == 2
    ours = json.loads((tmp_path / "b" / "quality.json").read_text())["processes"]
    gaps = [ours[n]["film"]["end"]["psnr"] - report["processes"][n]["film"]["end"]["psnr"] for n in ours]
    assert found["end_psnr"]["mean"] == pytest.approx(np.mean(gaps), abs=1e-5)
    assert "this run is" in (tmp_path / "b" / "quality.md").read_text()
    assert (tmp_path / "b" / "curves.png").is_file()


def test_work_that_frames_claim():
    from support.pair_maker import claimed_works

    works = claimed_works(30, [1.0, 0.5, 0.0])
    assert works[[14, 29]].tolist() == [0.5, 1.0]  # the clip's first frame is its keyframe; the blank is left out
    assert works[0] == pytest.approx(0.5 / 15)
    assert (np.diff(works) > 0).all()


def test_data_alone_measures_true_processes_and_their_nulls(dataset, tmp_path, capsys):
    import quality

    quality.main([f"data={dataset}", f"output={tmp_path}", "limit=1"])
    report = json.loads((tmp_path / "quality.json").read_text())
    assert report["failed"]["film"] == {"count": 1, "failed": 0, "checks": {}}
    assert all(found["failed"] == 1 for name, found in report["failed"].items() if name != "film"), report["failed"]
    assert "fail a check" in capsys.readouterr().out
