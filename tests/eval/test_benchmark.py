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
        "profile=true",
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
    for part in ("keyframes", "clips", "decoding"):
        assert "aten::mkldnn_convolution" in (output / f"profile_{part}.txt").read_text(encoding="utf-8")
    counted = [figures["rates"][name]["tflop"] for name in ("keyframes", "in-between frames", "decoding")]
    assert min(counted) > 0
    whole = figures["rates"]["whole film"]
    assert whole["tflop"] == pytest.approx(sum(counted))
    assert whole["tflops"] == pytest.approx(whole["tflop"] / parts["whole film"]["seconds"])
    assert whole["share_of_matrix_rate"] == pytest.approx(whole["tflops"] / figures["matrix_tflops"])


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


def test_an_earlier_run_stands_beside_this_one(report, tmp_path):
    import benchmark
    from support.reference import comparison
    from support.stopwatch import Part

    earlier = benchmark.read_baseline(str(report[0] / "benchmark.json"))
    figures = {**earlier, "baseline": benchmark.baseline_parts(earlier), "rates": {}}
    whole = figures["baseline"]["whole film"]["seconds"]
    table = comparison(figures, {"whole film": Part(whole / 4, None)}, comparable=False)
    row = next(line for line in table.splitlines() if line.startswith("| whole film"))
    assert [cell.strip() for cell in row.strip("|").split("|")][-2:] == [f"{whole:.2f}", "4.00"]
    (tmp_path / "no.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match=r"no\.json is no benchmark\.json"):
        benchmark.read_baseline(str(tmp_path / "no.json"))


def test_operations_of_the_published_film_are_as_counted_for_the_reference():
    """12.6 TFLOP for a pass of the 3D UNet at 16×320×512, 6.25 for six frames of 512×640, 37.9 for decoding a clip."""
    from support import film_operations as counting
    from support.random_models import architecture

    from paintsundo.models import SingleFrameUNet, UNet3DModel, VideoAutoencoderKL

    sizes = OmegaConf.to_container(architecture("official"))
    cases = (
        (SingleFrameUNet, sizes["single_frame"]["unet"], lambda n: counting._ask_single_frame(n, 6, 80, 64), 6.25),
        (UNet3DModel, sizes["multi_frame"]["unet"], lambda n: counting._ask_clips(n, 16, 40, 64, 16), 12.6),
        (VideoAutoencoderKL, sizes["multi_frame"]["vae"], lambda n: counting._decode(n, 16, 320, 512), 37.9),
    )
    for network, config, ask, tflop in cases:
        counted = counting._counted(lambda make=network, given=config: make(**given), ask)
        assert counted / 1e12 == pytest.approx(tflop, rel=0.01), network


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
        (("inference", "output=x", "modes=[speed]"), "modes="),
        (("inference", "output=x", "baseline=none.json"), "baseline=none.json"),
        (("inference", "output=x", "overrides=[video.nothing=1]"), "video.nothing"),
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
