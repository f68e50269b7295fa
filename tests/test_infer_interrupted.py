"""`infer.py` stopped before its end: what it leaves behind, and how it goes on to the same film."""

import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from command_errors import one_line_error
from paintsundo.pipelines import film, writers
from paintsundo.pipelines.command import main
from tiny_models import PAIRS, arguments, drawing, pictures

REPOSITORY = Path(__file__).parents[1]


class TestInterruption:
    @pytest.fixture(scope="class")
    def at_once(self, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
        """Frames of a run that was not interrupted."""
        base = tmp_path_factory.mktemp("at_once")
        drawing().save(base / "picture.png")
        assert main(arguments(base / "picture.png", base)) == 0
        return pictures(base / "picture" / "frames")

    @pytest.mark.parametrize(
        ("owner", "name", "call"),
        [
            (film.PaintsUndoPipeline, "prepare_interpolation", 1),
            (film, "start_decoding", 2),
            (writers, "write_png", 12),
        ],
        ids=["after keyframes", "between decoded pairs", "between frames"],
    )
    def test_interrupted_run_goes_on_to_the_same_film(
        self, picture: Path, output: Path, at_once, monkeypatch: pytest.MonkeyPatch, owner, name, call
    ) -> None:
        from paintsundo.pipelines import job

        calls = 0
        original = getattr(owner, name)

        def interrupted(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == call:
                raise KeyboardInterrupt
            return original(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(job if name == "write_png" else owner, name, interrupted)
            assert main(arguments(picture, output)) == 130
        folder = output / "picture"
        assert not (folder / "run.json").exists()
        assert not (folder / "frames").exists()
        assert not (folder / "film.mp4").exists()
        keyframe = (folder / "keyframes" / "01.png").stat().st_mtime_ns
        assert main(arguments(picture, output)) == 0
        assert (folder / "keyframes" / "01.png").stat().st_mtime_ns == keyframe
        assert not (folder / ".unfinished").exists()
        assert (pictures(folder / "frames") == at_once).all()

    def test_finished_pairs_are_not_computed_again(
        self, picture: Path, output: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        computed: list[int] = []
        original = film.denoise_pairs

        def counted(parts, scheduler, device, noise_device, conditions, pairs, *rest):
            if computed and not again:
                raise KeyboardInterrupt
            computed.extend(pairs)
            return original(parts, scheduler, device, noise_device, conditions, pairs, *rest)

        monkeypatch.setattr(film, "denoise_pairs", counted)
        again = False
        assert main(arguments(picture, output)) == 130
        again = True
        assert main(arguments(picture, output)) == 0
        assert computed == list(range(PAIRS))

    def test_interrupted_run_with_other_settings_needs_overwrite(
        self, picture: Path, output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(film, "start_decoding", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            assert main(arguments(picture, output)) == 130
        capsys.readouterr()
        assert main(arguments(picture, output, "video.seed=9")) == 2
        assert "video.seed: 123 then, 9 now" in one_line_error(capsys)
        keyframe = (output / "picture/keyframes/01.png").stat().st_mtime_ns
        assert main(arguments(picture, output, "video.seed=9", "overwrite=true")) == 0
        # Keyframes do not depend on the video's seed.
        assert (output / "picture/keyframes/01.png").stat().st_mtime_ns == keyframe

    def test_ctrl_c(self, picture: Path, output: Path) -> None:
        steps = "video.num_inference_steps=900"
        process = subprocess.Popen(
            [sys.executable, "infer.py", *arguments(picture, output, steps)],
            cwd=REPOSITORY,
            stderr=subprocess.PIPE,
            text=True,
            # shells start background jobs, and so tests in them, with Ctrl-C ignored
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        deadline = time.monotonic() + 120
        while not (output / "picture" / "keyframes").is_dir():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "Traceback" not in stderr
        assert not (output / "picture" / "run.json").exists()
        assert not (output / "picture" / "film.mp4").exists()

    def test_full_disk(self, picture: Path, output: Path) -> None:
        limit = 16_000  # bytes that a file may have: pictures fit, the film does not

        def full() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        command = arguments(picture, output)
        process = subprocess.run(
            [sys.executable, "infer.py", *command],
            cwd=REPOSITORY,
            preexec_fn=full,
            capture_output=True,
            text=True,
        )
        assert process.returncode == 1
        assert "Traceback" not in process.stderr
        assert process.stderr.strip().splitlines()[-1].startswith("error: File too large")
        assert not (output / "picture" / "film.mp4").exists()
        assert not (output / "picture" / "run.json").exists()
        assert (output / "picture" / "frames").is_dir()
        assert main(command) == 0
        assert (output / "picture" / "film.mp4").stat().st_size > limit
