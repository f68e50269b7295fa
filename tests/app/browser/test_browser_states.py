"""What the page shows of a run that is not finished: being drawn, stopped, compared before and after."""

import re
from pathlib import Path
from typing import Any

LONG = {"steps": 150, "width": 128, "height": 128}


def test_a_drawing_that_is_stopped_says_so_and_can_be_begun_again(visitor: Any, drawing: Path) -> None:
    from playwright.sync_api import expect

    visitor.upload(drawing)
    visitor.change(LONG)
    visitor.go("keyframes")
    visitor.at("#pu-make-keyframes").click()
    expect(visitor.at("#pu-cancel")).to_be_visible()
    # The ends are known before anything is drawn.
    card = "#pu-keyframes [data-origin={}] {}"
    expect(visitor.at(card.format("picture", "img"))).to_have_attribute("src", re.compile("picture"))
    well = visitor.at(card.format("blank", ".card-picture"))
    assert well.evaluate("element => getComputedStyle(element).backgroundColor") == "rgb(255, 255, 255)"
    notice = visitor.at(".run-notices li")
    expect(notice).to_have_text(re.compile(r"^Cropped from 160x120 to .* is cut off\.$"))
    visitor.at("#pu-cancel").click()
    expect(visitor.at("#pu-resume")).to_be_visible()
    expect(visitor.at(".look .stage-words")).to_have_text("Not drawn yet.")
    expect(visitor.at("#pu-make-keyframes")).to_have_text("Draw the keyframes")
    visitor.change({"steps": 2, "width": 64, "height": 64})
    # One of them alone brings the others with it.
    visitor.at("#pu-keyframes [data-keyframe='1'] [data-action=regenerate]").click()
    visitor.wait_for_keyframes()
    assert [keyframe["origin"] for keyframe in visitor.status()["keyframes"]] == [
        "picture",
        "generated",
        "generated",
        "blank",
    ]
    expect(visitor.at("#pu-make-keyframes")).to_have_text("Draw all again")


def test_a_film_that_is_stopped_tells_no_other_news(visitor: Any, drawing: Path) -> None:
    from playwright.sync_api import expect

    visitor.upload(drawing)
    visitor.draw()
    visitor.change({"video_steps": 30})
    visitor.go("film")
    visitor.page.evaluate(_WATCH_NEWS)
    visitor.at("#pu-make-film").click()
    expect(visitor.at("#pu-cancel")).to_be_visible()
    visitor.at("#pu-cancel").click()
    expect(visitor.at("#pu-resume")).to_be_visible()
    expect(visitor.at("#pu-status")).to_have_text(re.compile("^Cancelled"))
    assert visitor.page.evaluate("window.news") == []


_WATCH_NEWS = """() => {
  window.news = [];
  const list = document.querySelector("#pu-news");
  new MutationObserver((records) => {
    for (const record of records) for (const node of record.addedNodes) window.news.push(node.textContent);
  }).observe(list, { childList: true });
}"""


def test_states_of_another_shape_lie_on_one_another(visitor: Any, drawing: Path) -> None:
    from playwright.sync_api import expect

    visitor.upload(drawing)
    visitor.change({"width": 64, "height": 64, "buckets": [[64, 128]]})
    visitor.draw()
    visitor.film()
    assert (visitor.status()["size"], visitor.status()["film_size"]) == ([64, 64], [128, 64])
    visitor.at("#pu-player-scrub").fill("20")
    visitor.at("#pu-film-mode label", has_text="Compare").click()
    sheet = visitor.at("#pu-film-compare")
    sheet.get_by_label("Before", exact=True).select_option(label="Frame 21, where the film stands")
    sheet.get_by_label("After", exact=True).select_option(label="Finished")
    expect(sheet.locator(".tag.left")).to_have_text(re.compile("^Frame 21"))
    boxes = [sheet.locator(f"img.{side}").bounding_box() for side in ("before", "after")]
    assert boxes[0] == boxes[1]
    room = sheet.locator(".compare-sheet").bounding_box()
    assert abs(boxes[0]["width"] / boxes[0]["height"] - 2) < 0.02
    assert max(boxes[0]["width"] / room["width"], boxes[0]["height"] / room["height"]) > 0.99
    # The keyframe is cropped as it was for the film.
    assert sheet.locator("img.after").evaluate("image => getComputedStyle(image).objectFit") == "cover"


def test_what_to_do_next_is_in_sight_at_once(visitor: Any, drawing: Path) -> None:
    from playwright.sync_api import expect

    def whole(selector: str) -> None:
        expect(visitor.at(selector)).to_be_visible()
        box = visitor.at(selector).bounding_box()
        assert box["y"] + box["height"] <= visitor.page.viewport_size["height"], selector

    visitor.upload(drawing)
    visitor.at("summary", has_text="More about words").click()
    whole("#pu-next")
    visitor.draw()
    visitor.at("summary", has_text="Steps, guidance, sampler").click()
    whole("#pu-next-film")
    visitor.film()
    visitor.at("#pu-tab-film").click()
    visitor.at("summary", has_text="Steps, guidance, sampler").last.click()
    whole("#pu-make-film")


def test_all_that_is_kept_is_framed(visitor: Any, drawing: Path) -> None:
    visitor.upload(drawing)
    for fit in ("Crop", "Pad"):
        visitor.at("#pu-fit label", has_text=fit).click()
        room, kept = (visitor.at(selector).bounding_box() for selector in (".crop-room", ".kept"))
        line = 24 + 1.5  # the room's own border, and the line about what is kept
        assert kept["x"] - line >= room["x"]
        assert kept["y"] - line >= room["y"]
        assert kept["x"] + kept["width"] + line <= room["x"] + room["width"]
        assert kept["y"] + kept["height"] + line <= room["y"] + room["height"]
