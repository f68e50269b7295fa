"""Measures by CLIP, AlexNet and VideoMAE of random weights, small: no figures of worth, but all of the way."""

from functools import partial

import pytest

from network_weights import save_alexnet, save_clip, save_videomae
from paintsundo.errors import UserError
from paintsundo.metrics import null_baselines
from paintsundo.metrics.lpips import LAYERS, POOLED, PerceptualDistance
from paintsundo.metrics.networks import NetworkMeasures


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    for save in (save_clip, save_videomae, save_alexnet):
        save(folder)
    return NetworkMeasures(folder)


def test_equal_films_are_alike_and_others_less(networks, drawn):
    wipe = null_baselines(drawn)["wipe"]
    same = networks.measure([drawn, drawn[::2]], [drawn, drawn[::2]])
    other = networks.measure([drawn, wipe], [drawn, drawn])
    assert same.clip == pytest.approx([1, 1], abs=1e-5)
    assert other.clip[1] < 0.9999
    assert same.frechet == pytest.approx(0, abs=1e-6)
    assert other.frechet > same.frechet
    assert same.kid < other.kid + 1e-3
    assert same.lpips == pytest.approx([0, 0], abs=1e-6)
    assert other.lpips[0] == pytest.approx(0, abs=1e-6)
    assert other.lpips[1] > 1e-3
    assert same.fvd == pytest.approx(0, abs=1e-6)
    assert other.fvd > 1e-4
    assert networks.likeness(drawn[-1], drawn[-1]) == pytest.approx(1, abs=1e-5)


def test_figures_repeat_and_one_film_has_no_distances(networks, drawn):
    wipe = null_baselines(drawn)["wipe"]
    assert networks.measure([drawn, wipe], [drawn, drawn]) == networks.measure([drawn, wipe], [drawn, drawn])
    alone = networks.measure([wipe], [drawn])
    assert (alone.kid, alone.frechet, alone.fvd) == (None, None, None)
    assert len(alone.clip) == len(alone.lpips) == 1
    with pytest.raises(ValueError, match="1 films and 0 true ones"):
        networks.measure([wipe], [])


def test_each_network_may_be_missing(tmp_path, drawn):
    import torch

    save_alexnet(tmp_path, "alexnet.pth")
    networks = NetworkMeasures(tmp_path)
    found = networks.measure([drawn, drawn], [drawn, drawn])
    assert found.lpips == pytest.approx([0, 0], abs=1e-6)
    assert found[:3] == (None, None, None)
    assert found.fvd is None
    with pytest.raises(UserError, match="this takes a CLIP"):
        networks.likeness(drawn[0], drawn[1])
    (again := tmp_path / "again").mkdir()
    other = NetworkMeasures(save_alexnet(again, "alexnet.safetensors").parent.parent)
    near, far = (other.perceptual(torch.zeros(1, 3, 64, 64), torch.full((1, 3, 64, 64), value)) for value in (0.1, 0.8))
    assert 0 < near < far


def test_lpips_is_that_of_torchmetrics(tmp_path, monkeypatch):
    """Whose layers ask torchvision for AlexNet: here a stand-in hands them the same weights."""
    import torch
    from torch import nn
    from torchmetrics.functional.image import lpips as theirs

    file = save_alexnet(tmp_path)
    ours = PerceptualDistance(file)
    layers = []
    for (place, *_), conv in zip(LAYERS, ours.convs, strict=True):
        layers += [*([nn.MaxPool2d(3, 2)] if place in POOLED else []), conv, nn.ReLU(inplace=True)]
    monkeypatch.setattr(theirs, "_get_tv_model_features", lambda *_, **__: nn.Sequential(*layers))
    monkeypatch.setattr(torch, "load", partial(torch.load, map_location="cpu"))
    judge = theirs._LPIPS(pretrained=True, net="alex").eval()
    generator = torch.Generator().manual_seed(1)
    first, second = (torch.rand(3, 3, 80, 96, generator=generator) * 2 - 1 for _ in range(2))
    with torch.no_grad():
        torch.testing.assert_close(ours(first, second), judge(first, second).flatten(), rtol=1e-4, atol=1e-6)


def test_absent_and_broken_weights_are_one_line(tmp_path):
    with pytest.raises(UserError, match=r"no clip/model.safetensors, lpips/.* there, and none is fetched") as caught:
        NetworkMeasures(tmp_path)
    assert "\n" not in str(caught.value)
    for name, files in {
        "clip": ("config.json", "model.safetensors", "preprocessor_config.json"),
        "lpips": ("alexnet.pth",),
        "videomae": ("config.json", "model.safetensors"),
    }.items():
        folder = tmp_path / name
        (folder / name).mkdir(parents=True)
        for file in files:
            (folder / name / file).write_text("{}")
        with pytest.raises(UserError, match=f"{name}.* is no ") as caught:
            NetworkMeasures(folder)
        assert "\n" not in str(caught.value)
