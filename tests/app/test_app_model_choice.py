"""Models and adapters chosen on the page: they draw as on the command line, and what is missing is one sentence."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from studios import model_folders, options, png

from paintsundo.app.server import create_app
from paintsundo.app.studio import Studio
from paintsundo.pipelines.command import main
from tiny_models import MODELS, SMALL


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    return model_folders(tmp_path)


@pytest.fixture
def visitor(tmp_path: Path, folders: list[str]) -> Any:
    studio = Studio(options(tmp_path / "runs", *folders))
    app = create_app(studio.options, studio, page=False)
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client, studio
    studio.close()


def sentence(answer: Any) -> str:
    assert answer.status_code == 400, answer.text
    told = str(answer.json()["error"])
    assert re.fullmatch(r"[A-Z][^\n]*[.!?]", told)
    return told


def film(client: TestClient, studio: Studio, **settings: Any) -> tuple[dict, Path]:
    """A run with these settings to its end: its last status, and its folder."""
    run = client.post("/api/v1/runs?name=drawing.png", content=png()).json()
    url = f"/api/v1/runs/{run['id']}"
    answer = client.patch(url, json=settings)
    assert answer.status_code == 200, answer.text
    client.post(f"{url}/film")
    user = next(each.user for each in studio.store.all_runs())
    studio.wait(user, run["id"], 120)
    return client.get(f"{url}/status").json(), studio.store.open(user, run["id"]).folder


def keyframe(folder: Path) -> np.ndarray:
    return np.asarray(Image.open(folder / "keyframes" / "01.png"))


def test_a_folder_and_a_lora_draw_as_on_the_command_line(visitor: Any, tmp_path: Path, folders: list[str]) -> None:
    client, studio = visitor
    about = client.get("/api/v1/about").json()
    known = {model["name"]: model for model in about["models"]}
    assert known["mine"]["available"]
    assert about["loras"] == ["broken", "ink"]
    small = {name: about["defaults"][name] for name in ("width", "height", "buckets", "operation_steps")}
    small |= {"steps": 1, "guidance": 1.0, "video_steps": 1, "video_guidance": 1.0, "model": "mine"}
    plain, plain_folder = film(client, studio, **small)
    inked, inked_folder = film(client, studio, **small, lora="ink", lora_scale=0.5)
    assert [plain["stage"], inked["stage"]] == ["done", "done"], (plain, inked)
    assert (keyframe(plain_folder) != keyframe(inked_folder)).any()
    (tmp_path / "drawing.png").write_bytes(png())
    lora = [f"models.lora={tmp_path / 'loras' / 'ink.safetensors'}", "models.lora_scale=0.5"]
    for ours, given in ((plain_folder, []), (inked_folder, lora)):
        out = tmp_path / f"out{len(given)}"
        assert main([f"input={tmp_path / 'drawing.png'}", f"output={out}", *MODELS, *SMALL, *given]) == 0
        for file in sorted((out / "drawing").glob("*/*.png")):
            theirs = np.asarray(Image.open(file))
            np.testing.assert_array_equal(np.asarray(Image.open(ours / file.relative_to(out / "drawing"))), theirs)
    assert '"lora": "ink.safetensors"' in (inked_folder / "run.json").read_text(encoding="utf-8")


def test_what_is_missing_is_one_sentence(visitor: Any) -> None:
    client, _ = visitor
    known = {model["name"]: model for model in client.get("/api/v1/about").json()["models"]}
    run = client.post("/api/v1/runs", content=png()).json()
    url = f"/api/v1/runs/{run['id']}"
    for name in ("half", "nobody"):
        if name in known:
            assert not known[name]["available"]
            assert "/" not in known[name]["message"]
        told = sentence(client.patch(url, json={"model": name}))
        assert "single-frame model half is not on this machine" in told or "no model" in told
    assert "no LoRA" in sentence(client.patch(url, json={"lora": "nobody"}))
    assert client.get(url).json()["settings"]["model"] == run["settings"]["model"]


def test_a_lora_that_is_none_is_one_sentence(visitor: Any) -> None:
    client, studio = visitor
    status, _ = film(client, studio, lora="broken")
    assert status["stage"] == "failed"
    assert re.fullmatch(r"[A-Z][^\n]*[.!?]", status["error"])
    assert "inside" not in status["error"]
    assert "/" not in status["error"]
