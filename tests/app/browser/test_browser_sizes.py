"""Names of runs, and sizes of keyframes and film, changed on the page; what cannot be is told in a sentence."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paintsundo.app.models import Models
from paintsundo.app.options import AppOptions


def eventually(visitor: Any, told: Callable[[], Any], wanted: Any) -> None:
    """Wait until the server tells what was typed on the page."""
    until = time.monotonic() + 60
    while (found := told()) != wanted:
        assert time.monotonic() < until, found
        visitor.page.wait_for_timeout(100)


def test_a_run_is_called_something_else(visitor: Any, drawing: Path) -> None:
    from playwright.sync_api import expect

    def names() -> Any:
        return [run["name"] for run in visitor.get("runs")]

    visitor.upload(drawing)
    visitor.go("runs")
    title = visitor.at("#pu-runs .run-title")
    expect(title).to_have_text(drawing.name)
    rename = visitor.page.get_by_role("button", name="Call it something else")
    rename.click()
    field = visitor.page.get_by_role("textbox", name="Name of the run")
    expect(field).to_be_focused()
    expect(field).to_have_value(drawing.name)
    field.fill("<b>Été</b> & Winter")
    field.press("Enter")
    expect(title).to_have_text("<b>Été</b> & Winter")  # text, never code
    expect(field).to_be_hidden()
    expect(rename).to_be_focused()
    eventually(visitor, names, ["<b>Été</b> & Winter"])
    rename.click()
    field.fill("never mind")
    field.press("Escape")
    expect(title).to_have_text("<b>Été</b> & Winter")
    # Without a name it is called like its picture again.
    rename.click()
    field.fill("   ")
    visitor.at("#pu-tab-runs").focus()
    expect(title).to_have_text(drawing.name)
    eventually(visitor, names, [drawing.name])


def test_the_size_of_the_film_is_chosen(visitor: Any, drawing: Path) -> None:
    from playwright.sync_api import expect

    multiple = Models(AppOptions.composed()).multiples("bundled")[1]
    visitor.upload(drawing)
    visitor.draw()
    visitor.go("film")
    run = f"runs/{visitor.run_id()}"

    def buckets() -> Any:
        return visitor.get(run)["settings"]["buckets"]

    size = visitor.at("#pu-film-size")
    width, height = visitor.status()["film_size"]
    assert buckets() is None
    expect(size.locator("option:checked")).to_have_text(f"As the keyframes, {width} × {height}")
    size.select_option(label="64 × 64")
    eventually(visitor, buckets, [[64, 64]])
    expect(visitor.at("#pu-film-size-sentence")).to_contain_text("% of the width is cut off")
    # One's own, brought to what the model can draw.
    size.select_option("own")
    visitor.at("#pu-film-width").fill(str(2 * multiple + 3))
    visitor.at("#pu-film-width").blur()
    expect(visitor.at("#pu-film-width")).to_have_value(str(2 * multiple))
    eventually(visitor, buckets, [[64, 2 * multiple]])
    visitor.at("#pu-film-height").fill("100000")
    visitor.at("#pu-film-height").blur()
    expect(visitor.trouble().first).to_contain_text("too large")
    assert buckets() == [[64, 2 * multiple]]
    visitor.at("#pu-make-film").click()
    visitor.wait_for_film()
    assert visitor.status()["film_size"] == [2 * multiple, 64]
    frame = visitor.fetch(f"{visitor.address}/api/v1/{run}/frames/3").body()
    assert (int.from_bytes(frame[16:20]), int.from_bytes(frame[20:24])) == (2 * multiple, 64)


def test_a_size_of_keyframes_that_is_too_large_is_refused(visitor: Any, drawing: Path) -> None:
    from playwright.sync_api import expect

    visitor.upload(drawing)
    before = visitor.status()["size"]
    visitor.at("#pu-size").select_option("own")
    expect(visitor.at("#pu-width")).to_have_value(str(before[0]))
    visitor.at("#pu-width").fill("99999")
    visitor.at("#pu-width").blur()
    expect(visitor.trouble().first).to_contain_text("too large")
    expect(visitor.at("#pu-width")).to_have_value(str(before[0]))
    assert visitor.status()["size"] == before
