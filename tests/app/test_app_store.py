"""Runs on disk: found again, apart from each other, removed by rule and only by rule."""

import json
import os
import time
from pathlib import Path

import pytest
from studios import ANNA, BERT, png

from paintsundo.app.faults import NotThere
from paintsundo.app.options import LimitOptions, RunsOptions
from paintsundo.app.record import Attempt, Earlier, Keyframe, Record, Task
from paintsundo.app.run import Run
from paintsundo.app.run_settings import RunSettings
from paintsundo.app.store import RunStore, new_id, size
from paintsundo.app.uploads import read_upload
from paintsundo.errors import UserError

DAY = 86400.0


def store(folder: Path, limits: LimitOptions | None = None, **options: float) -> RunStore:
    return RunStore(RunsOptions(folder=str(folder), **options), limits or LimitOptions())


def filled(runs: RunStore, user: str = ANNA, name: str = "a.png") -> Run:
    upload = read_upload(png(), runs.limits, runs.uploads)
    return runs.create(user, upload, RunSettings(), name)


def test_a_run_is_found_again_by_another_server(tmp_path: Path) -> None:
    first = store(tmp_path)
    run = filled(first)
    run.record.keyframes = [Keyframe.new("generated", 500, 7, before=Keyframe("0" * 16, 500, 6, "generated"))]
    run.record.task = Task("keyframes", [1, 2])
    run.record.made_with = RunSettings(seed=3)
    run.record.earlier = Earlier(
        RunSettings(seed=4),
        ["0" * 16],
        list(run.record.keyframes),
        [Attempt(5, list(run.record.keyframes))],
        5,
        "words",
    )
    run.save()
    first.close()
    second = store(tmp_path)
    again = second.open(ANNA, run.id)
    assert again.record == run.record
    assert again.original.read_bytes() == png()
    second.close()


def test_what_was_at_work_when_the_server_stopped_is_interrupted(tmp_path: Path) -> None:
    first = store(tmp_path)
    stages = {"queued": "interrupted", "film": "interrupted", "done": "done", "draft": "draft", "failed": "failed"}
    runs = {}
    for stage in stages:
        runs[stage] = filled(first)
        runs[stage].record.stage = stage  # type: ignore[assignment]
        runs[stage].save()
    first.close()
    second = store(tmp_path)
    assert {stage: second.open(ANNA, run.id).record.stage for stage, run in runs.items()} == stages
    second.close()


def test_names_are_random_and_never_what_was_written(tmp_path: Path) -> None:
    runs = store(tmp_path)
    run = filled(runs, name="../../../<script>.png")
    assert run.folder.parent == tmp_path / ANNA
    assert set(run.id) <= set("0123456789abcdef")
    assert run.record.title == "<script>.png"
    assert len({new_id() for _ in range(100)}) == 100
    assert not any("script" in file.name for file in tmp_path.rglob("*"))
    runs.close()


def test_files_can_be_read_by_the_server_alone(tmp_path: Path) -> None:
    runs = store(tmp_path / "runs")
    run = filled(runs)
    runs.secret()
    assert run.folder.stat().st_mode & 0o077 == 0
    assert (tmp_path / "runs" / ".secret").stat().st_mode & 0o077 == 0
    assert runs.secret() == runs.secret()
    runs.close()


@pytest.mark.parametrize(
    "run_id", ["", ".", "..", "../" + BERT, "/etc/passwd", "0" * 32, "A" * 32, "0" * 31 + "\n", "é" * 32]
)
def test_no_other_name_opens_anything(run_id: str, tmp_path: Path) -> None:
    runs = store(tmp_path)
    filled(runs)
    with pytest.raises(NotThere, match="does not exist"):
        runs.open(ANNA, run_id)
    runs.close()


@pytest.mark.parametrize("user", ["", "..", "a" * 31, "A" * 32, "../" + "a" * 29])
def test_no_other_visitor_can_have_runs(user: str, tmp_path: Path) -> None:
    runs = store(tmp_path)
    with pytest.raises(UserError, match="not known"):
        filled(runs, user)
    assert not [file for file in tmp_path.iterdir() if not file.name.startswith(".")]
    runs.close()


