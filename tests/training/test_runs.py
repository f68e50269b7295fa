"""Every experiment trained for two steps, what it leaves, and runs that go on after an interruption."""

import csv
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import tiny_training
from paintsundo.checkpoints import load_multi_frame, load_single_frame, load_tagger
from paintsundo.checkpoints.image_vae import load_image_vae
from paintsundo.models import VideoAutoencoderKL
from paintsundo.training import command
from paintsundo.training.bank import ProcessBank, to_signed
from paintsundo.training.batches import StateClips, StatePictures
from paintsundo.training.single_frame import SingleFrameModule
from paintsundo.training.video_autoencoder import VideoAutoencoderModule

EXPERIMENTS = sorted(tiny_training.TINY)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_run_leaves_its_record(runs: SimpleNamespace, name: str) -> None:
    folder = runs.of(name)
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["steps"], summary["processes"], summary["device"]) == (2, 2, "cpu")
    assert summary["parameters"] > 0
    sheet = np.asarray(Image.open(folder / "samples" / "000002.png"))
    assert sheet.shape[0] % 64 == sheet.shape[1] % 64 == 0
    assert sheet.std() > 0
    figures = [json.loads(line) for line in (folder / "figures.jsonl").read_text().splitlines()]
    assert [line["step"] for line in figures] == [2]
    assert all(np.isfinite(value) for value in figures[0].values())
    assert (folder / "config.yaml").is_file()


def test_single_frame_model_loads_and_predicts(runs: SimpleNamespace) -> None:
    parts = load_single_frame(runs.of("single_frame") / "final")
    ids = parts.tokenizer(["yellow, hat"], padding="max_length", return_tensors="pt").input_ids
    context = parts.text_encoder(ids).last_hidden_state
    picture = torch.rand(1, 3, 64, 64) * 2 - 1
    latents = parts.vae.encode(picture).latent_dist.mode() * parts.vae.config.scaling_factor
    out = parts.unet(latents, torch.tensor([10]), context, torch.tensor([500]), latents).sample
    assert out.shape == latents.shape == (1, 8, 8, 8)
    assert torch.isfinite(out).all()


def test_multi_frame_model_loads_and_predicts(runs: SimpleNamespace) -> None:
    parts = load_multi_frame(runs.of("multi_frame") / "final")
    ends = torch.rand(1, 3, 2, 64, 64) * 2 - 1
    image = parts.image_projection(parts.image_encoder(ends))
    ids = parts.tokenizer(["1girl"], padding="max_length", return_tensors="pt").input_ids
    text = parts.text_encoder(ids).last_hidden_state
    latents, hidden = parts.vae.encode(ends)
    x = latents[:, :, [0, 0, 1, 1]]
    out = parts.unet(x, torch.tensor([999]), text, image, torch.tensor([3]), x)
    assert out.shape == (1, 8, 4, 8, 8)
    assert torch.isfinite(out).all()
    assert parts.vae.decode(out, hidden).shape == (1, 3, 4, 64, 64)


def test_autoencoders_and_tagger_load(runs: SimpleNamespace, bank: ProcessBank) -> None:
    vae = load_image_vae(runs.of("image_autoencoder") / "final" / "vae")
    pictures = StatePictures(bank, 256)(torch.Generator().manual_seed(0))["pictures"]
    with torch.no_grad():
        latents = vae.encode(pictures).latent_dist.mean * vae.config.scaling_factor
    assert torch.allclose(latents.transpose(0, 1).flatten(1).std(1), torch.ones(8), atol=1e-3)
    video = VideoAutoencoderKL.from_pretrained(runs.of("video_autoencoder") / "final" / "vae")
    clips = StateClips(bank, 32, 4, (0.06, 0.4))(torch.Generator().manual_seed(0))["clips"]
    with torch.no_grad():
        latents, _ = video.encode(clips)
    assert torch.allclose(latents.transpose(0, 1).flatten(1).std(1), torch.ones(8), atol=1e-3)
    assert next(tag.name for tag in load_tagger(runs.of("tagger") / "final").tags) == "yellow"


def test_frozen_parts_are_handed_on_unchanged(runs: SimpleNamespace) -> None:
    for model, autoencoder in (("single_frame", "image_autoencoder"), ("multi_frame", "video_autoencoder")):
        ours, theirs = (next((runs.of(name) / "final" / "vae").glob("*.safetensors")) for name in (model, autoencoder))
        ours, theirs = load_file(ours), load_file(theirs)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_second_pass_changes_the_decoder_alone(runs: SimpleNamespace, bank: ProcessBank) -> None:
    before, after = (
        VideoAutoencoderKL.from_pretrained(runs.of(name) / "final" / "vae")
        for name in ("video_autoencoder", "video_decoder")
    )
    changed = {
        name.split(".")[0]
        for (name, one), other in zip(before.state_dict().items(), after.state_dict().values(), strict=True)
        if not torch.equal(one, other)
    }
    assert changed == {"decoder"}
    assert (before.config["time_context"], before.config["decode_group"]) == ("neighbours", 2)
    assert (after.config["time_context"], after.config["decode_group"]) == ("ends", 0)
    assert not after.config["decode_sliding"]
    clips = to_signed(bank.states(torch.tensor([0, 1]), torch.tensor([[1.0, 0.5, 0.1]] * 2))).transpose(1, 2)
    with torch.no_grad():
        assert torch.equal(before.encode(clips)[0], after.encode(clips)[0])


