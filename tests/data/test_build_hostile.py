"""Broken, hostile and huge inputs are refused one by one, each with its reason, and the build goes on."""

import bz2
import io
import json
import os
import struct
import tarfile
import time
import zipfile
import zlib
from pathlib import Path

import pytest
from PIL import Image
from tiny_source import NAME, write_texts

from paintsundo.data import archives, inputs, shards
from paintsundo.data.__main__ import main
from paintsundo.data.build import BuildSettings, build
from paintsundo.errors import UserError


def rejected(dataset: Path) -> dict[str, str]:
    lines = (dataset / "rejected.jsonl").read_text().splitlines()
    return {record["name"]: record["reason"] for record in map(json.loads, lines)}


def built(source: Path, output: Path, **more: object) -> dict:
    return build(BuildSettings(NAME, str(source), str(output), size=32, workers=0, **more), progress=False)


def names(dataset: Path) -> set[str]:
    return {process.extra["name"] for process in shards.read_processes(dataset)}


def add(archive: tarfile.TarFile, name: str, data: bytes = b"7", **more: object) -> None:
    member = tarfile.TarInfo(name)
    member.size = 0 if more else len(data)
    for key, value in more.items():
        setattr(member, key, value)
    archive.addfile(member, io.BytesIO(data))


def test_files_of_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_texts(folder, 3, void="", large="1" * 2000)
    secret = tmp_path / "secret.txt"
    secret.write_text("9")
    (folder / "out.txt").symlink_to(secret)
    (folder / "inside.txt").symlink_to(folder / "text000.txt")
    (folder / "broken.txt").symlink_to(folder / "nowhere.txt")
    (folder / "loop.txt").symlink_to(folder / "loop.txt")
    (folder / "elsewhere").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe.txt")
    (folder / "folder.txt").mkdir()
    built(folder, tmp_path / "set")
    assert names(tmp_path / "set") == {"text000.txt", "text001.txt", "text002.txt", "inside.txt"}
    reasons = rejected(tmp_path / "set")
    assert reasons == {
        "void.txt": "is empty",
        "large.txt": "too large: 2,000 bytes, more than the 1,000 bytes that are read",
        "out.txt": "is a link out of the input folder",
        "broken.txt": "is a broken link",
        "loop.txt": "is a broken link",
        "elsewhere/": "is a link to a folder",
        "pipe.txt": "is no regular file",
    }
    manifest = shards.read_manifest(tmp_path / "set")
    assert manifest["rejected"] == 7
    assert manifest["reasons"]["too large"] == 1
    built(folder, tmp_path / "linked", links=True)
    assert "out.txt" in names(tmp_path / "linked")


