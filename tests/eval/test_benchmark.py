import json
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from paintsundo.errors import UserError

MANIFEST = Path(__file__).parents[1] / "golden" / "official_manifest.json"


@pytest.fixture(scope="module")
def report(tmp_path_factory, evaluate):
    output = tmp_path_factory.mktemp("benchmark") / "new"
    arguments = (
        "inference",
        f"output={output}",
        "full_size=false",
        "warmup=false",
        "device=cpu",
        "memory=low",
    )
    done = evaluate("benchmark", *arguments)
    assert done.returncode == 0, done.stderr
    return output, done


def test_every_part_of_the_film_is_timed(report):
    output, done = report
    figures = json.loads((output / "benchmark.json").read_text(encoding="utf-8"))
    (parts,) = figures["runs"]
    stages = ("keyframes", "reading keyframes", "in-between frames", "decoding")
    assert all(parts[name]["seconds"] > 0 for name in stages)
    assert parts["whole film"]["seconds"] == pytest.approx(sum(parts[name]["seconds"] for name in stages))
    video = sum(parts[name]["seconds"] for name in stages[1:])
    assert parts["one pair, all its parts"]["seconds"] == pytest.approx(video / 3)
    assert 0 <= parts["moving networks, in the above"]["seconds"] < parts["whole film"]["seconds"]
    assert parts["whole film"]["peak_GiB"] is None  # there is no such count on a CPU
    assert figures["process"]["process_GiB"] > 0.1
    assert figures["published"] is None  # tiny networks are not compared with the published code
    assert "published" not in (output / "benchmark.md").read_text(encoding="utf-8").splitlines()[0]
    assert (output / "benchmark.md").read_text(encoding="utf-8") in done.stdout + "\n"
    assert (output / "benchmark.png").is_file()


def test_published_figures_stand_beside_ours():
    from support.reference import PUBLISHED, comparison
    from support.stopwatch import Part

    figures = {
        "settings": {"models": "random", "full_size": True},
        "keyframes": {"width": 512, "height": 640},
        "dtype": "float16",
        "machine": {"device": "cuda", "device_name": "a GPU"},
        "versions": {"torch": "2"},
        "networks_wait_on": "cpu",
        "runs": [{}],
    }
    table = comparison(figures, {"whole film": Part(46.0, 5.0), "decoding": Part(1.0, None)}, comparable=True)
    row = next(line for line in table.splitlines() if "whole film" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["whole film", "46.00", "5.00", "92.00", "6.40", "2.00"]
    assert PUBLISHED["keyframes"] == {"seconds": 5.47, "peak_GiB": 3.94}


def test_full_size_is_the_published_size():
    from support.random_models import architecture

    manifest = json.loads(MANIFEST.read_text(encoding="utf-8"))
    official = OmegaConf.to_container(architecture("official"))
    for name, entry in manifest.items():
        model, component = name.split("/")
        assert official[model][component] == entry["config"], name
    assert sum(len(parts) for parts in official.values()) == len(manifest)


def test_full_size_networks_build_with_as_many_parameters_as_published():
    from diffusers import AutoencoderKL
    from support.random_models import architecture
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig

    from paintsundo.models import (
        ClipVisionEncoder,
        ImageProjection,
        SingleFrameUNet,
        UNet3DModel,
        VideoAutoencoderKL,
    )

    makers = {
        "single_frame/unet": lambda c: SingleFrameUNet(**c),
        "single_frame/vae": lambda c: AutoencoderKL(**c),
        "single_frame/text_encoder": lambda c: CLIPTextModel(CLIPTextConfig(**c)),
        "multi_frame/unet": lambda c: UNet3DModel(**c),
        "multi_frame/vae": lambda c: VideoAutoencoderKL(**c),
        "multi_frame/text_encoder": lambda c: CLIPTextModel(CLIPTextConfig(**c)),
        "multi_frame/image_encoder": lambda c: ClipVisionEncoder(CLIPVisionConfig(**c)),
        "multi_frame/image_projection": lambda c: ImageProjection(**c),
    }
    manifest = json.loads(MANIFEST.read_text(encoding="utf-8"))
    sizes = OmegaConf.to_container(architecture("official"))
    for name, make in makers.items():
        model, component = name.split("/")
        with torch.device("meta"):
            network = make(sizes[model][component])
        assert sum(p.numel() for p in network.parameters()) == manifest[name]["parameters"], name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "say what to measure"),
        (("speed", "output=x"), "say what to measure"),
        (("training", "output=x", "device=cpu"), "full_size=false"),
        (("inference",), "output=… must be given"),
        (("inference", "output=x", "size=2"), "unknown option size"),
        (("inference", "output=x", "repeats=0"), "repeats=0"),
        (("inference", "output=x", "batch=0"), "video.batch"),
        (("inference", "output=x", "steps=0"), "num_inference_steps"),
        (("inference", "output=x", "attention=fast"), "runtime.attention"),
        (("inference", "output=x", "full_size=maybe"), "full_size"),
        (("inference", "output=x", "full_size=false", "models=bundled"), "full_size=false"),
        (("inference", "output=x", "models=/no/such/folder"), "no/such/folder"),
    ],
)
def test_mistakes_are_one_line(arguments, message, tmp_path, monkeypatch):
    import benchmark

    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        benchmark.main(arguments)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
