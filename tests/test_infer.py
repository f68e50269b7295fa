"""`infer.py` from end to end: what it writes, what it keeps, how it goes on, and how it ends on bad input."""

import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from paintsundo.pipelines import film, loading, writers
from paintsundo.pipelines.command import main
from random_checkpoint import write_checkpoint
from tiny_models import FRAMES, MODELS, PAIRS, SMALL, TINY, arguments, drawing, pictures

REPOSITORY = Path(__file__).parents[1]
TRAINED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    file = tmp_path / "picture.png"
    drawing().save(file)
    return file


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "films"


def one_line_error(capsys: pytest.CaptureFixture[str]) -> str:
    """The error on stderr, which must be a single line without a traceback."""
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]


class TestOutputs:
    @pytest.fixture(scope="class")
    def folder(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        base = tmp_path_factory.mktemp("outputs")
        drawing().save(base / "my drawing.png")
        formats = "video.formats=[mp4,gif,webp,sheet]"
        assert main(arguments(base / "my drawing.png", base / "out", formats)) == 0
        return base / "out" / "my drawing"

    def test_files_are_those_promised(self, folder: Path) -> None:
        assert sorted(file.name for file in folder.iterdir()) == [
            "contact_sheet.png",
            "film.gif",
            "film.mp4",
            "film.webp",
            "frames",
            "keyframes",
            "prompt.txt",
            "run.json",
        ]
        assert sorted(file.name for file in (folder / "keyframes").iterdir()) == ["00.png", "01.png", "02.png"]
        assert sorted(file.name for file in (folder / "frames").iterdir()) == [
            f"{index:05d}.png" for index in range(FRAMES)
        ]

    def test_keyframes_go_from_finished_to_blank(self, folder: Path) -> None:
        keyframes = pictures(folder / "keyframes")
        assert keyframes.shape == (3, 48, 32, 3)
        assert (keyframes[-1] == 255).all()
        # 60x80 covers 32x48 at 36x48.
        fitted = np.asarray(drawing().resize((36, 48), Image.Resampling.BOX))[:, 2:34]
        assert np.abs(keyframes[0].astype(int) - fitted).mean() < 3

    def test_prompt_is_the_taggers(self, folder: Path) -> None:
        from paintsundo.conditioning import Tagger

        prompt = (folder / "prompt.txt").read_text(encoding="utf-8")
        assert prompt == Tagger.from_pretrained(TINY / "tagger").tag(drawing())

    def test_mp4(self, folder: Path) -> None:
        with av.open(str(folder / "film.mp4")) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            assert stream.codec_context.pix_fmt == "yuv420p"
            assert stream.average_rate == 4
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        lossless = pictures(folder / "frames")
        assert len(frames) == FRAMES
        # Chroma is halved; brightness must be all but exact at crf 1.
        assert np.abs(np.stack(frames).mean(-1) - lossless.mean(-1)).mean() < 4

    def test_every_file_says_that_it_is_synthetic_and_by_what(self, folder: Path) -> None:
        with av.open(str(folder / "film.mp4")) as container:
            texts = {"film.mp4": container.metadata["comment"]}
        texts["film.gif"] = Image.open(folder / "film.gif").info["comment"].decode()
        webp = Image.open(folder / "film.webp")
        texts["film.webp"] = webp.getexif()[270]
        assert TRAINED in webp.info["xmp"].decode()
        for file in (folder / "contact_sheet.png", *folder.glob("*/*.png")):
            info = Image.open(file).info
            assert TRAINED in info["XML:com.adobe.xmp"]
            texts[file.name] = info["Comment"] + info["Settings"]
        assert len(texts) == 4 + 3 + FRAMES
        for name, text in texts.items():
            assert "Synthetic media" in text, name
            assert "paintsundo" in text, name
            assert "single_frame" in text, name
            assert "multi_frame" in text, name
            assert '"num_inference_steps": 1' in text, name
            # A film that is passed on must not tell where its maker keeps files.
            assert str(TINY) not in text, name

    def test_animations_have_all_frames(self, folder: Path) -> None:
        for name in ("film.gif", "film.webp"):
            animation = Image.open(folder / name)
            assert animation.n_frames == FRAMES
            assert animation.size == (32, 32)

    def test_record(self, folder: Path) -> None:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        assert record["complete"] is True
        assert record["seeds"] == {"keyframes": 12345, "pairs": [123, 124]}
        assert record["frames"] == FRAMES
        assert record["configuration"]["keyframes"]["width"] == 32
        assert record["versions"]["torch"]
        networks = ("keyframe_unet", "keyframe_vae", "video_unet", "video_vae")
        assert record["dtypes"] == dict.fromkeys(networks, "float32")
        assert record["peak_memory"]["process_GiB"] > 0.05
        assert {"load", "tag", "keyframes", "conditions", "interpolation", "decoding", "film"} <= set(record["times"])
        weights = record["checkpoints"]["multi_frame"]["sha256"]["unet/model.safetensors"]
        import hashlib

        assert weights == hashlib.sha256((TINY / "multi_frame/unet/model.safetensors").read_bytes()).hexdigest()


class TestSecondRun:
    def test_finished_run_is_kept(self, picture: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(arguments(picture, output)) == 0
        before = {file: file.stat().st_mtime_ns for file in output.rglob("*") if file.is_file()}
        capsys.readouterr()
        assert main(arguments(picture, output)) == 0
        assert "kept" in capsys.readouterr().err
        assert before == {file: file.stat().st_mtime_ns for file in output.rglob("*") if file.is_file()}

    def test_other_settings_need_overwrite(
        self, picture: Path, output: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(arguments(picture, output)) == 0
        keyframes = pictures(output / "picture" / "keyframes")
        frames = pictures(output / "picture" / "frames")
        capsys.readouterr()
        other = arguments(picture, output, "keyframes.seed=7")
        assert main(other) == 2
        error = one_line_error(capsys)
        assert "keyframes.seed: 12345 then, 7 now" in error
        assert "overwrite=true" in error
        assert (pictures(output / "picture" / "frames") == frames).all()
        assert main([*other, "overwrite=true"]) == 0
        assert (pictures(output / "picture" / "keyframes") != keyframes).any()
        assert json.loads((output / "picture" / "run.json").read_text())["seeds"]["keyframes"] == 7

    def test_other_picture_under_the_same_name_needs_overwrite(self, picture: Path, output: Path) -> None:
        assert main(arguments(picture, output)) == 0
        drawing(50, 50).save(picture)
        assert main(arguments(picture, output)) == 2

    def test_overwrite_makes_an_equal_film_anew(self, picture: Path, output: Path) -> None:
        assert main(arguments(picture, output)) == 0
        first = output / "picture" / "frames" / "00000.png"
        before, pixels = first.stat().st_mtime_ns, pictures(output / "picture" / "frames")
        assert main(arguments(picture, output, "overwrite=true")) == 0
        assert first.stat().st_mtime_ns > before
        assert (pictures(output / "picture" / "frames") == pixels).all()

    def test_more_formats_are_added_without_models(
        self, picture: Path, output: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert main(arguments(picture, output)) == 0
        monkeypatch.setattr(loading, "load_multi_frame", pytest.fail)
        assert main(arguments(picture, output, "video.formats=[mp4,gif]")) == 0
        assert (output / "picture" / "film.gif").is_file()
        record = json.loads((output / "picture" / "run.json").read_text())
        assert record["complete"]
        assert record["times"]["interpolation"] > 0

    def test_pictures_that_were_taken_away_are_made_again(self, picture: Path, output: Path) -> None:
        assert main(arguments(picture, output)) == 0
        before = pictures(output / "picture" / "frames")
        (output / "picture" / "frames" / "00007.png").unlink()
        assert main(arguments(picture, output)) == 0
        assert (pictures(output / "picture" / "frames") == before).all()

    def test_outputs_of_unknown_origin_are_not_overwritten(self, picture: Path, output: Path) -> None:
        (output / "picture").mkdir(parents=True)
        (output / "picture" / "film.mp4").write_bytes(b"somebody's")
        assert main(arguments(picture, output)) == 2
        assert (output / "picture" / "film.mp4").read_bytes() == b"somebody's"


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


class TestInput:
    def test_folder_of_odd_and_bad_pictures(
        self, tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder = tmp_path / "in"
        folder.mkdir()
        drawing().convert("RGBA").save(folder / "alpha, [1] = 'é' (2).png")
        drawing().convert("CMYK").save(folder / "print.jpg")
        Image.fromarray(np.asarray(drawing())[..., 0].astype(np.uint16) * 257).save(folder / "deep.png")
        drawing().save(folder / "moving.gif", save_all=True, append_images=[drawing(60, 80)])
        exif = Image.Exif()
        exif[274] = 6  # turned by a quarter
        drawing(80, 60).save(folder / "turned.jpg", exif=exif)
        drawing().save(folder / "same.png")
        drawing().save(folder / "same.bmp")
        (folder / "text.png").write_text("not a picture")
        Image.new("RGB", (1, 1)).save(folder / "dot.png")
        Image.new("RGB", (20000, 100)).save(folder / "strip.png")
        (folder / "notes.txt").write_text("not meant as a picture")
        assert main(arguments(folder, output)) == 2
        good = ["alpha, [1] = 'é' (2)", "deep", "moving", "print", "same.bmp", "same.png", "turned"]
        assert sorted(path.name for path in output.iterdir()) == good
        for name in good:
            assert len(list((output / name / "frames").iterdir())) == FRAMES
            assert json.loads((output / name / "run.json").read_text(encoding="utf-8"))["complete"]
        told = capsys.readouterr().err
        assert "skipped notes.txt" in told
        assert "7 of 10 pictures done" in told
        for bad in ("text.png", "dot.png", "strip.png"):
            assert bad in told
        # Orientation is applied: the finished picture stands upright.
        upright = np.asarray(Image.open(output / "turned" / "keyframes" / "00.png")).astype(int)
        other = np.asarray(drawing(80, 60).rotate(-90, expand=True).resize((36, 48)))[:, 2:34]
        assert np.abs(upright - other).mean() < 12

    def test_glob(self, tmp_path: Path, output: Path) -> None:
        for name in ("a1.png", "a2.png", "b.png"):
            drawing().save(tmp_path / name)
        assert main(arguments(tmp_path / "a*.png", output)) == 0
        assert sorted(path.name for path in output.iterdir()) == ["a1", "a2"]

    @pytest.mark.parametrize("name", ["a, b [x] k=v été (1).png", "${oc.env:HOME}\\${x}.png", "'q'.png", "*.png"])
    def test_names_are_taken_literally(self, tmp_path: Path, output: Path, name: str) -> None:
        drawing().save(tmp_path / name)
        assert main(arguments(tmp_path / name, output, "prompt=${x}, 'a', [b]={c}")) == 0
        folder = output / Path(name).stem
        assert (folder / "prompt.txt").read_text(encoding="utf-8") == "${x}, 'a', [b]={c}"
        assert len(pictures(folder / "frames")) == FRAMES

    def test_own_keyframes(self, tmp_path: Path, output: Path) -> None:
        own = tmp_path / "states"
        own.mkdir()
        # Numbers in names count as numbers.
        for name, shade in (("s2", 0), ("s9", 120), ("s10", 255)):
            drawing(32, 48).point(lambda value, shade=shade: max(value, shade)).save(own / f"{name}.png")
        command = [f"output={output}", *MODELS, *SMALL, f"keyframes.folder={own}", "prompt=x"]
        assert main(command) == 0
        written = pictures(output / "states" / "keyframes")
        for keyframe, name in zip(written, ("s2", "s9", "s10"), strict=True):
            assert (keyframe == np.asarray(Image.open(own / f"{name}.png"))).all()
        assert len(pictures(output / "states" / "frames")) == FRAMES

    def test_padding_keeps_the_whole_picture(self, tmp_path: Path, output: Path, capsys) -> None:
        Image.new("RGB", (90, 30), "black").save(tmp_path / "wide.png")
        assert main(arguments(tmp_path / "wide.png", output, "keyframes.fit=pad")) == 0
        keyframe = pictures(output / "wide" / "keyframes")[0]
        assert (keyframe[0] == 255).all()
        assert (keyframe[24] == 0).all()
        assert "cropped from 90x30" not in capsys.readouterr().err

    def test_crop_is_told(self, tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
        drawing(90, 30).save(tmp_path / "wide.png")
        assert main(arguments(tmp_path / "wide.png", output)) == 0
        assert "% of the width" in capsys.readouterr().err


class TestModels:
    @pytest.fixture(scope="class")
    def checkpoint(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return write_checkpoint(tmp_path_factory.mktemp("models"), seed=3)

    @pytest.fixture
    def command(self, checkpoint: Path, picture: Path, output: Path) -> list[str]:
        return [
            *arguments(picture, output),
            *(f"models.{kind}={checkpoint}" for kind in ("single_frame", "multi_frame", "tagger")),
            "keyframes.width=28",
            "keyframes.height=36",
            "video.buckets=[[40,24]]",
        ]

    def test_models_of_other_sizes(self, command: list[str], output: Path) -> None:
        assert main([*command, "keyframes.operation_steps=[200,800]", "video.attention_window=roll"]) == 0
        assert pictures(output / "picture" / "keyframes").shape == (4, 36, 28, 3)
        # Three pairs of clips of 8 frames.
        frames = pictures(output / "picture" / "frames")
        assert frames.shape == (3 * 7, 40, 24, 3)
        assert frames.std() > 5

    def test_sizes_are_judged_by_the_models_in_use(self, command: list[str], capsys) -> None:
        assert main([*command, "keyframes.width=30"]) == 2
        assert "multiple of 4" in one_line_error(capsys)
        assert main([*command, "video.buckets=[[40,28]]"]) == 2
        assert "multiples of 8" in one_line_error(capsys)

    def test_parts_of_different_models_do_not_mix(
        self, checkpoint: Path, command: list[str], tmp_path: Path, capsys
    ) -> None:
        mixed = shutil.copytree(checkpoint / "multi_frame", tmp_path / "mixed")
        shutil.rmtree(mixed / "text_encoder")
        shutil.copytree(TINY / "multi_frame" / "text_encoder", mixed / "text_encoder")
        assert main([*command, f"models.multi_frame={mixed}"]) == 2
        assert "mixes models" in one_line_error(capsys)

    def test_lora_is_merged(self, command: list[str], output: Path, tmp_path: Path) -> None:
        layer = "output_blocks.3.1.transformer_blocks.0.attn1.to_v"
        factors = {"lora_A": torch.ones(1, 32), "lora_B": torch.ones(32, 1)}
        file = tmp_path / "style, [1].safetensors"
        save_file({f"unet.{layer}.{name}.weight": factor for name, factor in factors.items()}, file)
        assert main(command) == 0
        before = pictures(output / "picture" / "frames")
        assert main([*command, f"models.lora={file}"]) == 2
        assert main([*command, f"models.lora={file}", "overwrite=true"]) == 0
        assert (pictures(output / "picture" / "frames") != before).any()
        record = json.loads((output / "picture" / "run.json").read_text())
        assert record["checkpoints"]["lora"]["source"] == str(file)


class TestUserErrors:
    @pytest.mark.parametrize(
        ("option", "told"),
        [
            ("keyframes.operation_steps=[400,1000]", "operation step 1000"),
            ("keyframes.operation_steps=[-1]", "operation step -1"),
            ("keyframes.operation_steps=[]", "empty"),
            ("keyframes.operation_steps=400,600", "[a,b]"),
            ("keyframes.width=0", "keyframes.width is 0"),
            ("keyframes.width=100", "the nearest is 96"),
            ("keyframes.width=abc", "keyframes.width"),
            ("video.buckets=[[100,64]]", "the nearest is [96,64]"),
            ("video.buckets=[[0,64]]", "[0, 64]"),
            ("keyframes.num_inference_steps=0", "from 1 to 1000"),
            ("video.num_inference_steps=1001", "from 1 to 1000"),
            ("keyframes.widht=8", "did you mean keyframes.width?"),
            ("widht=8", "did you mean keyframes.width?"),
            ("colour=red", "unknown option colour"),
            ("--fast", "name=value"),
            ("models=huge", "bundled official"),
            ("scheduler@video.scheduler=magic", "ddim"),
            ("video.attention_window=all", "roll"),
            ("video.formats=[avi]", "webp"),
            ("video.fps=0", "video.fps"),
            ("keyframes.fit=stretch", "pad"),
            ("keyframes.guidance_scale=nan", "keyframes.guidance_scale"),
            ("video.guidance_scale=inf", "video.guidance_scale"),
            ("video.guidance_rescale=2", "video.guidance_rescale"),
            ("models.lora_scale=nan", "models.lora_scale"),
            ("video.formats=gif", "written [a,b]"),
            ("prompt=???", "three question marks"),
            ("keyframes.seed=-5", "keyframes.seed"),
            ("keyframes.scheduler.rho=x", "keyframes.scheduler"),
            ("runtime.device=cuda:99", "cuda:99"),
            ("runtime.dtype=int8", "float32"),
            ("input=/no/such.png", "/no/such.png does not exist"),
            ("input=/no/such*.png", "has no pictures"),
            ("input=", "input is missing"),
            ("output=", "output is missing"),
            ("keyframes.folder=/no/such", "/no/such does not exist"),
            ("models.single_frame=/no/such", "/no/such does not exist"),
            ("models.lora=/no/such", "/no/such does not exist"),
            (f"models.single_frame={TINY / 'multi_frame'}", "holds another model"),
            (f"models.multi_frame={TINY / 'single_frame'}", "image_encoder/config.json is missing"),
            (f"models.tagger={TINY / 'single_frame'}", "model.onnx is missing"),
        ],
    )
    def test_is_told_in_one_line_before_any_work(
        self, picture: Path, output: Path, capsys, monkeypatch: pytest.MonkeyPatch, option: str, told: str
    ) -> None:
        monkeypatch.setattr(loading, "load_multi_frame", pytest.fail)
        assert main(arguments(picture, output, option)) == 2
        assert told in one_line_error(capsys)
        assert not output.exists()

    @pytest.mark.parametrize("what", ["text", "dot", "strip", "truncated", "empty"])
    def test_bad_picture(self, tmp_path: Path, output: Path, capsys, monkeypatch, what: str) -> None:
        file = tmp_path / "bad.png"
        if what == "text":
            file.write_text("not a picture")
        elif what == "dot":
            Image.new("RGB", (1, 1)).save(file)
        elif what == "strip":
            Image.new("RGB", (20000, 100)).save(file)
        elif what == "truncated":
            drawing(600, 800).save(file)
            file.write_bytes(file.read_bytes()[:500])
        else:
            file.touch()
        monkeypatch.setattr(loading, "load_multi_frame", pytest.fail)
        assert main(arguments(file, output)) == 2
        assert "bad.png" in one_line_error(capsys)
        assert not output.exists()

    def test_empty_folder(self, tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "in").mkdir()
        assert main(arguments(tmp_path / "in", output)) == 2
        assert "has no pictures" in one_line_error(capsys)

    def test_output_that_is_a_file(self, picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(arguments(picture, picture)) == 2
        assert "cannot be made a folder" in one_line_error(capsys)

    def test_truncated_weights(self, tmp_path: Path, picture: Path, output: Path, capsys) -> None:
        broken = shutil.copytree(TINY / "multi_frame", tmp_path / "multi_frame")
        weights = broken / "unet" / "model.safetensors"
        weights.chmod(0o644)
        weights.write_bytes(weights.read_bytes()[:100_000])
        assert main(arguments(picture, output, f"models.multi_frame={broken}")) == 2
        assert "unet/model.safetensors is damaged" in one_line_error(capsys)
        assert not list(output.rglob("*.png"))

    def test_missing_tensor_is_named(self, tmp_path: Path, picture: Path, output: Path, capsys) -> None:
        broken = shutil.copytree(TINY / "single_frame", tmp_path / "single_frame")
        weights = broken / "vae" / "diffusion_pytorch_model.safetensors"
        weights.chmod(0o644)
        content = weights.read_bytes()
        length = struct.unpack("<Q", content[:8])[0]
        header = content[8 : 8 + length].replace(b'"quant_conv.bias"', b'"quant_conv.axis"')
        weights.write_bytes(content[:8] + header + content[8 + length :])
        assert main(arguments(picture, output, f"models.single_frame={broken}")) == 2
        error = one_line_error(capsys)
        assert "quant_conv.bias" in error
        assert "quant_conv.axis" in error

    def test_official_models_without_a_network(
        self, picture: Path, output: Path, capsys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        import huggingface_hub.constants

        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        assert main([f"input={picture}", f"output={output}", "models=official"]) == 2
        error = one_line_error(capsys)
        assert "lllyasviel/paints_undo" in error
        assert "cannot be reached" in error


def test_help_lists_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    for option in ("operation_steps", "attention_window", "overwrite", "seed_device"):
        assert option in told


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_unreadable_picture(picture: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture.chmod(0)
    assert main(arguments(picture, output)) == 2
    assert "not allowed" in one_line_error(capsys)
