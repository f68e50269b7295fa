"""The ComfyUI nodes, used as ComfyUI does it: loaded by file, found in class mappings, run from a workflow."""

import importlib.util
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from paintsundo.errors import UserError
from tiny_models import TINY, drawing

FOLDER = Path(__file__).parents[2] / "integrations" / "comfyui"
LOADER = {part: str(TINY / part) for part in ("single_frame", "multi_frame", "tagger")} | {
    "device": "cpu",
    "dtype": "auto",
    "memory": "auto",
}
WIDGETS = {"INT": int, "FLOAT": float, "STRING": str}


@pytest.fixture(scope="module")
def nodes() -> Iterator[dict[str, Any]]:
    # As ComfyUI's load_custom_node.
    name = "custom_nodes.paintsundo_nodes"
    file = FOLDER / "paintsundo_nodes" / "__init__.py"
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=[str(file.parent)])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    assert set(module.NODE_DISPLAY_NAME_MAPPINGS) == set(module.NODE_CLASS_MAPPINGS)
    yield module.NODE_CLASS_MAPPINGS
    for loaded in [key for key in sys.modules if key.startswith(name)]:
        del sys.modules[loaded]


@pytest.fixture
def comfy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """ComfyUI's own modules, as far as the nodes touch them."""
    seen = types.SimpleNamespace(totals=[], updates=0, stop_after=None, output=tmp_path / "output")

    class ProgressBar:
        def __init__(self, total: int) -> None:
            seen.totals.append(total)

        def update(self, value: int) -> None:
            seen.updates += value

    def throw_exception_if_processing_interrupted() -> None:
        if seen.stop_after is not None and seen.updates >= seen.stop_after:
            raise InterruptedError("stopped by the user")

    modules: dict[str, dict[str, Any]] = {
        "comfy": {},
        "comfy.utils": {"ProgressBar": ProgressBar},
        "comfy.model_management": {
            "throw_exception_if_processing_interrupted": throw_exception_if_processing_interrupted
        },
        "folder_paths": {"get_output_directory": lambda: str(seen.output)},
    }
    for name, members in modules.items():
        module = types.ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    return seen


def image(picture: Image.Image) -> torch.Tensor:
    """As ComfyUI's LoadImage gives it."""
    return torch.from_numpy(np.asarray(picture).astype(np.float32) / 255)[None]


def run(nodes: dict[str, Any], workflow: dict[str, Any], given: dict[str, tuple[Any, ...]]) -> dict[str, Any]:
    """A workflow, each node once, inputs checked against its INPUT_TYPES. `given`: results that are there already."""
    results: dict[str, Any] = dict(given)
    for key in sorted(workflow, key=int):
        if key in results:
            continue
        node = nodes[workflow[key]["class_type"]]
        types_of = node.INPUT_TYPES()
        inputs = dict(workflow[key]["inputs"])
        assert set(types_of["required"]) <= set(inputs)
        assert set(inputs) <= {*types_of["required"], *types_of.get("optional", {})}
        for name, value in inputs.items():
            kind, *_ = types_of["required"].get(name) or types_of["optional"][name]
            if isinstance(value, list):
                source, output = value
                if source not in given:
                    assert nodes[workflow[source]["class_type"]].RETURN_TYPES[output] == kind
                inputs[name] = results[source][output]
            elif isinstance(kind, list):
                assert value in kind
            else:
                assert isinstance(value, WIDGETS[kind])
        with torch.inference_mode():  # ComfyUI runs nodes in it
            result = getattr(node(), node.FUNCTION)(**inputs)
        results[key] = result["result"] if isinstance(result, dict) else result
        assert len(results[key]) == len(node.RETURN_TYPES)
        if getattr(node, "OUTPUT_NODE", False):
            results["ui"] = result["ui"]
    return results


@pytest.fixture(scope="module")
def pipeline(nodes: dict[str, Any]) -> Any:
    (pipe,) = nodes["PaintsUndoLoader"]().load(**LOADER)
    pipe.set_progress_bar_config(disable=True)
    pipe.keyframe_options.width, pipe.keyframe_options.height = 32, 48
    pipe.keyframe_options.operation_steps = [300, 700]
    pipe.keyframe_options.num_inference_steps = pipe.video_options.num_inference_steps = 2
    pipe.video_options.buckets = [[32, 32]]
    return pipe


