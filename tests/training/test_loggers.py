import importlib.util
import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import paintsundo.training.loggers as loggers
from paintsundo.errors import UserError
from paintsundo.training.loggers import MetricsFile, build_loggers, check_loggers
from paintsundo.training.samples import Samples
from paintsundo.training.throughput import Throughput
from tiny_loop import TinyModule, csv_rows, fit


def interrupted_run(folder: Path, options: dict, monkeypatch: pytest.MonkeyPatch | None = None) -> list[float]:
    """Five steps, of which those after a checkpoint at the third are done again, up to eight; their losses."""
    first = TinyModule()
    fit(TinyModule(), [], steps=3, log_every=1).save_checkpoint(folder / "three.ckpt")
    beside = [Throughput(rate=1e9), Samples(range(2), folder, 2)]
    fit(first, beside, steps=5, log_every=1, loggers=build_loggers(options, folder))
    again = TinyModule()
    beside = [Throughput(rate=1e9), Samples(range(2), folder, 2)]
    going_on = build_loggers(options, folder, step=3)
    fit(again, beside, steps=8, log_every=1, loggers=going_on, start=3, resume=folder / "three.ckpt")
    return first.losses[:3] + again.losses


def test_the_table_goes_on_and_lost_steps_go(tmp_path: Path) -> None:
    losses = interrupted_run(tmp_path, {"csv": True})
    rows = csv_rows(tmp_path)
    assert [int(row["step"]) for row in rows] == list(range(8))
    assert [float(row["loss"]) for row in rows] == pytest.approx(losses, rel=1e-5)
    assert [bool(row["state_psnr"]) for row in rows] == [False, True, False, True, False, True, False, True]
    assert [p.name for p in (tmp_path / "log").iterdir()] == ["metrics.csv"]


def test_table_of_rows_that_grow(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    table = MetricsFile(file, 0)
    table.log_metrics({"loss": torch.tensor(0.5)}, 0)
    table.save()
    table.log_metrics({"loss": 0.25}, 1)
    table.save()
    table.log_metrics({"held": 3.0}, 1)  # a column and a row that exist in part
    table.save()
    table.log_metrics({"held": 4.0}, 1)
    table.log_metrics({"loss": 0.125}, 2)
    table.save()
    table.save()
    assert file.read_text().splitlines() == ["held,loss,step", ",0.5,0", "4.0,0.25,1", ",0.125,2"]
    with file.open("a") as stream:
        stream.write("7.0,0.0")  # killed while writing
    again = MetricsFile(file, 2)
    assert file.read_text().splitlines() == ["held,loss,step", ",0.5,0", "4.0,0.25,1"]
    again.log_metrics({"loss": 0.1}, 2)
    again.save()
    assert file.read_text().splitlines()[-1] == ",0.1,2"
    again = MetricsFile(file, 3)
    again.log_metrics({"held": 9.0}, 2)  # at the end of a run that goes on
    again.save()
    assert file.read_text().splitlines()[-1] == "9.0,0.1,2"


def test_tensorboard_goes_on_in_its_folder(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    losses = interrupted_run(tmp_path, {"csv": False, "tensorboard": True})
    assert not (tmp_path / "log").exists()
    read = EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    scalars = read.Scalars("loss")
    assert [s.step for s in scalars] == list(range(8))
    assert [s.value for s in scalars] == pytest.approx(losses, rel=1e-5)
    assert "throughput/images_per_second" in read.Tags()["scalars"]
    sheets = read.Images("samples/sheet")
    assert {s.step for s in sheets} >= {1, 3, 5, 7}
    assert (sheets[0].width, sheets[0].height) == (5 * 24, 4 * 16)


def test_clips_in_tensorboard_move(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    going = build_loggers({"csv": False, "tensorboard": True}, tmp_path)
    fit(TinyModule(frames=5), [Samples(range(2), tmp_path, 2)], steps=2, loggers=going)
    read = EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    clip = read.Images("samples/clips")[0]
    assert clip.encoded_image_string.startswith(b"GIF89a")
    assert (clip.width, clip.height, clip.step) == (2 * 24, 2 * 16, 1)


def wandb_records(file: Path) -> Iterator[bytes]:
    """wandb's own file: LevelDB's log format (blocks of 32 KiB; crc32, length, kind of piece) after 7 bytes."""
    data, at, record = file.read_bytes(), 7, b""
    while at + 7 <= len(data):
        room = 32768 - at % 32768
        if room < 7:
            at += room
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield record
            record = b""


def wandb_history(folder: Path) -> dict[str, list[dict]]:
    """What wandb's files say, by the name of the folder of each process."""
    from wandb.proto import wandb_internal_pb2

    found = {}
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        rows = []
        for data in wandb_records(file):
            record = wandb_internal_pb2.Record.FromString(data)
            if record.HasField("run"):
                rows.append({"id": record.run.run_id, "project": record.run.project})
            if record.HasField("history"):
                rows.append({i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in record.history.item})
        found[file.parent.name] = rows
    return found


def test_wandb_offline_goes_on_as_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    losses = interrupted_run(tmp_path, {"csv": False, "wandb": True, "project": "drawings", "offline": True})
    identity = json.loads((tmp_path / "wandb_run.json").read_text())
    parts = wandb_history(tmp_path)
    assert len(parts) == 2
    found: dict[int, float] = {}
    for name, rows in parts.items():
        assert name.endswith(identity["id"])
        assert rows[0] == identity == {"id": rows[0]["id"], "project": "drawings"}
        found |= {row["trainer/global_step"]: row["loss"] for row in rows if "loss" in row}
    assert [found[step] for step in range(8)] == pytest.approx(losses, rel=1e-5)
    assert len(list(tmp_path.glob("wandb/offline-run-*/files/media/images/samples/*.png"))) == 6
    import wandb

    assert wandb.run is None  # another training in this process begins another run


def test_an_offline_run_is_on_the_disk_as_soon_as_it_has_ended(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    (logger,) = build_loggers({"csv": False, "wandb": True, "project": "drawings", "offline": True}, tmp_path)
    logger.log_metrics({"loss": 0.5}, 0)
    logger.finalize("success")
    (rows,) = wandb_history(tmp_path).values()  # at once
    assert rows[0]["project"] == "drawings"
    assert rows[1]["loss"] == 0.5


def test_missing_packages_are_told_with_their_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(loggers, "find_spec", lambda name: None if name in ("wandb", "tensorboard") else found(name))
    check_loggers({"csv": True})
    for name in ("wandb", "tensorboard"):
        with pytest.raises(UserError, match=rf"logger\.{name}=true .*: pip install {name}$"):
            build_loggers({name: True}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_identity_begins_a_new_run(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    (tmp_path / "wandb_run.json").write_text('{"id"')
    (logger,) = build_loggers({"csv": False, "wandb": True}, tmp_path)
    assert len(logger.identity["id"]) == 8
    assert logger.identity["project"] == "paintsundo"


def test_no_logger_at_all(tmp_path: Path) -> None:
    assert build_loggers({"csv": False}, tmp_path) == []
    module = TinyModule()
    fit(module, [Throughput(rate=1e9), Samples(range(2), tmp_path, 2)], steps=2)
    assert math.isfinite(module.losses[-1])
