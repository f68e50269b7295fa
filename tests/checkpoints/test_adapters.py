"""LoRA from training to film: added, trained, saved, read by diffusers and by us, merged, taken out again."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from paintsundo.checkpoints.adapters import add_adapter, load_adapter, lora_tensors, save_lora
from paintsundo.checkpoints.lora import merge_lora, unmerge_lora
from paintsundo.checkpoints.tensor_files import safetensors_metadata
from paintsundo.errors import UserError
from paintsundo.models import SingleFrameUNet, UNet3DModel
from paintsundo.pipelines.command import main
from tiny_models import TINY, arguments, drawing, pictures

KINDS = ["single_frame", "multi_frame"]
TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]
# Beside attention: convolutions, over time too, and projections of every class.
EVERYTHING = {
    "single_frame": [*TARGETS, "conv1", "conv_in", "proj_in", "net.2", "linear_1"],
    "multi_frame": [*TARGETS, "to_k_ip", "to_v_ip", "proj_in", "in_layers.2", "conv1.2", "emb_layers.1", "net.0.proj"],
}


def unet(kind: str) -> Any:
    network = {"single_frame": SingleFrameUNet, "multi_frame": UNet3DModel}[kind]
    return network.from_pretrained(TINY / kind / "unet")


@torch.no_grad()
def predict(network: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)

    def noise(*size: int) -> torch.Tensor:
        return torch.randn(size, generator=generator)

    t = torch.tensor([321])
    if isinstance(network, SingleFrameUNet):
        words = noise(1, 7, network.config.cross_attention_dim)
        return network(noise(1, 4, 8, 8), t, words, torch.tensor([700]), noise(1, 4, 8, 8)).sample
    width = network.config.context_dim
    pictures_seen = noise(1, 3, 2, width)
    return network(noise(1, 4, 3, 8, 8), t, noise(1, 7, width), pictures_seen, torch.tensor([3]), noise(1, 4, 3, 8, 8))


def trained(
    kind: str, rank: int = 2, alpha: float | None = 6.0, targets: list[str] = TARGETS, size: float = 0.1
) -> Any:
    """A network whose adapter is no longer nothing."""
    network = unet(kind)
    torch.manual_seed(1)
    add_adapter(network, rank, alpha, targets)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if ".lora_B." in name:
                parameter.normal_(std=size)
    return network.eval()


@pytest.mark.parametrize("kind", KINDS)
class TestAdding:
    def test_only_the_adapter_learns_and_is_nothing_at_first(self, kind: str) -> None:
        network, before = unet(kind), predict(unet(kind))
        names = add_adapter(network, 2, None, EVERYTHING[kind])
        torch.testing.assert_close(predict(network), before, atol=1e-5, rtol=0)
        learning = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
        assert learning == {f"{n}.lora_{factor}.default.weight" for n in names for factor in "AB"}
        for target in EVERYTHING[kind]:
            assert any(name.endswith(target) for name in names)

    def test_targets_are_ends_of_names_at_a_dot(self, kind: str) -> None:
        names = add_adapter(unet(kind), 1, None, ["attn2.to_k"])
        assert names
        assert all(name.endswith(".attn2.to_k") for name in names)
        with pytest.raises(UserError) as caught:
            add_adapter(unet(kind), 1, None, ["to_q", "o_q"])
        assert "lora.targets: o_q is the end of no layer's name" in str(caught.value)
        assert "to_q (" in str(caught.value)
        assert "to_out.0 (" in str(caught.value)
        with pytest.raises(UserError, match=r"lora\.targets is empty"):
            add_adapter(unet(kind), 1, None, [])

    @pytest.mark.parametrize(("rank", "alpha"), [(0, 1.0), (1.5, 1.0), (True, 1.0), (2, 0.0), (2, float("nan"))])
    def test_impossible_sizes(self, kind: str, rank: Any, alpha: float) -> None:
        with pytest.raises(UserError, match=r"lora\.(rank|alpha)"):
            add_adapter(unet(kind), rank, alpha, TARGETS)


@pytest.mark.parametrize("kind", KINDS)
class TestFiles:
    @pytest.fixture
    def network(self, kind: str) -> Any:
        return trained(kind, targets=EVERYTHING[kind])

    @pytest.fixture
    def file(self, tmp_path: Path, network: Any) -> Path:
        file = tmp_path / "out" / "style.safetensors"
        save_lora(file, {"unet": network}, 2, 6.0, "bundled", notes={"data": "own drawings"})
        return file

    def test_names_and_header(self, kind: str, network: Any, file: Path) -> None:
        tensors = load_file(file)
        expected = {f"unet.{name}": tensor for name, tensor in lora_tensors(network).items()}
        assert tensors.keys() == expected.keys()
        assert all(torch.equal(tensors[name], expected[name]) for name in tensors)
        assert f"unet.{'mid_block' if kind == 'single_frame' else 'middle_block'}" in " ".join(tensors)
        header = safetensors_metadata(file)
        assert header["paintsundo.base"] == "bundled"
        assert header["paintsundo.kind"] == kind
        assert header["paintsundo.data"] == "own drawings"
        settings = json.loads(header["lora_adapter_metadata"])
        assert settings["unet.r"] == 2
        assert settings["unet.lora_alpha"] == 6.0
        assert [entry.name for entry in file.parent.iterdir()] == [file.name]

    def test_diffusers_reads_it(self, kind: str, network: Any, file: Path) -> None:
        again = unet(kind)
        again.load_lora_adapter(file.parent, weight_name=file.name, prefix="unet")
        torch.testing.assert_close(predict(again), predict(network), atol=1e-6, rtol=0)

    def test_training_goes_on_from_it(self, kind: str, network: Any, file: Path) -> None:
        again = unet(kind)
        rank, alpha, names = load_adapter(again, file)
        assert (rank, alpha) == (2, 6.0)
        ours, theirs = lora_tensors(again), lora_tensors(network)
        assert {name.rsplit(".lora_", 1)[0] for name in ours} == set(names)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
        assert torch.equal(predict(again), predict(network))
        assert all(p.requires_grad == (".lora_" in name) for name, p in again.named_parameters())

    def test_merged_it_is_the_same_network_and_taken_out_it_is_the_old_one(
        self, kind: str, network: Any, file: Path
    ) -> None:
        weights = TINY / kind / "unet"
        hashes = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in weights.iterdir()}
        merged = unet(kind)
        before = {name: tensor.clone() for name, tensor in merged.state_dict().items()}
        base = predict(merged)
        count = merge_lora(file, [merged], keep=True)
        assert count == len(lora_tensors(network)) // 2
        output = predict(merged)
        assert (output - base).abs().max() > 1e-2
        torch.testing.assert_close(output, predict(network), atol=1e-5, rtol=1e-5)
        assert merged.state_dict().keys() == before.keys()
        assert unmerge_lora(file, [merged]) == count
        assert all(torch.equal(tensor, before[name]) for name, tensor in merged.state_dict().items())
        assert {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in weights.iterdir()} == hashes

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_taken_out_of_half_precision(self, kind: str, file: Path, dtype: torch.dtype) -> None:
        merged = unet(kind).to(dtype)
        before = {name: tensor.clone() for name, tensor in merged.state_dict().items()}
        for scale in (0.3, -2.0):
            merge_lora(file, [merged], scale, keep=True)
        with pytest.raises(UserError, match="is not the last LoRA"):
            unmerge_lora(file, [merged], 0.3)
        for scale in (-2.0, 0.3):
            unmerge_lora(file, [merged], scale)
        assert all(torch.equal(tensor, before[name]) for name, tensor in merged.state_dict().items())
        with pytest.raises(UserError, match="is not the last LoRA"):
            unmerge_lora(file, [merged], 0.3)

    def test_from_gathered_tensors(self, kind: str, network: Any, file: Path, tmp_path: Path) -> None:
        gathered = {name: parameter.detach() for name, parameter in network.named_parameters()}
        again = tmp_path / "again.safetensors"
        save_lora(again, {"unet": gathered}, 2, 6.0, "bundled", kind, {"data": "own drawings"})
        ours, theirs = load_file(again), load_file(file)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
        assert safetensors_metadata(again) == safetensors_metadata(file)

    def test_nothing_to_save(self, kind: str, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="unet has no adapter"):
            save_lora(tmp_path / "none.safetensors", {"unet": unet(kind)}, 2, None, "bundled")
        assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "style.safetensors"
    file.write_bytes(b"old")

    def full(tensors: object, target: Path, metadata: object) -> None:
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("paintsundo.checkpoints.adapters.save_file", full)
    with pytest.raises(OSError, match="No space"):
        save_lora(file, {"unet": trained("single_frame")}, 2, 6.0, "bundled")
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [(file.name, b"old")]


class TestGoingOn:
    LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"

    def factors(self, rank: int, layer: str = LAYER, width: int = 32) -> dict[str, torch.Tensor]:
        down, up = torch.randn(rank, width), torch.randn(width, rank)
        return {f"unet.{layer}.lora_A.weight": down, f"unet.{layer}.lora_B.weight": up}

    def test_without_an_alpha_it_is_the_rank(self, tmp_path: Path) -> None:
        save_file(self.factors(3), tmp_path / "style.safetensors")
        network, merged = unet("single_frame"), unet("single_frame")
        assert load_adapter(network, tmp_path / "style.safetensors") == (3, 3.0, [self.LAYER])
        merge_lora(tmp_path / "style.safetensors", [merged])
        torch.testing.assert_close(predict(network), predict(merged), atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize(
        ("layers", "told"),
        [
            ([(2, "no.such.layer", 32)], "no.such.layer, which SingleFrameUNet does not have"),
            ([(2, LAYER, 8)], "does not fit"),
            ([(2, LAYER, 32), (3, LAYER.replace("to_q", "to_v"), 32)], "different rank or alpha"),
        ],
    )
    def test_files_that_do_not_fit(self, tmp_path: Path, layers: list[tuple[int, str, int]], told: str) -> None:
        tensors = {}
        for rank, layer, width in layers:
            tensors |= self.factors(rank, layer, width)
        save_file(tensors, tmp_path / "style.safetensors")
        network = unet("single_frame")
        with pytest.raises(UserError, match=told):
            load_adapter(network, tmp_path / "style.safetensors")
        assert not lora_tensors(network)
        with pytest.raises(UserError, match=r"lora\.start: the file .* does not exist"):
            load_adapter(network, tmp_path / "none.safetensors")


@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_lora_changes_the_film(tmp_path: Path, kind: str) -> None:
    file, picture = tmp_path / "style.safetensors", tmp_path / "picture.png"
    save_lora(file, {"unet": trained(kind, size=1.0)}, 2, 6.0, "bundled")
    drawing().save(picture)

    def film(name: str, *others: str) -> np.ndarray:
        assert main(arguments(picture, tmp_path / name, *others)) == 0
        return pictures(tmp_path / name / "picture" / "frames")

    base = film("base")
    assert np.array_equal(film("none", f"models.lora={file}", "models.lora_scale=0"), base)
    changed = film("full", f"models.lora={file}")
    assert changed.shape == base.shape
    assert np.abs(changed.astype(int) - base).mean() > 0.5
