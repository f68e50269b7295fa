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


def test_held_out_quantiles_and_speed_of_one_run(evaluate, tmp_path: Path) -> None:
    from matplotlib import image

    log = tmp_path / "run" / "log"
    log.mkdir(parents=True)
    speed = "throughput/images_per_second,throughput/mfu"
    (log / "metrics.csv").write_text(f"loss,step,{speed}\n3.0,9,,\n2.0,19,41.5,0.4\n1.5,29,42.5,\n")
    quantiles = [{f"held_out_loss_q{q}": value / q for q in range(1, 5)} for value in (1.0, 0.5)]
    lines = [{"step": 10 * n, "held_out_loss": 0.5, "state_psnr": None, **q} for n, q in enumerate(quantiles, 1)]
    (log.parent / "figures.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = evaluate("training_curves", f"runs={tmp_path / 'run'}", f"output={tmp_path / 'out'}")
    assert done.returncode == 0, done.stderr
    height, width = image.imread(tmp_path / "out" / "curves.png").shape[:2]
    assert (height, width) == (round(3 * 3.2 * 110), 4 * 110)

    from training_curves import read_figures, read_metric  # type: ignore[import-not-found]

    assert read_metric(log, "throughput/images_per_second") == ([19, 29], [41.5, 42.5])
    assert read_metric(log, "throughput/mfu") == ([19], [0.4])
    found = read_figures(log.parent / "figures.jsonl")
    assert "state_psnr" not in found
    assert found["held_out_loss_q4"] == ([10, 20], [0.25, 0.125])


def test_no_runs_is_one_line(evaluate, tmp_path: Path) -> None:
    done = evaluate("training_curves", f"runs={tmp_path}", f"output={tmp_path / 'out'}")
    assert done.returncode == 2
    assert "holds no runs" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
