"""Hashes of files, at once and begun before."""

import hashlib
import threading
from types import SimpleNamespace

import pytest

from paintsundo import file_hashes
from paintsundo.file_hashes import begin_hashes, file_hash
from paintsundo.pipelines.command import weight_files


@pytest.fixture(autouse=True)
def nothing_begun(monkeypatch):
    monkeypatch.setattr(file_hashes, "_begun", {})


def expected(text):
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_hash_that_was_begun_is_waited_for_and_not_made_twice(tmp_path, monkeypatch):
    file = tmp_path / "weights"
    file.write_text("one")
    go, made, hashed = threading.Event(), [], file_hashes._hash

    def slow(path):
        assert go.wait(20)
        made.append(path)
        return hashed(path)

    monkeypatch.setattr(file_hashes, "_hash", slow)
    begin_hashes([file, file])
    begin_hashes([file])
    found = []
    asking = threading.Thread(target=lambda: found.append(file_hash(file)))
    asking.start()
    assert not found
    go.set()
    asking.join(20)
    assert found == [expected("one")] == [file_hash(file)]
    assert made == [file]


def test_a_file_that_was_written_since_is_hashed_anew(tmp_path):
    file = tmp_path / "weights"
    file.write_text("one")
    begin_hashes([file])
    assert file_hash(file) == expected("one")
    file.write_text("another")
    assert file_hash(file) == expected("another")


def test_what_cannot_be_read_is_told_where_it_is_needed(tmp_path):
    missing = tmp_path / "none"
    begin_hashes([missing, tmp_path])  # a folder can be looked up but not read
    for file, error in ((missing, FileNotFoundError), (tmp_path, IsADirectoryError)):
        with pytest.raises(error):
            file_hash(file)


def test_weights_are_found_in_a_model_and_in_a_pair(tmp_path):
    names = ("unet/own.safetensors", "unet/config.json", "single_frame/unet/a.safetensors", "other/unet/b.safetensors")
    for name in (*names, "multi_frame/vae/c.safetensors"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    def found(single, multi):
        return {path.name for path in weight_files(SimpleNamespace(single_frame=single, multi_frame=multi))}

    assert found(str(tmp_path), "owner/name") == {"own.safetensors", "a.safetensors"}
    assert found("bundled", str(tmp_path)) == {"own.safetensors", "c.safetensors"}
