import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from network_weights import save_alexnet, save_clip, save_videomae
from paintsundo.metrics import keyframe_positions, null_baselines

POSITIONS = keyframe_positions(45, 4)


def save(folder: Path, pictures) -> None:
    folder.mkdir(parents=True)
    for index, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{index:05d}.png")


@pytest.fixture(scope="module")
def films(tmp_path_factory, drawn, with_noise):
    """A drawing, its faded keyframes, and a film without keyframes."""
    folder = tmp_path_factory.mktemp("films, été [1]")
    film = drawn[np.round(np.linspace(0, 104, 45)).astype(int)]
    keyframes = [film[p] for p in reversed(POSITIONS)]
    for name, frames in {
        "drawn": with_noise(film, 3.0),
        "faded (1)": with_noise(null_baselines(film, POSITIONS)["faded_keyframes"], 3.0),
    }.items():
        save(folder / name / "frames", frames)
        save(folder / name / "keyframes", keyframes)
    save(folder / "frames only" / "frames", film[:30])
    (folder / "empty").mkdir()
    return folder


@pytest.fixture(scope="module")
def report(films, tmp_path_factory, evaluate):
    output = tmp_path_factory.mktemp("report") / "new"
    done = evaluate("quality", f"films={films}", f"output={output}")
    assert done.returncode == 0, done.stderr
    return output, done.stdout


def strict(path: Path):
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def test_drawing_passes_and_faded_keyframes_fail(report):
    found = strict(report[0] / "quality.json")["films"]
    assert set(found) == {"drawn", "faded (1)", "frames only"}
    drawn, faded = found["drawn"], found["faded (1)"]
    assert drawn["checks"]["all"] is True
    assert faded["checks"]["abrupt_between_keyframes"] is False
    assert faded["checks"]["local_between_keyframes"] is False
    assert faded["checks"]["progress_rises"] is True
    assert faded["checks"]["all"] is False
    assert drawn["between_keyframes"]["positions"] == POSITIONS
    assert len(drawn["between_keyframes"]["clips"]["abruptness"]) == 3
    assert drawn["end"]["psnr"] > 30


def test_what_cannot_be_measured_is_null(report):
    found = strict(report[0] / "quality.json")["films"]["frames only"]
    assert found["frames"] == 30
    assert found["end"] == {"psnr": None, "ssim": None, "round_trip_psnr": None}
    assert found["between_keyframes"] is None
    assert found["true_process"] is None
    assert found["checks"]["ends_finished"] is None
    assert found["progress"]["spearman"] > 0.9
    assert "faded_keyframes" not in found["baselines"]
    assert "cross_fade" in found["baselines"]


def test_baselines_stand_beside_every_film(report):
    drawn = strict(report[0] / "quality.json")["films"]["drawn"]
    assert len(drawn["baselines"]) == 8
    assert drawn["baselines"]["cross_fade"]["effective_changed_share"] > 0.9
    assert drawn["baselines"]["faded_keyframes"]["between_keyframes"]["abruptness"] < 0.2


def test_table_plots_and_strips_are_written(report):
    output, printed = report
    table = (output / "quality.md").read_text(encoding="utf-8")
    assert table in printed
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 3 + 1 + 8
    assert len({row.count("|") for row in rows}) == 1
    assert "abrupt_between_keyframes" in next(row for row in rows if "faded (1)" in row)
    for name in ("progress.png", "between_keyframes.png"):
        assert Image.open(output / name).width > 300
    strips = Image.open(output / "strips.png")
    assert strips.height > 3 * 112
    assert strips.width > 12 * 112


