import builtins
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from paintsundo.training.faults import Faults
from paintsundo.training.held_out import HeldOutLoss
from paintsundo.training.loggers import build_loggers
from paintsundo.training.samples import Samples, shows_clips
from paintsundo.training.videos import side_by_side, write_video
from tiny_loop import TinyModule, Zeros, csv_rows, fit

BANK = range(3)


def test_sheets_figures_and_share_of_time(tmp_path: Path) -> None:
    loggers = build_loggers({"csv": True}, tmp_path)
    fit(TinyModule(), [Samples(BANK, tmp_path, 4, count=2)], steps=6, loggers=loggers)
    assert sorted(p.name for p in (tmp_path / "samples").iterdir()) == ["000004.png", "000006.png"]
    sheet = np.asarray(Image.open(tmp_path / "samples" / "000006.png"))
    assert sheet.shape == (4 * 16, 5 * 24, 3)
    assert (sheet[0, 0, 0], sheet[16, 0, 0]) == (10, 200)
    lines = [json.loads(line) for line in (tmp_path / "figures.jsonl").read_text().splitlines()]
    assert [set(line) for line in lines] == [{"step", "state_psnr"}] * 2
    shares = [float(row["time/samples_share"]) for row in csv_rows(tmp_path) if row["time/samples_share"]]
    assert len(shares) == 2
    assert all(0 < share < 1 for share in shares)


GPU = pytest.param("gpu", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))


@pytest.mark.parametrize("accelerator", ["cpu", GPU])
def test_nothing_beside_the_steps_changes_them(tmp_path: Path, accelerator: str) -> None:
    plain, watched = TinyModule(), TinyModule(frames=5)
    fit(plain, [], steps=12, accelerator=accelerator)
    beside = [
        Samples(BANK, tmp_path, 2, averages=Zeros()),
        HeldOutLoss(BANK, tmp_path, 3, averages=Zeros(), count=4),
    ]
    fit(watched, beside, steps=12, accelerator=accelerator)
    assert len(list((tmp_path / "samples").glob("*.mp4"))) == 6
    assert plain.losses == watched.losses
    assert plain.drawn == watched.drawn
    for one, other in zip(plain.parameters(), watched.parameters(), strict=True):
        assert torch.equal(one, other)


def test_sample_figures_and_held_out_figures_share_a_line(tmp_path: Path) -> None:
    fit(TinyModule(), [HeldOutLoss(BANK, tmp_path, 3, count=4), Samples(BANK, tmp_path, 3)], steps=6)
    lines = [json.loads(line) for line in (tmp_path / "figures.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 6]
    assert all({"state_psnr", "held_out_loss", "held_out_loss_q4"} <= set(line) for line in lines)


def test_clips_play_beside_the_true_ones_from_blank_to_finished(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    fit(TinyModule(frames=5), [Samples(BANK, tmp_path, 2)], steps=2)
    with av.open(str(tmp_path / "samples" / "000002.mp4")) as film:
        frames = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
    assert len(frames) == 5
    assert frames[0].shape == (3 * 16, 2 * 24, 3)
    assert frames[0][:, :20].mean() == pytest.approx(10, abs=8)
    assert frames[0][:, 28:].mean() == pytest.approx(200, abs=8)
    rows = torch.arange(3, dtype=torch.uint8).view(1, 3, 1, 1, 1).expand(2, 3, 3, 4, 4)
    assert side_by_side(rows)[:, 0, 0, 0].tolist() == [2, 1, 0]


def test_only_pairs_of_clips_are_shown_as_video() -> None:
    rows = torch.zeros(4, 5, 3, 8, 8)
    assert shows_clips(TinyModule(frames=5), rows)
    assert not shows_clips(TinyModule(frames=4), rows)
    assert not shows_clips(TinyModule(frames=5), rows[:3])
    assert not shows_clips(TinyModule(), rows)


def test_without_pyav_the_video_is_a_gif(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without(name: str, *rest):
        if name == "av":
            raise ImportError
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    frames = np.stack([np.full((15, 21, 3), value, np.uint8) for value in (0, 90, 255)])
    file = write_video(tmp_path / "clip.mp4", frames, 6)
    assert file == tmp_path / "clip.gif"
    with Image.open(file) as film:
        assert (film.n_frames, film.size) == (3, (21, 15))
    assert [p.name for p in tmp_path.iterdir()] == ["clip.gif"]


class Failing(TinyModule):
    """Samples as told: True succeeds."""

    def __init__(self, *succeeds: bool) -> None:
        super().__init__()
        self.succeeds = list(succeeds)

    def sample_pictures(self, bank, count, seed):
        if self.succeeds.pop(0):
            return super().sample_pictures(bank, count, seed)
        raise RuntimeError("no kernel\nfor this card")


def test_later_failures_are_counted_and_training_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faults = Faults(tmp_path)
    module = Failing(True, False, True)
    callback = Samples(BANK, tmp_path, 2, averages=Zeros(), faults=faults)
    trainer = fit(module, [callback], steps=6)
    assert trainer.global_step == 6
    assert faults.totals() == {"failed samples": 1}
    assert capsys.readouterr().err.splitlines() == ["failed samples at step 4: RuntimeError: no kernel"]
    assert sorted(p.name for p in (tmp_path / "samples").iterdir()) == ["000002.png", "000006.png"]


def test_the_first_failure_ends_training_and_gives_the_weights_back(tmp_path: Path) -> None:
    module = Failing(False)
    with pytest.raises(RuntimeError, match="no kernel"):
        fit(module, [Samples(BANK, tmp_path, 2)], steps=6)
    assert module.network[2].training
    assert not list(tmp_path.rglob("*.png"))


def test_a_sheet_is_written_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = Image.Image.save
    calls = []

    def cut_off(self, target, *args, **kwargs):
        saved(self, target, *args, **kwargs)
        calls.append(target)
        if len(calls) == 2:
            Path(target).write_bytes(b"half")
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", cut_off)
    faults = Faults(None)
    fit(TinyModule(), [Samples(BANK, tmp_path, 2, faults=faults)], steps=4)
    assert faults.totals() == {"failed samples": 1}
    assert [p.name for p in (tmp_path / "samples").iterdir()] == ["000002.png"]


def test_resumed_runs_do_not_sample_again_at_their_first_batch(tmp_path: Path) -> None:
    trainer = fit(TinyModule(), [], steps=4, accumulate_grad_batches=2)
    trainer.save_checkpoint(tmp_path / "four.ckpt")
    callback = Samples(BANK, tmp_path, 2)
    fit(TinyModule(), [callback], steps=6, accumulate_grad_batches=2, resume=tmp_path / "four.ckpt")
    assert [p.name for p in (tmp_path / "samples").iterdir()] == ["000006.png"]
