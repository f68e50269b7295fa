import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_source import NAME, write_texts

from paintsundo.conditioning.tagger import Tagger
from paintsundo.data import shards
from paintsundo.data.build import BuildSettings, build
from paintsundo.data.making.near_duplicates import NearDuplicates, perceptual_hash
from paintsundo.data.making.settings import tagger_folder


def rejected(dataset: Path) -> dict[str, str]:
    lines = (dataset / "rejected.jsonl").read_text().splitlines()
    return {record["name"]: record["reason"] for record in map(json.loads, lines)}


def test_hashes_of_changed_pictures_are_near(landscape: np.ndarray) -> None:
    own = perceptual_hash(landscape)
    smaller = np.asarray(Image.fromarray(landscape).resize((96, 96)))
    brighter = np.clip(landscape.astype(int) + 12, 0, 255).astype(np.uint8)
    for changed in (smaller, brighter):
        assert (own ^ perceptual_hash(changed)).bit_count() <= 4
    assert (own ^ perceptual_hash(landscape[::-1])).bit_count() > 16
    assert 0 <= own < 2**64


@pytest.mark.parametrize("most", [0, 1, 3, 7, 16])
def test_near_duplicates_are_those_a_full_comparison_finds(most: int) -> None:
    random = np.random.default_rng(most)
    values = [int(value) for value in random.integers(0, 2**63, 60)]
    for value in list(values):
        for count in (1, most, most + 1, 20):
            bits = random.choice(64, count, replace=False)
            values.append(value ^ sum(1 << int(bit) for bit in bits))
    random.shuffle(values)
    found, kept = NearDuplicates(most), []
    for number, value in enumerate(values):
        near = [(name, (other ^ value).bit_count()) for name, other in kept if (other ^ value).bit_count() <= most]
        assert found.add(str(number), value) == (near[0] if near else None)
        if not near:
            kept.append((str(number), value))
    assert 60 < len(kept) < len(values)


def options(tmp_path: Path, output: str, **more: object) -> BuildSettings:
    return BuildSettings(NAME, str(tmp_path / "in"), str(tmp_path / output), size=32, **{"workers": 0, **more})


def test_near_duplicates_are_left_out_whatever_the_number_of_workers(tmp_path: Path) -> None:
    write_texts(tmp_path / "in", 9, twin="7", triplet="7", spoiled="crash in the preview and in the drawing")
    build(options(tmp_path, "one", near_duplicates=3, workers=1), progress=False)
    build(options(tmp_path, "two", near_duplicates=3, workers=2), progress=False)
    reasons = rejected(tmp_path / "one")
    twins = {"twin.txt", "triplet.txt", "text007.txt"}
    left_out = twins & set(reasons)
    (kept,) = twins - set(reasons)
    assert len(left_out) == 2
    assert {reasons[name] for name in left_out} == {f"near duplicate: {kept} is kept (0 of 64 bits differ)"}
    assert reasons["spoiled.txt"].startswith("ended its process")
    assert set(reasons) == left_out | {"spoiled.txt"}
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_inputs_without_tags_get_those_of_the_tagger(tmp_path: Path, landscape: np.ndarray) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(np.roll(landscape, 20 * number, axis=number % 2)).save(folder / f"{number}.png")
    (folder / "index.jsonl").write_text(json.dumps({"file": "0.png", "tags": ["known"]}))
    settings = BuildSettings("pictures", str(folder), str(tmp_path / "set"), size=64, workers=0, tagger="bundled")
    manifest = build(settings, progress=False)
    found = {process.extra["stems"][0]: process.tags for process in shards.read_processes(tmp_path / "set")}
    assert found["0"] == ("known", "lines first")  # and the manner of drawing
    tagger = Tagger.from_pretrained(tagger_folder("bundled"), threads=1)
    for stem in ("1", "2"):
        expected = tagger.tag(Image.open(folder / f"{stem}.png"))
        assert ", ".join(found[stem]) == f"{expected}, lines first"
        assert expected
    assert len(manifest["settings"]["tagger"]) == 64  # by what it holds, not by where it lies


def test_sources_without_previews_are_tagged_when_they_are_drawn(tmp_path: Path) -> None:
    write_texts(tmp_path / "in", 2)
    blind = {"name": NAME, "blind": True}
    settings = BuildSettings(blind, str(tmp_path / "in"), str(tmp_path / "set"), size=64, workers=0, tagger="bundled")
    build(settings, progress=False)
    tagger = Tagger.from_pretrained(tagger_folder("bundled"), threads=1)
    for process in shards.read_processes(tmp_path / "set"):
        assert [process.tags] == [tuple(tags) for tags in tagger.tags_of([process.finished])]


def test_batches_of_the_tagger_are_as_single_pictures() -> None:
    class Session:
        """Gives the mean of each channel; takes any number of pictures."""

        def get_inputs(self) -> list:
            return [type("Input", (), {"name": "x", "shape": ["N", 8, 8, 3]})()]

        def get_outputs(self) -> list:
            return [type("Output", (), {"name": "y"})()]

        def run(self, _: list, given: dict) -> list:
            return [given["x"].mean(axis=(1, 2)) / 255]

    from paintsundo.conditioning.tagger import Tag

    tagger = Tagger(Session(), [Tag("blue_(sky)", 0), Tag("green", 0), Tag("red", 4)])
    pictures = [np.full((8, 8, 3), colour, np.uint8) for colour in ((250, 0, 0), (0, 0, 200), (0, 0, 0))]
    assert tagger.tags_of(pictures) == [["red"], ["blue \\(sky\\)"], []]
    assert [", ".join(tags) for tags in tagger.tags_of(pictures)] == [tagger.tag(picture) for picture in pictures]
    assert tagger.tags_of([]) == []
