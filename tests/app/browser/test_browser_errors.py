"""Whatever goes wrong is told in a sentence, and nothing of a visitor's becomes part of the page's code."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from serving import QUICK, Server

SENTENCE = re.compile(r"^[^\n<>{}]{8,300}$")
PASSWORD = "open sesame"
SCRIPT = "<img src=x onerror=\"window.hit='{}'\"><script>window.hit='{}'</script>"


def told(visitor: Any) -> str:
    """The sentence that the page shows."""
    from playwright.sync_api import expect

    expect(visitor.trouble().first).to_be_visible()
    sentence = str(visitor.trouble().first.inner_text())
    assert SENTENCE.match(sentence), sentence
    for word in ("Traceback", "Error:", "Exception", "undefined", "null", ".py", "/tmp"):
        assert word not in sentence
    return sentence


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("notes.png", b"no picture at all", "picture"),
        ("empty.png", b"", "empty|picture"),
        ("half.png", None, "picture|damaged|broken|incomplete"),
        ("page.svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "picture"),
    ],
)
def test_what_is_no_picture_is_refused_in_a_sentence(
    visitor: Any, drawing: Path, tmp_path: Path, name: str, data: bytes | None, words: str
) -> None:
    whole = drawing.read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2] if data is None else data)
    visitor.at("#pu-picture").set_input_files(tmp_path / name)
    assert re.search(words, told(visitor))
    # And goes on as if nothing had happened.
    visitor.upload(drawing)


def test_a_picture_that_is_too_large_is_refused(strict: Any, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "heavy.png")  # 120 kB
    strict.at("#pu-picture").set_input_files(tmp_path / "heavy.png")
    assert re.search("large|MiB", told(strict))
    strict.page.reload()
    Image.new("RGB", (500, 500)).save(tmp_path / "wide.png")  # few bytes, many pixels
    strict.at("#pu-picture").set_input_files(tmp_path / "wide.png")
    assert "pixels" in told(strict)


def test_settings_that_cannot_work_are_refused_in_a_sentence(visitor: Any, drawing: Path) -> None:
    from playwright.sync_api import expect

    visitor.upload(drawing)
    visitor.at("#pu-size").select_option("own")
    width = visitor.at("#pu-width")
    width.fill("63")
    width.blur()
    expect(width).to_have_value("64")  # the nearest that the model can draw
    width.fill("80000")
    width.blur()
    assert "80000x" in told(visitor)


def test_script_in_names_and_words_stays_text(visitor: Any, drawing: Path, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    name = SCRIPT.format("name", "name").replace("/", "∕") + ".png"
    (tmp_path / name[:200]).write_bytes(drawing.read_bytes())
    visitor.upload(tmp_path / name[:200])
    visitor.at("#pu-tags-entry").fill(SCRIPT.format("tag", "tag").replace(",", ""))
    visitor.page.keyboard.press("Enter")
    expect(visitor.at("#pu-tags .chip-word").last).to_have_text(re.compile("^<img src=x"))
    visitor.draw()
    visitor.film()
    visitor.go("runs")
    expect(visitor.at("#pu-runs .run-title").first).to_contain_text("<img src=x")
    visitor.page.reload()
    expect(visitor.at("#pu-runs .run-title").first).to_contain_text("<img src=x")
    assert visitor.page.evaluate("window.hit") is None
    assert visitor.at("#pu-page img[src=x]").count() == 0


def test_a_server_that_is_gone_is_told_and_its_run_found_again(
    visitors: Callable[..., Any], drawing: Path, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    server = Server(tmp_path / "page", QUICK)
    port = server.address.rsplit(":", 1)[1]
    visitor = visitors(server.address).arrive()
    try:
        visitor.upload(drawing)
        visitor.draw()
        visitor.change({"video_steps": 30})
        visitor.go("film")
        visitor.at("#pu-make-film").click()
        expect(visitor.at("#pu-status")).to_have_text(re.compile(r"[1-9] of 3 pairs"))
        assert server.stop() in (0, 130)
        assert "does not answer" in told(visitor)
        server = Server(tmp_path / "page", [*QUICK, f"server.port={port}"])
        # The page finds the server by itself; the run says that it was interrupted, and goes on.
        expect(visitor.trouble()).to_have_count(0)
        expect(visitor.at("#pu-resume")).to_be_visible()
        assert visitor.status()["stage"] == "interrupted"
        assert any(visitor.status()["pairs_done"])
        visitor.at("#pu-resume").click()
        visitor.wait_for_film()
        assert server.faults() == ""
    finally:
        server.stop()


def test_a_missing_model_says_what_helps(strict: Any, drawing: Path, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    strict.upload(drawing)
    missing = [model for model in strict.get("about")["models"] if not model["available"]]
    assert missing  # the published ones at least
    for model in missing:
        strict.at("#pu-model").select_option(model["name"])
        expect(strict.at("#pu-model option:checked")).to_contain_text("(missing)")
        expect(strict.at("#pu-model-message")).to_have_text(SENTENCE)
        expect(strict.at("#pu-model-message")).not_to_contain_text(str(Path.home()))


def test_a_page_with_a_password_lets_in_who_knows_it(strict_server: Server, visitors: Callable[..., Any]) -> None:
    from playwright.sync_api import expect

    visitor = visitors(strict_server.address)
    visitor.page.goto(strict_server.address)
    expect(visitor.at("input[type=password]")).to_be_visible()
    assert visitor.fetch(strict_server.address + "/api/v1/about").status == 401
    visitor.at("input[type=password]").fill("guess")
    visitor.page.keyboard.press("Enter")
    expect(visitor.at("[role=alert]")).to_have_text("That is not the password.")
    enter(visitor)


def enter(visitor: Any) -> Any:
    from playwright.sync_api import expect

    visitor.at("input[type=password]").fill(PASSWORD)
    visitor.page.keyboard.press("Enter")
    expect(visitor.at("#pu-page")).to_be_visible()
    return visitor


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A page with a password, that takes only small pictures and fetches no models."""
    pytest.importorskip("gradio", reason="the page needs the extra `app`")
    limits = ("limits.picture_mib=0.02", "limits.picture_pixels=20000", "choices.download=false")
    running = Server(tmp_path_factory.mktemp("strict"), [*QUICK, *limits, f"server.password={PASSWORD}"])
    yield running
    running.stop()
    assert running.faults() == ""


@pytest.fixture
def strict(strict_server: Server, visitors: Callable[..., Any]) -> Any:
    """One who has come in there."""
    visitor = visitors(strict_server.address)
    visitor.page.goto(strict_server.address)
    return enter(visitor)
