import json
from pathlib import Path
from typing import Any

import pytest
import torch

from paintsundo.training.faults import FaultKind, Faults, NonFinite
from tiny_loop import Numbers, TinyModule, fit


class Poisoned(Numbers):
    """Batches of these numbers hold a NaN."""

    def __init__(self, *numbers: int) -> None:
        super().__init__()
        self.numbers = numbers

    def __iter__(self):
        for batch in super().__iter__():
            if batch["number"] in self.numbers:
                batch["x"][0, 0] = float("nan")
            yield batch


class Guarded(TinyModule):
    """Leaves its weights alone where the loss is not finite."""

    def optimizer_step(self, epoch: int, batch_index: int, optimizer: Any, closure: Any = None) -> None:
        if not bool(torch.isfinite(closure())):
            optimizer.zero_grad()
        optimizer.step()  # without gradients it changes nothing


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "faults.jsonl").read_text().splitlines()]


def test_steps_that_are_not_finite_are_named_and_survived(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faults = Faults(tmp_path)
    fit(Guarded(), [NonFinite(3, faults)], steps=8, data=Poisoned(1, 2, 4))
    assert faults.totals() == {"non-finite loss": 3}
    assert [(line["step"], line["keys"][0]) for line in lines(tmp_path)] == [
        (2, "drawing 1.0"),
        (3, "drawing 2.0"),
        (5, "drawing 4.0"),
    ]
    told = capsys.readouterr().err
    assert (
        "non-finite loss at step 2: the loss of the batch drawing 1.0, drawing 1.1, drawing 1.2, drawing 1.3\n" in told
    )


def test_too_many_in_a_row_end_training(tmp_path: Path) -> None:
    faults = Faults(tmp_path)
    with pytest.raises(
        FloatingPointError, match=r"in 3 steps in a row, last at step 6: the loss of the batch drawing 5\.0"
    ) as e:
        fit(Guarded(), [NonFinite(3, faults)], steps=20, data=Poisoned(0, 1, 3, 4, 5, 6))
    assert "\n" not in str(e.value)
    assert len(lines(tmp_path)) == 5


def test_the_module_may_say_it_itself(tmp_path: Path) -> None:
    module = TinyModule()
    module.step_is_finite = torch.tensor(False)
    with pytest.raises(FloatingPointError, match=r"in 2 steps in a row, last at step 2: gradients of the batch"):
        fit(module, [NonFinite(2, Faults(None))], steps=6)


def test_accumulated_batches_are_one_step(tmp_path: Path) -> None:
    faults = Faults(tmp_path)
    fit(Guarded(), [NonFinite(3, faults)], steps=4, data=Poisoned(2, 3), accumulate_grad_batches=2)
    (line,) = lines(tmp_path)
    assert line["step"] == 2
    assert [key for key in line["keys"] if key.endswith(".0")] == ["drawing 2.0", "drawing 3.0"]


def test_other_processes_name_their_own_losses_only(tmp_path: Path) -> None:
    yes, no = torch.tensor(True), torch.tensor(False)
    for rank in range(3):
        guard = NonFinite(5, Faults(tmp_path, rank))
        guard.watch(yes, yes if rank == 2 else no, step=7, keys=[f"drawing {rank}"])
        assert guard.in_a_row == 1
    assert [(line["rank"], line["detail"]) for line in lines(tmp_path)] == [
        (0, "gradients of the batch drawing 0"),
        (2, "the loss of the batch drawing 2"),
    ]
    assert Faults(tmp_path).totals() == {"non-finite loss": 1}


class Late:
    """An event that arrives when it is waited for."""

    waited = 0

    def query(self) -> bool:
        return False

    def synchronize(self) -> None:
        Late.waited += 1


def test_flags_on_their_way_are_waited_for_only_when_they_are_old_or_a_checkpoint_is_saved() -> None:
    from paintsundo.training.faults import _Flags

    faults = Faults(None)
    guard = NonFinite(10, faults)
    for step in range(1, 5):
        guard._flags.append(_Flags(torch.tensor([True, True]), step, [], Late()))  # type: ignore[arg-type]
        guard._look(guard.BEHIND)
    assert (Late.waited, guard.in_a_row, len(guard._flags)) == (2, 2, 2)
    guard.on_save_checkpoint(None, None, {})  # type: ignore[arg-type]
    assert (Late.waited, guard.in_a_row, len(guard._flags)) == (4, 4, 0)


def test_totals_are_those_of_the_whole_run_and_all_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = Faults(tmp_path)
    for number in range(5):
        first.add(FaultKind.BROKEN_SAMPLE, f"00000.tar: drawing {number}", step=number, shard="00000.tar")
    Faults(tmp_path, rank=1).add(FaultKind.TRUNCATED_SHARD, "00001.tar ends within drawing 9")
    with (tmp_path / "faults.jsonl").open("a") as stream:
        stream.write('{"kind": "bro')
    again = Faults(tmp_path)
    assert again.totals() == {"broken sample": 5, "truncated shard": 1}
    assert again.counts == {}
    assert lines_before_cut(tmp_path)[0] | {"time": ""} == {
        "kind": "broken sample",
        "detail": "00000.tar: drawing 0",
        "step": 0,
        "rank": 0,
        "time": "",
        "shard": "00000.tar",
    }
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 4
    assert told[2] == "broken sample at step 2: 00000.tar: drawing 2; further ones are told in faults.jsonl only"
    assert told[3] == "truncated shard: 00001.tar ends within drawing 9"


def lines_before_cut(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "faults.jsonl").read_text().splitlines()[:-1]]


def test_a_full_disk_does_not_hide_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = Faults(tmp_path)

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        faults.add(FaultKind.FAILED_SAVE, "No space left on device", step=3)
    faults.add(FaultKind.FAILED_SAVE, "No space left on device", step=6)
    assert faults.totals() == {"failed save": 2}
