"""Grids run end to end on tiny models: a stage trained anew, films measured, a page made, killed jobs gone on with."""

import json
import sys
from pathlib import Path

import pytest

from paintsundo.errors import UserError

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_models import TINY
from tiny_training import SHARED, drawings, write_data
from tiny_training import TINY as SIZES

GRID = {
    "title": "Tiny",
    "seeds": [0, 1],
    "train": {
        "multi_frame": [
            *SIZES["multi_frame"],
            *SHARED,
            "model.network.in_channels=8",
            "model.network.out_channels=4",
            "data.held_out=0",
            "max_minutes=null",
        ]
    },
    "infer": [
        "keyframes.operation_steps=[500]",
        "keyframes.num_inference_steps=1",
        "video.num_inference_steps=1",
    ],
    "trainings": {
        "plain": {"stage": "multi_frame"},
        "roll": {"stage": "multi_frame", "set": ["attention_window=roll"]},
    },
    "tables": {
        "windows": {
            "axes": {
                "trained": ["plain", "roll"],
                "run": {"option": "video.attention_window", "values": ["none", "first"]},
            },
            "parts": ["film", "interpolation"],
            "measures": ["interpolation_gain", "flicker", "seconds"],
            "plots": ["matrix", "dots", "lines", "frontier", "steps"],
            "baselines": True,
            "findings": [
                {
                    "measure": "interpolation_gain",
                    "first": "roll/none",
                    "second": "plain/none",
                    "expect": "better",
                    "claim": "windows help",
                }
            ],
        },
        "steps": {
            "axes": {"steps": {"option": "keyframes.num_inference_steps", "values": [1, 2]}},
            "infer": ["video.between=none"],
            "parts": ["film", "calibration"],
            "measures": ["calibration_psnr", "seconds"],
            "plots": ["lines", "steps"],
        },
    },
}


def ablation(output: Path, data: Path, **options):
    from support.ablate_grid import read_grid
    from support.ablate_options import AblateOptions, Ablation, DataOptions

    chosen = AblateOptions(
        output=str(output),
        models=str(TINY),
        data=DataOptions(path=str(data), test=str(data), limit=2),
        size=[32, 32],
        devices="cpu",
        strips=1,
        cost={"start": 1, "training_step": {"single_frame": 1, "multi_frame": 1}, "film": 1, "network_pass": 1},
        ablation=GRID,
    )
    for name, value in options.items():
        setattr(chosen, name, value)
    return Ablation(chosen, read_grid("tiny", GRID, chosen), [], ["ablation=tiny"])


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("drawings") / "set", drawings())


@pytest.fixture(scope="module")
def made(data, tmp_path_factory):
    """The grid in two calls: first one row of one seed and the rows where nothing is trained, in processes; then the
    rest with Hydra's own launcher."""
    import ablate

    output = tmp_path_factory.mktemp("grid")
    ablate._run(ablation(output, data, rows=["windows/plain/none", "steps/*"], seeds=[0]))
    first = {file.name: file.stat().st_mtime_ns for file in (output / "cells").iterdir()}
    whole = ablation(output, data)
    whole.hydra.append("hydra/launcher=basic")
    ablate._run(whole)
    return output, first


def test_trained_and_untrained_rows_are_measured(made):
    output, _ = made
    cells = [json.loads(file.read_text()) for file in (output / "cells").glob("*.json")]
    assert len(cells) == 2 * 2 * 2 + 2
    assert sorted(file.stem for file in (output / "trainings").glob("*.json")) == [
        "plain.s0",
        "plain.s1",
        "roll.s0",
        "roll.s1",
    ]
    for cell in cells:
        assert len(cell["subjects"]) == 2
        assert list(cell["sizes"].values()) == [[32, 32]] * 2
    record = json.loads((output / "trainings" / "roll.s1.json").read_text())
    assert record["steps"] == 2
    assert record["settings"]["seed"] == 1


def test_finished_cells_are_kept(made):
    output, first = made
    assert len(first) == 3
    assert {name: (output / "cells" / name).stat().st_mtime_ns for name in first} == first


def test_weights_are_kept_in_16_bit_without_the_autoencoder(made):
    from safetensors.torch import load_file

    kept = made[0] / "weights" / "roll.s0"
    assert not (kept / "vae").exists()
    assert {str(t.dtype) for t in load_file(next((kept / "unet").glob("*.safetensors"))).values()} == {"torch.float16"}


def test_other_trainings_make_other_films(made):
    """The trained weights are those that films are made with."""
    from support.ablate_statistics import find

    rows = {row.row.path: row for row in find(made[0], ablation(made[0], made[0]).grid.tables[0])}
    films = {path: row.values("interpolation_psnr") for path, row in rows.items()}
    assert films["plain/none"][0] != films["plain/none"][1]
    assert films["plain/none"][0] != films["roll/none"][0]


