"""How `infer.py` ends on bad options, pictures and models: with one clear line; and the options that it lists."""

import os
import shutil
import struct
from pathlib import Path

import pytest
from PIL import Image

from command_errors import one_line_error
from paintsundo.pipelines import loading
from paintsundo.pipelines.command import main
from tiny_models import TINY, arguments, drawing


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
