"""The table of vector art against the renderer."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from support import data_svg  # type: ignore[import-not-found]

from paintsundo.data.svg import Look, svg_process
from paintsundo.errors import UserError

FACE = (
    '<?xml version="1.0" encoding="ISO-8859-1"?><svg xmlns="http://www.w3.org/2000/svg" width="72pt" height="96">'
    '<circle cx="40" cy="40" r="30" fill="#fc2"/><circle cx="30" cy="34" r="7" fill="#fff"/>'
    '<path d="M20 46q16 14 32 0z" fill="#a12"/><desc>\xe9</desc></svg>'
)


def test_the_distance_at_every_step_is_that_of_the_state() -> None:
    process = svg_process(FACE.encode("latin-1"), 64, look=Look(steady=False))
    found = data_svg.distances(process)
    assert found.shape == (1000,)
    for step in (999, 998, 700, 333, 10, 1, 0):
        state = process.state_at_step(step).astype(np.int64)
        assert found[999 - step] == np.abs(state - process.finished).sum()
    away = np.diff(found) > 0
    assert sum(a for a, _ in data_svg.by_stage(process, away).values()) == away.sum() > 0


def test_the_direct_rendering_is_the_file_s_own(tmp_path: Path) -> None:
    data = FACE.encode("latin-1")
    picture = data_svg.direct(data, 96, "none")
    assert (picture[40, 60] == (255, 204, 34)).all()
    assert (picture == svg_process(data, 96).finished).all()
    with pytest.raises(ValueError, match="no root"):
        data_svg.direct(b"<html/>", 96, "none")


def test_a_table_of_a_package(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {
        "package/color/svg/A.svg": FACE.encode("latin-1"),
        "package/color/svg/B.svg": FACE.replace("<desc>", "<script>x</script><desc>").encode("latin-1"),
        "package/black/svg/A.svg": b"",
    }
    with tarfile.open(tmp_path / "openmoji-17.0.0.tgz", "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    arguments = [f"packages={tmp_path}", "sets=[openmoji]", "size=64"]
    data_svg.main([f"output={tmp_path}/out", *arguments])
    row = json.loads((tmp_path / "out/svg.json").read_text())["rows"][0]
    assert (row["files"], row["exact"], row["different"]) == (2, 1, [])
    assert row["refused"] == {"holds <script>": 1}
    assert row["steps"] >= data_svg.ASKED
    assert "1 × holds <script>" in capsys.readouterr().out
    data_svg.main([f"output={tmp_path}/out", *arguments, "options={outside: leave_out, steady: false}"])
    row = json.loads((tmp_path / "out/svg.json").read_text())["rows"][0]
    assert (row["exact"], row["refused"]) == (2, {})
    assert row["steps"] < data_svg.ASKED


@pytest.mark.parametrize("argument", ["sets=[twemoji]", "files=0", "options={sketch: {colour: blau}}"])
def test_impossible_options_end_with_one_line(argument: str, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        data_svg.main([f"output={tmp_path}/out", f"packages={tmp_path}", argument])