def test_films_of_one_picture_are_compared(report):
    (group,) = strict(report[0] / "quality.json")["diversity"]
    assert group["films"] == ["drawn", "faded (1)"]
    assert 0 < group["diversity"] < 0.2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "output=… must be given"),
        (("output=x",), "films=FOLDER or data=DATASET must be given"),
        (("films=.", "data=.", "output=x"), "one of them"),
        (("data=/no/such/set", "output=x"), "manifest|no such|does not exist"),
        (("data=.", "models=bundled", "output=x", "parts=[dance]"), "parts: dance is unknown"),
        (("data=.", "models=bundled", "output=x", "prompts=poems"), "prompts: poems is unknown"),
        (("data=.", "models=bundled", "output=x", "against=/nowhere"), "against=/nowhere: no quality.json"),
        (("films=/no/such/folder", "output=x"), "no such folder"),
        (("films=.", "output=x", "keyframes=many"), "keyframes"),
        (("films=.", "output=x", "speed=1"), "unknown option speed"),
        (("films=.", "output=x", "strip_frames=1"), "strip_frames"),
        (("films",), "name=value"),
    ],
)
def test_mistakes_are_one_line(arguments, message):
    import quality

    from paintsundo.errors import UserError

    with pytest.raises(UserError, match=message) as caught:
        quality.main(arguments)
    assert "\n" not in str(caught.value)


def test_bad_films_are_named_and_exit_with_2(films, tmp_path, evaluate):
    done = evaluate("quality", f"films={films / 'empty'}", f"output={tmp_path / 'out'}")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "no films in it" in done.stderr
    assert not (tmp_path / "out").exists()


def test_frames_of_two_sizes_and_broken_frames(tmp_path):
    from support.film_files import find_films

    from paintsundo.errors import UserError

    picture = np.zeros((20, 30, 3), np.uint8)
    save(tmp_path / "a" / "frames", [picture, picture[:, :20]])
    with pytest.raises(UserError, match="20x20, other frames of this film are 30x20"):
        find_films(tmp_path)[0].read()
    (tmp_path / "a" / "frames" / "00001.png").write_bytes(b"text")
    with pytest.raises(UserError, match=r"00001\.png"):
        find_films(tmp_path)[0].read()
    (tmp_path / "a" / "frames" / "00001.png").unlink()
    with pytest.raises(UserError, match="at least two frames"):
        find_films(tmp_path)


def test_frames_are_ordered_by_number(tmp_path):
    from support.film_files import find_films

    (tmp_path / "frames").mkdir()
    for index in (0, 2, 10, 100000):
        Image.fromarray(np.full((16, 16, 3), min(index, 255), np.uint8)).save(tmp_path / "frames" / f"{index}.png")
    (film,) = find_films(tmp_path)
    assert film.read()[:, 0, 0, 0].tolist() == [0, 2, 10, 255]


def test_truth_gives_curve_error_and_region_iou(films, drawn, tmp_path):
    from quality import evaluate as evaluate_film
    from support.film_files import find_films

    film = drawn[np.round(np.linspace(0, 104, 30)).astype(int)]
    save(tmp_path / "drawn" / "frames", film)
    (truth,) = find_films(tmp_path)
    own = next(f for f in find_films(films) if f.name == "drawn")
    figures = evaluate_film(own, own.read(), truth, None, None)
    assert figures["true_process"]["progress_curve_error"] < 0.05
    assert figures["true_process"]["change_region_iou"] > 0.6
    null = figures["baselines"]["wipe"]["true_process"]
    assert null["change_region_iou"] < figures["true_process"]["change_region_iou"] / 2


def test_networks_on_disk_are_asked_too(films, tmp_path, evaluate):
    for save_network in (save_clip, save_alexnet, save_videomae):
        save_network(tmp_path)
    output = tmp_path / "report"
    done = evaluate("quality", f"films={films}", f"truth={films}", f"weights={tmp_path}", f"output={output}")
    assert done.returncode == 0, done.stderr
    found = strict(output / "quality.json")["networks"]
    assert sorted(found["films"]) == ["drawn", "faded (1)", "frames only"]
    assert found["lpips"] == pytest.approx([0, 0, 0], abs=1e-6)
    assert found["clip"] == pytest.approx([1, 1, 1], abs=1e-5)
    assert found["fvd"] == pytest.approx(0, abs=1e-5)
    assert "by networks, 3 films against truth: clip 1.0000, kid " in done.stdout


def test_round_trip_is_the_autoencoders_own(drawn):
    from support.round_trip import AutoencoderRoundTrip

    folder = Path(__file__).parents[1] / "golden" / "tiny" / "multi_frame"
    round_trip = AutoencoderRoundTrip(str(folder))
    assert 3 < round_trip(drawn[-1]) < 30  # random weights keep little
    assert round_trip(drawn[-1]) == round_trip(drawn[-1])
