"""The performance page: every table comes from figures, and nothing is there that was not measured."""

import json
from pathlib import Path

import pytest

from paintsundo.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
CARD = {"device": "cuda", "device_name": "a card"}
MARKS = "# Title\n\n<!-- performance: written by eval/performance.py -->\nold\n<!-- end of performance -->\n\nrest\n"


def part(seconds, peak=5.0):
    return {"seconds": seconds, "peak_GiB": peak}


def film(seconds):
    names = ("keyframes", "reading keyframes", "in-between frames", "decoding", "one pair, all its parts")
    run = {name: part(seconds / 5) for name in names}
    return {
        "settings": {"models": "random", "full_size": True},
        "keyframes": {"width": 512, "height": 640},
        "dtype": "float16",
        "networks_wait_on": "cpu",
        "machine": CARD,
        "versions": {"torch": "2"},
        "runs": [{**run, "whole film": part(seconds)}],
        "published": {"whole film": {"seconds": 92.0}},
    }


def row(name, seconds, **more):
    if seconds is None:
        return {"name": name, "seconds": None, "error": "out of memory", "marks": {}, **more}
    parts = dict.fromkeys(("keyframes", "in-between frames", "decoding"), seconds / 3)
    found = {"seconds": {**parts, "whole film": seconds}, "error": None, "marks": {"imported": 5.0, "end": seconds}}
    return {"name": name, "peak_GiB": 5.0, "psnr_db": {"mean": 60.0, "least": 50.0}, **found, **more}


def mode(name, *rows):
    return {"mode": name, "settings": {"full_size": True}, "machine": CARD, "versions": {"torch": "2"}, "rows": rows}


def drift(*names):
    measures = dict.fromkeys(("monotonicity", "changed_share", "abruptness", "flicker"), 0.5)
    rows = {}
    for number, name in enumerate(("off", "another seed", *names)):
        db = {"mean": 99.0 - 10 * number, "low": 40.0 - number, "least": 35.0 - number, "good": 1.0}
        time = dict.fromkeys(("keyframes", "clips", "both"), 1 / (number + 1))
        rows[name] = {"summary": {"keyframes_db": db, "frames_db": db, "time": time, "measures": measures}}
    return {
        "models": "bundled",
        "overrides": [],
        "pictures": ["a", "b"],
        "settings": rows,
        "machine": {"device": "cpu", "device_name": "a processor"},
        "versions": {"torch": "2"},
    }


@pytest.fixture
def place(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "README.md").write_text(MARKS, encoding="utf-8")

    def write(**files):
        for name, figures in files.items():
            (tmp_path / "results" / f"{name}.json").write_text(json.dumps(figures), encoding="utf-8")

    write.folder = tmp_path
    write.arguments = [
        f"results=[{tmp_path / 'results'}]",
        f"output={tmp_path / 'docs' / 'performance.md'}",
        f"readme={tmp_path / 'README.md'}",
    ]
    return write


def written(place):
    import performance

    performance.main(place.arguments)
    page, readme = place.folder / "docs" / "performance.md", place.folder / "README.md"
    return page.read_text(encoding="utf-8"), readme.read_text(encoding="utf-8")


def test_only_what_was_measured_has_a_section(place):
    place(film=film(46.0))
    page, readme = written(place)
    assert [line for line in page.splitlines() if line.startswith("## ")] == ["## The film in its parts"]
    assert "| whole film" in page
    assert "](../results/film.json)" in page
    assert "**46.0 s, 5.0 GiB** | 92.0 s, 6.4 GiB" in readme
    assert readme.startswith("# Title")
    assert readme.endswith("rest\n")
    assert "old" not in readme


def test_every_kind_of_result(place):
    place(
        film=film(20.0),
        ladder=mode("ladder", row("plain", 60.0), row("useful", 30.0), row("useless", 29.9), row("broken", None)),
        fast=mode("fast", row("off", 20.0), row("balanced", 8.0), row("unknown", 4.0)),
        cold=mode("cold", row("first ever", 60.0), row("second time", 44.0)),
        memory=mode("memory", row("no cap", 20.0, cap_GiB=None), row("2.5 GiB", None, cap_GiB=2.5)),
        devices=mode(
            "devices",
            row("one film", 40.0, devices=1, films=1, working_seconds=40.0, identical=True),
            row("one film", 14.0, devices=4, films=1, working_seconds=16.0, identical=True),
        ),
        drift=drift("balanced"),
        other={"something": "else"},
    )
    page, readme = written(place)
    assert page.count("## ") == 8
    assert "Did not help (less than 2 %): useless." in page
    assert "broken (out of memory)" in page
    assert "2.5 GiB: out of memory" in page
    curve = page.split("## Which fast setting")[1]
    assert "`fast=balanced` |" in curve
    assert "unknown" not in curve
    assert "| one film on 4 cards | 2.50 times as fast as on one | – |" in readme
    assert "from starting the program, second time | 44.0 s" in readme
    assert "2.5 GiB" not in readme  # it failed
    assert "`fast=balanced` (79 dB to the exact one, bundled models) | 8.0 s" in readme


