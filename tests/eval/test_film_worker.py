"""What the processes of `benchmark.py inference` do that only shows on other machines: caps of a card, no PyAV."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

EVAL = Path(__file__).parents[2] / "eval"


@pytest.mark.parametrize(("name", "index"), [("cuda", 3), ("cuda:1", 1)])
def test_a_cap_is_of_one_card(name, index, monkeypatch):
    from support.film_worker import cap

    capped = {}
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=(10 + device) * 2**30)
    )
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda share, device: capped.update({device: share})
    )
    result = {}
    cap(torch.device(name), 4.0, result)
    # PyTorch takes a device with its number only.
    assert capped == {index: pytest.approx(4 / (10 + index))}
    assert result["cap"] == f"enforced: 4.0 of {10 + index:.1f} GiB"


def test_films_are_written_without_pyav(tmp_path):
    """With the stand-in before all else, all is done but the video's bytes."""
    for number in range(2):
        Image.new("RGB", (9, 7), (number, 0, 0)).save(tmp_path / f"{number}.png")
    program = (
        "import av, sys; from pathlib import Path\n"
        "assert 'no_video' in av.__file__\n"
        "from paintsundo.pipelines import writers\n"
        "from types import SimpleNamespace\n"
        "frames = sorted(Path(sys.argv[1]).glob('*.png'))\n"
        "writers.write_mp4(Path(sys.argv[1]) / 'film.mp4', frames, 4, SimpleNamespace(container=dict))\n"
    )
    path = os.pathsep.join([str(EVAL / "support" / "no_video"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "film.mp4").is_file()
