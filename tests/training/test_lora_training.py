"""LoRA and chosen parts, trained by the command, used by `infer.py`."""

from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import tiny_starts
from paintsundo.checkpoints.adapters import load_adapter
from paintsundo.checkpoints.lora import merge_lora
from paintsundo.models import SingleFrameUNet, UNet3DModel
from paintsundo.models.official_layout import read_config
from paintsundo.pipelines import command as infer
from paintsundo.training import command
from tiny_models import TINY, arguments, drawing, pictures

SHARED = ("max_steps=3", "checkpoint_every=2", "sample_every=null", "held_out_every=null", "data.held_out=0")
LORA = ("lora.rank=4", "optimizer.learning_rate=3e-2", "ema.decay=0.1")
UNET = "unet/diffusion_pytorch_model.safetensors"


def digest(folder: Path) -> str:
    """Of all files below a folder."""
    total = sha256()
    for file in sorted(folder.rglob("*")):
        total.update(file.read_bytes() if file.is_file() else b"")
    return total.hexdigest()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return tiny_starts.write_data(tmp_path_factory.mktemp("data") / "set", 5, sizes=((64, 64),))


@pytest.fixture(scope="module")
def trained(data: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs of both models; the golden folders are as they were."""
    folder, before = tmp_path_factory.mktemp("lora"), digest(TINY)
    for kind in ("single_frame", "multi_frame"):
        given = tiny_starts.arguments(f"{kind}_lora", data, folder / kind, *SHARED, *LORA)
        assert command.main(given) == 0
    assert digest(TINY) == before
    return {kind: folder / kind for kind in ("single_frame", "multi_frame")}


def test_only_adapters_are_trained_kept_and_written(trained: dict[str, Path]) -> None:
    for folder in trained.values():
        assert [file.name for file in (folder / "final").iterdir()] == ["lora.safetensors"]
        state = torch.load(folder / "checkpoints" / "step-00000003" / "state.ckpt", weights_only=True)
        names = [n for n in state["state_dict"] if not n.endswith("_ids")]
        assert names
        assert all(".lora_A." in name or ".lora_B." in name for name in names)
        factors = load_file(folder / "final" / "lora.safetensors")
        assert all(factor.any() for factor in factors.values())


def test_merged_weights_compute_what_the_adapter_did(trained: dict[str, Path]) -> None:
    file = trained["single_frame"] / "final" / "lora.safetensors"
    base, merged, adapted = (SingleFrameUNet.from_pretrained(TINY / "single_frame" / "unet") for _ in range(3))
    video = UNet3DModel.from_pretrained(TINY / "multi_frame" / "unet")
    merge_lora(file, (merged, video))
    load_adapter(adapted, file)
    generator = torch.Generator().manual_seed(0)
    x, picture = (torch.randn(2, 4, 8, 8, generator=generator) for _ in range(2))
    given = {
        "timestep": torch.tensor([10, 900]),
        "encoder_hidden_states": torch.randn(2, 77, 32, generator=generator),
        "operation_steps": torch.tensor([3, 800]),
        "concat_conds": picture,
    }
    with torch.no_grad():
        plain, one, other = (network.eval()(x, **given).sample for network in (base, merged, adapted))
    assert (one - plain).abs().max() > 1e-3
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["single_frame", "multi_frame"])
def test_the_film_changes(trained: dict[str, Path], kind: str, tmp_path: Path) -> None:
    drawing().save(tmp_path / "picture.png")
    file, before = trained[kind] / "final" / "lora.safetensors", digest(TINY)
    for name, others in (("plain", []), ("styled", [f"models.lora={file}"]), ("zero", [f"models.lora={file}"])):
        scale = ["models.lora_scale=0"] if name == "zero" else []
        given = arguments(tmp_path / "picture.png", tmp_path / name, *others, *scale)
        assert infer.main(given) == 0
    folders = {name: tmp_path / name / "picture" / "frames" for name in ("plain", "styled", "zero")}
    films = {name: pictures(folder).astype(int) for name, folder in folders.items()}
    assert np.abs(films["styled"] - films["plain"]).max() > 2
    assert (films["zero"] == films["plain"]).all()
    assert digest(TINY) == before


def test_going_on_from_a_lora(
    trained: dict[str, Path], data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = trained["single_frame"] / "final" / "lora.safetensors"
    still = (*SHARED, "max_steps=1", "optimizer.learning_rate=1e-12", "lora.rank=4")
    ways = {
        "beside its base": ([f"lora.start={file}"], None),
        "by itself": ([], file),
        "by its run": ([], trained["single_frame"]),
    }
    before = load_file(file)
    for name, (others, start) in ways.items():
        output = tmp_path / name
        given = tiny_starts.arguments("single_frame_lora", data, output, *still, *others, start=start)
        assert command.main(given) == 0, name
        after = load_file(output / "final" / "lora.safetensors")
        assert after.keys() == before.keys()
        for key in before:
            torch.testing.assert_close(after[key], before[key], atol=1e-6, rtol=0)
    capsys.readouterr()
    given = tiny_starts.arguments("single_frame", data, tmp_path / "none", *SHARED, start=file)
    assert command.main(given) == 2
    assert "is a LoRA: say lora.rank too" in capsys.readouterr().err


def test_the_bundled_model_takes_a_lora(data: list[str], tmp_path: Path) -> None:
    given = [
        "experiment=embedded/single_frame",
        "start=bundled",
        *data,
        f"output={tmp_path / 'run'}",
        *tiny_starts.SHARED,
        *SHARED,
        *LORA,
        "model.positions=4",
        "max_minutes=null",
    ]
    assert command.main(given) == 0
    assert load_file(tmp_path / "run" / "final" / "lora.safetensors")
    drawing().save(tmp_path / "picture.png")
    small = ["keyframes.operation_steps=[500]", "keyframes.num_inference_steps=1", "keyframes.guidance_scale=1"]
    small += ["keyframes.width=64", "keyframes.height=64", "video.num_inference_steps=1", "video.guidance_scale=1"]
    small += ["video.buckets=[[64,64]]", "runtime.device=cpu", "runtime.progress=false"]
    for name, others in (("plain", []), ("styled", [f"models.lora={tmp_path}/run/final/lora.safetensors"])):
        film = [f"input={tmp_path}/picture.png", f"output={tmp_path / name}", "models=bundled", *small, *others]
        assert infer.main(film) == 0
    plain, styled = (pictures(tmp_path / name / "picture" / "frames").astype(int) for name in ("plain", "styled"))
    assert np.abs(plain - styled).max() > 2


def test_chosen_parts_alone_are_trained(data: list[str], tmp_path: Path) -> None:
    given = tiny_starts.arguments(
        "single_frame", data, tmp_path / "run", *SHARED, "train_parts=['attn2','^unet.conv_in']"
    )
    assert command.main(given) == 0
    before, after = (load_file(folder / UNET) for folder in (TINY / "single_frame", tmp_path / "run" / "final"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "attn2" in name or name.startswith("conv_in")}
    assert read_config(tmp_path / "run" / "final" / "unet") == read_config(TINY / "single_frame" / "unet")
