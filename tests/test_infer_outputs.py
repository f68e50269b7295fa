"""What `infer.py` writes: the film, its frames and keyframes, the marks and the record of its making."""

import json
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from paintsundo.pipelines.command import main
from tiny_models import FRAMES, TINY, arguments, drawing, pictures

TRAINED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


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
