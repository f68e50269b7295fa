import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from support.data_loading import of_form, stored_bytes  # type: ignore[import-not-found]

import mixed_sizes
from paintsundo.data.index import read_indexes
from paintsundo.data.shards import read_samples


def test_loading_is_measured_for_both_forms(
    evaluate: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    small = ("processes=2", "states=20", "state_size=[32,48]", "clip_size=[32,32]", "seconds=0.2", "cores=[1]")
    done = evaluate("data", "loading", f"output={tmp_path}", *small)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "loading.json").read_text())["rows"]
    assert [(row["form"], row["samples"], row["cores"]) for row in rows] == [
        (form, samples, 1) for form in ("stages", "states") for samples in ("states", "clips")
    ]
    for row in rows:
        picture = 3 * row["size"][0] * row["size"][1]
        pictures = 2 if row["samples"] == "states" else 16
        assert row["samples_per_second"] > 0
        assert abs(row["mb_per_second"] * 1e6 / row["samples_per_second"] / (pictures * picture) - 1) < 1e-6
        assert 0 < row["cpu_seconds_per_sample"] < 1
        assert row["stored_mb"] > 0
        assert row["processes"] == 2
    assert (tmp_path / "loading.md").read_text() in done.stdout


def test_a_given_data_set_is_measured_by_its_forms(
    evaluate: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    data = mixed_sizes.write(tmp_path / "set", 3)
    stages, states = (of_form(read_indexes([data], "train"), form) for form in (0, 1))
    assert (len(stages), len(states)) == (3, 0)
    assert stored_bytes(states) == 0
    members = sum(len(member) for _, sample in read_samples(data / "00000.tar") for member in sample.values())
    assert stored_bytes(stages) == members / 3
    refused = evaluate("data", "loading", f"output={tmp_path / 'out'}", f"data={data}", "cores=[5000]")
    assert refused.returncode == 2
    assert "cores=[5000]" in refused.stderr
