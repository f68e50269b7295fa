"""Keyframes are made one by one, replaced, moved, taken out, and chosen among seeds."""

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def drawn(visitor: Any, drawing: Path) -> Any:
    """A visitor with keyframes: finished, 350, 700, blank."""
    visitor.upload(drawing)
    visitor.draw()
    return visitor


def pictures(visitor: Any) -> list[np.ndarray]:
    """The keyframes as the server gives them, finished … blank."""
    import io

    found = []
    for keyframe in visitor.status()["keyframes"]:
        answer = visitor.fetch(visitor.address + keyframe["url"])
        assert answer.ok
        found.append(np.asarray(Image.open(io.BytesIO(answer.body())).convert("RGB")))
    return found


def action(visitor: Any, index: int, name: str) -> Any:
    return visitor.at(f"#pu-keyframes [data-keyframe='{index}'] [data-action={name}]")


def test_one_keyframe_is_drawn_again_with_a_seed_of_its_own(drawn: Any) -> None:
    from playwright.sync_api import expect

    before, ids = pictures(drawn), [keyframe["id"] for keyframe in drawn.status()["keyframes"]]
    drawn.at("#pu-keyframes [data-keyframe='2'] .card-face").click()
    drawn.at("#pu-keyframe-seed").fill("4711")
    drawn.at("#pu-redraw").click()
    expect(drawn.at("#pu-keyframes [data-keyframe='2'] .card-note")).to_have_text("seed 4711")
    drawn.wait_for_keyframes()
    status = drawn.status()
    after = pictures(drawn)
    for index in (0, 1, 3):
        np.testing.assert_array_equal(after[index], before[index])
        assert status["keyframes"][index]["id"] == ids[index]
    assert (after[2] != before[2]).any()
    assert status["keyframes"][2]["seed"] == 4711
    assert status["keyframes"][2]["operation_step"] == 700


def test_a_keyframe_is_replaced_by_an_upload(drawn: Any, tmp_path: Path) -> None:
    from playwright.sync_api import expect

    before = pictures(drawn)
    own = Image.fromarray(np.full((90, 90, 3), (10, 200, 30), np.uint8))
    own.save(tmp_path / "mine.png")
    with drawn.page.expect_file_chooser() as chooser:
        action(drawn, 1, "replace").click()
    chooser.value.set_files(tmp_path / "mine.png")
    expect(drawn.at("#pu-keyframes [data-keyframe='1']")).to_have_attribute("data-origin", "upload")
    expect(drawn.at("#pu-keyframes [data-keyframe='1'] .card-note")).to_have_text("uploaded")
    after = pictures(drawn)
    assert after[1].shape == before[1].shape
    assert np.abs(after[1].astype(int) - (10, 200, 30)).max() <= 2
    np.testing.assert_array_equal(after[2], before[2])
    # The film goes through it.
    drawn.film()
    frames = drawn.status()["frames"]
    shown = drawn.fetch(f"{drawn.address}/api/v1/runs/{drawn.run_id()}/frames/{frames - 1}?v=1")
    assert shown.ok


def test_keyframes_are_moved_and_taken_out(drawn: Any) -> None:
    from playwright.sync_api import expect

    names = drawn.at("#pu-keyframes .card-name")
    expect(names).to_have_text(["Blank canvas", "Step 700", "Step 350", "Finished"])
    action(drawn, 2, "later").click()
    expect(names).to_have_text(["Blank canvas", "Step 350", "Step 700", "Finished"])
    action(drawn, 1, "remove").click()
    expect(names).to_have_text(["Blank canvas", "Step 350", "Finished"])
    drawn.page.reload()
    expect(names).to_have_text(["Blank canvas", "Step 350", "Finished"])


def test_several_seeds_are_shown_side_by_side_to_choose_from(visitor: Any, drawing: Path) -> None:
    from playwright.sync_api import expect

    visitor.upload(drawing)
    visitor.go("keyframes")
    visitor.at("#pu-seed").fill("70")
    visitor.at("#pu-seeds").fill("3")
    visitor.at("#pu-make-keyframes").click()
    rows = visitor.at("#pu-candidates > *")
    expect(rows).to_have_count(3)
    choose = rows.nth(1).get_by_role("button").first
    expect(choose).to_be_enabled()
    choose.click()
    expect(visitor.at("#pu-keyframes [data-keyframe='1'] .card-note")).to_have_text("seed 71")
    assert visitor.status()["chosen"] == 71
    assert [candidate["seed"] for candidate in visitor.status()["candidates"]] == [70, 71, 72]


def test_operation_steps_are_dragged_added_and_typed(visitor: Any, drawing: Path) -> None:
    from playwright.sync_api import expect

    visitor.upload(drawing)
    visitor.go("keyframes")
    handles = visitor.at(".timeline .handle")
    expect(handles).to_have_count(2)
    track = visitor.at(".timeline .track").bounding_box()
    handle = visitor.at(".timeline .handle[aria-valuenow='350']")
    box = handle.bounding_box()
    assert track is not None
    assert box is not None
    mouse = visitor.page.mouse
    mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    mouse.down()
    mouse.move(track["x"] + track["width"] * 0.8, box["y"] + box["height"] / 2, steps=8)
    mouse.up()
    moved = visitor.at(".timeline .handle[aria-valuenow='200']")
    expect(visitor.at(".timeline .handle[aria-valuenow='350']")).to_have_count(0)
    values = [int(handles.nth(index).get_attribute("aria-valuenow") or -1) for index in range(2)]
    assert 700 in values
    assert abs(min(values) - 200) < 12, (values, moved)
    # By keyboard: a step, ten steps, to the end, out.
    visitor.at(".timeline .handle[aria-valuenow='700']").focus()
    visitor.page.keyboard.press("ArrowLeft")
    visitor.page.keyboard.press("Shift+ArrowLeft")
    expect(visitor.at(".timeline .handle[aria-valuenow='711']")).to_be_focused()
    visitor.page.keyboard.press("Home")
    expect(visitor.at(".timeline .handle[aria-valuenow='999']")).to_be_focused()
    visitor.page.keyboard.press("Delete")
    expect(handles).to_have_count(1)
    visitor.at(".preset", has_text="Even").click()
    visitor.at(".counter").get_by_role("button").last.click()
    expect(handles).to_have_count(2)
    visitor.page.get_by_role("button", name="Type the steps").click()
    typed = visitor.at(".timeline input[type=text]")
    typed.fill("0, 500 999 40")
    expect(handles).to_have_count(4)
    typed.fill("1000")
    expect(visitor.at(".timeline .problem")).to_have_text(re.compile("whole numbers from 0 to 999"))
    typed.blur()
    address = f"runs/{visitor.run_id()}"
    until = time.monotonic() + 60
    while (found := visitor.get(address)["settings"]["operation_steps"]) != [0, 40, 500, 999]:
        assert time.monotonic() < until, found
        visitor.page.wait_for_timeout(100)
    visitor.page.reload()  # what was typed was sent when typing paused
    expect(handles).to_have_count(4)