def test_going_on_with_the_encoder_asks_for_the_moments_it_has(
    runs: SimpleNamespace, bank: ProcessBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, asked = str(runs.of("video_autoencoder") / "final"), []
    monkeypatch.setattr(
        "paintsundo.training.video_autoencoder.moment_penalty", lambda mean: asked.append(mean) or mean.sum() * 0
    )
    module = VideoAutoencoderModule({}, start=start, frames=4)
    monkeypatch.setattr(module, "record", lambda figures: None)
    module.training_step(StateClips(bank, 32, 4, (0.06, 0.4))(torch.Generator().manual_seed(0)), 0)
    assert torch.allclose(asked[0].transpose(0, 1).flatten(1).std(1), torch.ones(8), atol=1e-3)


def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    runs: SimpleNamespace,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(folder: str, *others: str) -> int:
        options = ("max_steps=4", "checkpoint_every=2", "log_every=1", "seed=3", "ema.decay=0.5", *others)
        needs = runs.needs("single_frame")
        return command.main(tiny_training.arguments("single_frame", data, tmp_path / folder, *needs, *options))

    assert run("whole") == 0
    step = SingleFrameModule.training_step

    def pulled(self: SingleFrameModule, batch: dict, index: int) -> torch.Tensor:
        if self.trainer.global_step == 3:
            raise KeyboardInterrupt
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(SingleFrameModule, "training_step", pulled)
        assert run("parts") == 130
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted; the same command goes on from the last checkpoint"
    assert not (tmp_path / "parts" / "final").exists()
    assert run("parts") == 0
    assert "going on from step 2" in capsys.readouterr().out
    whole, parts = (
        torch.load(tmp_path / folder / "checkpoints" / "step-00000004" / "state.ckpt", weights_only=True)
        for folder in ("whole", "parts")
    )
    assert whole["global_step"] == parts["global_step"] == 4
    assert all(torch.equal(whole["state_dict"][name], parts["state_dict"][name]) for name in whole["state_dict"])
    assert whole["lr_schedulers"][0]["_last_lr"] == parts["lr_schedulers"][0]["_last_lr"]
    for name in ("unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"):
        one, other = (load_file(tmp_path / folder / "final" / name) for folder in ("whole", "parts"))
        assert all(torch.equal(one[key], other[key]) for key in one)
    # the averages are exported, not the last weights
    unet = load_file(tmp_path / "whole" / "final" / "unet" / "diffusion_pytorch_model.safetensors")
    assert not torch.equal(unet["conv_in.weight"], whole["state_dict"]["unet.conv_in.weight"])
    losses = []
    for folder in ("whole", "parts"):
        with (tmp_path / folder / "log" / "metrics.csv").open() as stream:
            losses.append([(row["step"], row["loss"]) for row in csv.DictReader(stream)])
    assert losses[0] == losses[1]
    assert [step for step, _ in losses[0]] == ["0", "1", "2", "3"]
    # run once more, it is done already; killed before its export, it is exported
    assert run("parts") == 0
    assert "finished at step 4 already" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "parts" / "final")
    assert run("parts") == 0
    again = load_file(tmp_path / "parts" / "final" / "unet" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(unet[key], again[key]) for key in unet)


def test_another_seed_trains_otherwise(data: Path, tmp_path: Path) -> None:
    weights = []
    for seed in (0, 1):
        given = tiny_training.arguments("tagger", data, tmp_path / str(seed), "max_steps=1", f"seed={seed}")
        assert command.main(given) == 0
        weights.append((tmp_path / str(seed) / "final" / "model.onnx").read_bytes())
    assert weights[0] != weights[1]


@pytest.mark.slow
def test_single_frame_model_learns_two_drawings_by_heart(runs: SimpleNamespace, data: Path, tmp_path: Path) -> None:
    steps = 400
    options = (
        f"max_steps={steps}",
        "batch_size=8",
        "log_every=1",
        "optimizer.learning_rate=3e-3",
        "model.network.block_out_channels=[32,32,32]",
    )
    needs = runs.needs("single_frame")
    assert command.main(tiny_training.arguments("single_frame", data, tmp_path / "run", *needs, *options)) == 0
    with (tmp_path / "run" / "log" / "metrics.csv").open() as stream:
        losses = [float(row["loss"]) for row in csv.DictReader(stream)]
    assert len(losses) == steps
    assert np.mean(losses[:5]) > 0.9  # noise of unit variance, nothing known of it
    assert np.mean(losses[-50:]) < 0.25
