"""Loading and saving a network's folder: faults are told in one line, before anything is built."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_networks import CASES

from paintsundo.errors import UserError
from paintsundo.models import ImageProjection, UNet3DModel, VideoAutoencoderKL


@pytest.fixture
def saved(case, tmp_path):
    network = case.network()
    network.save_pretrained(tmp_path)
    return type(network), tmp_path, tmp_path / network.weights_file


def fault(cls, folder) -> str:
    with pytest.raises(UserError) as info:
        cls.from_pretrained(folder)
    message = str(info.value)
    assert "\n" not in message
    return message


def test_missing_files(saved):
    cls, folder, weights = saved
    weights.rename(folder / "elsewhere")
    assert fault(cls, folder) == f"{weights} is missing"
    (folder / "config.json").unlink()
    assert fault(cls, folder) == f"{folder / 'config.json'} is missing"
    assert fault(cls, folder / "nowhere") == f"{folder / 'nowhere' / 'config.json'} is missing"


def test_damaged_files(saved):
    cls, folder, weights = saved
    content = weights.read_bytes()
    for damaged in (content[:-10], content[:100], b"", b"text, not tensors" * 10):
        weights.write_bytes(damaged)
        assert fault(cls, folder).startswith(f"{weights} is damaged or not a safetensors file: ")
    weights.write_bytes(content)
    for damaged in ("{", "", "\x00\xff", '{"a": 1,\n}'):
        (folder / "config.json").write_text(damaged)
        assert fault(cls, folder).startswith(f"{folder / 'config.json'} cannot be read: ")
    (folder / "config.json").write_text("[1]")
    assert fault(cls, folder) == f"{folder / 'config.json'} is not a JSON object"


def test_missing_unknown_and_wrongly_shaped_tensors_are_named(saved):
    cls, folder, weights = saved
    tensors = load_file(weights)
    names = sorted(n for n in tensors if tensors[n].dim() == 2)
    missing, wrong = names[0], names[-1]
    del tensors[missing]
    shape = tuple(tensors[wrong].shape)
    tensors[wrong] = torch.zeros(5, 7)
    tensors["stray.weight"] = torch.zeros(3)
    save_file(tensors, weights)
    message = fault(cls, folder)
    assert f"1 missing: {missing};" in message
    assert "1 unknown: " in message
    assert "stray.weight;" in message
    assert f"1 wrongly shaped: {wrong} (is (5, 7), should be {shape})" in message


@pytest.mark.parametrize("other", CASES)
def test_another_network_in_the_folder(saved, other):
    cls, folder, _ = saved
    wrong = type(CASES[other].make())
    if wrong is cls:
        assert cls.from_pretrained(folder)
    else:
        assert "is not the configuration of a" in fault(wrong, folder)


def test_long_lists_are_cut():
    with torch.device("meta"):
        network = ImageProjection()
    from paintsundo.models.official_layout import load_tensors

    with pytest.raises(UserError, match=r"here does not fit ImageProjection: 52 missing: latents, .* and 47 more$"):
        load_tensors(network, {}, "here")


def test_impossible_configuration(tmp_path):
    CASES["unet_3d"].network().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"norm_num_groups": 7}))
    assert fault(UNet3DModel, tmp_path) == (
        f"{path}: 7 groups do not divide 24 channels: set norm_num_groups in the configuration"
    )
    for change in ({"channel_mult": "many"}, {"model_channels": -3}, {"in_channels": None}):
        path.write_text(json.dumps(config | change))
        assert fault(UNet3DModel, tmp_path).startswith(f"{path} describes no possible network: ")


def test_unknown_keys_are_ignored_and_told(tmp_path, caplog):
    CASES["video_autoencoder"].network().save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"colour": "blue", "_private": 1}))
    VideoAutoencoderKL.from_pretrained(tmp_path)
    assert f"{path}: ignored unknown keys colour" in caplog.text


def test_sharded_files(saved):
    cls, folder, weights = saved
    tensors = load_file(weights)
    weights.unlink()
    names = sorted(tensors)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file_name, part in shards.items():
        save_file({name: tensors[name] for name in part}, folder / file_name)
    index = {"weight_map": {name: file_name for file_name, part in shards.items() for name in part}}
    (folder / f"{weights.name}.index.json").write_text(json.dumps(index))
    loaded = cls.from_pretrained(folder).state_dict()
    assert all(torch.equal(loaded[name], tensors[name]) for name in names)
    (folder / "b.safetensors").unlink()
    assert fault(cls, folder) == f"{folder / 'b.safetensors'} is missing"


@pytest.mark.parametrize("component", ["unet", "vae", "image_projection"])
def test_golden_folders_are_written_as_they_were(multi_frame_folder, tmp_path, component):
    """Byte for byte the configuration, and every tensor, of the published layout."""
    cls = {"unet": UNet3DModel, "vae": VideoAutoencoderKL, "image_projection": ImageProjection}[component]
    source = multi_frame_folder / component
    cls.from_pretrained(source, torch_dtype=torch.float16).save_pretrained(tmp_path)
    assert (tmp_path / "config.json").read_bytes() == (source / "config.json").read_bytes()
    written, original = load_file(tmp_path / "model.safetensors"), load_file(source / "model.safetensors")
    assert written.keys() == original.keys()
    for name, tensor in original.items():
        assert written[name].dtype == tensor.dtype == torch.float16
        assert torch.equal(written[name], tensor)


def test_subfolder_dtype_and_overwriting(multi_frame_folder, tmp_path):
    network = ImageProjection.from_pretrained(
        multi_frame_folder, subfolder="image_projection", torch_dtype=torch.bfloat16
    )
    assert {p.dtype for p in network.parameters()} == {torch.bfloat16}
    network.save_pretrained(tmp_path)
    loaded = ImageProjection.from_pretrained(tmp_path)
    loaded.save_pretrained(tmp_path)  # into the folder that it was loaded from
    again = ImageProjection.from_pretrained(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), again.parameters(), strict=True))