def test_what_is_large_lies_in_work(made):
    output, _ = made
    small = [f for f in output.rglob("*") if f.is_file() and "work" not in f.parts and "weights" not in f.parts]
    assert max(file.stat().st_size for file in small) < 2**20


def test_the_page_has_every_row_its_command_and_the_finding(made):
    output, _ = made
    page = (output / "ablations.md").read_text()
    for row in ("windows/roll/first", "windows/plain/none", "steps/2"):
        assert f"python eval/ablate.py ablation=tiny 'rows=[{row}]' output=DIR" in page
    assert "windows help: **" in page
    assert "2 training seeds" in page
    assert "*cross fade*" in page
    for name in ("windows-matrix.png", "windows-dots.png", "windows-strips.jpg", "steps-lines.png", "steps-steps.png"):
        assert (output / "ablations" / name).stat().st_size > 1000, name
        assert f"ablations/{name}" in page
    web = (output / "ablations.html").read_text()
    assert web.count("<img") == page.count("![")
    assert str(output) not in page


def test_a_repeated_row_is_compared_with_its_published_interval(made, data, tmp_path, monkeypatch, capsys):
    import ablate

    monkeypatch.setattr(ablate, "PUBLISHED", made[0] / "ablations" / "ablations.json")
    ablate._run(ablation(tmp_path, data, rows=["steps/2"]))
    told = [line for line in capsys.readouterr().out.splitlines() if "PSNR of states" in line]
    assert told
    assert all(line.endswith("within |") for line in told if line.startswith("| steps/2"))


def test_a_training_killed_on_the_way_is_gone_on_with(made, data, tmp_path, monkeypatch):
    """The job is stopped after its first cell; the next call trains nothing again."""
    from support import ablate_job
    from support.ablate_run import place_of

    import paintsundo.training.command as command

    whole = ablation(tmp_path, data, rows=["windows/plain/*"], seeds=[0])
    place = place_of(whole)
    for name in ("cells", "trainings"):
        (tmp_path / name).mkdir()
    job = whole.grid.jobs(set(), 4)[0]
    measure, calls = ablate_job.measured, []

    def killed(*arguments):
        if calls:
            raise KeyboardInterrupt
        calls.append(arguments)
        measure(*arguments)

    monkeypatch.setattr(ablate_job, "measured", killed)
    with pytest.raises(KeyboardInterrupt):
        ablate_job.run_job(place, job)
    monkeypatch.setattr(ablate_job, "measured", measure)
    monkeypatch.setattr(command, "run", lambda _: pytest.fail("trained again"))
    (place.work / "trainings").rename(tmp_path / "lost")  # as on another machine: the kept weights are enough
    ablate_job.run_job(place, job)
    assert len(list((tmp_path / "cells").iterdir())) == 2


def test_a_job_that_fails_is_named_and_the_others_go_on(data, tmp_path):
    import ablate

    broken = ablation(tmp_path, data, rows=["steps/*"], chunk=1, infer=["keyframes.operation_steps=[2000]"])
    with pytest.raises(UserError, match="operation step 2000 does not exist"):
        ablate._run(broken)
    page = (tmp_path / "ablations.md").read_text()
    assert page.count("operation step 2000") == 2


def test_an_output_of_other_models_is_refused(made, data, tmp_path):
    from support.ablate_run import begin, place_of

    other = ablation(made[0], data, models="bundled")
    with pytest.raises(UserError, match="another pair"):
        begin(other, place_of(other))


def test_a_second_command_in_the_same_output_is_refused(tmp_path):
    from support.ablate_run import only_one

    with only_one(tmp_path), pytest.raises(UserError, match="at work"), only_one(tmp_path):
        pass


@pytest.mark.parametrize(("gpu", "graphs"), [(True, ["runtime.graphs=true"]), (False, [])])
def test_networks_are_recorded_on_a_gpu_unless_a_row_says_otherwise(gpu, graphs, tmp_path, monkeypatch):
    from support import ablate_job, quality_run
    from support.ablate_grid import Cell, Films

    given = []

    def measure(models, test, folder, overrides, **options):
        given.append(overrides)
        raise UserError("seen")

    monkeypatch.setattr(ablate_job, "_on_gpu", lambda: gpu)
    monkeypatch.setattr(quality_run, "measure_pair", measure)
    place = ablate_job.Place(tmp_path, "bundled", (), "set", None, None, False, 0, frozenset())
    row = ("runtime.graphs=false", "video.batch=8")
    with pytest.raises(UserError, match="seen"):
        ablate_job.measured(place, Cell(None, Films(row, ("film",), "tagger", None, None)), None)
    # Of two values of one option the later one holds.
    assert given == [["runtime.seed_device=cpu", *graphs, *row]]
