"""Options of the page, and settings of a run: composed, limited, and the same as `infer.py` would have."""

import dataclasses
from pathlib import Path

import pytest
from studios import options

from paintsundo.app.models import Models, shaped
from paintsundo.app.options import AppOptions
from paintsundo.app.run_settings import RunSettings, scheduler_named, scheduler_names
from paintsundo.errors import UserError
from paintsundo.pipelines.options import InferOptions
from paintsundo.settings import as_schema, compose


def test_by_default_only_this_machine_is_served() -> None:
    made = AppOptions.composed()
    assert made.server.host == "127.0.0.1"
    assert made.local
    assert not AppOptions.composed(["server.host=0.0.0.0"]).local
    assert AppOptions.composed(["server.host=::1"]).local


@pytest.mark.parametrize(
    ("argument", "part"),
    [
        ("server.port=70000", "server.port"),
        ("server.password=", "server.password"),
        ("limits.steps=0", "limits.steps"),
        ("runs.keep_days=-1", "runs.keep_days"),
        ("choices.models=/there/is/none", "choices.models"),
        ("input=picture.png", "input is for infer.py"),
        ("keyframes.folder=own", "keyframes.folder is for infer.py"),
        ("runtime.devices=[cpu,cpu]", "runtime.devices is for infer.py"),
        ("keyframes.seed=-1", "keyframes.seed"),
        ("servr.port=1", "did you mean server.port"),
    ],
)
def test_impossible_options_are_told_in_one_line(argument: str, part: str) -> None:
    with pytest.raises(UserError, match=part) as error:
        AppOptions.composed([argument])
    assert "\n" not in str(error.value)


def test_folders_and_passwords_are_taken_literally() -> None:
    made = AppOptions.composed(["runs.folder=a=b, c", "server.password=${x},=[1]"])
    assert (made.runs.folder, made.server.password) == ("a=b, c", "${x},=[1]")


@pytest.mark.parametrize("group", ["bundled", "official"])
def test_default_settings_are_those_of_the_command_line(group: str, tmp_path: Path) -> None:
    command = as_schema(compose("infer", [f"models={group}"]), InferOptions)
    models = Models(AppOptions.composed([f"models={group}"]))
    ours = models.defaults(group).options(models.base(group))
    ours.runtime.progress = command.runtime.progress
    ours.keyframes.operation_steps = command.keyframes.steps()
    assert ours == command


def test_the_other_group_has_what_suits_it() -> None:
    models = Models(AppOptions.composed(["models=bundled", "keyframes.seed=7"]))
    assert models.defaults("bundled").seed == 7
    assert models.defaults("official").steps == 50
    assert models.names()[0] == "bundled"
    assert "official" in models.names()


def test_every_scheduler_can_be_named() -> None:
    for name in scheduler_names()[1:]:
        assert "_target_" in scheduler_named(name)
    command = as_schema(compose("infer", ["scheduler@video.scheduler=ddim"]), InferOptions)
    base = as_schema(compose("infer", []), InferOptions)
    settings = dataclasses.replace(RunSettings.of(base, "bundled"), video_scheduler="ddim")
    assert settings.options(base).video == command.video


@pytest.mark.parametrize("name", ["../../x", "ddim]", "ddim,lcm", "", "x" * 5000])
def test_no_other_scheduler_can(name: str) -> None:
    with pytest.raises(UserError, match="there is no scheduler"):
        scheduler_named(name)


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"colour": 1}, "unknown setting"),
        ({"width": "wide"}, "width: a whole number"),
        ({"width": 1.5}, "width: a whole number"),
        ({"seed": True}, "seed: a whole number"),
        ({"guidance": "much"}, "guidance: a number"),
        ({"guidance": float("nan")}, "guidance: a finite number"),
        ({"guidance": 10**400}, "guidance: a finite number"),
        ({"operation_steps": 5}, "operation_steps: a list"),
        ({"operation_steps": [[1]]}, "operation_steps: a whole number"),
        ({"buckets": [["a"]]}, "buckets: a whole number"),
        ({"prompt": ["a"]}, "prompt: text"),
        ({"prompt": "\0"}, "prompt: the text"),
        ({"prompt": "\ud800"}, "prompt: the text"),
        ({"model": None}, "model: text"),
    ],
)
def test_settings_of_other_types_are_refused(given: dict, part: str) -> None:
    with pytest.raises(UserError, match=part):
        RunSettings.from_mapping(given, RunSettings())


