"""Every starting point through the command: told in dry runs, taken as it is, trained."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import tiny_starts
from paintsundo.checkpoints import load_multi_frame, load_single_frame
from paintsundo.training import command
from tiny_models import TINY

sys.path.append(str(Path(__file__).parents[1] / "checkpoints"))
import lvdm_files
import stable_diffusion

STILL = (
    "max_steps=1",
    "optimizer.learning_rate=1e-12",
    "sample_every=null",
    "held_out_every=null",
    "data.held_out=0",
    "data.states_per_process=1",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return tiny_starts.write_data(tmp_path_factory.mktemp("data") / "set", 3, sizes=((64, 64),))


def trained(kind: str, data: list[str], output: Path, start: Path, capsys: Any, *others: str) -> Path:
    """Dry run, then one step that changes nothing to speak of; returns `final`."""
    given = tiny_starts.arguments(kind, data, output, *STILL, *others, start=start)
    assert command.main([*given, "dry_run=true"]) == 0
    assert capsys.readouterr().out.endswith("nothing is missing\n")
    assert not output.exists()
    assert command.main(given) == 0
    assert "start: " in capsys.readouterr().out
    return output / "final"


def close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name].float(), other[name].float(), atol=1e-6, rtol=1e-5, msg=name)


@pytest.mark.parametrize("kind", ["single_frame", "multi_frame"])
def test_official_folders_and_runs(kind: str, data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    load = {"single_frame": load_single_frame, "multi_frame": load_multi_frame}[kind]
    final = trained(kind, data, tmp_path / "run", TINY / kind, capsys)
    for name, network in load(TINY / kind).networks().items():
        close(load(final).networks()[name].state_dict(), network.state_dict())
    again = trained(kind, data, tmp_path / "again", tmp_path / "run", capsys)
    for name, network in load(TINY / kind).networks().items():
        close(load(again).networks()[name].state_dict(), network.state_dict())


def test_a_checkpoint_of_a_run_starts_with_its_averages(
    data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    given = tiny_starts.arguments(
        "single_frame", data, tmp_path / "run", *STILL, "max_steps=3", "optimizer.learning_rate=1e-2", "ema.decay=0.8"
    )
    assert command.main(given) == 0
    exported = load_file(tmp_path / "run" / "final" / "unet" / "diffusion_pytorch_model.safetensors")
    shutil.rmtree(tmp_path / "run" / "final")
    others = [f"model.autoencoder={TINY / 'single_frame'}", f"model.text_encoder={TINY / 'single_frame'}"]
    final = trained("single_frame", data, tmp_path / "next", tmp_path / "run", capsys, *others)
    close(load_file(final / "unet" / "diffusion_pytorch_model.safetensors"), exported)


def test_stable_diffusion(data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    original = stable_diffusion.write(tmp_path / "sd15")
    final = trained("single_frame", data, tmp_path / "run", tmp_path / "sd15", capsys)
    ours = load_single_frame(final).unet.eval()
    x, words = torch.randn(2, 4, 8, 8), torch.randn(2, 77, stable_diffusion.WIDTH)
    t = torch.tensor([100, 900])
    with torch.no_grad():
        expected = original(x, t, words).sample
        made = ours(x, t, words, operation_steps=torch.tensor([0, 700]), concat_conds=torch.randn_like(x)).sample
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-4)


def test_a_video_model_of_the_family(data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    torch.manual_seed(0)
    networks = {"unet": lvdm_files.unet(), "vae": lvdm_files.vae()}
    start = Path(lvdm_files.write(tmp_path / "model.ckpt", lvdm_files.tensors_of(**networks)))
    others = [
        "model.projection={dim: 16, depth: 1, dim_head: 8, heads: 2, num_queries: 2, embedding_dim: 24, "
        f"output_dim: {lvdm_files.CONTEXT}, ff_mult: 2, video_length: 16, input_frames_length: 2}}",
        "model.image_encoder={hidden_size: 24, intermediate_size: 24, num_hidden_layers: 1, num_attention_heads: 2, "
        "patch_size: 56, image_size: 224, projection_dim: 8}",
        f"model.text={{hidden_size: {lvdm_files.CONTEXT}, intermediate_size: 24, num_hidden_layers: 1, "
        "num_attention_heads: 2}",
    ]
    final = trained("multi_frame", data, tmp_path / "run", start, capsys, *others)
    made = load_multi_frame(final)
    close(made.unet.state_dict(), networks["unet"].state_dict())
    close(made.vae.state_dict(), networks["vae"].state_dict())


def test_the_run_says_what_it_started_from(data: list[str], tmp_path: Path) -> None:
    given = tiny_starts.arguments("single_frame", data, tmp_path / "run", *STILL)
    assert command.main(given) == 0
    assert str(TINY) in (tmp_path / "run" / "config.yaml").read_text()
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps"] == 1
