"""Runs: stopped, taken up again, found again, apart from those of others."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

SLOW = {"video_steps": 30}  # long enough to be stopped in the middle


@pytest.fixture
def filming(visitor: Any, drawing: Path) -> Any:
    """A visitor whose film has a pair or more, and is far from its end."""
    from playwright.sync_api import expect

    visitor.upload(drawing)
    visitor.draw()
    visitor.change(SLOW)
    visitor.go("film")
    visitor.at("#pu-make-film").click()
    expect(visitor.at("#pu-cancel")).to_be_visible()
    expect(visitor.at("#pu-status")).to_have_text(re.compile(r"[1-9] of 3 pairs"))
    return visitor


def test_a_film_is_stopped_what_is_done_kept_and_gone_on_with(filming: Any) -> None:
    from playwright.sync_api import expect

    # Finished pairs can be looked at while the rest runs.
    canvas = filming.at("#pu-player canvas")
    expect(canvas).to_be_visible()
    filming.at("#pu-cancel").click()
    expect(filming.at("#pu-resume")).to_be_visible()
    stopped = filming.status()
    assert stopped["stage"] == "cancelled"
    assert any(stopped["pairs_done"])
    assert not all(stopped["pairs_done"])
    filming.at("#pu-resume").click()
    filming.wait_for_film()
    finished = filming.status()
    assert finished["stage"] == "done"
    assert finished["frames"] == 45
    assert filming.trouble().count() == 0


def test_a_reload_in_the_middle_finds_the_run_again(filming: Any) -> None:
    from playwright.sync_api import expect

    run = filming.run_id()
    filming.page.reload()
    expect(filming.at("#pu-cancel")).to_be_visible()
    assert filming.run_id() == run
    # Another tab of the same visitor finds it as well, without its address.
    other = filming.new_page()
    other.goto(filming.address)
    expect(other.locator("#pu-cancel")).to_be_visible()
    assert run in other.url
    other.close()
    filming.at("#pu-cancel").click()
    expect(filming.at("#pu-resume")).to_be_visible()


def test_two_visitors_do_not_see_each_others_files(visitors: Callable[..., Any], drawing: Path) -> None:
    from playwright.sync_api import expect

    first, second = visitors().arrive(), visitors().arrive()
    first.upload(drawing)
    first.draw()
    run = first.run_id()
    urls = [keyframe["url"] for keyframe in first.status()["keyframes"]]
    assert all(first.fetch(first.address + url).ok for url in urls)
    assert second.get("runs") == []
    for path in [*urls, *(f"/api/v1/runs/{run}{rest}" for rest in ("", "/status", "/run.json", "/export/ora"))]:
        answer = second.fetch(second.address + path)
        assert answer.status == 404, path
        assert answer.json()["error"].endswith(".")
    second.page.goto(f"{second.address}/#{run}/keyframes")
    second.page.reload()
    expect(second.at(".drop")).to_be_visible()
    second.go("runs")
    expect(second.at("#pu-runs .run")).to_have_count(0)
    # What the second one makes at the same time is the second one's alone.
    second.go("picture")
    second.upload(drawing)
    assert len(first.get("runs")) == len(second.get("runs")) == 1
    assert first.get("runs")[0]["id"] != second.get("runs")[0]["id"]


def test_runs_are_kept_repeated_compared_and_deleted(visitor: Any, drawing: Path) -> None:
    from playwright.sync_api import expect

    visitor.upload(drawing)
    visitor.draw()
    visitor.film()
    record = visitor.download("run")
    visitor.go("runs")
    cards = visitor.at("#pu-runs .run")
    expect(cards).to_have_count(1)
    # Repeated from its record, with the same settings and the same picture.
    with visitor.page.expect_file_chooser() as chooser:
        visitor.at("#pu-repeat").click()
    chooser.value.set_files(record)
    expect(visitor.at("#pu-next")).to_be_enabled()
    visitor.draw()
    visitor.at("#pu-tab-film").click()
    visitor.at("#pu-video-seed").fill("9")
    visitor.film()
    visitor.go("runs")
    expect(cards).to_have_count(2)
    one, other = (visitor.get(f"runs/{run['id']}") for run in visitor.get("runs"))
    same = {name for name in one["settings"] if one["settings"][name] == other["settings"][name]}
    # Of a size that followed the picture's shape, the record tells what it was.
    assert set(one["settings"]) - same <= {"video_seed", "width", "height"}
    assert "video_seed" not in same
    assert one["status"]["keyframes"][1]["url"] != other["status"]["keyframes"][1]["url"]
    pictures = [run["status"]["keyframes"][1]["url"] for run in (one, other)]
    bodies = [visitor.fetch(visitor.address + url).body() for url in pictures]
    assert _pixels(bodies[0]) == _pixels(bodies[1])
    # Next to each other.
    for index in range(2):
        cards.nth(index).get_by_role("checkbox").check()
    visitor.at("#pu-compare-runs").click()
    expect(visitor.at(".differences td").get_by_text("video seed")).to_be_visible()
    visitor.page.get_by_role("button", name="All runs").click()
    cards.first.get_by_role("button", name="Keep for good").click()
    expect(cards.first.get_by_role("button", name="Keep for good")).to_have_attribute("aria-pressed", "true")
    cards.last.get_by_role("button", name="Delete").click()
    expect(cards).to_have_count(1)
    assert len(visitor.get("runs")) == 1


def _pixels(png: bytes) -> bytes:
    with Image.open(io.BytesIO(png)) as picture:
        return picture.convert("RGB").tobytes()
