"""Checkpoints in the official layout: read strictly, written so that they read back the same."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from paintsundo.checkpoints import load_multi_frame, load_single_frame, load_tagger
from paintsundo.checkpoints.layout import component_configs
from paintsundo.checkpoints.text_encoders import load_text_encoder, load_tokenizer, match_prefix
from paintsundo.conditioning.text import encode_prompts
from paintsundo.errors import UserError
from random_checkpoint import write_checkpoint
from tiny_models import TINY


def copied(tmp_path: Path, kind: str) -> Path:
    target = shutil.copytree(TINY / kind, tmp_path / kind)
    for file in target.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)
    return target


def rewrite(file: Path, change) -> None:
    tensors = load_file(file)
    save_file(change(tensors), file)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_networks_are_ready_for_inference(dtype: torch.dtype) -> None:
    for parts in (load_single_frame(TINY / "single_frame", dtype), load_multi_frame(TINY / "multi_frame", dtype)):
        for name, network in parts.networks().items():
            assert not network.training, name
            for parameter in network.parameters():
                assert parameter.dtype == dtype, name
                assert not parameter.is_meta, name
            for buffer in network.buffers():
                assert not buffer.is_meta, name


def test_the_image_autoencoder_may_have_a_type_of_its_own() -> None:
    parts = load_single_frame(TINY / "single_frame", torch.float16, vae_dtype=torch.bfloat16)
    assert parts.vae.dtype == torch.bfloat16
    assert parts.unet.dtype == torch.float16


def test_written_checkpoints_read_back_the_same(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    single, multi = load_single_frame(tmp_path / "single_frame"), load_multi_frame(tmp_path / "multi_frame")
    single.save(tmp_path / "again")
    multi.save(tmp_path / "again multi")
    again = load_single_frame(tmp_path / "again"), load_multi_frame(tmp_path / "again multi")
    for before, after in zip((single, multi), again, strict=True):
        for name, network in before.networks().items():
            ours, theirs = network.state_dict(), after.networks()[name].state_dict()
            assert ours.keys() == theirs.keys()
            assert all(torch.equal(ours[key], theirs[key]) for key in ours), name
        text = "a (b), 1girl"
        assert before.tokenizer(text).input_ids == after.tokenizer(text).input_ids
        assert before.tokenizer.pad_token_id == after.tokenizer.pad_token_id


def test_a_folder_with_the_whole_pair_will_do(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    assert load_single_frame(tmp_path).unet.config.in_channels == 6
    assert load_multi_frame(tmp_path).unet.config.in_channels == 10
    assert load_tagger(tmp_path).size == 64


@pytest.mark.parametrize("prefix", ["", "text_model."])
@pytest.mark.parametrize("kind", ["single_frame", "multi_frame"])
def test_text_encoders_of_older_and_newer_files(tmp_path: Path, kind: str, prefix: str) -> None:
    folder = copied(tmp_path, kind) / "text_encoder"

    def change(tensors):
        renamed = {prefix + name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}
        # Both were part of files written by older versions of transformers.
        renamed[prefix + "embeddings.position_ids"] = torch.arange(77)[None]
        return renamed | {"text_projection.weight": torch.zeros(4, 4)}

    rewrite(folder / "model.safetensors", change)
    tokenizer = load_tokenizer(TINY / kind / "tokenizer")
    expected = encode_prompts(tokenizer, load_text_encoder(TINY / kind / "text_encoder"), ["1girl"])
    assert torch.equal(encode_prompts(tokenizer, load_text_encoder(folder), ["1girl"]), expected)


@pytest.mark.parametrize("own", ["", "text_model."])
@pytest.mark.parametrize("stored", ["", "text_model."])
def test_names_follow_the_installed_network(own: str, stored: str) -> None:
    names = match_prefix({f"{stored}final_layer_norm.bias": torch.zeros(2)}, {f"{own}final_layer_norm.bias"})
    assert list(names) == [f"{own}final_layer_norm.bias"]


def test_old_names_of_the_autoencoders_attention(tmp_path: Path) -> None:
    folder = copied(tmp_path, "single_frame")
    new_to_old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def change(tensors):
        renamed = {}
        for name, tensor in tensors.items():
            for new, old in new_to_old.items():
                if f"mid_block.attentions.0.{new}." in name:
                    name = name.replace(new, old)
                    tensor = tensor[..., None, None].contiguous() if name.endswith("weight") else tensor
            renamed[name] = tensor
        assert renamed.keys() != tensors.keys()
        return renamed

    rewrite(folder / "vae" / "diffusion_pytorch_model.safetensors", change)
    expected, found = load_single_frame(TINY / "single_frame").vae, load_single_frame(folder).vae
    for name, tensor in expected.state_dict().items():
        assert torch.equal(tensor, found.state_dict()[name]), name


@pytest.mark.parametrize(
    ("kind", "file", "tensor"),
    [
        ("single_frame", "unet/diffusion_pytorch_model.safetensors", "add_embedding.linear_1.weight"),
        ("single_frame", "vae/diffusion_pytorch_model.safetensors", "quant_conv.weight"),
        ("single_frame", "text_encoder/model.safetensors", "final_layer_norm.weight"),
        ("multi_frame", "unet/model.safetensors", "fps_embedding.0.weight"),
        ("multi_frame", "vae/model.safetensors", "decoder.conv_out.weight"),
        ("multi_frame", "image_encoder/model.safetensors", "visual_projection.weight"),
        ("multi_frame", "image_projection/model.safetensors", "latents"),
    ],
)
@pytest.mark.parametrize("fault", ["missing", "extra", "shape", "truncated", "absent"])
def test_faulty_weights_are_named(tmp_path: Path, kind: str, file: str, tensor: str, fault: str) -> None:
    folder = copied(tmp_path, kind)
    weights = folder / file
    told = tensor
    if fault == "missing":
        rewrite(weights, lambda tensors: {name: tensors[name] for name in tensors if name != tensor})
    elif fault == "extra":
        rewrite(weights, lambda tensors: tensors | {"surplus.weight": torch.zeros(1)})
        told = "surplus.weight"
    elif fault == "shape":
        rewrite(weights, lambda tensors: tensors | {tensor: torch.zeros(3, 3)})
    elif fault == "truncated":
        weights.write_bytes(weights.read_bytes()[:5000])
        told = weights.name
    else:
        weights.unlink()
        told = weights.name
    load = load_single_frame if kind == "single_frame" else load_multi_frame
    with pytest.raises(UserError) as caught:
        load(folder)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    folder = copied(tmp_path, "single_frame")
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    with pytest.raises(UserError, match="safetensors"):
        load_single_frame(folder)


class TestConfigurations:
    def test_golden_ones_agree(self) -> None:
        assert component_configs(TINY / "single_frame", "single_frame")["vae"]["latent_channels"] == 4
        assert component_configs(TINY / "multi_frame", "multi_frame")["image_projection"]["video_length"] == 16

    def test_another_models_folder(self) -> None:
        with pytest.raises(UserError, match="holds another model than the single_frame one"):
            component_configs(TINY / "multi_frame", "single_frame")

    @pytest.mark.parametrize(
        ("kind", "component", "key"),
        [
            ("single_frame", "vae", "latent_channels"),
            ("single_frame", "text_encoder", "hidden_size"),
            ("multi_frame", "vae", "z_channels"),
            ("multi_frame", "text_encoder", "hidden_size"),
            ("multi_frame", "image_encoder", "hidden_size"),
            ("multi_frame", "image_projection", "output_dim"),
        ],
    )
    def test_parts_of_different_models(self, tmp_path: Path, kind: str, component: str, key: str) -> None:
        folder = copied(tmp_path, kind)
        file = folder / component / "config.json"
        config = json.loads(file.read_text())
        file.write_text(json.dumps(config | {key: config[key] * 2}))
        with pytest.raises(UserError, match="mixes models"):
            component_configs(folder, kind)

    def test_text_encoders_in_a_configuration_for_both_towers(self, tmp_path: Path) -> None:
        folder = copied(tmp_path, "single_frame")
        file = folder / "text_encoder" / "config.json"
        config = json.loads(file.read_text())
        file.write_text(json.dumps({"model_type": "clip", "text_config": config}))
        assert component_configs(folder, "single_frame")["text_encoder"]["hidden_size"] == 32
        assert load_single_frame(folder).text_encoder.config.hidden_size == 32

    @pytest.mark.parametrize("content", ["{", "[]"])
    def test_damaged(self, tmp_path: Path, content: str) -> None:
        folder = copied(tmp_path, "single_frame")
        (folder / "unet" / "config.json").write_text(content)
        with pytest.raises(UserError, match=r"unet/config\.json"):
            component_configs(folder, "single_frame")
