import functools
import http.server
import json
import pickle
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import mixed_sizes
from paintsundo.data import shard_store
from paintsundo.data.faults import FaultyData
from paintsundo.data.index import read_index, read_indexes, read_shards
from paintsundo.data.process_source import ProcessSource
from paintsundo.data.shard_store import ShardFiles, ShardStore, dataset_name, is_remote, url_of
from paintsundo.errors import UserError


class Server:
    """A web server of a folder on this machine, and what was asked of it."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                asked.append(self.path)
                super().do_GET()

        handler = functools.partial(Handler, directory=str(folder))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def shards_asked(self) -> list[str]:
        return [path for path in self.asked if path.endswith(".tar")]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(shard_store, "ATTEMPTS", 1)
    mixed_sizes.write(tmp_path / "web" / "set", 12)
    server = Server(tmp_path / "web")
    yield server
    server.server.shutdown()
    server.server.server_close()


def test_a_remote_set_gives_what_the_local_one_gives_and_is_fetched_once(served: Server, tmp_path: Path) -> None:
    local, url = tmp_path / "web" / "set", f"{served.url}/set"
    store = ShardStore(tmp_path / "kept")
    index = read_index(url, store)
    assert sorted(served.shards_asked()) == ["/set/00000.tar", "/set/00001.tar", "/set/00002.tar"]
    here = read_index(local)
    assert index.hashes.tolist() == here.hashes.tolist()
    source, expected = ProcessSource(index, store), ProcessSource(here)
    for number in range(12):
        assert (source.process(number).finished == expected.process(number).finished).all()
    assert index.name(3) == "set/00000.tar/0000003"
    again = read_index(url, ShardStore(tmp_path / "kept"))
    assert (again.offsets == here.offsets).all()
    assert len(served.shards_asked()) == 3


def test_an_index_beside_remote_shards_spares_fetching_them_all(served: Server, tmp_path: Path) -> None:
    read_index(tmp_path / "web" / "set")  # leaves index.json
    store = ShardStore(tmp_path / "kept")
    index = read_index(f"{served.url}/set", store)
    assert served.shards_asked() == []
    assert ProcessSource(index, store).process(7).subject == "7"
    assert served.shards_asked() == ["/set/00001.tar"]


def test_many_at_once_fetch_once(served: Server, tmp_path: Path) -> None:
    listed = read_shards(f"{served.url}/set")
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: ShardStore(tmp_path / "kept").path(listed[0]), range(8)))
    assert len(set(paths)) == 1
    assert served.shards_asked() == ["/set/00000.tar"]
    assert paths[0].read_bytes() == (tmp_path / "web" / "set" / "00000.tar").read_bytes()


def test_the_shards_longest_unused_make_room(served: Server, tmp_path: Path) -> None:
    listed = read_shards(f"{served.url}/set")
    store = ShardStore(tmp_path / "kept", limit_bytes=listed[0].bytes + listed[1].bytes + 10)
    files = ShardFiles(listed, store)
    first = files.read(0, 0, 100)
    store.path(listed[1])
    store.path(listed[0])
    store.path(listed[2])  # 1 is now the one longest unused
    kept = {path.name.split("-")[1] for path in (tmp_path / "kept").glob("*/*.tar")}
    assert kept == {"00000.tar", "00002.tar"}
    assert files.read(1, 0, 100) != b""
    assert files.read(0, 0, 100) == first
    assert served.shards_asked().count("/set/00001.tar") == 2


def test_what_arrives_damaged_is_refused_and_leaves_nothing(served: Server, tmp_path: Path) -> None:
    web = tmp_path / "web" / "set"
    read_index(web)
    (web / "00001.tar").write_bytes((web / "00001.tar").read_bytes()[:-1000])
    (web / "00002.tar").unlink()
    (web / "index.json").unlink()
    store = ShardStore(tmp_path / "kept")
    index = read_index(f"{served.url}/set", store)
    reasons = [str(fault) for fault in index.faults]
    assert reasons[0].startswith("set/00001.tar: has ")
    assert "the manifest says" in reasons[0]
    assert "set/00002.tar cannot be read (exit status 22)" in reasons[1]
    assert [fault.samples for fault in index.faults] == [5, 2]
    assert len(index) == 5
    assert [path.name for path in (tmp_path / "kept").glob("*/*") if path.suffix != ".lock"] == [
        path.name for path in (tmp_path / "kept").glob("*/*00000.tar")
    ]
    # mended, it is found whole the next time
    shutil.rmtree(web)
    mixed_sizes.write(web, 12)
    assert read_index(f"{served.url}/set", store).faults == ()


def test_bytes_changed_on_the_way_and_indexes_of_other_shards_are_refused(served: Server, tmp_path: Path) -> None:
    web, store = tmp_path / "web" / "set", ShardStore(tmp_path / "kept")
    before = read_index(web)
    mixed_sizes.rewrite(web, 1, lambda key, members: {**members, "json": members["json"].replace(b"cat", b"dog")})
    index = read_index(f"{served.url}/set", store)  # the old index.json still lies there
    assert served.shards_asked() == ["/set/00001.tar"]
    assert index.faults == ()
    assert (index.hashes[5:10] != before.hashes[5:10]).all()
    assert ProcessSource(index, store).process(6).tags[0] == "dog"
    content = bytearray((web / "00002.tar").read_bytes())
    content[700] ^= 1
    (web / "00002.tar").write_bytes(content)
    with pytest.raises(FaultyData, match=r"set/00002.tar 0000010: differs from the manifest"):
        ProcessSource(index, store).process(10)


def test_what_is_no_data_set_is_told_in_one_line_without_secrets(served: Server, tmp_path: Path) -> None:
    for url in (f"{served.url}/none?token=secret", "http://user:secret@127.0.0.1:1/set", "pipe:exit 3 # secret"):
        with pytest.raises(UserError, match=r"cannot be read") as told:
            read_indexes([url])
        assert "\n" not in str(told.value)
        assert "secret" not in str(told.value)
    with pytest.raises(UserError, match="cannot be read"):
        read_indexes(["gopher://127.0.0.1/set"])


def test_commands_can_hold_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    folder = mixed_sizes.write(tmp_path / "set", 6)
    for url in (f"pipe:cat {folder}", f"pipe:cat {folder}/{{}} | cat"):
        store = ShardStore(tmp_path / "kept")
        index = read_index(url, store)
        assert len(index) == 6
        assert index.faults == ()
        assert ProcessSource(index, store).process(5).subject == "5"


def test_names_cannot_become_commands() -> None:
    for name in ("../x.tar", "/etc/passwd", "a;rm -rf b.tar", "$(x).tar", "", "a//b"):
        with pytest.raises(UserError, match="odd name"):
            url_of("pipe:cat {}", name)
    assert url_of("pipe:cat {} -", "a b.tar") == "pipe:cat 'a b.tar' -"
    assert url_of("https://h/set?key=1", "0.tar") == "https://h/set/0.tar?key=1"
    assert url_of("https://h/{}?key=1", "0.tar") == "https://h/0.tar?key=1"


def test_places_are_told_apart_and_named() -> None:
    assert is_remote("http://h/x")
    assert is_remote("pipe:cat x")
    assert not is_remote("file:///x")
    assert not is_remote("/x")
    assert dataset_name("http://h/sets/one/?k=2") == "one"
    assert dataset_name("/data/two/") == "two"
    assert dataset_name("http://h/three/{}?k=2") == "three"


def test_few_files_are_open_and_copies_open_their_own(tmp_path: Path) -> None:
    folder = mixed_sizes.write(tmp_path / "set", 12, per_shard=2)
    listed = read_shards(folder)
    files = ShardFiles(listed, most_open=2)
    read = [files.read(n, 512, 64) for n in (0, 1, 2, 3, 4, 5, 0, 1)]
    assert len(files._open) == 2
    copy = pickle.loads(pickle.dumps(files))
    assert copy._open == {}
    assert [copy.read(n, 512, 64) for n in range(6)] == read[:6]
    with pytest.raises(shard_store.ShardError, match="ends before byte"):
        files.read(0, listed[0].bytes - 10, 64)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / manifest["shards"][5]["file"]).unlink()
    files.close()
    with pytest.raises(shard_store.ShardError, match="cannot be read"):
        files.read(5, 0, 1)
