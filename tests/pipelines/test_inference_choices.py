"""Choices at inference that are compared with the published ones: noise, placement, keyframes alone, clip skip."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from paintsundo import PaintsUndoPipeline
from paintsundo.checkpoints import load_single_frame
from paintsundo.checkpoints.text_encoders import without_last_layers
from paintsundo.conditioning import encode_prompts
from paintsundo.errors import UserError
from paintsundo.pipelines.command import main
from paintsundo.pipelines.film import default_options
from paintsundo.pipelines.keyframe_placement import placed_steps
from paintsundo.pipelines.options import KeyframeOptions, NoiseOptions
from tiny_models import TINY, arguments, drawing, pictures


def arrays(images: list[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(image) for image in images])


def test_independent_noise_is_each_keyframes_own(pipe: PaintsUndoPipeline) -> None:
    steps = [300, 500, 700]
    same = arrays(pipe.generate_keyframes(drawing(), "x", operation_steps=steps, seed=5))
    independent = arrays(pipe.generate_keyframes(drawing(), "x", operation_steps=steps, seed=5, noise="independent"))
    assert (independent[1] == same[1]).all()
    assert (independent[2] != same[2]).any()
    second = arrays(pipe.generate_keyframes(drawing(), "x", operation_steps=[500], seed=6))
    assert np.abs(independent[2].astype(int) - second[1]).max() <= 1


@pytest.mark.parametrize("noise", ["same", "independent"])
def test_keyframes_do_not_depend_on_the_batch(pipe: PaintsUndoPipeline, noise: str) -> None:
    steps = [100, 300, 500, 700, 900]
    together = arrays(pipe.generate_keyframes(drawing(), "x", operation_steps=steps, noise=noise))
    in_twos = arrays(pipe.generate_keyframes(drawing(), "x", operation_steps=steps, noise=noise, batch=2))
    assert np.abs(together.astype(int) - in_twos).max() <= 1


def test_placements() -> None:
    assert placed_steps("uniform", 4) == [200, 400, 600, 800]
    assert placed_steps("uniform", 99) == [10 * step for step in range(1, 100)]
    blank, finished = placed_steps("blank_heavy", 6), placed_steps("finished_heavy", 6)
    assert (np.diff([0, *blank]) > np.diff([*blank, 1000])).all()
    assert [1000 - step for step in blank[::-1]] == finished
    assert all(len(placed_steps(name, 20)) == 20 for name in ("uniform", "blank_heavy", "finished_heavy"))
    dense = placed_steps("finished_heavy", 999)
    assert dense == sorted(set(dense))
    assert (dense[0], dense[-1]) == (1, 998)
    assert KeyframeOptions(placement="uniform", count=4).steps() == [200, 400, 600, 800]
    assert KeyframeOptions(operation_steps=[700, 300, 700]).steps() == [300, 700]


def test_steps_that_are_given_go_before_a_placement(pipe: PaintsUndoPipeline) -> None:
    pipe.keyframe_options.placement, pipe.keyframe_options.count = "uniform", 3
    assert len(pipe.generate_keyframes(drawing(), "x")) == 5
    assert len(pipe.generate_keyframes(drawing(), "x", operation_steps=[500])) == 3


def test_a_film_of_keyframes_alone_needs_no_video_model(checkpoint: Path, pipe: PaintsUndoPipeline) -> None:
    alone = PaintsUndoPipeline.from_pretrained(checkpoint, None, None, device="cpu")
    states = pipe.generate_keyframes(drawing(), "x")
    film = alone.interpolate(states, between="none")
    assert (film == arrays(states)[::-1]).all()
    with pytest.raises(UserError, match="the video model was left out"):
        alone.interpolate(states)


@torch.no_grad()
def test_clip_skip_is_the_encoder_without_its_last_layers() -> None:
    parts = load_single_frame(TINY / "single_frame")
    layers = parts.text_encoder.config.num_hidden_layers
    full = encode_prompts(parts.tokenizer, parts.text_encoder, "1girl, solo")
    skipped = encode_prompts(parts.tokenizer, parts.text_encoder, "1girl, solo", layers - 1)
    assert not torch.allclose(full, skipped, atol=1e-3)
    with pytest.raises(UserError, match=f"this text encoder has {layers} layers"):
        encode_prompts(parts.tokenizer, parts.text_encoder, "1girl, solo", layers)
    without_last_layers(parts.text_encoder, layers - 1)
    torch.testing.assert_close(encode_prompts(parts.tokenizer, parts.text_encoder, "1girl, solo"), skipped)
    assert parts.text_encoder.config.num_hidden_layers == 1


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    drawing().save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def test_one_long_chain_from_the_command_line(picture: Path, tmp_path: Path) -> None:
    chain = ["keyframes.placement=uniform", "keyframes.count=5", "keyframes.batch=2", "video.between=none", "prompt="]
    assert main(arguments(picture, tmp_path / "out", *chain)) == 0
    folder = tmp_path / "out" / "picture"
    frames, keyframes = pictures(folder / "frames"), pictures(folder / "keyframes")
    assert (frames == keyframes[::-1]).all()
    assert len(frames) == 7
    assert (folder / "film.mp4").is_file()
    assert (folder / "prompt.txt").read_text() == ""
    record = json.loads((folder / "run.json").read_text())
    assert record["settings"]["video"] == {"between": "none"}
    assert record["settings"]["keyframes"]["operation_steps"] == [167, 333, 500, 667, 833]
    assert record["seeds"]["pairs"] == []
    assert "multi_frame" not in record["checkpoints"]
    # The same steps written out are the same film.
    listed = ["keyframes.operation_steps=[167,333,500,667,833]", *chain[3:]]
    assert main(arguments(picture, tmp_path / "out", *listed)) == 0
    assert json.loads((folder / "run.json").read_text())["started"] == record["started"]


def test_published_settings_are_recorded_as_before(picture: Path, tmp_path: Path) -> None:
    """Films that were made before these options came are known again; other values are other films."""
    assert main(arguments(picture, tmp_path / "out", "prompt=x")) == 0
    settings = json.loads((tmp_path / "out" / "picture" / "run.json").read_text())["settings"]
    newer = {"noise", "clip_skip", "between", "patch_positions", "noise_schedule", "placement", "count", "batch"}
    assert not newer & {*settings["keyframes"], *settings["video"]}
    assert main(arguments(picture, tmp_path / "out", "prompt=x", "keyframes.noise=independent")) == 2
    changed = arguments(picture, tmp_path / "other", "prompt=x", "video.patch_positions=bilinear")
    assert main(changed) == 0
    settings = json.loads((tmp_path / "other" / "picture" / "run.json").read_text())["settings"]
    assert settings["video"]["patch_positions"] == "bilinear"


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("keyframes.placement=random", "choose from listed, uniform, blank_heavy, finished_heavy"),
        ("keyframes.noise=none", "choose from same, independent"),
        ("keyframes.batch=0", "at least one keyframe at a time"),
        ("keyframes.clip_skip=-1", "from 0 up"),
        ("keyframes.clip_skip=99", "keyframes.clip_skip is 99: this text encoder has"),
        ("video.clip_skip=99", "video.clip_skip is 99: this text encoder has"),
        ("video.between=fade", "choose from model, none"),
        ("video.noise_schedule.beta_schedule=cosine", "beta_schedule must be linear or scaled_linear"),
        ("keyframes.noise_schedule.beta_start=0.5", "0 < start < end < 1"),
        ("keyframes.noise_schedule.zero_terminal_snr=true", "cannot be sampled at zero terminal SNR"),
        ("video.patch_positions=cubic", "choose from nearest, bilinear, rotary"),
    ],
)
def test_impossible_choices_are_told(
    picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, said: str
) -> None:
    assert main(arguments(picture, tmp_path / "out", option)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert said in lines[0]
    assert not (tmp_path / "out").exists()


def test_an_impossible_count_is_told(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["keyframes.placement=uniform", "keyframes.count=0"]
    assert main(arguments(picture, tmp_path / "out", *given)) == 2
    assert "keyframes.count is 0" in capsys.readouterr().err


def test_a_sampler_can_be_told_other_noise_than_the_model_was_trained_on(checkpoint: Path) -> None:
    options = default_options("official")
    options.video.noise_schedule = NoiseOptions(dynamic_scale=False, zero_terminal_snr=False)
    options.keyframes.noise_schedule = NoiseOptions(beta_schedule="scaled_linear", beta_end=0.012)
    pipe = PaintsUndoPipeline.from_pretrained(checkpoint, checkpoint, None, device="cpu", options=options)
    assert not pipe.video_scheduler.config.dynamic_scale
    assert float(pipe.video_scheduler.alphas_cumprod[-1]) > 0
    assert torch.equal(pipe.keyframe_scheduler.alphas_cumprod, pipe.video_scheduler.alphas_cumprod)
