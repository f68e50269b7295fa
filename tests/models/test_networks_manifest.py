"""The published full-size checkpoints: our classes have their tensors, name for name and shape for shape."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig

from paintsundo.models import (
    ClipVisionEncoder,
    ImageProjection,
    SingleFrameUNet,
    UNet3DModel,
    VideoAutoencoderKL,
)

MANIFEST = json.loads((Path(__file__).parents[1] / "golden" / "official_manifest.json").read_text())
BUILDERS = {
    "multi_frame/unet": lambda config: UNet3DModel.from_config(config),
    "multi_frame/vae": lambda config: VideoAutoencoderKL.from_config(config),
    "multi_frame/image_projection": lambda config: ImageProjection.from_config(config),
    "multi_frame/image_encoder": lambda config: ClipVisionEncoder(CLIPVisionConfig(**config)),
    "multi_frame/text_encoder": lambda config: CLIPTextModel(CLIPTextConfig(**config)),
    "single_frame/text_encoder": lambda config: CLIPTextModel(CLIPTextConfig(**config)),
    "single_frame/unet": lambda config: SingleFrameUNet.from_config(config),
    "single_frame/vae": lambda config: AutoencoderKL.from_config(config),
}


def test_every_component_is_covered():
    assert set(BUILDERS) == {name for name, entry in MANIFEST.items() if "tensors" in entry}


@pytest.mark.parametrize("component", BUILDERS)
def test_tensors(component):
    entry = MANIFEST[component]
    with torch.device("meta"):
        network = BUILDERS[component](entry["config"])
    # transformers writes its text encoder with or without this prefix, depending on its version.
    tensors = {name.removeprefix("text_model."): list(t.shape) for name, t in network.state_dict().items()}
    assert tensors == entry["tensors"]
    assert sum(p.numel() for p in network.parameters()) == entry["parameters"]


@pytest.mark.parametrize(
    ("cls", "component"),
    [
        (UNet3DModel, "multi_frame/unet"),
        (VideoAutoencoderKL, "multi_frame/vae"),
        (ImageProjection, "multi_frame/image_projection"),
    ],
)
def test_saved_config_has_the_published_keys_and_values(cls, component):
    config = MANIFEST[component]["config"]
    with torch.device("meta"):
        network = cls.from_config(config)
        default = cls()
    assert json.loads(network.to_json_string()) == config
    assert json.loads(default.to_json_string()) == config, "the defaults are the published values"
