import hashlib
from pathlib import Path

from paintsundo.checkpoints.fingerprint import combined, folder_hashes
from paintsundo.file_hashes import file_hash


def test_hashes_are_sha256_of_every_file_that_counts(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_bytes(b"{}")
    (tmp_path / "unet" / "model.safetensors").write_bytes(b"x" * 3_000_000)
    (tmp_path / "README.md").write_bytes(b"not part of the model")
    hashes = folder_hashes(tmp_path)
    assert hashes == {
        "unet/config.json": hashlib.sha256(b"{}").hexdigest(),
        "unet/model.safetensors": hashlib.sha256(b"x" * 3_000_000).hexdigest(),
    }
    assert file_hash(tmp_path / "unet" / "config.json") == hashes["unet/config.json"]


def test_one_changed_byte_changes_the_combined_hash(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"abc")
    before = combined(folder_hashes(tmp_path))
    (tmp_path / "model.onnx").write_bytes(b"abd")
    assert combined(folder_hashes(tmp_path)) != before
