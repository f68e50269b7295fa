import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from paintsundo.errors import UserError
from paintsundo.training.checkpoint_store import CheckpointStore, incomplete, is_save_fault


def some(folder: Path) -> None:
    (folder / "state.ckpt").write_bytes(b"x" * 1000)
    (folder / "shards").mkdir()
    (folder / "shards" / "0.distcp").write_bytes(b"y" * 500)


def store_with(folder: Path, steps: list[int], **rules: int) -> CheckpointStore:
    store = CheckpointStore(folder, say=lambda line: None, **rules)
    for step in steps:
        assert store.save(step, some) is None
    return store


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_checkpoint_is_complete_with_its_manifest(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", settings="abc")
    assert store.newest() is None
    seen = []

    def write(folder: Path) -> None:
        some(folder)
        seen.append((folder.name, store.newest(), (folder / "manifest.json").exists()))

    assert store.save(1000, write) is None
    assert seen == [(".step-00001000.partial", None, False)]
    assert names(store.folder) == ["step-00001000"]
    assert store.newest() == store.path(1000) == store.folder / "step-00001000"
    manifest = json.loads((store.path(1000) / "manifest.json").read_text())
    assert manifest.pop("time").endswith("Z")
    assert manifest == {
        "format": 1,
        "step": 1000,
        "settings": "abc",
        "files": {"state.ckpt": 1000, "shards/0.distcp": 500},
    }


def test_steps_are_ordered_as_numbers(tmp_path: Path) -> None:
    store = store_with(tmp_path, [123456789, 99999999, 5])
    assert store.newest() == tmp_path / "step-123456789"


@pytest.mark.parametrize("damage", ["cut", "missing", "no manifest", "bad manifest", "format", "grown"])
def test_damaged_newest_is_told_and_the_older_one_taken(damage: str, tmp_path: Path) -> None:
    said: list[str] = []
    store = CheckpointStore(tmp_path, say=said.append)
    for step in (1, 2, 3):
        store.save(step, some)
    state, manifest = store.path(3) / "state.ckpt", store.path(3) / "manifest.json"
    {
        "cut": lambda: state.write_bytes(b"x" * 999),
        "grown": lambda: state.write_bytes(b"x" * 1001),
        "missing": lambda: (store.path(3) / "shards" / "0.distcp").unlink(),
        "no manifest": manifest.unlink,
        "bad manifest": lambda: manifest.write_text(manifest.read_text()[:-20]),
        "format": lambda: manifest.write_text('{"format": 99, "files": {}}'),
    }[damage]()
    assert store.newest() == store.path(2)
    (line,) = said
    assert line.startswith(f"checkpoint {store.path(3)} is incomplete (")
    store.prune()
    assert store.newest() == store.path(2)
    # the step comes again
    assert store.save(3, some) is None
    assert store.newest() == store.path(3)
    store.prune()
    assert names(tmp_path) == ["step-00000002", "step-00000003"]


@pytest.mark.parametrize(
    ("rules", "kept"),
    [
        ({"keep": 2}, [600, 700]),
        ({"keep": 1}, [700]),
        ({"keep": 2, "keep_every": 300}, [300, 600, 700]),
        ({"keep": 1, "keep_every": 200}, [200, 400, 600, 700]),
        ({"keep": 9}, [100, 200, 300, 400, 500, 600, 700]),
    ],
)
def test_old_ones_go_by_rule(rules: dict[str, int], kept: list[int], tmp_path: Path) -> None:
    store = store_with(tmp_path, list(range(100, 800, 100)), **rules)
    removed = store.prune()
    assert names(tmp_path) == [f"step-{step:08d}" for step in kept]
    assert len(removed) == 7 - len(kept)
    assert store.prune() == []


def test_newest_complete_stays_whatever_comes_after(tmp_path: Path) -> None:
    store = store_with(tmp_path, [1, 2, 3, 4], keep=1)
    for step in (3, 4):
        (store.path(step) / "manifest.json").unlink()
    (tmp_path / "notes").mkdir()
    (tmp_path / ".step-00000009.partial").mkdir()
    store.prune()
    assert names(tmp_path) == ["notes", "step-00000002", "step-00000003", "step-00000004"]
    (store.path(2) / "manifest.json").unlink()
    assert store.prune() == []
    assert len(names(tmp_path)) == 4


def test_own_partial_is_no_leftover(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    (tmp_path / ".step-00000001.partial").mkdir()

    def write(folder: Path) -> None:
        assert [p.name for p in store.prune()] == [".step-00000001.partial"]
        some(folder)

    assert store.save(2, write) is None
    assert names(tmp_path) == ["step-00000002"]


def test_mistakes_of_the_program_are_not_swallowed(tmp_path: Path) -> None:
    store = store_with(tmp_path, [1])
    for error in (ValueError("shape"), RuntimeError("CUDA error"), KeyboardInterrupt()):

        def write(folder: Path, error: BaseException = error) -> None:
            some(folder)
            raise error

        with pytest.raises(type(error)):
            store.save(2, write)
        assert names(tmp_path) == ["step-00000001"]
    assert store.faults == []
    with pytest.raises(UserError, match="at least 1"):
        CheckpointStore(tmp_path, keep=0)


def test_folder_that_cannot_be_made_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("in the way")
    store = CheckpointStore(tmp_path / "checkpoints")
    called: list[Path] = []
    fault = store.save(7, called.append)
    assert fault is not None
    assert (fault.step, store.faults, called) == (7, [fault], [])
    assert "checkpoints" in fault.message


FULL = """
import resource, sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from paintsundo.training.checkpoint_store import CheckpointStore

tensors = {"a": torch.ones(2**18)}
def by_torch(folder): torch.save(tensors, folder / "state.ckpt")
def by_stream(folder): torch.save(tensors, (folder / "state.ckpt").open("wb"))
def by_safetensors(folder): save_file(tensors, folder / "state.safetensors")
def by_python(folder): (folder / "state.bin").write_bytes(bytes(2**20))

store = CheckpointStore(Path(sys.argv[1]))
assert store.save(1, by_torch) is None
resource.setrlimit(resource.RLIMIT_FSIZE, (2**19, resource.RLIM_INFINITY))
for step, write in enumerate((by_torch, by_stream, by_safetensors, by_python), 2):
    fault = store.save(step, write)
    assert fault is not None and fault.step == step, write
    print(fault.message)
    assert [p.name for p in store.folder.iterdir()] == ["step-00000001"], list(store.folder.iterdir())
assert len(store.faults) == 4
assert store.newest() == store.path(1)
assert torch.load(store.path(1) / "state.ckpt", weights_only=True)["a"].sum() == 2**18
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert store.save(6, by_torch) is None
assert store.newest() == store.path(6)
"""


def test_full_disk_costs_only_the_checkpoint_that_is_being_saved(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert all("File too large" in line for line in lines[1:])


KILLED = """
import os, sys
from pathlib import Path
from paintsundo.training.checkpoint_store import CheckpointStore
import paintsundo.training.checkpoint_store as module

store = CheckpointStore(Path(sys.argv[1]))
def write(folder):
    (folder / "state.ckpt").write_bytes(b"x" * 1000)
    if sys.argv[2] == "half":
        print("now", flush=True)
        sys.stdin.read()
assert store.save(1, lambda folder: (folder / "state.ckpt").write_bytes(b"x")) is None
if sys.argv[2] == "manifest":
    synced = module._sync
    def sync(path):
        synced(path)
        if path.name == "manifest.json":
            print("now", flush=True)
            sys.stdin.read()
    module._sync = sync
store.save(2, write)
"""


@pytest.mark.parametrize("moment", ["half", "manifest"])
def test_killed_while_saving_leaves_the_older_one(moment: str, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), moment], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"now\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert names(tmp_path) == [".step-00000002.partial", "step-00000001"]
    store = CheckpointStore(tmp_path)
    assert store.newest() == store.path(1)
    assert incomplete(store.path(1)) is None
    assert [path.name for path in store.prune()] == [".step-00000002.partial"]
    assert store.save(2, some) is None
    assert store.newest() == store.path(2)


def together(folder: Path, count: int, write: Callable[[int, Path], None]) -> list[CheckpointStore]:
    """Save step 5 with several processes, played by threads."""
    meeting = threading.Barrier(count, timeout=20)
    said: list[str | None] = [None] * count

    def share(rank: int, fault: str | None) -> str | None:
        said[rank] = fault
        meeting.wait()
        first = next((one for one in said if one is not None), None)
        meeting.wait()
        return first

    stores = [CheckpointStore(folder, rank=r, share=lambda f, r=r: share(r, f)) for r in range(count)]  # type: ignore[misc]
    threads = [
        threading.Thread(target=s.save, args=(5, lambda path, r=r: write(r, path))) for r, s in enumerate(stores)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return stores


def test_every_process_writes_its_share(tmp_path: Path) -> None:
    stores = together(tmp_path, 3, lambda rank, folder: (folder / f"{rank}.pt").write_bytes(b"z" * rank) and None)
    assert all(store.faults == [] for store in stores)
    assert names(tmp_path / "step-00000005") == ["0.pt", "1.pt", "2.pt", "manifest.json"]
    assert stores[0].newest() == stores[2].newest() == tmp_path / "step-00000005"
    assert stores[1].prune() == []


def test_fault_of_one_process_is_everyones(tmp_path: Path) -> None:
    def write(rank: int, folder: Path) -> None:
        (folder / f"{rank}.pt").write_bytes(b"z")
        if rank == 1:
            raise OSError(28, "No space left on device")

    stores = together(tmp_path, 3, write)
    assert [[fault.message for fault in store.faults] for store in stores] == [
        ["[Errno 28] No space left on device"]
    ] * 3
    assert names(tmp_path) == []


def test_faults_of_sharded_writers_are_known() -> None:
    from torch.distributed.checkpoint.api import CheckpointException

    disk = (OSError(28, "No space left on device"), None)
    assert is_save_fault(CheckpointException("save", {0: disk}))  # type: ignore[dict-item]
    assert not is_save_fault(CheckpointException("save", {0: disk, 1: (ValueError("x"), None)}))  # type: ignore[dict-item]
    assert not is_save_fault(torch.OutOfMemoryError("CUDA out of memory"))
    assert os.strerror(28) in str(disk[0])
