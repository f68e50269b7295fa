"""Models, adapters and memory chosen on the page: they decide the keyframes, and what cannot be used says so."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from serving import Server
from studios import model_folders

from tiny_models import MODELS, SMALL


@pytest.fixture
def choices(tmp_path: Path, visitors: Callable[..., Any]) -> Iterator[Any]:
    """A visitor of a page that offers models and adapters from folders."""
    running = Server(tmp_path / "page", [*MODELS, *SMALL, *model_folders(tmp_path)])
    yield visitors(running.address).arrive()
    running.stop()
    assert running.faults() == ""


def keyframe(visitor: Any) -> np.ndarray:
    answer = visitor.fetch(visitor.address + visitor.status()["keyframes"][1]["url"])
    return np.asarray(Image.open(io.BytesIO(answer.body())).convert("RGB"))


def redrawn(visitor: Any) -> np.ndarray:
    """The first keyframe with the settings as they are now."""
    from playwright.sync_api import expect

    before = visitor.status()["keyframes"][1]["id"]
    visitor.go("keyframes")
    visitor.at("#pu-make-keyframes").click()
    visitor.until(
        "async before => { const id = location.hash.slice(1).split('/')[0];"
        " const { keyframes } = await (await fetch(`/api/v1/runs/${id}/status`)).json();"
        " return keyframes.length > 2 && keyframes[1].id !== before && keyframes.every(({ done }) => done); }",
        before,
    )
    expect(visitor.at("#pu-next-film")).to_be_visible()
    visitor.went_well()
    found = keyframe(visitor)
    visitor.go("picture")
    return found


def test_a_model_an_adapter_and_a_memory_mode_are_chosen(choices: Any, drawing: Path) -> None:
    from playwright.sync_api import expect

    choices.upload(drawing)
    choices.draw()
    plain = keyframe(choices)
    choices.go("picture")
    choices.at("summary", has_text="LoRA and memory").click()
    lora, strength = choices.at("#pu-lora"), choices.at("#pu-lora-scale")
    expect(lora.locator("option")).to_have_text(["None", "broken", "ink"])
    expect(lora.locator("option:checked")).to_have_text("None")
    expect(strength).to_be_hidden()
    lora.select_option("ink")
    expect(strength).to_be_visible()
    strength.fill("0.5")
    half = redrawn(choices)
    strength.fill("2")
    twice = redrawn(choices)
    assert (plain != half).any()
    assert (half != twice).any()
    lora.select_option("")
    choices.at("#pu-memory").select_option("low")
    np.testing.assert_array_equal(redrawn(choices), plain)
    settings = choices.get(f"runs/{choices.run_id()}")["settings"]
    assert (settings["lora"], settings["memory"]) == (None, "low")
    # A model from a folder is offered by the folder's name; one that lacks something cannot be drawn with.
    model = choices.at("#pu-model")
    model.select_option("mine")
    expect(choices.at("#pu-model-message")).to_be_hidden()
    model.select_option("half")
    expect(choices.at("#pu-model-message")).to_contain_text("not on this machine")
    choices.go("keyframes")
    expect(choices.at("#pu-make-keyframes")).to_be_disabled()


def test_an_adapter_that_is_none_is_told_in_a_sentence(choices: Any, drawing: Path) -> None:
    from playwright.sync_api import expect

    choices.upload(drawing)
    choices.at("summary", has_text="LoRA and memory").click()
    choices.at("#pu-lora").select_option("broken")
    choices.go("keyframes")
    choices.at("#pu-make-keyframes").click()
    told = choices.trouble().or_(choices.failed()).first
    expect(told).to_contain_text("roken.safetensors is damaged or not a safetensors file")
    assert "/" not in told.inner_text()


def test_without_adapters_the_page_says_how_to_have_some(visitor: Any, drawing: Path) -> None:
    from playwright.sync_api import expect

    visitor.upload(drawing)
    visitor.at("summary", has_text="LoRA and memory").click()
    expect(visitor.at(".hint", has_text="choices.loras")).to_be_visible()
    expect(visitor.at("#pu-lora option")).to_have_text(["None"])
