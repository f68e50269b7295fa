"""Choices that are compared with the published ones: trained with, recorded in the checkpoint, followed by samplers."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tiny_training
from paintsundo import PaintsUndoPipeline
from paintsundo.checkpoints import load_multi_frame, load_single_frame
from paintsundo.checkpoints.noise import trained_stage
from paintsundo.checkpoints.starting_points import find_starting_point
from paintsundo.errors import UserError
from paintsundo.training import command
from paintsundo.training.configuration import configure
from paintsundo.training.options import check, read
from tiny_models import drawing

SINGLE, MULTI = "experiment=embedded/single_frame", "experiment=embedded/multi_frame"


@pytest.fixture(scope="module")
def keyframe_model(runs: SimpleNamespace, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    choices = ["operation_embedding=token", "beta_schedule=scaled_linear", "beta_end=0.012", "zero_terminal_snr=true"]
    choices += ["prediction_type=v_prediction", "dynamic_scale=true", "clip_skip=1", "text_dropout=1"]
    output = tmp_path_factory.mktemp("choices") / "single"
    choices = [f"model.{choice}" for choice in choices]
    given = tiny_training.arguments("single_frame", data, output, *runs.needs("single_frame"), *choices)
    assert command.main(given) == 0
    return output / "final"


@pytest.fixture(scope="module")
def video_model(runs: SimpleNamespace, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    choices = ["projection.input_frames_length=1", "patch_positions=rotary", "zero_terminal_snr=false"]
    choices += ["dynamic_scale=false", "prediction_type=epsilon", "beta_schedule=linear", "beta_end=0.02"]
    output = tmp_path_factory.mktemp("choices") / "multi"
    choices = [f"model.{choice}" for choice in choices]
    given = tiny_training.arguments("multi_frame", data, output, *runs.needs("multi_frame"), *choices)
    assert command.main(given) == 0
    return output / "final"


def test_choices_of_the_keyframe_model_are_recorded(keyframe_model: Path) -> None:
    parts = load_single_frame(keyframe_model)
    assert parts.unet.config.operation_embedding == "token"
    assert parts.text_encoder.config.num_hidden_layers == 1
    stage = trained_stage(keyframe_model, "single_frame")
    assert (stage.beta_schedule, stage.beta_end, stage.prediction_type) == ("scaled_linear", 0.012, "v_prediction")
    assert stage.rescale_betas_zero_snr
    assert stage.dynamic_scale
    # It can be gone on from: it is no plain Stable Diffusion.
    found = find_starting_point(str(keyframe_model), "single_frame")
    assert found.kind == "official"
    assert found.load("unet").config.operation_embedding == "token"


def test_choices_of_the_video_model_are_recorded(video_model: Path) -> None:
    parts = load_multi_frame(video_model)
    assert parts.image_encoder.patch_positions == "rotary"
    assert parts.image_projection.input_pos.shape[1] == 1
    stage = trained_stage(video_model, "multi_frame")
    assert (stage.beta_schedule, stage.beta_end, stage.prediction_type) == ("linear", 0.02, "epsilon")
    assert not stage.rescale_betas_zero_snr
    assert not stage.dynamic_scale


def test_a_film_follows_them_by_itself(keyframe_model: Path, video_model: Path) -> None:
    pipe = PaintsUndoPipeline.from_pretrained(keyframe_model, video_model, None, device="cpu")
    pipe.set_progress_bar_config(disable=True)
    assert pipe.keyframe_scheduler.config.prediction_type == "v_prediction"
    assert pipe.video_scheduler.config.prediction_type == "epsilon"
    assert float(pipe.keyframe_scheduler.alphas_cumprod[-1]) == 0
    assert float(pipe.video_scheduler.alphas_cumprod[-1]) > 0
    states = pipe.generate_keyframes(
        drawing(), "face", operation_steps=[500], width=64, height=64, num_inference_steps=2, guidance_scale=2.0
    )
    frames = pipe.interpolate(states, num_inference_steps=2, guidance_scale=2.0, buckets=[[64, 128]])
    assert frames.shape == (6, 64, 128, 3)
    assert len(np.unique(frames)) > 1


def test_another_choice_is_another_training(runs: SimpleNamespace, keyframe_model: Path) -> None:
    """The published form of the same run has the step added, and its own noise, which is not written."""
    published = runs.of("single_frame") / "final"
    assert not (published / "scheduler").exists()
    assert "operation_embedding" not in json.loads((published / "unet" / "config.json").read_text())
    assert (keyframe_model / "scheduler").is_dir()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([SINGLE, "model.operation_embedding=word"], "choose from null, added, none, token"),
        ([SINGLE, "model.clip_skip=-1"], "a number of layers"),
        ([MULTI, "model.prediction_type=epsilon"], "say model.zero_terminal_snr=false"),
        ([MULTI, "model.prediction_type=x0"], "choose from epsilon, v_prediction"),
        ([MULTI, "model.beta_schedule=cosine"], "choose from linear, scaled_linear"),
        ([MULTI, "model.beta_start=0.5"], "0 < start < end < 1"),
        ([MULTI, "model.patch_positions=cubic"], "choose from null, nearest, bilinear, rotary"),
        ([MULTI, "model.projection.input_frames_length=3"], "choose from 1, 2"),
    ],
)
def test_impossible_choices_are_told(arguments: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        check(read(configure(arguments)))
    assert "\n" not in str(caught.value)


def test_more_layers_cannot_be_left_out_than_there_are(
    runs: SimpleNamespace, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    needs = [*runs.needs("single_frame"), "model.clip_skip=2"]
    assert command.main(tiny_training.arguments("single_frame", data, tmp_path / "run", *needs)) == 2
    assert "clip_skip is 2: this text encoder has 2 layers, so 0 to 1 are possible" in capsys.readouterr().err
