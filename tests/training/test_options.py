"""Options of training: what is refused, alone and together, and what the message says to change."""

import sys
from subprocess import run

import pytest

from paintsundo.errors import UserError
from paintsundo.settings import compose
from paintsundo.training.configuration import configure, entries, first_value, help_text
from paintsundo.training.model_options import known_options, module_class
from paintsundo.training.options import TrainOptions, check, read
from paintsundo.training.requirements import missing
from paintsundo.training.single_frame import SingleFrameModule

TAGGER, SINGLE = "experiment=embedded/tagger", "experiment=official/single_frame"
MULTI, VIDEO = "experiment=official/multi_frame", "experiment=official/video_autoencoder"


def options(*arguments: str) -> TrainOptions:
    """The options of a command line, checked."""
    found = read(configure(arguments))
    check(found)
    return found


@pytest.mark.parametrize("experiment", entries("experiment"))
@pytest.mark.parametrize("debug", [None, *entries("debug")])
def test_every_experiment_passes_the_checks(experiment: str, debug: str | None) -> None:
    found = options(f"experiment={experiment}", *([f"debug={debug}"] if debug else []))
    assert found.max_steps == {None: found.max_steps, "limit": 20, "profiler": 30, "overfit": 2000}[debug]
    if debug is not None:
        assert found.max_minutes is None  # they end by steps
    assert found.keep_every is None or found.keep_every % found.checkpoint_every == 0


@pytest.mark.parametrize("group", ["trainer", "ema", "optimizer", "logger"])
def test_every_entry_of_a_group_is_possible(group: str) -> None:
    chosen = [options(TAGGER, f"{group}={entry}") for entry in entries(group)]
    values = [getattr(found, group) for found in chosen]
    assert all(one != other for number, one in enumerate(values) for other in values[:number])


def test_defaults_of_the_files_are_those_of_the_schema() -> None:
    assert read(compose("train", [])) == TrainOptions()


@pytest.mark.parametrize("entry", [*entries("attention_window"), None])
def test_attention_windows_reach_the_model(entry: str | None) -> None:
    found = options(MULTI, *([f"attention_window={entry}"] if entry else []))
    expected = {None: ["none"], "mixed": ["none", "prv", "first", "roll"]}.get(entry, [entry])
    assert found.model is not None
    assert found.model["windows"] == expected


def test_loss_weights_are_built_as_configured() -> None:
    from hydra.utils import instantiate

    for entry, name in (("min_snr", "MinSNRWeight"), ("uniform", "UniformWeight"), ("by_timestep", "TimestepWeight")):
        found = options(SINGLE, f"loss_weight@model.loss_weight={entry}")
        assert found.model is not None
        assert type(instantiate(found.model["loss_weight"])).__name__ == name
    assert "loss_weight" not in (options(SINGLE).model or {})


def test_official_sizes_are_those_of_the_architecture() -> None:
    sizes = compose("train", ["+architecture@sizes=official"]).sizes
    found = options("experiment=official/single_frame_from_scratch").model or {}
    assert found["network"] == sizes.single_frame.unet
    found = options("experiment=official/multi_frame_from_scratch").model or {}
    assert (found["network"], found["projection"]) == (sizes.multi_frame.unet, sizes.multi_frame.image_projection)
    assert (options(VIDEO).model or {})["network"] == sizes.multi_frame.vae


def test_overfitting_drops_no_conditions() -> None:
    dropouts = ("text_dropout", "picture_dropout", "step_dropout")
    assert (options(SINGLE).model or {})["text_dropout"] > 0
    found = options(SINGLE, "debug=overfit")
    assert [(found.model or {})[name] for name in dropouts] == [0, 0, 0]
    assert found.optimizer.schedule == "constant"
    # an experiment that does not name them is told all the same
    assert (options("experiment=embedded/multi_frame", "debug=overfit").model or {})["dropout"] == 0
    assert "dropout" not in (options(TAGGER, "debug=overfit").model or {})


def test_the_command_line_wins_over_presets() -> None:
    found = options(TAGGER, "debug=limit", "max_steps=7", "optimizer.warmup_steps=2", "ema.decay=0.5")
    assert (found.max_steps, found.optimizer.warmup_steps, found.ema.decay) == (7, 2, 0.5)


