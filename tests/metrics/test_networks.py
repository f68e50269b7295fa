"""CLIP, KID and Fréchet distance with a tiny CLIP of random weights: no figures of worth, but all of the way."""

import pytest

from paintsundo.errors import UserError
from paintsundo.metrics import null_baselines
from paintsundo.metrics.networks import NetworkMeasures


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={**small, "vocab_size": 99},
        vision_config={**small, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    folder = tmp_path_factory.mktemp("weights")
    CLIPModel(config).save_pretrained(folder / "clip")
    size = {"height": 32, "width": 32}
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder / "clip")
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
    assert networks.likeness(drawn[-1], drawn[-1]) == pytest.approx(1, abs=1e-5)


def test_figures_repeat_and_one_film_has_no_distances(networks, drawn):
    wipe = null_baselines(drawn)["wipe"]
    assert networks.measure([drawn, wipe], [drawn, drawn]) == networks.measure([drawn, wipe], [drawn, drawn])
    assert networks.measure([wipe], [drawn])[1:] == (None, None)
    with pytest.raises(ValueError, match="1 films and 0 true ones"):
        networks.measure([wipe], [])


def test_absent_and_broken_weights_are_one_line(tmp_path):
    with pytest.raises(UserError, match=r"no clip/config.json there, and none is fetched") as caught:
        NetworkMeasures(tmp_path)
    assert "\n" not in str(caught.value)
    (tmp_path / "clip").mkdir()
    for name in ("config.json", "model.safetensors", "preprocessor_config.json"):
        (tmp_path / "clip" / name).write_text("{}")
    with pytest.raises(UserError, match="clip cannot be loaded") as caught:
        NetworkMeasures(tmp_path)
    assert "\n" not in str(caught.value)