def test_names_that_lead_out_of_archives(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    with tarfile.open(folder / "one.tar", "w") as archive:
        add(archive, "good.txt")
        add(archive, "../escaped.txt")
        add(archive, "/escaped.txt")
        add(archive, "link.txt", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add(archive, "hard.txt", type=tarfile.LNKTYPE, linkname="/etc/passwd")
        add(archive, "device.txt", type=tarfile.CHRTYPE)
        add(archive, "void.txt", b"")
    with zipfile.ZipFile(folder / "two.zip", "w") as packed:
        packed.writestr("good.txt", "8")
        packed.writestr("a/../../escaped.txt", "8")
        packed.writestr("..\\escaped.txt", "8")
        packed.writestr("large.txt", "8" * 2000)
        link = zipfile.ZipInfo("link.txt")
        link.external_attr = 0o120777 << 16
        packed.writestr(link, "/etc/passwd")
    built(folder, tmp_path / "set")
    assert names(tmp_path / "set") == {"one/good.txt", "two/good.txt"}
    assert not list(tmp_path.rglob("escaped.txt"))
    reasons = rejected(tmp_path / "set")
    out = "its name leads out of the archive"
    assert reasons.pop("two/large.txt").startswith("too large")
    assert reasons == {
        "one/../escaped.txt": out,
        "one//escaped.txt": out,
        "one/link.txt": "is a link or a device",
        "one/hard.txt": "is a link or a device",
        "one/device.txt": "is a link or a device",
        "one/void.txt": "is empty",
        "two/a/../../escaped.txt": out,
        "two/..\\escaped.txt": out,
        "two/link.txt": "is a link or a device",
    }


def test_damaged_archives_give_what_lies_before_the_damage(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for suffix, mode in (("tar", "w"), ("tar.gz", "w:gz"), ("tar.xz", "w:xz"), ("tgz", "w:gz")):
        path = folder / f"{suffix.replace('.', '')}.{suffix}"
        with tarfile.open(path, mode) as archive:
            for number in range(50):
                add(archive, f"{number}.txt", f"{number} {number * 7919}".encode())
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (folder / "empty.tar").write_bytes(b"")
    (folder / "nonsense.zip").write_bytes(b"PK nonsense")
    with zipfile.ZipFile(folder / "flipped.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("flipped.txt", "123456789" * 30)
        packed.writestr("sound.txt", "1")
    data = bytearray((folder / "flipped.zip").read_bytes())
    data[45] ^= 255
    (folder / "flipped.zip").write_bytes(data)
    built(folder, tmp_path / "set")
    reasons = rejected(tmp_path / "set")
    for name in ("tar.tar", "targz.tar.gz", "tarxz.tar.xz", "tgz.tgz", "empty.tar", "nonsense.zip"):
        assert reasons[name].startswith("cannot be read as an archive: "), reasons
    assert "flipped/flipped.txt" in reasons
    found = names(tmp_path / "set")
    assert {"tar/0.txt", "flipped/sound.txt"} <= found
    assert "tar/49.txt" not in found


def test_zip_bombs(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_texts(folder, 1)
    zeros = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = zeros.compress(bytes(50_000_000)) + zeros.flush()
    with zipfile.ZipFile(folder / "honest.zip", "w") as packed:
        packed.writestr("bomb.txt", bytes(50_000_000), zipfile.ZIP_DEFLATED)
    # One that says it holds 10 bytes: reading stops there.
    data = bytearray((folder / "honest.zip").read_bytes())
    for sign, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(sign) + place
        data[at : at + 4] = struct.pack("<I", 10)
    (folder / "liar.zip").write_bytes(data)
    assert len(body) < 100_000
    start = time.monotonic()
    built(folder, tmp_path / "set")
    assert time.monotonic() - start < 20
    reasons = rejected(tmp_path / "set")
    assert reasons["honest/bomb.txt"] == "too large: 50 MB, more than the 1,000 bytes that are read"
    assert "liar/bomb.txt" in reasons
    assert names(tmp_path / "set") == {"text000.txt"}


def test_bombs_in_compressed_tars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "UNPACKED_LEAST", 1 << 20)
    folder = tmp_path / "in"
    write_texts(folder, 1)
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        add(archive, "first.txt")
        add(archive, "zeros.bin", bytes(80_000_000))
        add(archive, "last.txt")
    (folder / "bomb.tar.bz2").write_bytes(bz2.compress(raw.getvalue()))
    built(folder, tmp_path / "set")
    assert rejected(tmp_path / "set") == {
        "bomb.tar.bz2": "unpacks to more than 250 times its size: it is not to be trusted"
    }
    assert names(tmp_path / "set") == {"text000.txt", "bomb/first.txt"}


def test_pictures_that_unpack_to_more_than_memory(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    Image.linear_gradient("L").convert("RGB").save(folder / "good.png")
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(10_000_000))), (b"IEND", b"")]
    bomb = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks:
        bomb += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    (folder / "bomb.png").write_bytes(bomb)
    (folder / "cut.png").write_bytes((folder / "good.png").read_bytes()[:200])
    (folder / "renamed.jpg").write_text("no picture")
    output = tmp_path / "set"
    assert main(["build", "source=pictures", f"input={folder}", f"output={output}", "size=64", "workers=0"]) == 0
    assert names(output) == {"good.png"}
    reasons = rejected(output)
    assert set(reasons) == {"bomb.png", "cut.png", "renamed.jpg"}
    assert all(reasons.values())


def test_names_that_are_no_text(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    write_texts(folder, 1)
    try:
        (folder / os.fsdecode(b"caf\xe9.txt")).write_text("1")
    except OSError:
        pytest.skip("this file system takes no such name")
    with tarfile.open(folder / "a.tar", "w", errors="surrogateescape") as archive:
        add(archive, "na\udcefve.txt")
        add(archive, "two\nlines.txt")
    built(folder, tmp_path / "set")
    assert rejected(tmp_path / "set") == {
        "caf\\udce9.txt": "its name is no text",
        "a/na\\udcefve.txt": "its name is no text",
    }
    assert names(tmp_path / "set") == {"text000.txt", "a/two\nlines.txt"}


def test_nothing_usable_is_no_error_of_the_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_texts(tmp_path / "in", 0, void="")
    assert built(tmp_path / "in", tmp_path / "set")["samples"] == 0
    assert rejected(tmp_path / "set") == {"void.txt": "is empty"}


@pytest.mark.parametrize(
    "line",
    [
        '{"file": 3}',
        '{"tags": []}',
        "[1]",
        "{",
        '{"file": "a.txt", "tags": "one"}',
        '{"file": "a.txt", "subject": 1}',
        '{"file": "a.txt", "subject": "\\ud800"}',
    ],
)
def test_damaged_indexes_are_named(tmp_path: Path, line: str) -> None:
    write_texts(tmp_path / "in", 1)
    (tmp_path / "in" / "index.jsonl").write_text(line)
    with pytest.raises(UserError, match=r"index\.jsonl is damaged"):
        built(tmp_path / "in", tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_members_are_read_where_they_lie(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    content = {f"{number}.txt": os.urandom(500 + number) for number in range(20)}
    for suffix, mode in (("tar", "w"), ("tar.gz", "w:gz")):
        with tarfile.open(folder / f"{mode[2:]}x.{suffix}", mode) as archive:
            for name, data in content.items():
                add(archive, name, data)
    with zipfile.ZipFile(folder / "z.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in content.items():
            packed.writestr(name, data)
    listing = inputs.list_inputs(folder, {".txt"}, unpacked=tmp_path / "unpacked")
    assert len(listing.items) == 60
    for item in listing.items:
        assert not isinstance(item.content, bytes)
        expected = content[item.name.split("/")[1]]
        assert item.read() == expected
        assert item.size == len(expected)
        with item.open() as stream:
            stream.seek(100)
            assert stream.read(10) == expected[100:110]
            assert stream.read() == expected[110:]
        with item.path() as path:
            assert path.read_bytes() == expected
            assert path.suffix == ".txt"
        assert not path.exists()
