import json
from pathlib import Path

import numpy as np
import pytest
from drawn_dataset import HOSTILE, some_processes, write_dataset
from drawn_processes import as_frames, two_shapes

from paintsundo.data.__main__ import main
from paintsundo.data.process import step_of_work
from paintsundo.data.report import records
from paintsundo.data.report.change import changed_shares, progress, state_works
from paintsundo.data.report.numbers_text import size, text
from paintsundo.data.report.statistics import BINS, statistics, summarise
from paintsundo.errors import UserError

REJECTED = [
    {"name": "a.svg", "reason": "not well-formed: line 1"},
    {"name": "b.svg", "reason": "not well-formed: line 7"},
    {"name": HOSTILE, "reason": "all but blank"},
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("statistics") / "set", REJECTED)


def test_everything_is_counted(dataset: Path) -> None:
    numbers = statistics(dataset)
    assert (numbers["samples"], numbers["promised"], numbers["shards"], numbers["damaged"]) == (5, 5, 3, [])
    assert numbers["subjects"] == 4  # one twice
    assert numbers["splits"] == {"train": 3, "validation": 2}
    assert numbers["kinds"] == {"stages": 4, "states": 1}
    assert numbers["sets"] == {"first": 2, "second": 2, "films": 1}
    assert numbers["sets_by_split"]["second"] == {"train": 1, "validation": 1}
    assert numbers["licences"] == {"CC0": 4, "MIT": 2}
    assert numbers["licences_by_split"] == {"CC0": {"train": 2, "validation": 2}, "MIT": {"train": 1, "validation": 1}}
    assert numbers["authors"] == {"Ann": 3, "(none)": 1, HOSTILE: 1}
    assert numbers["sizes"] == {"96 × 64": 4, "48 × 48": 1}
    assert numbers["behaviours"] == {"flip": 1}
    assert numbers["stage_orders"] == {"sketch → ink → flats → shading": 4, "early → late": 1}
    assert numbers["stages"]["flip"] == 1
    assert (numbers["tags"], numbers["different_tags"]) == ({"two": 4, "one": 3}, 2)
    assert numbers["reasons"] == {"not well-formed": 2, "all but blank": 1}
    assert numbers["rejected"] == 3
    assert 0 < numbers["bytes"] < sum(file.stat().st_size for file in dataset.glob("*.tar"))
    assert json.loads(json.dumps(numbers))["samples"] == 5


def test_lengths_are_of_stages_and_of_states(dataset: Path) -> None:
    lengths = statistics(dataset)["lengths"]
    assert set(lengths) == {"stages", "states"}
    assert lengths["stages"]["least"] == lengths["stages"]["median"] == 4
    assert lengths["stages"]["most"] > 5  # the flipped one
    states = next(len(process) for _, process in some_processes() if hasattr(process, "works"))
    assert lengths["states"]["counts"] == {states: 1}


