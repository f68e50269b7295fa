"""Command-line arguments → options: literal values, precedence, one-line errors."""

from dataclasses import dataclass, field

import pytest
from omegaconf import OmegaConf

from paintsundo.errors import UserError
from paintsundo.pipelines.command import LITERAL_KEYS
from paintsundo.pipelines.options import InferOptions
from paintsundo.settings import as_schema, compose, config_directory, escape, split_literals, unquote


def options(*arguments: str) -> InferOptions:
    return as_schema(compose("infer", arguments, LITERAL_KEYS), InferOptions)


@pytest.mark.parametrize(
    "value",
    [
        "plain",
        "a, b, c",
        "[x]{y}(z)",
        "k=v",
        'it\'s "quoted" inside',
        "été ünïcode 画",
        "  blanks  ",
        "${keyframes.width}",
        "\\${keyframes.width}",
        "\\\\${a}\\",
        "C:\\new\\table",
        "~home",
        "100%",
        "#hash",
        "a\nb",
        "",
        "true",
        "12",
    ],
)
@pytest.mark.parametrize("key", ["input", "prompt"])
def test_literal_values_come_through_unchanged(key: str, value: str) -> None:
    assert getattr(options(f"{key}={value}"), key) == value


@pytest.mark.parametrize("value", ["'a, b'", '"a, b"'])
def test_one_pair_of_quotes_is_dropped(value: str) -> None:
    assert options(f"prompt={value}").prompt == "a, b"


@pytest.mark.parametrize(
    ("text", "expected"), [("'a\"", "'a\""), ("'", "'"), ("''", ""), ("''a''", "'a'"), ("a'b'", "a'b'")]
)
def test_unquote(text: str, expected: str) -> None:
    assert unquote(text) == expected


def test_null_is_none_unless_quoted() -> None:
    assert options("prompt=x", "prompt=null").prompt is None
    assert options("prompt='null'").prompt == "null"


def test_escape_survives_resolution() -> None:
    config = OmegaConf.create({"a": escape("\\${b} and ${c}")})
    assert config.a == "\\${b} and ${c}"
    assert escape(None) is None


def test_nested_literals() -> None:
    chosen = options("models.single_frame=/a,b/[c]", "video.prompt=x, y", "keyframes.negative_prompt=")
    assert chosen.models.single_frame == "/a,b/[c]"
    assert chosen.video.prompt == "x, y"
    assert chosen.keyframes.negative_prompt == ""


def test_command_line_wins_over_models_and_models_over_published_settings() -> None:
    assert options("models=official").keyframes.width == 512
    assert options("models=bundled").keyframes.width == 256
    assert options("keyframes.width=128", "models=bundled").keyframes.width == 128
    assert options("video.buckets=[[8,16]]", "models=bundled").video.buckets == [[8, 16]]


def test_schedulers_are_chosen_by_group() -> None:
    chosen = options("scheduler@keyframes.scheduler=euler", "scheduler@video.scheduler=ddim")
    assert chosen.keyframes.scheduler["_target_"] == "diffusers.EulerDiscreteScheduler"
    assert chosen.video.scheduler["_target_"] == "diffusers.DDIMScheduler"
    assert options("keyframes.scheduler.rho=5").keyframes.scheduler["rho"] == 5


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("keyframes.widht=1", "did you mean keyframes.width?"),
        ("gpu=1", "unknown option gpu"),
        ("picture.png", "name=value"),
        ("models=other", "bundled official"),
        ("video.batch=1,2", r"\[a,b\]"),
        ("video.batch=[", "not understood"),
        ("video.batch=many", "video.batch"),
        ("+video.new=1", "video.new"),
        ("keyframes=3", "group"),
    ],
)
def test_errors_are_one_line(argument: str, told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        options(argument)
    assert "\n" not in str(caught.value)


def test_only_literal_keys_are_literal() -> None:
    literals, overrides = split_literals(["a=[1]", "b=[1]", "a=x"], {"a"})
    assert literals == {"a": "x"}
    assert overrides == ["b=[1]"]


def test_schema_is_checked() -> None:
    @dataclass
    class Small:
        count: int = 1
        names: list[str] = field(default_factory=list)

    assert as_schema(OmegaConf.create({"count": 3}), Small) == Small(3)
    with pytest.raises(UserError, match="count"):
        as_schema(OmegaConf.create({"count": "x"}), Small)


def test_configuration_files_are_found() -> None:
    assert (config_directory() / "models" / "official.yaml").is_file()
