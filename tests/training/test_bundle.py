from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from paintsundo.checkpoints import load_single_frame, load_tagger
from paintsundo.errors import UserError
from paintsundo.training import bundle


def test_parts_are_packed_as_float16(runs: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    final, tagger = runs.of("single_frame") / "final", runs.of("tagger") / "final"
    (tmp_path / "tagger").mkdir()
    (tmp_path / "tagger" / "stale.txt").write_text("of an earlier bundle")
    assert bundle.main([f"single_frame={final}", f"tagger={tagger}", f"output={tmp_path}"]) == 0
    assert "MiB in" in capsys.readouterr().out
    files = {file.relative_to(tmp_path / "single_frame") for file in (tmp_path / "single_frame").rglob("*")}
    assert files == {file.relative_to(final) for file in final.rglob("*")}
    halved = [file for file in files if file.suffix == ".safetensors"]
    assert len(halved) == 3
    for file in halved:
        packed, whole = load_file(tmp_path / "single_frame" / file), load_file(final / file)
        assert packed.keys() == whole.keys()
        assert all(packed[name].dtype == torch.float16 for name in packed)
        assert all(torch.equal(packed[name], whole[name].half()) for name in packed)
    assert load_single_frame(tmp_path / "single_frame").unet.dtype == torch.float32
    assert load_tagger(tmp_path / "tagger").tags == load_tagger(tagger).tags
    assert not (tmp_path / "tagger" / "stale.txt").exists()
    size = sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file())
    assert bundle.bundle({"single_frame": final, "tagger": tagger}, tmp_path) == size


def test_whole_numbers_stay_whole(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    save_file({"n": torch.arange(3), "w": torch.ones(2)}, tmp_path / "in" / "model.safetensors")
    bundle.bundle({"tagger": tmp_path / "in"}, tmp_path / "out")
    packed = load_file(tmp_path / "out" / "tagger" / "model.safetensors")
    assert (packed["n"].dtype, packed["w"].dtype) == (torch.int64, torch.float16)


def test_what_cannot_be_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "model.onnx").write_bytes(b"x" * 1001)
    monkeypatch.setattr(bundle, "LIMIT_BYTES", 1000)
    with pytest.raises(UserError, match=r"1,001 bytes, over the limit of 1,000"):
        bundle.bundle({"tagger": tmp_path / "in"}, tmp_path / "out")
    assert bundle.main([f"tagger={tmp_path / 'none'}", f"output={tmp_path / 'new'}"]) == 2
    assert not (tmp_path / "new").exists()
    (tmp_path / "in").rename(tmp_path / "tagger")
    assert bundle.main([f"tagger={tmp_path / 'tagger'}", f"output={tmp_path}"]) == 2
    assert (tmp_path / "tagger" / "model.onnx").is_file()
    assert bundle.main(["tager=x", f"output={tmp_path}"]) == 2
    assert bundle.main(["tagger=x"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    for line, told in zip(
        lines, ("is not a folder", "onto itself", "unknown: tager", "output is missing"), strict=True
    ):
        assert line.startswith("error: ")
        assert told in line


def test_a_decoder_trained_further_takes_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = {"encoder.w": torch.rand(4), "quant_conv.w": torch.rand(2), "decoder.w": torch.rand(3)}
    for name, tensors in {
        "model": first,
        "further": {**first, "decoder.w": torch.rand(3)},
        "other": {**first, "encoder.w": torch.rand(4)},
    }.items():
        (tmp_path / name / "vae").mkdir(parents=True)
        save_file(tensors, tmp_path / name / "vae" / "model.safetensors")
        (tmp_path / name / "vae" / "config.json").write_text(name)
    (tmp_path / "model" / "unet").mkdir()
    (tmp_path / "model" / "unet" / "config.json").write_text("kept")
    model, output = f"multi_frame={tmp_path / 'model'}", f"output={tmp_path / 'out'}"
    assert bundle.main([model, f"video_vae={tmp_path / 'other'}", output]) == 2
    assert bundle.main([f"video_vae={tmp_path / 'further'}", output]) == 2
    assert bundle.main([model, f"video_vae={tmp_path / 'none'}", output]) == 2
    assert not (tmp_path / "out").exists()
    lines = capsys.readouterr().err.splitlines()
    for line, told in zip(lines, ("encodes otherwise", "multi_frame=DIR, which is missing", "is missing"), strict=True):
        assert told in line
    assert bundle.main([model, f"video_vae={tmp_path / 'further'}", output]) == 0
    packed = load_file(tmp_path / "out" / "multi_frame" / "vae" / "model.safetensors")
    assert torch.equal(packed["encoder.w"], first["encoder.w"].half())
    assert not torch.equal(packed["decoder.w"], first["decoder.w"].half())
    assert (tmp_path / "out" / "multi_frame" / "vae" / "config.json").read_text() == "further"
    assert (tmp_path / "out" / "multi_frame" / "unet" / "config.json").read_text() == "kept"