def test_the_workflow_makes_the_pipelines_own_film(
    nodes: dict[str, Any], pipeline: Any, comfy: types.SimpleNamespace
) -> None:
    workflow = json.loads((FOLDER / "workflow.json").read_text(encoding="utf-8"))
    results = run(nodes, workflow, {"1": (image(drawing()), None), "2": (pipeline,)})
    prompt = pipeline.tag(drawing())
    keyframes = pipeline.generate_keyframes(drawing(), prompt, seed=12345)
    frames = pipeline.interpolate(keyframes, seed=123)
    assert results["3"] == (prompt,)
    made, told = results["4"]
    assert told == prompt
    np.testing.assert_array_equal((made * 255).round().byte().numpy(), np.stack(keyframes))
    made, count = results["5"]
    assert count == len(frames) == 45
    assert made.dtype == torch.float32
    assert made.shape == (45, 32, 32, 3)
    np.testing.assert_array_equal((made * 255).round().byte().numpy(), frames)
    folder = Path(results["6"][0])
    assert folder.parent == comfy.output
    with av.open(str(folder / "film.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == 45
        assert "Synthetic media" in film.metadata["comment"]
    written = Image.open(folder / "frames" / "00044.png")
    np.testing.assert_array_equal(np.asarray(written), frames[44])
    assert "Synthetic media" in written.info["Comment"]
    assert results["ui"]["images"] == [{"filename": "film.mp4", "subfolder": folder.name, "type": "output"}]


def test_the_progress_bar_is_moved_to_its_end_and_the_stop_button_heard(
    nodes: dict[str, Any], pipeline: Any, comfy: types.SimpleNamespace
) -> None:
    workflow = json.loads((FOLDER / "workflow.json").read_text(encoding="utf-8"))
    given = {"1": (image(drawing()),), "2": (pipeline,), "3": ("words",)}
    run(nodes, {key: workflow[key] for key in "45"}, given)
    assert comfy.totals == [2, 6]
    assert comfy.updates == 8
    comfy.stop_after = 9
    with pytest.raises(InterruptedError, match="stopped"):
        run(nodes, {key: workflow[key] for key in "45"}, given)
    assert comfy.updates == 9


def test_a_film_is_written_nowhere_else(nodes: dict[str, Any], comfy: types.SimpleNamespace) -> None:
    frames = torch.rand(3, 8, 8, 3)
    for prefix in ("../../etc/x", "a/b", "", "..", "画 x"):
        result = nodes["PaintsUndoSaveFilm"]().save(frames, 4.0, "gif", prefix)
        assert Path(result["result"][0]).parent == comfy.output
    first, second = (nodes["PaintsUndoSaveFilm"]().save(frames, 4.0, "gif", "x")["result"][0] for _ in range(2))
    assert first != second
    assert Image.open(Path(second) / "film.gif").n_frames == 3


def test_mistakes_are_one_sentence(nodes: dict[str, Any], pipeline: Any) -> None:
    keyframes = nodes["PaintsUndoKeyframes"]
    assert keyframes.VALIDATE_INPUTS(operation_steps="200, 500 999") is True
    assert keyframes.VALIDATE_INPUTS(operation_steps="") is True
    for steps in ("1000", "-1", "1.5", "many", "²"):
        assert "whole numbers from 0 (finished) to 999" in keyframes.VALIDATE_INPUTS(operation_steps=steps)
    with pytest.raises(UserError, match="this batch has 2"):
        nodes["PaintsUndoTag"]().tag(pipeline, torch.rand(2, 8, 8, 3))
    with pytest.raises(UserError, match=r"nowhere\.safetensors does not exist"):
        nodes["PaintsUndoLoader"]().load(**LOADER, lora="nowhere.safetensors")


def test_all_fields_have_defaults_that_pass(nodes: dict[str, Any]) -> None:
    for node in nodes.values():
        for kind, *options in (
            field for group in ("required", "optional") for field in node.INPUT_TYPES().get(group, {}).values()
        ):
            if isinstance(kind, str) and kind in WIDGETS:
                default = options[0]["default"]
                assert isinstance(default, WIDGETS[kind])
                if kind != "STRING":
                    assert options[0]["min"] <= default <= options[0]["max"]
        assert node.CATEGORY == "paintsundo"
        assert len(node.RETURN_NAMES) == len(node.RETURN_TYPES)
