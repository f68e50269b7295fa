"""Training on streamed shards: buckets, the cache of latents, noise, dropouts and weights, as the command is told."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny_starts
from paintsundo.diffusion.loss_weights import MinSNRWeight
from paintsundo.models.single_frame_unet import NO_OPERATION_STEP
from paintsundo.pipelines import command as infer
from paintsundo.training import command
from paintsundo.training.diffusion import DiffusionModule
from paintsundo.training.multi_frame import MultiFrameModule
from paintsundo.training.single_frame import SingleFrameModule
from tiny_models import TINY, arguments, drawing, pictures
from train_process import batches, train

SIZES = ((64, 64), (64, 128), (128, 64))
SHARED = ("max_steps=4", "checkpoint_every=4", "sample_every=null", "held_out_every=null", "data.held_out=0")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return tiny_starts.write_data(tmp_path_factory.mktemp("data") / "set", 9, sizes=SIZES)


def test_buckets_and_batches_do_not_depend_on_workers(data: list[str], tmp_path: Path) -> None:
    for workers in (0, 2):
        more = (f"data.workers={workers}", "max_steps=8", "data.buckets=[[64,64],[64,128],[128,64]]")
        given = tiny_starts.arguments("single_frame", data, tmp_path / f"run{workers}", *SHARED, *more)
        assert train(given, tmp_path / f"log{workers}", tmp_path / f"order{workers}") == 0
    assert batches(tmp_path / "order0") == batches(tmp_path / "order2")
    said = (tmp_path / "log0").read_text()
    assert all(f"{height} x {width}" in said for height, width in SIZES)
    assert "33.3%" in said


@pytest.mark.parametrize("kind", ["single_frame", "multi_frame"])
def test_the_cache_is_filled_once_for_each_model(
    kind: str, data: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded, module = [], {"single_frame": SingleFrameModule, "multi_frame": MultiFrameModule}[kind]
    moments = module.moments

    def counted(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        encoded.append(len(pictures))
        return moments(self, pictures)

    monkeypatch.setattr(module, "moments", counted)
    cache = tmp_path / "cache"
    more = (f"data.cache={cache}", "model.positions=16", "max_steps=1", "batch_size=1", "data.states_per_process=1")
    if kind == "multi_frame":
        more += ("model.strides=[1]",)

    def run(name: str, start: Path = TINY / kind) -> int:
        encoded.clear()
        given = tiny_starts.arguments(kind, data, tmp_path / name, *SHARED, *more, start=start)
        assert command.main(given) == 0
        return sum(encoded)

    assert run("first") == 9 * 16
    assert run("second") == 0
    assert len(list(cache.iterdir())) == 1
    # A model whose encoder differs by one weight has a cache of its own.
    encoder = module(start=str(TINY / kind)).vae
    with torch.no_grad():
        next(encoder.parameters()).view(-1)[0] += 1e-3
    shutil.copytree(TINY / kind, tmp_path / "changed")
    encoder.save_pretrained(tmp_path / "changed" / "vae")
    assert run("third", tmp_path / "changed") == 9 * 16
    assert len(list(cache.iterdir())) == 2


def test_a_damaged_cache_is_filled_again(data: list[str], tmp_path: Path) -> None:
    more = (f"data.cache={tmp_path / 'cache'}", "model.positions=4", "max_steps=1")
    for name in ("first", "second"):
        given = tiny_starts.arguments("single_frame", data, tmp_path / name, *SHARED, *more)
        assert command.main(given) == 0
        file = next((tmp_path / "cache").glob("*/*.safetensors"))
        kept = file.read_bytes()
        file.write_bytes(kept[: len(kept) // 2] if name == "first" else kept)
    losses = [(tmp_path / name / "log" / "metrics.csv").read_text().splitlines()[0] for name in ("first", "second")]
    assert losses[0] == losses[1]


def test_cached_and_encoded_latents_agree(data: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict] = []
    errors = DiffusionModule.errors

    def kept(self, batch: dict, *others):
        seen.append(batch)
        return errors(self, batch, *others)

    monkeypatch.setattr(DiffusionModule, "errors", kept)
    for name, more in (("plain", ()), ("cached", (f"data.cache={tmp_path / 'cache'}", "model.positions=8"))):
        given = tiny_starts.arguments("single_frame", data, tmp_path / name, *SHARED, "max_steps=1", *more)
        assert command.main(given) == 0
    plain, cached = seen[0], seen[-1]
    assert plain["keys"] == cached["keys"]
    torch.testing.assert_close(cached["finished"], plain["finished"], atol=2e-2, rtol=1e-2)
    assert torch.equal(cached["token_ids"], plain["token_ids"])


def test_v_prediction_is_told_to_the_sampler(data: list[str], tmp_path: Path) -> None:
    more = ("model.prediction_type=v_prediction", "model.beta_schedule=scaled_linear", "model.zero_terminal_snr=true")
    given = tiny_starts.arguments("single_frame", data, tmp_path / "run", *SHARED, *more)
    assert command.main(given) == 0
    final = tmp_path / "run" / "final"
    stage = json.loads((final / "scheduler" / "scheduler_config.json").read_text())
    assert (stage["prediction_type"], stage["beta_schedule"]) == ("v_prediction", "scaled_linear")
    assert stage["rescale_betas_zero_snr"] is True
    drawing().save(tmp_path / "picture.png")
    given = arguments(tmp_path / "picture.png", tmp_path / "film", f"models.single_frame={final}")
    assert infer.main(given) == 0
    frames = pictures(tmp_path / "film" / "picture" / "frames")
    assert len(frames)
    assert all(frame.std() > 1 for frame in pictures(tmp_path / "film" / "picture" / "keyframes")[:2])
    assert np.isfinite(frames).all()


def test_conditions_are_dropped_as_often_as_told(
    data: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dropped: list[dict[str, torch.Tensor]] = []
    given: list[tuple] = []

    class Seen:
        def __call__(self, x, t, context, operation_steps, concat_conds):
            given.append((context, operation_steps, concat_conds))
            return type("Output", (), {"sample": x})

    shares = {"text": 0.1, "picture": 0.2, "step": 0.4}
    module = SingleFrameModule(
        start=str(TINY / "single_frame"), **{f"{name}_dropout": share for name, share in shares.items()}
    )
    monkeypatch.setattr(module, "unet", None)
    del module._modules["unet"]
    object.__setattr__(module, "unet", Seen())
    torch.manual_seed(0)
    count, rounds = 200, 20
    batch = {
        "token_ids": module.prompts.ids([["cat"]] * count),
        "finished": torch.ones(count, 4, 1, 1),
        "operation_steps": torch.full((count,), 7),
    }
    for _ in range(rounds):
        dropped.append(module.draw_dropped(count))
        with torch.no_grad():
            module.predict(batch, torch.zeros(count, 4, 1, 1), torch.zeros(count), dropped[-1])
    drawn = {name: torch.cat([each[name] for each in dropped]).float() for name in shares}
    total = count * rounds
    for name, share in shares.items():
        assert abs(float(drawn[name].mean()) - share) < 4 * (share * (1 - share) / total) ** 0.5
    for one, other in (("text", "picture"), ("text", "step"), ("picture", "step")):
        both = shares[one] * shares[other]
        assert abs(float((drawn[one] * drawn[other]).mean()) - both) < 4 * (both * (1 - both) / total) ** 0.5
    steps, finished = torch.cat([g[1] for g in given]), torch.cat([g[2] for g in given]).flatten(1).amax(1)
    assert torch.equal(steps == NO_OPERATION_STEP, drawn["step"].bool())
    assert torch.equal(finished == 0, drawn["picture"].bool())
    empty = given[0][0][dropped[0]["text"]]
    assert (empty == empty[:1]).all()
    assert not torch.allclose(empty[0], given[0][0][~dropped[0]["text"]][0])


def test_text_and_picture_of_clips_are_dropped_as_in_the_family() -> None:
    module = MultiFrameModule(start=str(TINY / "multi_frame"), dropout=0.1)
    torch.manual_seed(0)
    drawn = module.draw_dropped(20_000)
    text, picture = drawn["text"], drawn["picture"]
    for found, share in ((text & ~picture, 0.1), (text & picture, 0.1), (picture & ~text, 0.1)):
        assert abs(float(found.float().mean()) - share) < 0.01


def test_weights_by_timestep_from_the_command(data: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple] = []
    step = DiffusionModule.training_step

    def kept(self, batch, index):
        seen.append((self.loss_weight, self.schedule))
        return step(self, batch, index)

    monkeypatch.setattr(DiffusionModule, "training_step", kept)
    more = ("loss_weight@model.loss_weight=min_snr", "model.loss_weight.gamma=0.01", "max_steps=2", "batch_size=8")
    assert command.main(tiny_starts.arguments("single_frame", data, tmp_path / "run", *SHARED, *more)) == 0
    weight, schedule = seen[-1]
    assert isinstance(weight, MinSNRWeight)
    assert weight.gamma == 0.01
    t = torch.tensor([5, 999])
    assert weight(schedule, t, "epsilon")[0] < 0.06 < 0.9 < weight(schedule, t, "epsilon")[1]
    with (tmp_path / "run" / "log" / "metrics.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["loss"]]
    assert len(rows) == 2
    assert all(float(row["loss"]) < float(row["error"]) for row in rows)
