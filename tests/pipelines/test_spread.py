"""Films over several devices, here two processes on the processor: byte for byte those of one process."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from paintsundo.errors import UserError
from paintsundo.pipelines import batch
from paintsundo.pipelines.command import main
from paintsundo.pipelines.options import InferOptions, RuntimeOptions
from paintsundo.pipelines.run_folder import RunFolder
from paintsundo.pipelines.spread import SpreadPipe, Workers, launched, spread_devices
from tiny_models import arguments, drawing

TWO = "runtime.devices=[cpu,cpu]"
STEPS = "keyframes.operation_steps=[300,500,700]"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for index, size in enumerate([(60, 80), (70, 90), (80, 60)]):
        drawing(*size).save(folder / f"{index}.png")
    (folder / "broken.png").write_bytes(b"not a picture")
    return folder


@pytest.fixture(scope="module")
def alone(pictures, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("alone")
    assert main(arguments(pictures, output, STEPS, "prompt=x")) == 2
    return output


def outputs(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*.png"))}


def settings(folder: Path) -> dict[str, object]:
    return {file.parent.name: json.loads(file.read_text())["settings"] for file in sorted(folder.rglob("run.json"))}


def test_a_folder_over_two_processes(pictures, alone, tmp_path, capfd):
    assert main(arguments(pictures, tmp_path, STEPS, "prompt=x", TWO)) == 2
    told = capfd.readouterr()
    assert "3 of 4 pictures done; not done:" in told.err
    assert "broken.png" in told.err
    assert told.out.count("film.mp4: 60 frames") == 3
    assert outputs(tmp_path) == outputs(alone)
    assert len(outputs(alone)) == 3 * (60 + 5)
    assert settings(tmp_path) == settings(alone)  # so that each can go on with what the other has begun
    # A film that one process has made is known again by two, without starting them, and the reverse.
    assert main(arguments(pictures, alone, STEPS, "prompt=x", TWO)) == 2
    assert capfd.readouterr().err.count("is finished with these settings already: kept") == 3


def test_one_film_over_two_processes(pictures, alone, tmp_path, capfd):
    given = arguments(pictures / "1.png", tmp_path, STEPS, "prompt=x", TWO, "keyframes.noise=same")
    assert main(given) == 0
    assert outputs(tmp_path) == {name: data for name, data in outputs(alone).items() if name.startswith("1/")}
    assert settings(tmp_path)["1"] == settings(alone)["1"]
    record = json.loads((tmp_path / "1" / "run.json").read_text())
    assert record["peak_memory"]["cpu"]["process_GiB"] > 0
    assert {"keyframes", "interpolation", "decoding"} <= set(record["times"])
    capfd.readouterr()
    assert main(given) == 0
    assert "kept" in capfd.readouterr().err


def test_a_spread_film_goes_on_where_it_stopped(pictures, alone, tmp_path, capfd):
    """Frames gone and two clips finished: the other two are made, and the film is the same."""
    saved: list[int] = []
    original = RunFolder.save_clip

    def save(self: RunFolder, pair: int, latents: torch.Tensor) -> None:
        original(self, pair, latents)
        saved.append(pair)
        if len(saved) == 2:
            raise KeyboardInterrupt

    given = arguments(pictures / "1.png", tmp_path, STEPS, "prompt=x", TWO)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "save_clip", save)
        assert main(given) == 130
    assert len(list((tmp_path / "1" / ".unfinished" / "clips").iterdir())) == 2
    assert main(given) == 0
    assert "2 of 4 pairs were finished before" in capfd.readouterr().err
    assert outputs(tmp_path) == {name: data for name, data in outputs(alone).items() if name.startswith("1/")}


def _die(own: object) -> None:
    os._exit(3)


def test_a_process_that_dies_is_told():
    options = InferOptions()
    workers = Workers(options, ["cpu"], {})
    with pytest.raises(RuntimeError, match=r"a process of runtime\.devices died"), workers:
        workers.result(workers.submit(_die))


def test_devices_are_checked_first(tmp_path, capsys):
    def run(devices: str) -> str:
        assert main(arguments("nothing.png", tmp_path, f"runtime.devices={devices}")) == 2
        return capsys.readouterr().err

    assert "runtime.device=cuda:93: torch finds" in run("[cpu,cuda:93]")
    assert "cannot be 'gpu'" in run("[gpu,cpu]")


def test_names_of_devices(monkeypatch):
    def named(*devices: str) -> list[str]:
        return spread_devices(InferOptions(runtime=RuntimeOptions(devices=list(devices))))

    assert named() == []
    assert named("cpu", "cpu") == ["cpu", "cpu"]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert named("all") == ["cuda:0", "cuda:1", "cuda:2"]
    assert named("cuda", "cuda:2") == ["cuda:0", "cuda:2"]
    with pytest.raises(UserError, match="cuda:0 more than once"):
        named("cuda", "cuda:0")


@pytest.mark.parametrize(
    ("devices", "rows", "together", "shares"),
    [
        (["cuda:0", "cuda:1", "cuda:2", "cuda:3"], 7, None, [2, 2, 2, 1]),
        (["cuda:0", "cuda:1"], 7, None, [4, 3]),
        (["cuda:0", "cuda:1"], 7, 1, [1] * 7),
        (["cuda:0", "cuda:1"], 7, 3, [3, 2, 2]),
        (["cuda:0", "cuda:1", "cuda:2"], 2, None, [1, 1]),
        (["cpu", "cpu"], 3, None, [1, 1, 1]),
        (["cuda:0", "cuda:1"], 0, None, []),
    ],
)
def test_shares(devices, rows, together, shares):
    pipe = object.__new__(SpreadPipe)
    pipe.workers = object.__new__(Workers)
    pipe.workers.devices = devices
    parts = pipe._shares(range(rows), together)
    assert [len(part) for part in parts] == shares
    assert [row for part in parts for row in part] == list(range(rows))


def test_processes_of_torchrun_share_a_folder(pictures, alone, tmp_path, monkeypatch):
    """What each of two makes together is everything, once; the environment is torchrun's."""
    made = []
    for rank in range(2):
        for name, value in {
            "TORCHELASTIC_RUN_ID": "x",
            "WORLD_SIZE": "2",
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
        }.items():
            monkeypatch.setenv(name, value)
        assert launched() == (rank, 2, rank)
        before = set(outputs(tmp_path))
        main(arguments(pictures, tmp_path, STEPS, "prompt=x"))
        made.append(len(set(outputs(tmp_path)) - before) // 65)
    assert sorted(made) == [1, 2]
    assert outputs(tmp_path) == outputs(alone)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    assert launched() is None  # variables of other launchers alone mean nothing


def test_ctrl_c_ends_all_processes(pictures, tmp_path):
    """No process is left behind, and what was begun goes on later."""
    program = (
        "import faulthandler, signal, sys\n"
        "faulthandler.register(signal.SIGUSR1, all_threads=True)\n"
        "from paintsundo.pipelines.command import main\n"
        "sys.exit(main())"
    )
    command = [sys.executable, "-c", program]
    given = arguments(pictures, tmp_path, STEPS, "prompt=x", TWO, "video.num_inference_steps=400")
    process = subprocess.Popen(
        [*command, *given],
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in the background of a shell ignore Ctrl-C, and what they start does too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 240
    while not list(tmp_path.rglob("keyframes")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.2)
    children = [int(pid) for pid in _children(process.pid)]
    assert children
    process.send_signal(signal.SIGINT)
    try:
        _, told = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGUSR1)  # where it waits
        time.sleep(2)
        process.kill()
        pytest.fail(f"Ctrl-C did not end it:\n{process.communicate()[1]}")
    assert process.returncode == 130, told
    assert "Traceback" not in told
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def test_nothing_is_spread_where_little_is_to_do(monkeypatch, pictures, alone):
    monkeypatch.setattr(batch, "Workers", lambda *_: pytest.fail("processes were started"))
    assert main(arguments(pictures / "0.png", alone, STEPS, "prompt=x", TWO)) == 0