def test_figures_of_small_networks_or_processors_do_not_reach_the_readme(place):
    small = mode("cold", row("first ever", 6.0))
    small["settings"]["full_size"] = False
    processor = mode("fast", row("balanced", 6.0))
    processor["machine"] = {"device": "cpu", "device_name": "a processor"}
    place(film=film(46.0), cold=small, fast=processor, drift=drift("balanced"))
    _, readme = written(place)
    assert "first ever" not in readme
    assert "balanced" not in readme


def test_steps_of_a_ladder_jump_over_what_failed():
    from support.performance_page import ladder_steps

    rows = [row("a", 60.0), row("b", None), row("c", 20.0)]
    assert [step for _, step in ladder_steps(rows)] == [None, None, 3.0]


def test_check_tells_a_stale_page(place):
    import performance

    place(film=film(46.0))
    with pytest.raises(UserError, match=r"performance\.md"):
        performance.main([*place.arguments, "check=true"])
    assert not (place.folder / "docs").exists()
    written(place)
    performance.main([*place.arguments, "check=true"])
    place(film=film(30.0))
    with pytest.raises(UserError, match=r"README\.md"):
        performance.main([*place.arguments, "check=true"])


def test_mistakes_are_one_line(place):
    import performance

    with pytest.raises(UserError, match="nothing that"):
        performance.main(place.arguments)
    place(drift=drift())
    with pytest.raises(UserError, match="published sizes"):
        performance.main(place.arguments)
    place(film=film(46.0))
    (place.folder / "README.md").write_text("no marks", encoding="utf-8")
    with pytest.raises(UserError, match="needs the marks"):
        performance.main(place.arguments)
    with pytest.raises(UserError, match="is no folder"):
        performance.main(["results=[/no/such]"])


def test_the_repositorys_page_is_what_its_figures_say(monkeypatch):
    import performance

    monkeypatch.chdir(ROOT)
    performance.main(["check=true"])


def test_the_drift_of_fast_settings_is_that_of_the_bundled_models():
    from support.model_identity import hashes_of

    figures = json.loads((ROOT / "docs" / "benchmarks" / "drift-cpu.json").read_text(encoding="utf-8"))
    assert figures["models"] == "bundled"
    assert figures["weights"] == hashes_of("bundled")


def test_drifts_of_several_files_make_one_curve_where_they_can_be_compared(place):
    other = drift("merged")
    place(
        film=film(20.0),
        fast=mode("fast", row("off", 20.0), row("balanced", 8.0), row("merged", 15.0)),
        drift_a=drift("balanced"),
        drift_b=other,
    )
    page, _ = written(place)
    curve = page.partition("## Which fast setting")[2]
    assert "`fast=merged`" in curve
    assert "`fast=balanced`" in curve
    other["overrides"] = ["keyframes.width=64"]
    place(drift_b=other)
    page, _ = written(place)
    assert "`fast=merged`" not in page.partition("## Which fast setting")[2]


def test_integers_have_their_section(place):
    kinds = ("float32", "int8", "bfloat16")
    found = {"name": "video UNet", "linear_share": 0.4, "seconds": {"float32": 0.9, "int8": 0.75, "bfloat16": 0.5}}
    rows = [{**found, "errors": dict.fromkeys(kinds, 0.01)}]
    figures = {"kind": "int8", "models": "bundled", "threads": 1, "engine": "x86", "repeats": 3, "rows": rows}
    place(film=film(20.0), int8={**figures, "machine": CARD, "versions": {"torch": "2"}})
    page, _ = written(place)
    assert "## What did not help: linear layers in 8-bit integers" in page
    assert [row for row in page.splitlines() if "video UNet" in row and "900.0" in row and "40 %" in row]
    assert "1.20" in page


def test_kernels_have_their_section(place):
    kernel = {"kernel": "geglu", "shape": "7x9", "us": 2.0, "torch_us": 8.0, "memory_us": 1.0, "error": 1e-4}
    times = {"us": 3.0, "tflops": 5.0, "form_us": None, "form_tflops": None, "error": 2e-4, "form_error": None}
    tuned = {f"tuned_{name}": value for name, value in times.items()}
    convolution = {"convolution": "spatial", "shape": "1x2", "calls": 4, **times, **tuned}
    figures = {
        "kernels": [{**kernel, "calls": 10, "ms_a_pass": 0.02}],
        "convolutions": [convolution],
        "machine": CARD,
        "versions": {"torch": "2"},
    }
    place(film=film(20.0), kernels=figures)
    page, _ = written(place)
    section = page.split("## Kernels of one pass")[1]
    assert "| geglu         |   7x9 |     2.0 |         8.0 |" in section
    assert "sum of a pass" in section
    assert "Sum of a pass: 0.01 ms, tuned 0.01 ms." in section
