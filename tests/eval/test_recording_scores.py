"""The measures of extracted recordings: the truth is perfect, and each kind of error shows in its own measure."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import data_recordings  # type: ignore[import-not-found]
from support.data_recordings import main, met, table  # type: ignore[import-not-found]
from support.recording_kit import Truth, render  # type: ignore[import-not-found]
from support.recording_scores import iou, score, true_states  # type: ignore[import-not-found]
from support.recording_subjects import Strokes  # type: ignore[import-not-found]

from paintsundo.data.frames import FrameProcess, FrameWriter
from paintsundo.errors import UserError

SIZE = (64, 80)
Change = Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    strokes = Strokes(np.random.default_rng(0), (160, 200), 40)
    folder = tmp_path_factory.mktemp("film")
    return render(strokes, folder / "film", 7, "undo", seconds=(3, 3), rates=(10,), sizes=((480, 300),), crf=(12, 12))


def extracted(truth: Truth, change: Change = lambda state: state, bend: float = 1.0, **extra: Any) -> FrameProcess:
    """What a perfect source would find, with states changed and works bent."""
    true = true_states(truth, SIZE)
    writer = FrameWriter(SIZE)
    times: list[float] = []
    last = np.inf
    for k, (state, step) in enumerate(zip(true.states, true.steps, strict=True)):
        if step < last - 0.01:
            last = step
            writer.add(change(state) if k else state, (1 - step / 999) ** bend)
            times.append(float(truth.times[np.flatnonzero(true.of_frame == k)[0]]))
    process = writer.finish(extra={"canvas": list(truth.box), "times": times, **extra})
    assert len(process) == len(times)
    return process


def test_truth_itself_is_perfect(truth: Truth) -> None:
    found = score(truth, extracted(truth))
    assert found["iou"] == pytest.approx(1)
    assert found["psnr"] == found["psnr_best"] == 50
    assert found["good"] == 1
    assert found["psnr_step"] > 40
    assert found["step_error"] < 0.1
    assert found["step_best"] < 1
    assert found["covered"] > 0.9
    assert found["ceiling"] > 30
    assert found["timed"]
    assert met(found)


def test_wrong_steps_do_not_spoil_states(truth: Truth) -> None:
    found = score(truth, extracted(truth, bend=1.5))
    assert found["psnr"] == 50
    assert found["step_error"] > 50
    assert found["step_best"] > 40
    assert found["psnr_step"] < 30


def test_wrong_colours_do_not_spoil_steps(truth: Truth) -> None:
    found = score(truth, extracted(truth, lambda state: (state * 0.8).astype(np.uint8)))
    assert found["psnr"] < 20
    assert found["good"] < 0.1
    assert found["psnr_colour"] > 30
    assert found["step_error"] < 0.1
    assert not met(found)


def test_states_of_another_time_are_not_forgiven(truth: Truth) -> None:
    perfect = extracted(truth)
    times = np.array(perfect.extra["times"])
    found = score(truth, extracted(truth, times=(times * 0.7).tolist()))
    assert found["psnr_best"] == 50
    assert found["psnr"] < 30
    assert found["step_error"] > 50


def test_without_times_states_are_matched_by_step(truth: Truth) -> None:
    found = score(truth, extracted(truth, times=None))
    assert not found["timed"]
    assert found["psnr"] > 40


def test_iou(truth: Truth) -> None:
    left, top, width, height = truth.box
    assert iou([left + width / 2, top, width, height], truth) == pytest.approx(1 / 3)
    assert iou([left, top, width, height / 2], truth) == pytest.approx(1 / 2)
    right, bottom = left + width, top + height
    assert iou([[left, top], [right, top], [right, bottom], [left, bottom]], truth) == pytest.approx(1)
    assert iou([left + width + 5, top, width, height], truth) == 0
    assert iou(None, truth) == 0


def test_table_names_refused_recordings(truth: Truth) -> None:
    good = {"difficulty": "undo", "failed": "", "film_seconds": 3.0, "seconds": 1.5, **score(truth, extracted(truth))}
    bad = {"difficulty": "undo", "failed": "refused: no canvas", "film_seconds": 3.0, "seconds": 1.5}
    line = table([good, bad]).splitlines()[2]
    assert "1/2" in line
    assert line.startswith("| undo")


def test_an_interrupted_table_is_resumed(tmp_path: Path, truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"failed": "", "film_seconds": 3.0, "seconds": 1.5, **score(truth, extracted(truth))}
    done: list[tuple[str, int]] = []
    fails = {("zoom", 2): True}

    def measure(case: tuple[str, int], **_: Any) -> dict[str, Any]:
        if fails.pop(case, False):
            raise KeyboardInterrupt
        done.append(case)
        return {"difficulty": case[0], "seed": case[1], **row}

    monkeypatch.setattr(data_recordings, "measure", measure)
    arguments = [f"output={tmp_path}", "difficulties=zoom", "seeds=1-3"]
    with pytest.raises(KeyboardInterrupt):
        main(arguments)
    main(arguments)
    main(arguments)
    assert done == [("zoom", 1), ("zoom", 2), ("zoom", 3)]
    assert len(json.loads((tmp_path / "recordings.json").read_text())["rows"]) == 3
    main([*arguments, "options=settle=4"])
    assert len(done) == 6  # other options, other rows


@pytest.mark.parametrize(
    ("argument", "said"),
    [("difficulties=easy", "easy"), ("seeds=a-b", "seeds"), ("subjects=cats", "cats"), ("seeds=5-3", "none")],
)
def test_impossible_options_are_one_line(argument: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said) as error:
        main([f"output={tmp_path}", argument])
    assert "\n" not in str(error.value)
