import json
from pathlib import Path


def test_curves_of_runs_interrupted_ones_included(evaluate, tmp_path: Path) -> None:
    log = tmp_path / "runs" / "video_decoder" / "log"
    log.mkdir(parents=True)
    (log / "metrics_before_20.csv").write_text("epoch,loss,step\n0,3.0,9\n0,2.0,19\n")
    (log / "metrics.csv").write_text("epoch,loss,step\n0,1.0,29\n")
    (log.parent / "figures.jsonl").write_text(json.dumps({"step": 20, "held_out_psnr": 27.5}) + "\n")
    done = evaluate("training_curves", f"runs={tmp_path / 'runs'}", f"output={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "curves.png").stat().st_size > 5000

    from training_curves import read_figures, read_losses  # type: ignore[import-not-found]

    assert read_losses(log) == ([9, 19, 29], [3.0, 2.0, 1.0])
    assert read_figures(log.parent / "figures.jsonl") == {"held_out_psnr": ([20], [27.5])}


def test_no_runs_is_one_line(evaluate, tmp_path: Path) -> None:
    done = evaluate("training_curves", f"runs={tmp_path}", f"output={tmp_path / 'out'}")
    assert done.returncode == 2
    assert "holds no runs" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
