import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from drawn_dataset import HOSTILE, write_dataset
from PIL import Image

from paintsundo.data.__main__ import main
from paintsundo.data.report.html_report import html_report

VOID = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Elements in order, their attributes, the text; and what is not well formed."""

    def __init__(self, content: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.faults: list[str] = []
        self.words: list[str] = []
        self.feed(content)
        self.close()
        self.faults += [f"{tag} is not closed" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"{tag} is closed out of order")

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rejected = [{"name": f"{HOSTILE}.svg", "reason": "<b>not</b> well-formed: x"}, {"name": "z", "reason": "blank"}]
    return write_dataset(tmp_path_factory.mktemp("page") / "set <i>&amp;", rejected)


@pytest.fixture(scope="module")
def content(dataset: Path) -> str:
    return html_report(dataset)


def test_the_page_is_well_formed(content: str) -> None:
    page = Page(content)
    assert page.faults == []
    assert content.startswith("<!DOCTYPE html>")
    assert [tag for tag, _ in page.elements[:2]] == ["html", "head"]


def test_the_page_asks_nothing_of_others(content: str) -> None:
    page = Page(content)
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "link", "iframe", "object", "form", "base"})
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href"):
                assert (value or "").startswith("data:image/webp;base64,")
    assert not re.search(r"(https?:)?//\w", re.sub(r"base64,[^\"]*", "", content))
    policy = next(attrs["content"] for tag, attrs in page.elements if attrs.get("http-equiv"))
    assert policy is not None
    assert "default-src 'none'" in policy


def test_hostile_names_are_text(content: str) -> None:
    page = Page(content)
    assert "<script" not in content
    assert "<b>not</b>" not in content
    assert HOSTILE in page.text  # the author
    assert f"{HOSTILE}.svg" in page.text  # the name of a process, and of what was rejected
    assert "<b>not</b> well-formed" in page.text
    assert "set <i>&amp;" in page.text


def test_numbers_licences_and_reasons_are_on_the_page(content: str) -> None:
    said = Page(content).text
    for words in (
        "5 processes",
        "4 subjects",
        "3 train",
        "2 validation",
        "2 rejected",
        "CC0 2 2",  # by split
        "MIT 1 1",
        "Ann 3",
        "sketch → ink → flats → shading 4",
        "Length in stages: 4 to",
        "Length in states",
        "Changed share of the canvas by operation step",
        "Behaviours: flip",
        "as drawn",
        "blank",
    ):
        assert words in said, words


def test_every_process_has_its_states_embedded(content: str) -> None:
    page = Page(content)
    pictures = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(pictures) == 5
    for attributes in pictures:
        data = base64.b64decode((attributes["src"] or "").partition(",")[2], validate=True)
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        assert picture.size == (int(attributes["width"] or 0), int(attributes["height"] or 0))
        assert picture.getpixel((3, 3)) == (255, 255, 255)  # begins with the blank canvas
        assert len(picture.getcolors(1 << 20) or []) > 50


def test_bands_fill_the_work_axis(content: str) -> None:
    rows = re.findall(r'<div class="bands">(.*?)</div>', content)
    assert len(rows) == 5
    for row in rows:
        assert sum(map(float, re.findall(r"width: ([\d.]+)%", row))) == pytest.approx(100, abs=0.5)


def test_damage_does_not_end_the_report(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set")
    content = bytearray((folder / "00000.tar").read_bytes())
    at = content.index(b"\x89PNG")
    content[at + 20 : at + 300] = bytes(280)
    (folder / "00000.tar").write_bytes(content)
    page = Page(html_report(folder))
    assert page.faults == []
    assert "cannot be decoded" in page.text
    assert sum(tag == "img" for tag, _ in page.elements) == 4


def test_show_command_writes_the_page(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "report.html"
    assert main(["show", f"data={dataset}", f"output={file}", "count=2"]) == 0
    assert sum(tag == "img" for tag, _ in Page(file.read_text()).elements) == 2
    assert main(["show", f"data={dataset}", f"output={file}"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["show", f"data={dataset}", f"output={tmp_path / 'b.html'}", "split=train"]) == 2
    assert main(["show", f"data={tmp_path}", f"output={tmp_path / 'c.html'}"]) == 2
    assert "not a data set" in capsys.readouterr().err
    assert [found.name for found in tmp_path.iterdir()] == ["report.html"]
