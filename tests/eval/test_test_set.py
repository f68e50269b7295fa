import zipfile

import numpy as np
import pytest

from paintsundo.data.splits import is_reserved
from paintsundo.errors import UserError

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72">'
INKED = 'stroke="#000000" stroke-width="2"'
RESERVED = [name for name in (f"blob{i}" for i in range(200)) if is_reserved(name)][:3]


@pytest.fixture
def art(tmp_path):
    """An archive of reserved files, one that is not, and one that cannot be drawn."""
    with zipfile.ZipFile(tmp_path / "blobs.zip", "w") as archive:
        for number, stem in enumerate([*RESERVED, "blob0"]):
            shape = (
                f'<circle cx="30" cy="30" r="{12 + number}" fill="#c04020"/><rect x="5" y="40" width="30" height="9"/>'
            )
            shape += '<circle cx="50" cy="20" r="9"/>'
            text = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72">{shape}</svg>'
            archive.writestr(f"{stem}.svg", text)
        archive.writestr(f"{next(n for n in map(str, range(99)) if is_reserved(n))}.svg", "<svg")
    return tmp_path


def recipe(count: int = 3) -> dict:
    part = {"name": "blobs", "archive": "blobs.zip", "source": "svg", "size": 64, "canvas": "square", "count": count}
    return {"parts": [part], "seed": 1, "files": None, "states": None}


def test_reserved_files_only_and_equal_hashes_each_time(art):
    from support.true_processes import true_processes
    from test_set import build

    assert not is_reserved("blob0")
    first, second = build(recipe(), art, art / "a"), build(recipe(), art, art / "b")
    assert first == second
    found = list(true_processes(art / "a"))
    assert sorted(t.subject for t in found) == sorted(RESERVED)
    assert all(t.process.size == (64, 64) for t in found)
    smaller = build(recipe(2), art, art / "c")
    assert smaller["files"] != first["files"]
    other = recipe()
    other["parts"][0]["size"] = 72
    assert build(other, art, art / "d")["states"] != first["states"]


def test_files_may_be_named(art):
    from support.true_processes import true_processes
    from test_set import build

    named = recipe()
    del named["parts"][0]["count"]
    named["parts"][0]["stems"] = [RESERVED[2], RESERVED[0]]
    build(named, art, art / "a")
    assert {t.subject for t in true_processes(art / "a")} == {RESERVED[2], RESERVED[0]}
    named["parts"][0]["stems"].append("blob0")  # not reserved
    with pytest.raises(UserError, match="1 pictures of 3 are missing for part blobs"):
        build(named, art, art / "b")


def test_too_few_files_and_missing_archives_are_told(art):
    from test_set import build

    with pytest.raises(UserError, match="1 pictures of 4 are missing for part blobs"):
        build(recipe(4), art, art / "a")
    lost = recipe()
    lost["parts"][0]["archive"] = "lost.zip"
    with pytest.raises(UserError, match=r"lost\.zip is missing: python -m paintsundo\.data fetch"):
        build(lost, art, art / "b")


def test_another_set_than_the_frozen_one_is_refused(art, monkeypatch, capsys):
    import test_set
    from omegaconf import OmegaConf

    folder = art / "configs" / "test_set"
    folder.mkdir(parents=True)
    file = folder / "frozen.yaml"
    file.write_text("# kept\n" + OmegaConf.to_yaml(OmegaConf.create(recipe())))
    monkeypatch.setattr(test_set, "config_directory", lambda: art / "configs")
    with pytest.raises(UserError, match="not the frozen test set"):
        test_set.main([f"art={art}", f"output={art / 'a'}"])
    test_set.main([f"art={art}", f"output={art / 'b'}", "freeze=true"])
    assert file.read_text().startswith("# kept\n")
    assert sorted(OmegaConf.load(file).subjects) == sorted(RESERVED)
    text = file.read_text()
    test_set.main([f"art={art}", f"output={art / 'again'}", "freeze=true"])
    assert file.read_text() == text
    test_set.main([f"art={art}", f"output={art / 'c'}"])
    assert OmegaConf.load(file).states in capsys.readouterr().out
    with pytest.raises(UserError, match="holds a data set already"):
        test_set.main([f"art={art}", f"output={art / 'c'}"])
    file.write_text(text.replace(f'  - "{max(RESERVED)}"\n', ""))
    with pytest.raises(UserError, match=f"into training: {max(RESERVED)} is not among subjects"):
        test_set.main([f"art={art}", f"output={art / 'lacking'}"])
    file.write_text(text.replace("size: 64", "size: 80"))
    with pytest.raises(UserError, match="other files than those that were frozen"):
        test_set.main([f"art={art}", f"output={art / 'd'}"])


def test_scans_are_marked_repeatable_and_grey_on_paper(art):
    from support.scans import scanned
    from support.true_processes import true_processes
    from test_set import build

    with zipfile.ZipFile(art / "blobs.zip", "w") as archive:
        for stem in RESERVED:
            rings = "".join(f'<circle cx="{x}" cy="{x}" r="11" fill="#c04020" {INKED}/>' for x in (20, 36, 52))
            archive.writestr(f"{stem}.svg", f"{SVG}{rings}</svg>")
    scans = recipe(2)
    scans["parts"][0] |= {"scan": True, "size": 128}
    assert build(scans, art, art / "a") == build(scans, art, art / "b")
    for true in true_processes(art / "a"):
        assert true.group == "scan"
        assert true.process.extra["synthetic_scan"] is True
        corner = true.process.finished[:8, :8].astype(float)
        assert 120 < corner.mean() < 250  # paper, not white
        assert corner.std() > 0.5
    drawing = np.full((80, 80, 3), 255, np.uint8)
    drawing[38:42, 10:70] = 0
    one = scanned(drawing, 1)
    assert np.array_equal(one, scanned(drawing, 1))
    assert not np.array_equal(one, scanned(drawing, 2))
    assert one.shape == drawing.shape
    assert one[36:44, 20:60].min() < one[:20].min() - 40  # the line is still there


def test_a_set_of_style_alone_takes_all_and_keeps_no_subjects_from_training(art, monkeypatch):
    import test_set
    from omegaconf import OmegaConf

    folder = art / "configs" / "test_set"
    folder.mkdir(parents=True)
    style = recipe()
    style["parts"][0]["count"] = "all"
    file = folder / "style.yaml"
    file.write_text(OmegaConf.to_yaml(OmegaConf.create({**style, "style_only": True})))
    monkeypatch.setattr(test_set, "config_directory", lambda: art / "configs")
    test_set.main([f"art={art}", f"output={art / 'a'}", "recipe=style", "freeze=true"])
    frozen = OmegaConf.load(file)
    assert "subjects" not in frozen
    assert len(frozen.states) == 64
    test_set.main([f"art={art}", f"output={art / 'b'}", "recipe=style"])