def test_change_is_measured_over_operation_steps(dataset: Path) -> None:
    change = statistics(dataset)["change"]
    assert change["processes_measured"] == 5
    area = change["changed_area_by_step"]
    assert len(area) == BINS
    assert sum(area.values()) == pytest.approx(change["painted_area_in_canvases"], abs=1e-3)
    states = change["states_by_step"]
    process = as_frames(two_shapes(), 30)
    expected = np.histogram([step_of_work(work) for work in process.works], np.arange(0, 1001, 1000 // BINS))[0]
    assert list(states.values()) == expected.tolist()


def test_pictures_are_not_decoded_without_a_sample(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(members: object) -> None:
        raise AssertionError("a picture is decoded")

    monkeypatch.setattr("paintsundo.data.shards.decode", decode)
    numbers = statistics(dataset, sampled=0)
    assert numbers["samples"] == 5
    assert numbers["change"] == {"processes_measured": 0}


def test_the_sample_is_spread_over_all_shards(dataset: Path) -> None:
    assert records.evenly(10, 5) == [0, 2, 4, 6, 8]
    assert records.evenly(3, 200) == [0, 1, 2]
    assert len(summarise(dataset, sampled=2).shares) == 2


def test_several_processes_count_the_same(dataset: Path) -> None:
    assert statistics(dataset, workers=2) == statistics(dataset, workers=1)


def test_damage_is_told_and_the_rest_counted(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "set")
    first, last = dataset / "00000.tar", dataset / "00002.tar"
    last.write_bytes(last.read_bytes()[:700])
    content = bytearray(first.read_bytes())
    at = content.index(b'"stages"')
    content[at : at + 8] = b'"steges"'
    first.write_bytes(content)
    numbers = statistics(dataset)
    assert numbers["samples"] == 2
    assert numbers["promised"] == 5
    assert len(numbers["damaged"]) == 2
    assert any("KeyError" in line for line in numbers["damaged"])
    assert any("00002.tar" in line for line in numbers["damaged"])
    assert "the manifest promises 5 processes" in text(numbers, "set")
    with pytest.raises(UserError, match="no manifest"):
        statistics(tmp_path)


def test_single_processes_are_read_without_the_others(dataset: Path) -> None:
    expected = [process for _, process in some_processes()]
    found = list(records.processes(dataset, [1, 4]))
    assert [(number, key) for number, key, _ in found] == [(1, "00000.tar/0000001"), (4, "00002.tar/0000001")]
    for number, _, process in found:
        assert not isinstance(process, str)
        np.testing.assert_array_equal(process.finished, expected[number].finished)
    (only,) = records.processes(dataset, [1], "validation")
    assert only[1] == "00002.tar/0000001"
    with pytest.raises(UserError, match="holds no test samples"):
        list(records.processes(dataset, [0], "test"))


def test_changed_shares_and_progress_of_a_known_process() -> None:
    process = two_shapes()
    shares = changed_shares(process, 10)
    masks = [(stage.reveal != 65535).mean() for stage in process.stages]
    assert shares.sum() == pytest.approx(sum(masks), abs=0.01)
    assert shares[:2].sum() == pytest.approx(masks[0], abs=0.005)
    curve = progress(process, np.linspace(0, 1, 11))
    assert (curve[0], curve[-1]) == (0, 1)
    assert (np.diff(curve) > -0.02).all()
    frames = as_frames(process, 9)
    np.testing.assert_array_equal(state_works(frames, 100), frames.works)
    assert len(state_works(frames, 4)) == 4
    np.testing.assert_allclose(state_works(process, 3), [0, 0.5, 1])


def test_text_is_readable_and_holds_no_control_characters(dataset: Path) -> None:
    numbers = statistics(dataset)
    numbers["authors"]["\x1b[31mred\r\n"] = 1
    said = text(numbers, "folder/set")
    assert said.startswith("folder/set: 5 processes of 4 subjects")
    for line in ("2  not well-formed", "4  CC0", "length in stages: 4 to", "3 rejected:", "as drawn"):
        assert line in said
    assert "\x1b" not in said
    assert "█" in said


@pytest.mark.parametrize(("count", "said"), [(5, "5 B"), (2048, "2.0 KiB"), (3 << 30, "3.0 GiB"), (2**42, "4.0 TiB")])
def test_sizes_are_written_in_units(count: int, said: str) -> None:
    assert size(count) == said


def test_stats_command(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", f"data={dataset}"]) == 0
    assert f"{dataset}: 5 processes" in capsys.readouterr().out
    assert main(["stats", f"input={dataset}", "json=true"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 5
    file = tmp_path / "numbers.json"
    assert main(["stats", f"data={dataset}", f"json={file}", "sampled=1"]) == 0
    assert json.loads(file.read_text())["change"]["processes_measured"] == 1
    before = file.read_bytes()
    for wrong, said in (
        ([f"json={file}"], "exists already"),
        (["sampled=many"], "not a whole number"),
        (["sampled=-1"], "at least 0"),
        (["place=x"], "unknown option place"),
        ([f"json={tmp_path / 'none' / 'x.json'}"], "is no folder"),
    ):
        capsys.readouterr()
        assert main(["stats", f"data={dataset}", *wrong]) == 2
        assert said in capsys.readouterr().err
    assert file.read_bytes() == before
    assert main(["stats", f"data={dataset}", f"json={file}", "overwrite=true"]) == 0
    assert file.read_bytes() != before
    assert main(["stats"]) == 2
    assert "data=DATASET" in capsys.readouterr().err