def test_model_options_need_not_be_named_by_the_experiment() -> None:
    found = options("experiment=embedded/single_frame", "model.text_dropout=0.25", "model.text_encoder='a,b'")
    assert ((found.model or {})["text_dropout"], (found.model or {})["text_encoder"]) == (0.25, "a,b")
    assert (options("experiment=embedded/video_autoencoder", "model.start=x=y").model or {})["start"] == "x=y"


def test_arguments_handed_on_to_bases_are_known() -> None:
    class Base:
        def __init__(self, rate: float = 0.5, *, size: int = 3) -> None: ...

    class Middle(Base):
        def __init__(self, width: int, **others: object) -> None: ...

    class Closed(Middle):
        def __init__(self, depth: int) -> None: ...

    assert set(known_options(Middle)) == {"width", "rate", "size"}
    assert known_options(Middle)["rate"].default == 0.5
    assert set(known_options(Closed)) == {"depth"}
    assert {"network", "text_dropout", "loss_weight"} <= set(known_options(SingleFrameModule))
    assert module_class("paintsundo.training.single_frame.SingleFrameModule") is SingleFrameModule


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        # types and ranges
        (["max_steps=many"], "max_steps: Value 'many'"),
        (["max_steps=2.5"], "max_steps: Value '2.5'"),
        (["seed=-1"], "seed must be"),
        (["accumulate=0"], "accumulate must be a whole number and at least 1, not 0"),
        (["gradient_clip=-1"], "gradient_clip is -1.0: a norm above 0"),
        (["max_minutes=0"], "max_minutes is 0.0"),
        (["optimizer.learning_rate=0"], "optimizer.learning_rate is 0.0: it must be above 0"),
        (["optimizer.betas=[0.9]"], "two numbers from 0 to below 1"),
        (["optimizer.betas=0.9"], "optimizer.betas: a list is needed"),
        (["optimizer.schedule=linear"], "choose from cosine, constant"),
        (["ema.kind=fast"], "ema.kind cannot be 'fast': choose from standard, power, none"),
        (["ema.decay=1"], "ema.decay is 1.0"),
        (["ema.stds=[0.05,0.4]"], "below 0.289"),
        (["ema.stds=[0.05,0.05]"], "different widths"),
        (["trainer.strategy=zero4"], "choose from one, ddp, zero1"),
        (["trainer.devices=all"], "trainer.devices is all: a number from 1 up, or auto"),
        (["trainer.devices=0"], "trainer.devices is 0"),
        (["runtime.precision=fp16"], "choose from bf16-mixed, 16-mixed, 32-true"),
        (["runtime.compile=true"], "choose from none, regional, full"),
        (["data.on_fault=ignore"], "choose from skip, stop"),
        (["data.max_faults=1.5"], "data.max_faults is 1.5"),
        (["profiler=nsight"], "choose from null, torch, simple"),
        (["lora.rank=0"], "lora.rank must be"),
        # names
        (["model.learning_rate=1"], "unknown option model.learning_rate"),
        (["optimizer.learnin_rate=1"], "did you mean optimizer.learning_rate?"),
        (["+data.workrs=1"], "data.workrs"),
        (["trainer=zero"], "zero1"),
        (["model.picture_sizes=1"], "unknown option model.picture_sizes; did you mean model.picture_size?"),
        (["+model.picture_sizes=1"], "unknown option model.picture_sizes; did you mean model.picture_size?"),
        (["model._target_=paintsundo.training.tagger.TagerModule"], "model._target_: no class"),
        (["attention_window=prv"], "unknown option model.windows"),
        # together
        (["trainer.devices=2"], "trainer.devices=2 needs a strategy: say trainer=ddp too"),
        (["trainer.num_nodes=2"], "trainer.num_nodes=2 needs a strategy"),
        (["trainer=zero3", "runtime.device=cpu"], "trainer.strategy=zero3 needs GPUs: say runtime.device=cuda, or"),
        (["trainer=fsdp2", "runtime.device=cpu"], "trainer.strategy=fsdp2 needs GPUs"),
        (["trainer=ddp", "runtime.device=cpu"], "as in trainer.devices=2"),
        (["trainer=ddp", "trainer.offload_optimizer=true"], "say trainer=zero2_offload"),
        (["trainer=zero2", "trainer.offload_parameters=true"], "say trainer=zero3_offload"),
        (["trainer=zero3", "runtime.compile=full"], "say runtime.compile=regional"),
        (["trainer=zero2_offload", "optimizer=adamw_8bit"], "say optimizer=adamw"),
        (["runtime.precision=16-mixed", "runtime.device=cpu"], "say bf16-mixed or 32-true"),
        (["runtime.precision=16-mixed", "trainer=fsdp2"], "say runtime.precision=bf16-mixed"),
        (["optimizer=adamw_8bit", "runtime.device=cpu"], "say optimizer=adamw"),
        (["runtime.gradient_checkpointing=true"], "say runtime.gradient_checkpointing=false"),
        (["lora.rank=4"], "LoRA is for the single-frame and the multi-frame model: say lora.rank=null"),
        (["lora.alpha=4"], "say their rank too, as in lora.rank=16"),
        (["lora.start=x.safetensors"], "say their rank too, as in lora.rank=16"),
        (["train_parts=[]"], "null trains everything"),
        (["train_parts=['(']"], "no regular expression"),
        (["data.held_out=0"], "say data.held_out=1 or more, or sample_every=null"),
        (["keep_every=1500"], "keep_every=1500 is no multiple of checkpoint_every=1000"),
        (["data.cache=x"], "say data.loader=stream too"),
        (["data.loader=stream", "data.cache=x"], "say data.cache=null"),
        (["data.states_per_process=2"], "say data.loader=stream too"),
        (["data.steps=states"], "say data.loader=stream too"),
        (["data.steps=often"], "choose uniform, blank_heavy, states"),
        (["data.loader=stream", "data.states_per_process=3", "batch_size=8"], "is no multiple of"),
        (["data.loader=stream", "data.buckets=[[100,64]]"], "multiples of 8 are needed, as [96,64]"),
        (["data.loader=stream", "data.buckets=[[100]]"], "each must be [height,width]"),
        (["data.buckets=[]"], "data.buckets is empty"),
        ([SINGLE, "lora.rank=4", "train_parts=[attn]"], "leave one of them null"),
        ([SINGLE, "model.zero_terminal_snr=true"], "say model.prediction_type=v_prediction"),
        ([SINGLE, "model.prediction_type=x0"], "choose from epsilon, v_prediction"),
        ([SINGLE, "model.beta_schedule=cosine"], "choose from linear, scaled_linear"),
        ([SINGLE, "model.beta_end=0.0001"], "0 < start < end < 1"),
        ([SINGLE, "model.text_dropout=1.5"], "model.text_dropout is 1.5: from 0 to 1"),
        ([MULTI, "model.dropout=0.5"], "from 0 to 0.333"),
        ([MULTI, "model.windows=[all]"], "one or more of none, prv, first, roll"),
        ([MULTI, "data.buckets=[[320,520]]"], "multiples of 64 are needed, as [320,512]"),
        ([SINGLE, "data.steps=states", "data.cache=x"], "say data.steps=uniform or data.cache=null"),
        ([MULTI, "data.steps=blank_heavy"], "clips are drawn uniform or by states"),
        ([MULTI, "data.cache=x", "model.train_encoders=true"], "say model.train_encoders=false too"),
        (["experiment=official/multi_frame_from_scratch", "data.cache=x"], "say start=FOLDER"),
    ],
)
def test_impossible_options_are_refused(arguments: list[str], told: str) -> None:
    chosen = [] if arguments[0].startswith("experiment=") else [TAGGER]
    with pytest.raises(UserError) as refusal:
        options(*chosen, *arguments)
    assert told in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_what_looks_similar_is_possible() -> None:
    for arguments in (
        ["trainer=ddp", "trainer.devices=1"],
        ["trainer=ddp", "trainer.devices=2", "runtime.device=cpu"],
        ["runtime.precision=bf16-mixed", "runtime.device=cpu"],
        ["trainer=zero3", "runtime.compile=regional"],
        ["data.held_out=0", "sample_every=null"],
        ["keep_every=2000"],
        ["data.loader=stream", "data.buckets=[[64,96]]"],
    ):
        options(TAGGER, *arguments)
    options(SINGLE, "model.zero_terminal_snr=true", "model.prediction_type=v_prediction")
    options("experiment=official/multi_frame_from_scratch", "data.cache=x", "start=bundled")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["trainer=zero2"], "the package deepspeed"),
        (["optimizer=adamw_8bit"], "the package bitsandbytes or torchao"),
        (["optimizer=adamw_8bit", "trainer=fsdp2"], "the package torchao"),
        (["logger=tensorboard"], "the package tensorboard"),
        (["logger=wandb"], "the package wandb"),
        (["runtime.attention=xformers"], "the package xformers"),
        (["start=nowhere/a.ckpt"], "start: nowhere/a.ckpt does not exist"),
        (["data.path=https://example.org/set", "data.also=[/nowhere]"], "a data set at /nowhere"),
    ],
)
def test_what_is_not_there_is_missing(arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    optional = {"deepspeed", "bitsandbytes", "torchao", "tensorboard", "wandb", "xformers"}
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in optional else found(name))
    lines = missing(options(SINGLE, *arguments))
    assert [line for line in lines if line.startswith(told)]
    assert not any("example.org" in line for line in lines)  # looked for when training begins


