"""Pictures that are pasted or dropped, and text that is not taken for one."""

import base64
import re
from pathlib import Path
from typing import Any

_GIVE = """([kind, selector, data, name, text]) => {
  const transfer = new DataTransfer();
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  transfer.items.add(new File([bytes], name, { type: "image/png" }));
  if (text !== null) transfer.setData("text/plain", text);
  const options = { bubbles: true, cancelable: true };
  const event = kind === "paste"
    ? new ClipboardEvent(kind, { ...options, clipboardData: transfer })
    : new DragEvent(kind, { ...options, dataTransfer: transfer });
  document.querySelector(selector).dispatchEvent(event);
  return event.defaultPrevented;
}"""


def give(visitor: Any, kind: str, selector: str, file: Path, text: str | None = None) -> bool:
    """Paste or drop a file; whether the page took it, so that the browser does nothing with it itself."""
    data = base64.b64encode(file.read_bytes()).decode()
    return bool(visitor.page.evaluate(_GIVE, [kind, selector, data, file.name, text]))


def read(visitor: Any) -> None:
    from playwright.sync_api import expect

    expect(visitor.at("#pu-next")).to_be_enabled()
    expect(visitor.at("#pu-tags .chip").first).to_be_visible()


def test_a_picture_is_pasted(visitor: Any, drawing: Path) -> None:
    from playwright.sync_api import expect

    assert give(visitor, "paste", "body", drawing)
    read(visitor)
    [run] = visitor.get("runs")
    assert run["name"] == drawing.name
    expect(visitor.at("#pu-crop img")).to_have_attribute("src", re.compile(run["id"]))
    # Another one is another run: nothing is lost.
    assert give(visitor, "paste", "body", drawing)
    visitor.until("async () => (await (await fetch('/api/v1/runs')).json()).length == 2")


def test_a_picture_is_dropped_and_others_are_left_to_their_own_page(visitor: Any, drawing: Path) -> None:
    from playwright.sync_api import expect

    assert give(visitor, "dragenter", ".drop", drawing) is False
    expect(visitor.at("html")).to_have_class(re.compile("dragging"))
    assert give(visitor, "dragover", ".drop", drawing)
    assert give(visitor, "drop", ".drop", drawing)
    expect(visitor.at("html")).not_to_have_class(re.compile("dragging"))
    read(visitor)
    visitor.go("runs")
    assert give(visitor, "drop", "#pu-room", drawing)  # else the browser would leave the page for the picture
    assert len(visitor.get("runs")) == 1


def test_text_copied_with_its_picture_is_text_where_one_writes(visitor: Any, drawing: Path) -> None:
    visitor.upload(drawing)
    assert not give(visitor, "paste", "#pu-tags-entry", drawing, "a boat, the sea")
    assert give(visitor, "paste", "#pu-tags-entry", drawing)  # a picture alone
    visitor.until("async () => (await (await fetch('/api/v1/runs')).json()).length == 2")


def test_a_picture_dropped_on_a_keyframe_takes_its_place_and_keyframes_are_dragged(visitor: Any, drawing: Path) -> None:
    from playwright.sync_api import expect

    visitor.upload(drawing)
    visitor.draw()
    names = visitor.at("#pu-keyframes .card-name")
    expect(names).to_have_text(["Blank canvas", "Step 700", "Step 350", "Finished"])
    cards = visitor.at("#pu-keyframes .card")
    cards.nth(1).drag_to(cards.nth(2))
    expect(names).to_have_text(["Blank canvas", "Step 350", "Step 700", "Finished"])
    assert give(visitor, "drop", "#pu-keyframes [data-keyframe='1']", drawing)
    expect(visitor.at("#pu-keyframes [data-keyframe='1']")).to_have_attribute("data-origin", "upload")
    assert [each["origin"] for each in visitor.status()["keyframes"]] == ["picture", "upload", "generated", "blank"]