def test_visitors_see_only_their_own(tmp_path: Path) -> None:
    runs = store(tmp_path)
    ours, theirs = filled(runs, ANNA), filled(runs, BERT)
    assert [run.id for run in runs.runs(ANNA)] == [ours.id]
    with pytest.raises(NotThere) as hidden:
        runs.open(ANNA, theirs.id)
    with pytest.raises(NotThere) as missing:
        runs.open(ANNA, "0" * 32)
    assert str(hidden.value) == str(missing.value)
    runs.close()


def test_two_servers_do_not_share_a_folder(tmp_path: Path) -> None:
    first = store(tmp_path)
    with pytest.raises(UserError, match="another server uses"):
        store(tmp_path)
    first.close()
    store(tmp_path).close()


def test_a_damaged_record_hides_its_run_alone(tmp_path: Path) -> None:
    first = store(tmp_path)
    good, bad, other = filled(first), filled(first), filled(first)
    (bad.folder / "page.json").write_text("{", encoding="utf-8")
    (other.folder / "page.json").write_text('{"version": 1, "picture": 5}', encoding="utf-8")
    first.close()
    second = store(tmp_path)
    assert [run.id for run in second.runs(ANNA)] == [good.id]
    assert bad.original.is_file()
    second.close()


def test_links_planted_in_the_folder_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    first = store(tmp_path / "runs")
    run = filled(first)
    first.close()
    os.rename(run.folder, outside / "run")
    (run.folder.parent / "not-an-id").symlink_to(outside / "run")
    second = store(tmp_path / "runs")
    assert second.runs(ANNA) == []
    second.close()


class TestCleaning:
    def test_old_runs_go_and_kept_or_working_ones_stay(self, tmp_path: Path) -> None:
        runs = store(tmp_path, keep_days=2)
        old, kept, busy, new = (filled(runs) for _ in range(4))
        now = time.time()
        for run in (old, kept, busy):
            run.record.used = now - 3 * DAY
        kept.record.kept = True
        busy.record.stage = "film"
        assert runs.clean(now) == [old.id]
        assert not old.folder.exists()
        assert {run.id for run in runs.runs(ANNA)} == {kept.id, busy.id, new.id}
        runs.close()

    def test_the_oldest_go_where_all_are_too_large(self, tmp_path: Path) -> None:
        runs = store(tmp_path, keep_gib=2.5 / 1024)
        made = [filled(runs) for _ in range(4)]
        for age, run in enumerate(made):
            run.record.used -= age
            (run.folder / "large").write_bytes(b"0" * 2**20)
        made[3].record.kept = True
        assert size(made[0].folder) > 2**20
        assert set(runs.clean()) == {made[2].id}
        assert {run.id for run in runs.runs(ANNA)} == {made[0].id, made[1].id, made[3].id}
        runs.close()

    def test_a_crash_while_removing_leaves_nothing(self, tmp_path: Path) -> None:
        first = store(tmp_path)
        run = filled(first)
        first.close()
        run.folder.rename(run.folder.with_name(f".removed-{run.id}"))
        second = store(tmp_path)
        assert list((tmp_path / ANNA).iterdir()) == []
        second.close()

    def test_a_removed_run_is_written_no_more(self, tmp_path: Path) -> None:
        runs = store(tmp_path)
        run = filled(runs)
        runs.remove(run)
        run.save()
        assert not run.folder.exists()
        assert not (tmp_path / ANNA).exists()
        runs.close()


def test_a_visitor_has_only_so_many_runs_and_so_much_room(tmp_path: Path) -> None:
    runs = store(tmp_path, LimitOptions(runs_per_user=2, user_mib=1))
    first = filled(runs)
    filled(runs)
    with pytest.raises(UserError, match="you have 2 runs"):
        filled(runs)
    filled(runs, BERT)
    runs.remove(first)
    (runs.runs(ANNA)[0].folder / "large").write_bytes(b"0" * 2**20)
    with pytest.raises(UserError, match="more than the 1 MiB"):
        filled(runs)
    runs.close()


def test_a_record_is_whole_or_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = store(tmp_path)
    run = filled(runs)
    before = json.loads((run.folder / "page.json").read_text(encoding="utf-8"))

    def torn(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", torn)
    run.record.title = "another"
    with pytest.raises(OSError, match="space"):
        run.save()
    monkeypatch.undo()
    assert json.loads((run.folder / "page.json").read_text(encoding="utf-8")) == before
    assert Record.read(run.folder).title == "a.png"
    runs.close()
