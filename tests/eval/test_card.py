"""The card of the bundled models says what the figures say."""

import json
from pathlib import Path

import pytest

from paintsundo.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
MARKS = "".join(
    f"before\n<!-- {name}: written by eval/card.py -->\nold\n<!-- end of {name} -->\nafter\n"
    for name in ("films", "frozen", "open")
)


def film(abruptness: float, checks: dict[str, bool | None]) -> dict:
    course = {
        "progress": {"spearman": 0.9, "backtrack": 0.01},
        "between_keyframes": {"abruptness": abruptness, "effective_changed_share": 0.2},
    }
    return {
        **course,
        "start": {"mean": 0.99, "white_share": 0.984},
        "end": {"psnr": 40.0, "round_trip_psnr": 40.5},
        "checks": {**checks, "all": False not in checks.values()},
        "baselines": dict.fromkeys(("faded_keyframes", "cross_fade"), course),
    }


def mean(value: float) -> dict:
    return {"mean": float(value), "low": value - 1.0, "high": value + 1.0, "subjects": 7}


@pytest.fixture
def place(tmp_path):
    films = {"boat": film(0.9, {"local": True, "paint_by_paint": None}), "cat": film(0.5, {"local": False})}
    difference = {**mean(-20), "better": True, "ours": mean(80), "theirs": mean(100), "apart": True}
    states = {"film": mean(80), "between_seeds": mean(60)}
    clips = {"film": mean(24), "between_seeds": mean(23), "mean_of_seeds": mean(26), "cross_fade": mean(24.5)}
    gain = {"film": mean(-0.5), "mean_of_seeds": mean(1.5)}
    files = {
        "quality.json": {"films": films},
        "comparison.json": {"differences": {"calibration_error": difference}},
        "states.json": {"settings": {}, "summary": {"calibration_error": states, "calibration_psnr": states}},
        "clips.json": {
            "settings": {"clip_seeds": 4},
            "summary": {"interpolation_psnr": clips, "interpolation_gain": gain},
        },
    }
    for name, found in files.items():
        (tmp_path / name).write_text(json.dumps(found))
    (tmp_path / "card.md").write_text(MARKS)
    return tmp_path


def arguments(place: Path) -> list[str]:
    return [f"films={place}/quality.json", f"frozen={place}", f"card={place}/card.md"]


def test_figures_reach_the_card_and_words_around_them_stay(place):
    import card

    card.main(arguments(place))
    text = (place / "card.md").read_text()
    assert text.count("before\n") == text.count("after\n") == 3
    assert "old" not in text
    rows = {
        cells[1].strip(): [c.strip() for c in cells] for line in text.splitlines() if len(cells := line.split("|")) > 2
    }
    assert rows["boat"][2:9] == ["0.990, 98 %", "40.0 (40.5)", "0.900", "0.010", "0.90", "0.20", "meets all"]
    assert rows["cat"][8] == "fails `local`"
    assert "1 of 2 meet every check. Means: Spearman 0.900, abruptness 0.70, area per step 0.20." in text
    step = rows["operation-step error (of 1000) ↓"]
    assert "80.0 [79.0, 81.0]" in step  # of the table of seeds, which is the last
    assert "60.0 [59.0, 61.0]" in step
    assert "| 100.0 [99.0, 101.0] |" in text
    assert "-20.0 [-21.0, -19.0]: better" in text
    assert "mean of 4 seeds, to the truth" in text
    assert rows["interpolation over cross-fade, dB ↑"][2:6] == ["-0.50 [-1.50, 0.50]", "–", "1.50 [0.50, 2.50]", "–"]


def test_check_tells_a_stale_card(place):
    import card

    with pytest.raises(UserError, match="not what the figures say"):
        card.main([*arguments(place), "check=true"])
    assert (place / "card.md").read_text() == MARKS
    card.main(arguments(place))
    card.main([*arguments(place), "check=true"])


def test_mistakes_are_one_line(place):
    import card

    (place / "card.md").write_text("no marks")
    with pytest.raises(UserError, match="needs the marks"):
        card.main(arguments(place))
    (place / "clips.json").unlink()
    with pytest.raises(UserError, match=r"clips\.json: No such file"):
        card.main(arguments(place))


def test_the_repositorys_card_is_what_its_figures_say(monkeypatch):
    import card

    monkeypatch.chdir(ROOT)
    card.main(["check=true"])
