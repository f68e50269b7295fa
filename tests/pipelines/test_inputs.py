from pathlib import Path

import pytest

from paintsundo.errors import UserError
from paintsundo.pipelines.batch import _keyframe_files
from paintsundo.pipelines.inputs import find_pictures


def files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names(value: Path | str) -> list[str]:
    return [name for _, name in find_pictures(str(value)).pictures]


def test_folder_is_the_pictures_directly_in_it_sorted(tmp_path: Path) -> None:
    files(tmp_path, "b.png", "a.JPG", "notes.txt", ".hidden.png", "deeper/c.png", "doc.pdf")
    inputs = find_pictures(str(tmp_path))
    assert [name for _, name in inputs.pictures] == ["a", "b"]
    assert inputs.skipped == ["doc.pdf", "notes.txt"]
    assert inputs.many


def test_equal_stems_are_told_apart_by_their_suffix(tmp_path: Path) -> None:
    files(tmp_path, "a.png", "a.jpg", "b.png")
    assert names(tmp_path) == ["a.jpg", "a.png", "b"]


def test_names_that_some_file_systems_confuse_count_as_equal(tmp_path: Path) -> None:
    files(tmp_path, "A.png", "a.jpg", "é.png", "e\u0301.jpg")
    assert sorted(names(tmp_path)) == sorted(["A.png", "a.jpg", "é.png", "e\u0301.jpg"])


def test_no_two_outputs_are_the_same(tmp_path: Path) -> None:
    files(tmp_path, "a.png", "a.jpg", "a.png.jpg", "x/a.png", "y/a.png", "x/a.jpg")
    for value in (tmp_path, tmp_path / "**" / "*.*"):
        found = names(value)
        assert len({name.casefold() for name in found}) == len(found)


def test_an_existing_name_is_no_pattern(tmp_path: Path) -> None:
    files(tmp_path, "[ab].png", "a.png", "*.png")
    assert names(tmp_path / "[ab].png") == ["[ab]"]
    assert names(tmp_path / "*.png") == ["*"]
    assert names(tmp_path / "?.png") == ["*", "a"]


@pytest.mark.parametrize(("name", "folder"), [("..png", "picture."), (". .png", "picture. "), (".png", ".png")])
def test_odd_stems_never_name_the_output_folder_itself(tmp_path: Path, name: str, folder: str) -> None:
    files(tmp_path, name)
    assert names(tmp_path / name) == [folder]


def test_any_existing_file_may_be_a_picture(tmp_path: Path) -> None:
    files(tmp_path, "scan")
    inputs = find_pictures(str(tmp_path / "scan"))
    assert [name for _, name in inputs.pictures] == ["scan"]
    assert not inputs.many


@pytest.mark.parametrize("value", ["missing.png", "no*.png", "."])
def test_nothing_there(tmp_path: Path, value: str) -> None:
    with pytest.raises(UserError):
        find_pictures(str(tmp_path / value))


def test_own_keyframes_are_ordered_by_number_then_by_name(tmp_path: Path) -> None:
    files(tmp_path, "10.png", "9.png", "9b.png", "colour.png", "ink.png", "blank.png", "ink 2.png")
    ordered = [file.stem for file in _keyframe_files(str(tmp_path))]
    assert ordered == ["9", "9b", "10", "blank", "colour", "ink 2", "ink"]


def test_a_keyframe_folder_without_pictures_is_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^keyframes\.folder: .* has no pictures"):
        _keyframe_files(str(tmp_path))
