"""What training can start from, recognised by its content: our own folders, runs, and LoRA files."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from paintsundo.checkpoints import load_multi_frame, load_single_frame
from paintsundo.checkpoints.adapters import add_adapter, save_lora
from paintsundo.checkpoints.starting_point import COMPONENTS
from paintsundo.checkpoints.starting_points import find_starting_point
from paintsundo.checkpoints.text_encoders import save_tokenizer
from paintsundo.errors import UserError
from paintsundo.models.official_layout import read_config
from random_checkpoint import write_checkpoint
from tiny_models import TINY

KINDS = ["single_frame", "multi_frame"]


def fails(source: object, kind: str, *told: str, component: str = "tokenizer") -> None:
    with pytest.raises(UserError) as caught:
        find_starting_point(str(source), kind).load(component)
    for words in told:
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)


class TestOfficial:
    @pytest.mark.parametrize("kind", KINDS)
    def test_golden(self, kind: str) -> None:
        found = find_starting_point(str(TINY / kind), kind)
        assert found.kind == "official"
        assert "without" not in found.description
        expected = {"single_frame": load_single_frame, "multi_frame": load_multi_frame}[kind](TINY / kind)
        for component, network in expected.networks().items():
            loaded = found.load(component)
            assert loaded.training
            assert all(p.requires_grad and p.dtype == torch.float32 for p in loaded.parameters())
            assert not any(tensor.is_meta for tensor in (*loaded.parameters(), *loaded.buffers()))
            ours, theirs = loaded.state_dict(), network.state_dict()
            assert ours.keys() == theirs.keys()
            assert all(torch.equal(ours[name], theirs[name]) for name in ours)
            assert found.config(component) == read_config(TINY / kind / component)
        assert found.load("tokenizer")("1girl").input_ids == expected.tokenizer("1girl").input_ids

    @pytest.mark.parametrize("kind", KINDS)
    def test_bundled(self, kind: str) -> None:
        found = find_starting_point("bundled", kind)
        assert found.kind == "official"
        assert set(found.parts) == set(COMPONENTS[kind])
        assert found.load("unet").dtype == torch.float32

    def test_a_folder_with_the_whole_pair(self, tmp_path: Path) -> None:
        write_checkpoint(tmp_path)
        assert find_starting_point(str(tmp_path), "single_frame").config("unet")["in_channels"] == 6
        assert find_starting_point(str(tmp_path), "multi_frame").config("unet")["in_channels"] == 10

    def test_a_part_of_it(self, tmp_path: Path) -> None:
        shutil.copytree(TINY / "multi_frame" / "vae", tmp_path / "vae")
        found = find_starting_point(str(tmp_path), "multi_frame")
        assert "without unet, text_encoder" in found.description
        assert found.load("unet") is None
        assert found.config("unet") is None
        assert found.load("vae").config.ch == load_multi_frame(TINY / "multi_frame").vae.config.ch

    def test_others(self, tmp_path: Path) -> None:
        fails(TINY / "multi_frame", "single_frame", "holds another model than the single_frame one")
        fails(tmp_path, "single_frame", str(tmp_path), "it holds nothing")
        (tmp_path / "notes.txt").touch()
        fails(tmp_path, "single_frame", "it holds notes.txt")
        fails(tmp_path / "notes.txt", "single_frame", "damaged")
        fails(tmp_path / "nowhere", "single_frame", "does not exist")
        fails("no such:thing", "single_frame", "start: the folder no such:thing does not exist")
        with pytest.raises(ValueError, match="tagger"):
            find_starting_point("bundled", "tagger")


def write_run(folder: Path, kind: str, step: int, factor: float = 1.0, complete: bool = True) -> Path:
    """A checkpoint of a run, all of whose weights are golden ones times a factor."""
    load = {"single_frame": load_single_frame, "multi_frame": load_multi_frame}[kind]
    parts = load(TINY / kind)
    place = folder / "checkpoints" / f"step-{step}"
    place.mkdir(parents=True)
    state = {
        f"{name}.{key}": tensor * factor
        for name, network in parts.networks().items()
        for key, tensor in network.state_dict().items()
    }
    torch.save({"state_dict": state, "global_step": step}, place / "state.ckpt")
    configs = {name: read_config(TINY / kind / name) for name in parts.networks()}
    (place / "components.json").write_text(json.dumps(configs))
    if complete:
        (place / "manifest.json").write_text("{}")
    return place


class TestRun:
    @pytest.mark.parametrize("kind", KINDS)
    def test_newest_complete_checkpoint(self, tmp_path: Path, kind: str) -> None:
        for step, complete in ((9, True), (100, True), (1000, False)):
            write_run(tmp_path, kind, step, factor=step, complete=complete)
        found = find_starting_point(str(tmp_path), kind)
        assert found.kind == "run"
        assert "step-100" in found.description
        older = find_starting_point(str(tmp_path / "checkpoints" / "step-9"), kind)
        assert "step-9 of the run" in older.description
        original = find_starting_point(str(TINY / kind), kind)
        for component in original.parts:
            if component == "tokenizer":
                continue
            assert found.config(component) == original.config(component)
            ours, theirs = found.load(component).state_dict(), original.load(component).state_dict()
            assert all(torch.equal(ours[name], theirs[name] * 100) for name in theirs)
        assert found.load("tokenizer") is None
        save_tokenizer(original.load("tokenizer"), tmp_path / "tokenizer")
        loaded = find_starting_point(str(tmp_path), kind).load("tokenizer")
        assert loaded("1girl").input_ids == original.load("tokenizer")("1girl").input_ids

    def test_averages_win(self, tmp_path: Path) -> None:
        place = write_run(tmp_path, "single_frame", 5)
        save_file({"unet.conv_in.bias": torch.full((32,), 7.0)}, place / "averages.safetensors")
        found = find_starting_point(str(tmp_path), "single_frame")
        assert "averaged weights" in found.description
        unet, original = found.load("unet"), load_single_frame(TINY / "single_frame").unet
        assert (unet.conv_in.bias == 7).all()
        assert torch.equal(unet.conv_in.weight, original.conv_in.weight)

    def test_networks_of_which_it_has_no_weights(self, tmp_path: Path) -> None:
        place = write_run(tmp_path, "single_frame", 5)
        state = torch.load(place / "state.ckpt", weights_only=True)["state_dict"]
        torch.save({"state_dict": {n: t for n, t in state.items() if n.startswith("unet.")}}, place / "state.ckpt")
        found = find_starting_point(str(tmp_path), "single_frame")
        assert found.config("vae") is None
        assert found.load("vae") is None
        assert found.load("unet") is not None

    def test_the_final_model_goes_first(self, tmp_path: Path) -> None:
        write_run(tmp_path, "single_frame", 5, factor=2.0)
        shutil.copytree(TINY / "single_frame", tmp_path / "final")
        found = find_starting_point(str(tmp_path), "single_frame")
        assert found.kind == "run"
        original = load_single_frame(TINY / "single_frame").unet
        assert torch.equal(found.load("unet").conv_in.weight, original.conv_in.weight)

    def test_faults(self, tmp_path: Path) -> None:
        place = write_run(tmp_path, "single_frame", 5)
        fails(tmp_path, "multi_frame", "holds another model")
        state = torch.load(place / "state.ckpt", weights_only=True)
        del state["state_dict"]["unet.conv_in.weight"]
        torch.save(state, place / "state.ckpt")
        fails(tmp_path, "single_frame", "1 missing: conv_in.weight", component="unet")
        state["state_dict"]["unet.down.to_q.lora_A.default.weight"] = torch.zeros(1)
        torch.save(state, place / "state.ckpt")
        fails(tmp_path, "single_frame", "run of a LoRA")
        (place / "components.json").write_text("{")
        fails(tmp_path, "single_frame", "components.json")
        (place / "manifest.json").unlink()
        fails(tmp_path, "single_frame", "no run with a complete checkpoint: it holds checkpoints")


class TestLora:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        unet = find_starting_point(str(TINY / "single_frame"), "single_frame").load("unet")
        add_adapter(unet, 2, None, ["to_q"])
        save_lora(tmp_path / "style.safetensors", {"unet": unet}, 2, None, str(TINY / "single_frame"))
        return tmp_path / "style.safetensors"

    def test_its_base_is_found(self, file: Path) -> None:
        found = find_starting_point(str(file), "single_frame")
        assert found.kind == "lora"
        assert found.lora == file
        assert found.source == str(file)
        original = load_single_frame(TINY / "single_frame").unet.state_dict()
        loaded = found.load("unet").state_dict()
        assert loaded.keys() == original.keys()
        assert all(torch.equal(loaded[name], original[name]) for name in original)
        assert found.load("tokenizer") is not None

    def test_one_that_went_on_from_another(self, file: Path, tmp_path: Path) -> None:
        unet = find_starting_point(str(file), "single_frame").load("unet")
        add_adapter(unet, 2, None, ["to_q"])
        second = tmp_path / "second.safetensors"
        save_lora(second, {"unet": unet}, 2, None, str(file))
        found = find_starting_point(str(second), "single_frame")
        assert found.lora == second
        assert found.config("unet") == read_config(TINY / "single_frame" / "unet")

    def test_in_a_run_that_exported_it(self, file: Path, tmp_path: Path) -> None:
        (tmp_path / "run" / "final").mkdir(parents=True)
        shutil.copy(file, tmp_path / "run" / "final" / "lora.safetensors")
        found = find_starting_point(str(tmp_path / "run"), "single_frame")
        assert found.lora == tmp_path / "run" / "final" / "lora.safetensors"

    def test_faults(self, file: Path, tmp_path: Path) -> None:
        fails(file, "multi_frame", "is a LoRA of the single_frame model")
        factors = {"unet.a.lora_A.weight": torch.zeros(1, 2), "unet.a.lora_B.weight": torch.zeros(2, 1)}
        bare = tmp_path / "bare.safetensors"
        advice = f"start=BASE lora.start={bare}"
        save_file(factors, bare)
        fails(bare, "single_frame", "does not say which model it changes", advice)
        save_file(factors, bare, metadata={"paintsundo.base": str(tmp_path / "gone")})
        fails(bare, "single_frame", "gone", "cannot be used", advice)
        save_file(factors, bare, metadata={"paintsundo.base": str(bare)})
        fails(bare, "single_frame", "changes itself", advice)
        bare.write_bytes(b"cut")
        fails(bare, "single_frame", "damaged")
