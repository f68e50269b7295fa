"""Dry runs: parameters counted without weights, memory by strategy, buckets where data are there."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from subprocess import run

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model

import tiny_training
from paintsundo.errors import UserError
from paintsundo.models import SingleFrameUNet
from paintsundo.training.configuration import configure, entries
from paintsundo.training.dry_run import describe
from paintsundo.training.memory_estimate import TRAINERS, Counts, chosen_trainer, estimate
from paintsundo.training.options import EmaOptions, TrainerOptions, TrainOptions, read
from paintsundo.training.parameter_table import Row, adapter_parameters, parameter_rows

SINGLE = "experiment=official/single_frame"


def rows(*arguments: str) -> dict[str, Row]:
    return {row.name: row for row in parameter_rows(read(configure(arguments)))}


def test_published_sizes_are_counted() -> None:
    single, multi = rows(SINGLE), rows("experiment=official/multi_frame")
    assert {name: row.parameters for name, row in single.items()} == {
        "unet": 861_501_124,
        "text_encoder": 115_972_608,
        "vae": 83_653_863,
    }
    assert {name: row.parameters for name, row in multi.items()} == {
        "unet": 1_438_854_980,
        "image_projection": 48_790_016,
        "image_encoder": 632_076_800,
        "text_encoder": 340_387_840,
        "vae": 99_941_907,
    }
    assert [name for name, row in single.items() if row.trained] == ["unet"]
    assert [name for name, row in multi.items() if row.trained] == ["unet", "image_projection"]
    assert all(row.trained in (0, row.parameters) and row.apart == (not row.trained) for row in multi.values())
    trained = rows("experiment=official/multi_frame", "model.train_encoders=true")
    assert [name for name, row in trained.items() if row.apart] == ["vae"]


def test_sizes_not_known_yet_are_said_to_be() -> None:
    found = rows("experiment=embedded/single_frame")
    assert found["vae"].parameters is None
    assert "model.autoencoder" in found["vae"].sizes
    assert found["unet"].parameters == found["unet"].trained == 5_058_744
    assert not found["text_encoder"].apart  # a new one is always trained
    said = describe(configure(["experiment=embedded/single_frame"]))
    assert [line.split() for line in said.splitlines() if line.startswith("vae")] == [
        ["vae", "?", "?", "?", "model.autoencoder,", "not", "given"]
    ]


def test_the_start_says_the_sizes() -> None:
    # the bundled models have other sizes than the experiment
    found = rows("experiment=official/single_frame", "start=bundled")
    assert {row.sizes for row in found.values()} == {"start=bundled"}
    assert found["unet"].parameters == 5_058_744
    assert found["text_encoder"].apart
    assert "start: single_frame model" in describe(configure([SINGLE, "start=bundled"]))
    with pytest.raises(UserError, match=r"test_dry_run\.py"):
        rows(SINGLE, f"start={__file__}")


def test_folders_of_components_say_their_sizes(tmp_path: Path) -> None:
    from diffusers import AutoencoderKL

    AutoencoderKL(block_out_channels=(8,), norm_num_groups=4).save_pretrained(tmp_path / "vae")
    found = rows("experiment=embedded/single_frame", f"model.autoencoder={tmp_path}")["vae"]
    expected = AutoencoderKL.from_pretrained(tmp_path / "vae")
    assert found == Row("vae", sum(p.numel() for p in expected.parameters()), 0, "model.autoencoder", apart=True)


def test_chosen_parts_are_counted() -> None:
    everything = rows(SINGLE)["unet"]
    chosen = rows(SINGLE, "train_parts=['unet\\..*attn1','^unet.conv_in']")["unet"]
    with torch.device("meta"):
        from paintsundo.settings import compose

        unet = SingleFrameUNet(**compose("train", ["+architecture@sizes=official"]).sizes.single_frame.unet)
    expected = sum(p.numel() for name, p in unet.named_parameters() if "attn1" in name or name.startswith("conv_in"))
    assert 0 < chosen.trained == expected < everything.trained
    assert chosen.parameters == everything.parameters
    assert rows(SINGLE, "train_parts=[nothing_of_that_name]")["unet"].trained == 0
    decoder = rows("experiment=embedded/video_decoder", "start=bundled/none", "model.start=null")["vae"]
    assert decoder.parameters is None


def test_a_frozen_encoder_is_not_counted_as_trained() -> None:
    whole = rows("experiment=embedded/video_autoencoder")["vae"]
    decoder = rows("experiment=embedded/video_autoencoder", "model.train_encoder=false")["vae"]
    assert whole.trained == whole.parameters == decoder.parameters
    assert 0 < decoder.trained < whole.trained
    assert not decoder.apart


def test_adapters_are_counted_as_peft_makes_them() -> None:
    sizes = {"block_out_channels": [16, 16], "cross_attention_dim": 16, "norm_num_groups": 4, "in_channels": 4}
    blocks = {"down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "layers_per_block": 1}
    unet = SingleFrameUNet(**sizes, **blocks, up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"], attention_head_dim=4)
    targets = ["to_q", "to_k", "to_out.0", "conv_in", "proj_in"]
    expected = adapter_parameters(unet, 3, targets)
    inject_adapter_in_model(LoraConfig(r=3, target_modules=targets), unet)
    assert expected == sum(p.numel() for name, p in unet.named_parameters() if "lora_" in name) > 0


def test_lora_trains_adapters_alone() -> None:
    found = rows("experiment=official/multi_frame_lora", "start=bundled")
    assert [name for name, row in found.items() if row.trained] == ["unet"]
    said = describe(configure(["experiment=official/multi_frame_lora", "start=bundled"]))
    unet = next(line.split() for line in said.splitlines() if line.startswith("unet "))
    assert (int(unet[1].replace(",", "")), unet[3]) == (found["unet"].parameters, unet[1])


def memory_options(precision: str = "bf16-mixed", **ema: object) -> TrainOptions:
    options = TrainOptions(ema=EmaOptions(**ema))  # type: ignore[arg-type]
    options.runtime.precision = precision
    return options


def test_memory_by_strategy() -> None:
    counts = Counts(trained=1000, frozen=200, apart=100)
    options = memory_options()
    one = estimate(options, "one", counts, 8)
    assert (one.weights, one.gradients, one.optimizer, one.averages, one.host) == (5000, 4000, 8000, 4000, 0)
    assert estimate(options, "ddp", counts, 8) == one
    zero1 = estimate(options, "zero1", counts, 4)
    # 16-bit weights and gradients; float32 copy and two means, and the average, shared by four
    assert (zero1.weights, zero1.gradients, zero1.optimizer, zero1.averages) == (2600, 2000, 3000, 1000)
    assert estimate(options, "zero2", counts, 4) == replace(zero1, gradients=500)
    assert estimate(options, "zero3", counts, 4) == replace(zero1, gradients=500, weights=200 + 600)
    away = estimate(options, "zero2_offload", counts, 4)
    assert (away.weights, away.gradients, away.optimizer, away.averages) == (2600, 0, 0, 0)
    assert away.host == 3000 + 1000 + 1000
    assert estimate(options, "zero3_offload", counts, 4).device == 200
    sharded = estimate(options, "fsdp2", counts, 4)
    assert (sharded.weights, sharded.gradients, sharded.optimizer, sharded.averages) == (1400, 1000, 2000, 1000)
    assert sharded.device == 5400


def test_frozen_networks_are_halved_where_they_are_on_gpus() -> None:
    counts = Counts(trained=0, frozen=200, apart=100)
    options = memory_options()
    assert estimate(options, "one", counts, 1).weights == 800 + 200
    options.lora.rank = 4  # what adapters change is not trained
    assert estimate(options, "one", counts, 1).weights == 400 + 200
    assert estimate(options, "fsdp2", counts, 4).weights == 100 + 200
    options.runtime.device = "cpu"
    assert estimate(options, "one", counts, 1).weights == 800 + 400


def test_memory_by_precision_optimizer_and_averages() -> None:
    counts = Counts(1000, 0, 0)
    assert estimate(memory_options("32-true"), "zero2", counts, 1).weights == 4000
    assert estimate(memory_options(kind="none"), "one", counts, 1).averages == 0
    assert estimate(memory_options(kind="power", stds=[0.05, 0.1, 0.2]), "one", counts, 1).averages == 12000
    options = memory_options()
    options.optimizer.name = "adamw_8bit"
    assert estimate(options, "one", counts, 1).optimizer == 2000


def test_the_chosen_strategy_is_marked() -> None:
    for entry in entries("trainer"):
        found = read(configure([SINGLE, f"trainer={entry}"]))
        assert chosen_trainer(found) == entry
    assert set(TRAINERS) == set(entries("trainer"))
    assert chosen_trainer(TrainOptions(trainer=TrainerOptions("zero3", offload_optimizer=True))) is None
    said = describe(configure([SINGLE, "trainer=zero2", "trainer.devices=2"]))
    assert [line.split()[1] for line in said.splitlines() if line.startswith("* z")] == ["zero2"]
    assert "others on 2 devices" in said


def test_references_are_resolved_and_texts_kept(tmp_path: Path) -> None:
    said = describe(configure(["experiment=official/multi_frame_from_scratch", f"output={tmp_path}/a${{b}}"]))
    assert f"work_folder: {tmp_path}/a${{b}}" in said
    assert "${" not in said.replace("a${b}", "")
    assert "model_channels: 320" in said
    assert "architecture:" not in said  # only what is used


def test_buckets_are_told_where_data_are(tmp_path: Path) -> None:
    data = tiny_training.write_data(tmp_path / "set", tiny_training.drawings())
    stream = [SINGLE, f"data.path={data}", "data.loader=stream", "batch_size=2"]
    said = describe(configure([*stream, "data.buckets=[[64,64],[128,64]]"]))
    assert [line.split()[:4] for line in said.splitlines() if re.match(r" *\d+ x ", line)] == [
        ["64", "x", "64", "2"],
        ["128", "x", "64", "0"],
    ]
    own = describe(configure([*stream, "data.buckets=null"]))
    assert [line.split()[:4] for line in own.splitlines() if re.match(r" *\d+ x ", line)] == [["64", "x", "64", "2"]]
    assert "bucket" not in describe(configure([SINGLE])).split("\n\n")[-2]


def test_it_imports_no_gpu_library_and_touches_no_device() -> None:
    script = (
        "import sys\n"
        "import torch\n"
        "def touched():\n"
        "    raise AssertionError('a device is touched')\n"
        "torch.cuda._lazy_init = touched\n"
        "from paintsundo.training.command import main\n"
        f"assert main(['{SINGLE}', 'trainer=zero3', 'dry_run=true']) == 0\n"
        "assert not {'deepspeed', 'bitsandbytes', 'xformers'} & set(sys.modules)\n"
    )
    done = run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("missing: output=DIR; data.path=DATASET")