def test_given_settings_replace_the_defaults() -> None:
    made = RunSettings.from_mapping({"guidance": 2, "prompt": None, "width": None, "height": None}, RunSettings())
    assert (made.guidance, type(made.guidance), made.width) == (2.0, float, None)
    assert dataclasses.replace(made, guidance=3.0, width=512, height=640) == RunSettings()


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"operation_steps": list(range(33))}, "33 keyframes are too many"),
        ({"steps": 151}, "151 steps"),
        ({"video_steps": 151}, "151 steps"),
        ({"width": 4096, "height": 4096}, "4096x4096 is too large"),
        ({"buckets": [[8192, 8192]]}, "8192x8192 is too large"),
        ({"prompt": "a" * 4001}, "too long"),
        ({"width": None}, "both or neither"),
    ],
)
def test_settings_beyond_the_limits_are_refused(change: dict, part: str) -> None:
    settings = dataclasses.replace(RunSettings(), **change)
    with pytest.raises(UserError, match=part):
        settings.check(AppOptions().limits)
    RunSettings().check(AppOptions().limits)


def test_each_setting_decides_keyframes_or_film() -> None:
    settings = RunSettings()
    names = {each.name for each in dataclasses.fields(settings)}
    keyframes, film = set(settings.keyframe_part()), set(settings.video_part())
    assert keyframes | film | {"memory"} == names
    assert keyframes & film == {"model", "lora", "lora_scale"}


@pytest.mark.parametrize("size", [(512, 640), (640, 512), (1000, 1000), (300, 2000), (1920, 1080), (9, 8)])
@pytest.mark.parametrize("multiple", [8, 64])
def test_sizes_follow_the_shape(size: tuple[int, int], multiple: int) -> None:
    pixels = 512 * 640
    width, height = shaped(size, pixels, multiple)
    assert width % multiple == height % multiple == 0
    assert 0.75 * pixels < width * height <= 1.1 * pixels
    wanted = min(max(size[0] / size[1], 1 / 3), 3)
    assert width / height == pytest.approx(wanted, rel=0.16 if multiple == 64 else 0.03)


def test_sizes_left_open_are_the_models_own_for_its_own_shape(tmp_path: Path) -> None:
    models = Models(AppOptions.composed())
    own = models.defaults("bundled")
    open_ = dataclasses.replace(own, width=None, height=None, buckets=None)
    assert models.resolved(open_, (2 * int(own.width or 0), 2 * int(own.height or 0))) == own
    wide = models.resolved(open_, (1600, 900))
    assert int(wide.width or 0) > int(wide.height or 0)
    assert wide.buckets is not None
    assert wide.buckets[0][1] > wide.buckets[0][0]


class TestChoices:
    def test_folders_and_adapters_are_offered_by_name(self, tmp_path: Path) -> None:
        for part in ("single_frame", "multi_frame"):
            (tmp_path / "models" / "mine" / part).mkdir(parents=True)
        (tmp_path / "models" / "other").mkdir()
        (tmp_path / "loras").mkdir()
        (tmp_path / "loras" / "ink.safetensors").write_bytes(b"")
        models = Models(
            options(tmp_path / "runs", f"choices.models={tmp_path / 'models'}", f"choices.loras={tmp_path / 'loras'}")
        )
        assert models.names() == ["official", "bundled", "mine"]
        assert models.loras() == ["ink"]
        base = models.base("mine", "ink")
        assert base.models.single_frame == str(tmp_path / "models" / "mine")
        assert base.models.lora == str(tmp_path / "loras" / "ink.safetensors")
        mine = next(choice for choice in models.choices() if choice.name == "mine")
        assert not mine.available
        assert "not on this machine" in mine.message
        with pytest.raises(UserError, match="not on this machine"):
            models.check(models.base("mine"))

    @pytest.mark.parametrize("name", ["../mine", "/etc", "mine/single_frame", "", "."])
    def test_nothing_else_is(self, name: str, tmp_path: Path) -> None:
        (tmp_path / "models").mkdir()
        models = Models(options(tmp_path / "runs", f"choices.models={tmp_path / 'models'}"))
        with pytest.raises(UserError, match="there is no model"):
            models.base(name)
        with pytest.raises(UserError, match="there is no LoRA"):
            models.base("bundled", name)

    def test_what_is_not_here_is_said(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
        models = Models(AppOptions.composed(["choices.download=false"]))
        by_name = {choice.name: choice for choice in models.choices()}
        assert by_name["bundled"].available
        assert not by_name["official"].available
        assert "not on this machine" in by_name["official"].message
        with pytest.raises(UserError, match="not on this machine"):
            models.check(models.base("official"))
        fetching = Models(AppOptions.composed())
        official = next(choice for choice in fetching.choices() if choice.name == "official")
        assert official.available
        assert "fetched" in official.message
        fetching.check(fetching.base("official"))
