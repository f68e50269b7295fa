"""The modes of `benchmark.py inference` that start processes of their own, with the smallest networks."""

import json

import numpy as np
import pytest

from paintsundo.errors import UserError


@pytest.fixture(scope="module")
def modes(tmp_path_factory, evaluate):
    folder = tmp_path_factory.mktemp("modes")
    ladder = folder / "ladder.yaml"
    ladder.write_text(
        "rungs:\n"
        "  - {name: one by one, overrides: [video.batch=1, runtime.guidance=sequential]}\n"
        "  - {name: together, overrides: [video.batch=3]}\n",
        encoding="utf-8",
    )
    done = evaluate(
        "benchmark",
        "inference",
        f"output={folder / 'figures'}",
        f"scratch={folder / 'scratch'}",
        f"ladder={ladder}",
        "modes=[ladder,fast]",
        "fast=[every_2]",
        "full_size=false",
        "device=cpu",
        "warmup=false",
    )
    assert done.returncode == 0, done.stderr
    figures = {name: json.loads((folder / "figures" / f"{name}.json").read_text()) for name in ("ladder", "fast")}
    return figures, (done.stdout, folder)


@pytest.mark.slow
def test_rungs_keep_those_below_them_and_give_the_same_film(modes):
    first, second = modes[0]["ladder"]["rows"]
    assert (first["error"], second["error"]) == (None, None)
    assert (first["name"], second["name"]) == ("one by one", "together")
    assert set(second["overrides"]) == {"runtime.guidance=sequential", "video.batch=3"}
    assert first["psnr_db"] == {"mean": 99.0, "least": 99.0}
    assert second["psnr_db"]["least"] > 50
    assert min(row["seconds"]["whole film"] for row in (first, second)) > 0


@pytest.mark.slow
def test_a_fast_setting_is_another_film_of_fewer_passes(modes):
    exact, fast = modes[0]["fast"]["rows"]
    assert (exact["name"], fast["name"]) == ("off", "every_2")
    assert exact["psnr_db"]["least"] == 99.0
    assert fast["psnr_db"]["mean"] < 60
    assert fast["error"] is None


@pytest.mark.slow
def test_the_default_path_is_as_exact_as_the_plain_one(tmp_path, evaluate):
    done = evaluate(
        "benchmark", "inference", f"output={tmp_path}", "modes=[agreement]", "full_size=false", "device=cpu", "steps=2"
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "agreement.json").read_text())["rows"]
    assert [row["name"] for row in rows] == ["none", "prv", "first", "roll"]
    for row in rows:
        assert row["finite"]
        assert row["plain_error"] == 0  # on a processor the usual type is the judge's
        assert row["default_error"] < 1e-3


@pytest.mark.slow
def test_caps_and_the_film_without_one(tmp_path, evaluate):
    arguments = ("inference", f"output={tmp_path}", "modes=[memory]", "caps=[4.0]", "large=0")
    done = evaluate("benchmark", *arguments, "full_size=false", "device=cpu")
    assert done.returncode == 0, done.stderr
    row, capped = json.loads((tmp_path / "memory.json").read_text())["rows"]
    assert (capped["name"], capped["cap_GiB"], capped["error"]) == ("4 GiB", 4.0, None)
    assert capped["cap"] == "not enforced: no CUDA device"
    assert capped["psnr_db"]["least"] > 40
    assert (row["name"], row["cap_GiB"], row["error"]) == ("no cap", None, None)
    assert row["memory"]["process_GiB"] > 0.1


@pytest.mark.slow
def test_marks_are_seconds_from_the_start_of_a_process(modes):
    marks = modes[0]["ladder"]["rows"][0]["marks"]
    assert 0 < marks["python"] < marks["imported"] < marks["loaded"] < marks["first film"] < marks["gone"]


@pytest.mark.slow
def test_tables_and_the_checkpoint_lie_where_they_should(modes):
    _, (told, folder) = modes
    for mode in ("ladder", "fast"):
        assert (folder / "figures" / f"{mode}.md").read_text(encoding="utf-8") in told
    assert (folder / "scratch" / "tiny" / "single_frame").is_dir()


@pytest.mark.slow
def test_a_cold_process_makes_a_film_and_a_failed_one_says_why(tmp_path, evaluate):
    arguments = ("inference", f"output={tmp_path}", "modes=[cold]", "full_size=false", "device=cpu")
    done = evaluate("benchmark", *arguments)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "cold.json").read_text())["rows"]
    assert [row["name"] for row in rows][:2] == ["first ever", "second time"]
    for row in rows:
        assert row["error"] is None
        assert row["marks"]["imported"] < row["seconds"]["whole film"] < row["marks"]["gone"]


def test_what_fails_in_a_process_is_a_row(tmp_path):
    from support.film_jobs import FilmJobs
    from support.film_worker import FilmJob
    from support.inference_modes import row

    jobs = FilmJobs(str(tmp_path), False, ["runtime.device=cpu"], scratch=str(tmp_path))
    found = row("x", jobs.run(FilmJob([])))
    assert found["seconds"] is None
    assert str(tmp_path) in found["error"]


def test_mistakes_are_told_before_any_work(tmp_path, monkeypatch):
    import benchmark

    monkeypatch.chdir(tmp_path)
    common = ("inference", "output=x", "full_size=false", "device=cpu")
    for more, message in (
        (("modes=[ladder]", "ladder=none.yaml"), "none.yaml"),
        (("modes=[ladder]", "rungs=[nothing]"), "nothing"),
        (("modes=[fast]", "fast=[nothing]"), "nothing"),
    ):
        with pytest.raises(UserError, match=message):
            benchmark.main([*common, *more])


def test_the_ladder_of_the_repository_composes():
    from support.film_jobs import FilmJobs
    from support.inference_modes import read_ladder

    jobs = FilmJobs("official", True, [], scratch="unused")
    rungs = read_ladder("inference")
    assert len({name for name, _ in rungs}) == len(rungs) > 1
    for _, overrides in rungs:
        jobs.options(*overrides)


def test_scaling_is_against_one_device():
    from support.inference_modes import scaling
    from support.inference_tables import mode_table

    def row(devices, seconds, error=None):
        done = {"working_seconds": seconds, "identical": True, "largest_difference": 0} if error is None else {}
        return {"name": "one film", "devices": devices, "films": 1, "error": error, **done}

    rows = [row(1, 40.0), row(2, 25.0), row(4, None, "no such device")]
    times = [found["times"] for found in scaling(rows)]
    assert times == [1.0, 1.6, None]
    assert scaling(rows)[1]["efficiency"] == 0.8
    table = mode_table({"mode": "devices", "rows": rows})
    assert "80 %" in table
    assert "one film: no such device" in table


def test_psnr_of_films():
    from support.film_parts import film_psnr

    film = np.zeros((3, 8, 8, 3), np.uint8)
    other = film.copy()
    other[1] += 255
    assert film_psnr(film, film) == {"mean": 99.0, "least": 99.0}
    assert film_psnr(film, other) == {"mean": 66.0, "least": 0.0}
