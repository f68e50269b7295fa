"""What docs/page.md says can be done from programs is done, as it stands there."""

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "page.md"
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("program", PROGRAMS, ids=["rest", "gradio_client"])
def test_the_documented_programs_run(
    server: Any, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    assert "http://127.0.0.1:7860" in program
    told: dict[str, Any] = {}
    exec(program.replace("http://127.0.0.1:7860", server.address), told)  # our own document's code
    if "httpx" in program:
        assert (tmp_path / "film.mp4").stat().st_size > 10_000
    else:
        assert told["status"]["frames"] == 45
        assert len(capsys.readouterr().out.splitlines()[-2]) > 3  # the tagger's words


def test_every_picture_of_the_document_is_there_and_no_other() -> None:
    shown = set(re.findall(r"\]\(page/(\w+\.png)\)", PAGE.read_text(encoding="utf-8")))
    assert shown == {file.name for file in (PAGE.parent / "page").glob("*.png")}
    tests = "".join(file.read_text(encoding="utf-8") for file in Path(__file__).parent.glob("test_*.py"))
    for name in shown:
        assert f'shot("{name.removesuffix(".png")}")' in tests, f"no test makes {name}"


def test_every_option_of_the_document_exists() -> None:
    from paintsundo.app.options import AppOptions

    options = AppOptions()
    for group, name in re.findall(r"`(server|runs|choices|limits)\.(\w+)", PAGE.read_text(encoding="utf-8")):
        assert hasattr(getattr(options, group), name), f"{group}.{name}"