def test_gpus_are_asked_for_where_they_must_be(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def lines(count: int, *arguments: str) -> list[str]:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        return [line for line in missing(options(TAGGER, *arguments)) if "GPU" in line]

    assert lines(0) == lines(0, "trainer=ddp", "trainer.devices=2", "runtime.device=cpu") == []
    assert lines(0, "trainer=fsdp2") == ["a GPU (trainer.strategy=fsdp2)"]
    assert lines(0, "runtime.precision=16-mixed") == ["a GPU (runtime.precision=16-mixed)"]
    assert lines(2, "trainer=ddp", "trainer.devices=4") == ["4 GPUs (trainer.devices): this machine has 2"]
    assert lines(4, "trainer=zero3") == lines(4, "trainer=ddp", "trainer.devices=4") == []


def test_weights_are_asked_for_once() -> None:
    def needed(*arguments: str) -> list[str]:
        lines = missing(options(*arguments))
        return [line for line in lines if line.startswith(("start", "model"))]

    assert needed(SINGLE) == ["start=FOLDER (weights to begin with)"]
    assert needed(SINGLE, "start=bundled") == []
    assert needed("experiment=official/single_frame_lora", "start=bundled") == []
    assert needed("experiment=embedded/single_frame") == ["model.autoencoder", "model.tags"]
    assert needed("experiment=embedded/single_frame", "start=bundled") == []
    assert needed("experiment=embedded/single_frame", "model.tags=/none") == [
        "model.autoencoder",
        "model.tags: /none does not exist",
    ]
    assert needed("experiment=official/multi_frame_from_scratch") == ["model.autoencoder", "model.text_encoder"]
    assert needed(VIDEO) == []


@pytest.mark.parametrize(
    ("override", "first"),
    [
        ("a=1,2", "a=1"),
        ("+a.b='x, y',z", "+a.b='x, y'"),
        ("a=range(3,9)", "a=3"),
        ("a=tag(log, interval(1e-5, 1e-3))", "a=1e-05"),
        ("a=[1,2],[3]", "a=[1,2]"),
        ("a=[1,2]", "a=[1,2]"),
        ("experiment=x/y,x/z", "experiment=x/y"),
    ],
)
def test_first_of_several_values(override: str, first: str) -> None:
    assert first_value(override) == first


def test_help_explains_every_option() -> None:
    lines = [line for line in help_text([TAGGER]).splitlines() if "=" in line.split(" ")[0]]
    unexplained = [line for line in lines if len(line.split()) < 2 and not line.startswith("model.")]
    assert unexplained == []
    said = "\n".join(lines)
    assert "start=null " in said
    assert "lora.start=null " in said
    assert "weights to begin with" in next(line for line in lines if line.startswith("start="))
    assert "safetensors" in next(line for line in lines if line.startswith("lora.start="))
    for entry in ("embedded/tagger", "official/multi_frame", "zero3_offload", "attention_windows", "min_snr"):
        assert entry in said


def test_refusals_do_not_wait_for_torch() -> None:
    script = (
        "import sys\n"
        "from paintsundo.errors import UserError\n"
        "from paintsundo.training.configuration import configure\n"
        "from paintsundo.training.options import check, read\n"
        "try:\n"
        f"    check(read(configure(['{MULTI}', 'trainer=zero3', 'runtime.compile=full'])))\n"
        "except UserError:\n"
        "    sys.exit('torch' in sys.modules)\n"
        "sys.exit(2)\n"
    )
    assert run([sys.executable, "-c", script], check=False).returncode == 0
