"""How far fast films are from exact ones, on small random models."""

import json

import numpy as np
import pytest

from paintsundo.errors import UserError
from random_checkpoint import write_checkpoint
from tiny_models import drawing

SMALL = (
    "overrides=[keyframes.width=40,keyframes.height=48,'video.buckets=[[24,16]]','keyframes.operation_steps=[300,700]',"
    "keyframes.num_inference_steps=6,video.num_inference_steps=6,video.guidance_scale=3.0,runtime.device=cpu]"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    import drift

    folder = tmp_path_factory.mktemp("drift")
    write_checkpoint(folder / "models")
    (folder / "pictures").mkdir()
    for name, size in (("a", (60, 80)), ("b", (90, 50))):
        drawing(*size).save(folder / "pictures" / f"{name}.png")
    arguments = (f"models={folder / 'models'}", f"pictures={folder / 'pictures'}", f"output={folder / 'out'}", SMALL)
    drift.main([*arguments, "settings=[every_2,feature_reuse,off+fast.video.predict_every=3]", "strips=2"])
    return json.loads((folder / "out" / "drift.json").read_text(encoding="utf-8")), folder / "out", arguments


def test_the_exact_film_is_itself_and_others_are_not(made):
    settings = made[0]["settings"]
    assert settings["off"]["summary"]["frames_db"]["least"] == 99.0
    assert settings["off"]["summary"]["time"] == {"keyframes": 1.0, "clips": 1.0, "both": 1.0}
    assert settings["off"]["passes"] == {"keyframes": 1.0, "video": 1.0}
    for name in ("another seed", "every_2", "feature_reuse"):
        assert settings[name]["summary"]["frames_db"]["mean"] < 99
        assert settings[name]["summary"]["keyframes_db"]["mean"] < 99


def test_a_shortcut_of_clips_alone_leaves_keyframes_as_they_are(made):
    found = made[0]["settings"]["off+fast.video.predict_every=3"]
    assert found["passes"] == {"keyframes": 1.0, "video": 0.5}  # steps 1, 4 and the last, of 6
    assert found["summary"]["keyframes_db"]["least"] == 99.0
    assert found["summary"]["frames_db"]["mean"] < 99


def test_figures_are_of_every_frame_of_every_picture(made):
    films = made[0]["settings"]["every_2"]["films"]
    assert set(films) == {"a", "b"} == set(made[0]["pictures"])
    for film in films.values():
        assert len(film["keyframes_db"]) == 2
        assert len(film["frames_db"]) == 3 * 7  # pairs, frames of a clip but its last
        assert film["seconds"]["clips"] > 0
    every = np.concatenate([film["frames_db"] for film in films.values()])
    found = made[0]["settings"]["every_2"]["summary"]["frames_db"]
    assert found["mean"] == pytest.approx(every.mean())
    assert found["least"] == every.min()
    assert found["good"] == pytest.approx((every >= 30).mean())


def test_what_is_written(made):
    report, folder, _ = made
    table = (folder / "drift.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1].strip() for line in table.splitlines()[2:] if line.startswith("|")]
    assert rows[0] == "exact"
    assert set(rows) == {"exact", *report["settings"]} - {"off"}
    means = [report["settings"][name]["summary"]["frames_db"]["mean"] for name in rows[1:]]
    assert means == sorted(means, reverse=True)
    assert all((folder / name).is_file() for name in ("drift.png", "strips.png"))
    assert report["machine"]["device"] == "cpu"
    assert set(report["weights"]) == {"single_frame", "multi_frame", "tagger"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("settings=[nothing]", "nothing"),
        ("settings=[every_2+fast.video.nothing=1]", r"fast\.video\.nothing"),
        ("settings=[every_2+fast.video.predict_every=0]", r"predict_every is 0"),
        ("threads=0", "threads=0"),
        ("strip_frames=1", "strip_frames=1"),
        ("pictures=/no/such", "/no/such"),
    ],
)
def test_mistakes_are_one_line(made, tmp_path, more, message):
    import drift

    with pytest.raises(UserError, match=message) as caught:
        drift.main([*made[2][:2], f"output={tmp_path / 'out'}", SMALL, more])
    assert "\n" not in str(caught.value)


def test_other_weights_are_compared_too(made, tmp_path, capsys):
    import drift

    arguments = [argument for argument in made[2] if not argument.startswith(("output=", "pictures="))]
    picture = tmp_path / "a.png"
    drawing(60, 80).save(picture)
    name = "off+runtime.weights=float8"
    settings = f"settings=[off+runtime.guidance=sequential,{name}]"
    drift.main([*arguments, f"pictures={picture}", f"output={tmp_path / 'out'}", settings])
    found = json.loads((tmp_path / "out" / "drift.json").read_text(encoding="utf-8"))["settings"]
    assert found[name]["passes"] == {"keyframes": 1.0, "video": 1.0}
    assert 15 < found[name]["summary"]["frames_db"]["mean"] < 60
    assert found["off+runtime.guidance=sequential"]["summary"]["frames_db"]["mean"] > 50
    assert name in capsys.readouterr().out
