"""Where checkpoints are found, without any network."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

from paintsundo.checkpoints.sources import missing_files, resolve
from paintsundo.errors import UserError
from tiny_models import TINY


def test_folder() -> None:
    assert resolve(TINY / "single_frame", "single_frame") == TINY / "single_frame"
    assert resolve(str(TINY), "multi_frame") == TINY / "multi_frame"
    assert missing_files(TINY / "tagger", "tagger") == []


@pytest.mark.parametrize(
    ("source", "kind", "told"),
    [
        ("/no/such/folder", "single_frame", "does not exist"),
        ("no such folder", "tagger", "does not exist"),
        (str(TINY / "image.png"), "single_frame", "is a file"),
        (str(TINY / "tagger"), "multi_frame", "unet/config.json is missing"),
        (str(TINY / "multi_frame"), "tagger", "model.onnx is missing"),
    ],
)
def test_what_is_no_checkpoint(source: str, kind: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        resolve(source, kind)


class TestHub:
    def test_cached_checkpoint_needs_no_network(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []

        def download(repository, **options):
            asked.append(options["local_files_only"])
            return str(TINY / "single_frame")

        monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
        assert resolve("owner/model", "single_frame") == TINY / "single_frame"
        assert asked == [True]

    def test_half_a_download_is_completed(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        def download(repository, local_files_only=False, allow_patterns=(), **options):
            assert "unet/*" in allow_patterns
            return str(tmp_path if local_files_only else TINY / "single_frame")

        monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
        assert resolve("owner/model", "single_frame") == TINY / "single_frame"

    @pytest.mark.parametrize("lost", ["unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"])
    def test_a_download_without_all_weights_is_completed(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, lost: str
    ) -> None:
        interrupted = tmp_path / "cached"
        shutil.copytree(TINY / "single_frame", interrupted)
        (interrupted / lost).unlink()

        def download(repository, local_files_only=False, **options):
            return str(interrupted if local_files_only else TINY / "single_frame")

        monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
        assert resolve("owner/model", "single_frame") == TINY / "single_frame"

    def test_impossible_id(self) -> None:
        with pytest.raises(UserError, match="neither a folder nor a hub id"):
            resolve("owner/a--b", "tagger")

    def test_offline_and_not_cached(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def download(repository, **options):
            raise LocalEntryNotFoundError("nothing here\nnor there")

        monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
        with pytest.raises(UserError, match="owner/model is neither a folder nor") as caught:
            resolve("owner/model", "tagger")
        assert "\n" not in str(caught.value)

    def test_unknown_repository(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def download(repository, local_files_only=False, **options):
            if local_files_only:
                raise LocalEntryNotFoundError("not cached")
            error = RepositoryNotFoundError.__new__(RepositoryNotFoundError)
            error.response = SimpleNamespace(status_code=404)
            raise error

        monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
        with pytest.raises(UserError, match="refuses owner/model \\(status 404\\)"):
            resolve("owner/model", "single_frame")
