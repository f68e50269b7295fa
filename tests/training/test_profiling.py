import json
from pathlib import Path

import pytest

from paintsundo.training.profiling import StepProfile
from tiny_loop import TinyModule, fit


def test_trace_and_table_of_the_chosen_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain, watched = TinyModule(), TinyModule()
    fit(plain, [], steps=8)
    fit(watched, [StepProfile(tmp_path, first=3, last=5)], steps=8)
    assert plain.losses == watched.losses
    trace = json.loads((tmp_path / "profile" / "trace.json").read_text())
    steps = [event for event in trace["traceEvents"] if event["name"].startswith("ProfilerStep#")]
    assert len({event["name"] for event in steps}) == 3
    assert "aten::addmm" in (tmp_path / "profile" / "kernels.txt").read_text()
    assert f"profile of steps 3 to 5: {tmp_path / 'profile'}" in capsys.readouterr().out


def test_short_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(TinyModule(), [StepProfile(tmp_path, first=3, last=20)], steps=5)
    assert (tmp_path / "profile" / "trace.json").is_file()
    fit(TinyModule(), [StepProfile(tmp_path / "none", first=9)], steps=5)
    assert not (tmp_path / "none").exists()
    assert "no profile: training ended before its step 9" in capsys.readouterr().out
