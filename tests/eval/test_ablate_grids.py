"""The grids of configs/ablation, and what is refused: every row of theirs can be composed."""

import pytest
from omegaconf import OmegaConf

from paintsundo.errors import UserError
from paintsundo.settings import compose, config_directory

GRIDS = sorted(file.stem for file in (config_directory() / "ablation").glob("*.yaml"))
OPTIONS = ["data.path=train", "data.test=test", "output=out", "devices=cpu"]


def read(name, *others):
    from support.ablate_options import read_arguments

    return read_arguments([f"ablation={name}", *OPTIONS, *others])


@pytest.mark.parametrize("name", GRIDS)
def test_every_film_of_a_grid_can_be_made(name):
    from support.ablate_findings import findings
    from support.ablate_statistics import Found

    from paintsundo.pipelines.options import InferOptions, check_keyframes, check_video
    from paintsundo.settings import as_schema

    grid = read(name).grid
    seen = set()
    for films in dict.fromkeys(cell.films for cell in grid.cells):
        if seen.issuperset(films.infer):  # each override once is enough, and composing is slow
            continue
        seen |= set(films.infer)
        options = as_schema(compose("infer", films.infer), InferOptions)
        check_keyframes(options.keyframes)
        check_video(options.video)
    assert not any("video.between=none" in c.films.infer and "interpolation" in c.films.parts for c in grid.cells)
    for table in grid.tables:
        told = findings(table, [Found(row, {}, []) for row in table.rows])
        assert all(finding.confirmed is None for finding in told)
        paths = {row.path for row in table.rows}
        for given in table.findings:
            named = [given[key] for key in ("first", "second", "of") if key in given]
            assert set(named) <= paths, (table.name, named)
        assert len({row.cells for row in table.rows}) == len(table.rows), f"{table.name} has the same row twice"


@pytest.mark.parametrize("name", GRIDS)
def test_every_training_of_a_grid_is_possible(name, tmp_path):
    from support.ablate_job import Place, training_arguments

    from paintsundo.training.configuration import configure
    from paintsundo.training.options import check
    from paintsundo.training.options import read as typed

    place = Place(tmp_path, "bundled", ("train",), "test", 1, None, True, 1, frozenset())
    seen = {}
    for training in {cell.training for cell in read(name, "seeds=[0]").grid.cells if cell.training}:
        options = typed(configure(training_arguments(place, training, tmp_path)))
        check(options)
        assert options.max_minutes is None, "steps, not minutes, make trainings comparable"
        model = OmegaConf.to_yaml(OmegaConf.create(options.model), sort_keys=True)
        assert seen.setdefault(model, training.name) == training.name, "two trainings are the same"


def test_the_issue_s_grids_are_there():
    assert {"windows", "schedulers", "choices", "keyframes"} <= set(GRIDS)
    rows = {row.path for row in read("windows").grid.rows}
    assert rows == {
        f"{t}/{i}" for t in ("none", "prv", "first", "roll", "mixed") for i in ("none", "prv", "first", "roll")
    }


def test_shared_rows_are_made_once():
    grid = read("choices").grid
    assert len(grid.cells) < sum(len(row.cells) for row in grid.rows)
    jobs = grid.jobs(set(), 4)
    assert len({job.name for job in jobs}) == len(jobs)
    assert sum(len(job.cells) for job in jobs) == len(grid.cells)
    left = grid.jobs({cell.name for cell in grid.cells[3:]}, 4)
    assert sum(len(job.cells) for job in left) == 3


def test_a_row_s_cells_depend_on_what_changes_them_alone():
    one = read("windows", "rows=[windows/roll/none]").grid.rows[0]
    whole = next(row for row in read("windows").grid.rows if row.path == "roll/none")
    assert one == whole
    other = read("windows", "rows=[windows/roll/none]", "train=[max_steps=7]").grid.rows[0]
    assert other.cells[0].training.overrides[-1] == "max_steps=7"
    nested = read("keyframes", "rows=[stages/interpolation_6]", "infer=[keyframes.operation_steps=[1,2],video.seed=3]")
    assert nested.grid.cells[0].films.infer[-2:] == ("keyframes.operation_steps=[1,2]", "video.seed=3")
    assert {cell.name for cell in other.cells}.isdisjoint(cell.name for cell in one.cells)
    assert len(read("windows", "rows=[windows/roll/none]", "seeds=[5]").grid.rows[0].cells) == 1


def test_a_size_goes_before_that_of_a_table_but_not_of_a_row():
    def size(grid, row, *arguments):
        (found,) = read(grid, f"rows=[{row}]", *arguments).grid.rows
        return found.cells[0].films.size

    assert size("windows", "windows/roll/none") == (128, 128)
    assert size("windows", "windows/roll/none", "size=[64,96]") == (64, 96)
    assert size("choices", "positions/rotary/wide", "size=[64,96]") == (96, 224)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ablation=windows", "data.test=t", "data.path=d"], "output is missing"),
        (["output=o", "data.test=t"], "ablation is missing"),
        (["ablation=windows", "output=o", "data.path=d"], "data.test is missing"),
        (["ablation=windows", "output=o", "data.test=t"], "data.path is missing"),
        (["ablation=nothing", "output=o"], "nothing"),
        (["ablation=windows", *OPTIONS, "rows=[windows/roof/none]"], "windows/roof/none is no row"),
        (["ablation=windows", *OPTIONS, "seeds=[1,1]"], "different numbers"),
        (["ablation=windows", *OPTIONS, "size=[64]"], "height and width"),
        (["ablation=windows", *OPTIONS, "per_device=0"], "at least 1"),
        (["ablation=windows", *OPTIONS[:3], "devices=gpu"], "GPU numbers"),
        (["ablation=windows", *OPTIONS, "speed=1"], "speed"),
    ],
)
def test_impossible_commands_are_refused_in_a_line(arguments, message):
    from support.ablate_options import read_arguments

    with pytest.raises(UserError, match=message) as error:
        read_arguments(arguments)
    assert "\n" not in str(error.value)


def test_estimates_follow_what_was_measured(tmp_path):
    import json

    from support.ablate_costs import Costs, plan_text

    grid = read("windows").grid
    cost = {"start": 10, "training_step": {"single_frame": 1.0, "multi_frame": 0.1}, "film": 1.0, "network_pass": 0.0}
    jobs = grid.jobs(set(), 4)
    before = Costs(cost, 12, tmp_path)
    (steps,) = (int(o.split("=")[1]) for o in jobs[0].training.overrides if o.startswith("max_steps="))
    assert before.job(jobs[0]) == pytest.approx(10 + 0.1 * steps + 4 * 12)
    (tmp_path / "trainings").mkdir()
    record = {"settings": {"stage": "multi_frame"}, "steps": 100, "seconds": 30}
    (tmp_path / "trainings" / "a.json").write_text(json.dumps(record))
    assert Costs(cost, 12, tmp_path).job(jobs[0]) == pytest.approx(10 + 0.3 * steps + 4 * 12)
    text = plan_text(jobs, before, 5)
    minutes = 15 * (10 + 0.1 * steps + 4 * 12) / 60
    assert f"15 jobs, 60 cells: about {minutes:.0f} minutes of jobs, {minutes / 5:.0f} on 5 at once" in text
