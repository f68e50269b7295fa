"""Models that `infer.py` takes: of other sizes, with a LoRA merged, and never mixed."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from command_errors import one_line_error
from paintsundo.pipelines.command import main
from random_checkpoint import write_checkpoint
from tiny_models import TINY, arguments, pictures


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
