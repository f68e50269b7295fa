"""The whole way with the embedded default as it is; the pictures of docs/page.md are made on it where asked for."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import Server

EXAMPLES = Path(__file__).parents[3] / "examples"


@pytest.fixture(scope="module")
def default(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The page as one starts it, without any option."""
    pytest.importorskip("gradio", reason="the page needs the extra `app`")
    running = Server(tmp_path_factory.mktemp("default"), ())
    yield running
    running.stop()
    assert running.faults() == ""


@pytest.mark.slow
def test_the_whole_way_with_the_embedded_default_and_its_screenshots(
    visitors: Callable[..., Any], default: Server
) -> None:
    from playwright.sync_api import expect
    from visitor import PHONE

    visitor = visitors(default.address).arrive()
    visitor.upload(EXAMPLES / "chili.png")
    visitor.shot("picture")
    visitor.at("#pu-next").click()
    visitor.at("#pu-make-keyframes").click()
    expect(visitor.at("#pu-progress")).to_have_attribute("aria-valuenow", re.compile("^[6-9].$"))
    visitor.shot("keyframes")
    visitor.wait_for_keyframes()
    visitor.go("film")
    visitor.at("#pu-make-film").click()
    expect(visitor.at("#pu-cancel")).to_be_visible()
    visitor.wait_for_film(minutes=15)
    expect(visitor.at("#pu-curves")).to_be_visible()
    frames = visitor.status()["frames"]
    visitor.at("#pu-player-scrub").fill(str(int(0.7 * frames)))
    visitor.page.wait_for_load_state("networkidle")
    visitor.shot("film")
    cookies = visitor.context.cookies()
    phone = visitors(
        default.address, viewport=PHONE, is_mobile=True, has_touch=True, device_scale_factor=2, color_scheme="dark"
    )
    phone.context.add_cookies(cookies)
    phone.arrive(f"/#{visitor.run_id()}/film")
    phone.at("#pu-player-scrub").fill(str(int(0.6 * frames)))
    phone.page.evaluate("document.activeElement.blur()")
    phone.page.wait_for_load_state("networkidle")
    phone.shot("phone")

    # A shorter run of another picture, for the two beside one another.
    visitor.go("runs")
    visitor.page.get_by_role("button", name="Begin a new one").click()
    visitor.upload(EXAMPLES / "boat.png")
    visitor.change({"operation_steps": [300, 650], "steps": 10, "video_steps": 4, "attention_window": "first"})
    visitor.draw()
    visitor.go("film")
    visitor.at("#pu-make-film").click()
    visitor.wait_for_film(minutes=15)
    visitor.go("runs")
    cards = visitor.at("#pu-runs .run")
    for index in range(2):
        cards.nth(index).get_by_role("checkbox").check()
    visitor.at("#pu-compare-runs").click()
    for index in range(2):
        last = visitor.at(f"#pu-two-{index}-scrub").get_attribute("max")
        visitor.at(f"#pu-two-{index}-scrub").fill(str(int(0.8 * int(last))))
    expect(visitor.at(".differences")).to_be_visible()
    expect(visitor.at("#pu-news .notice")).to_have_count(0)
    visitor.page.wait_for_load_state("networkidle")  # all frames are there
    visitor.shot("runs")
