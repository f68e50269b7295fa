"""The notebook runs from the top in a kernel of its own, and shows what it says."""

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

FILE = Path(__file__).parents[2] / "notebooks" / "paintsundo.ipynb"
QUICK = "operation_steps = [500]\nkeyframe_denoising_steps = 2\nvideo_denoising_steps = 1\n"


def ran(monkeypatch: pytest.MonkeyPatch, parameters: str = "") -> Any:
    """The notebook with its outputs; `parameters` are run after its own."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    notebook = nbformat.read(FILE, as_version=4)
    [place] = [i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])]
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(parameters))
    client = NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(FILE.parent)}})
    return client.execute()


def check(notebook: Any) -> None:
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert "error" not in {output.output_type for output in outputs}
    shown = [set(output.data) for output in outputs if "data" in output]
    assert sum("image/png" in kinds for kinds in shown) == 4  # picture, keyframes, the one made again, curves
    texts = "".join(output.data.get("text/plain", "") for output in outputs if "data" in output)
    assert "film.mp4" in texts
    assert "256, 256, 3), dtype('uint8')" in texts


def test_it_is_stored_without_outputs() -> None:
    stored = json.loads(FILE.read_text(encoding="utf-8"))
    nbformat.validate(nbformat.from_dict(stored))
    for cell in stored["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None


def test_it_runs_from_the_top_with_quicker_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    check(ran(monkeypatch, QUICK))


@pytest.mark.slow
def test_it_runs_from_the_top_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    check(ran(monkeypatch))
