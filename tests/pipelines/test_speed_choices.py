"""What is chosen to make networks fast: layout, compilation, memory of the process."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from paintsundo.models import UNet3DModel, fused
from paintsundo.pipelines import batch, compile_choice, loading, speed
from paintsundo.pipelines.command import main
from paintsundo.pipelines.compile_choice import CompileCost
from paintsundo.pipelines.film import default_options
from paintsundo.pipelines.options import InferOptions, RuntimeOptions
from paintsundo.settings import as_schema, compose
from paintsundo.training.options import TrainOptions

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("option", "device", "expected"),
    [("auto", "cpu", True), ("auto", "cuda", True), ("auto", "mps", False), ("plain", "cpu", False)],
)
def test_layout(option: str, device: str, expected: bool) -> None:
    assert speed.choose_layout(option, torch.device(device)) is expected


def test_compilation_waits_for_enough_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def auto(work: float, device: torch.device = GPU, fused: bool = True) -> str:
        return compile_choice.choose_compile("auto", device, fused, "Net", work)

    costs = {"Net": {"full": CompileCost(130.0, 0.1, 0.01), "regional": CompileCost(30.0, 0.05)}}
    monkeypatch.setattr(compile_choice, "COSTS", costs)
    monkeypatch.setattr(compile_choice, "kernels_installed", lambda: False)
    # 30 s are repaid by 600 steps, and whole networks are worth it from 100 s / (0.1 - 0.05) s on.
    assert [auto(steps) for steps in (0, 599, 601, 1999, 2001)] == ["none", "none", "regional", "regional", "full"]
    monkeypatch.setattr(compile_choice, "kernels_installed", lambda: True)
    assert [auto(steps) for steps in (2001, 12_999, 13_001)] == ["none", "none", "full"]
    assert auto(2001, fused=False) == "full"
    assert auto(1e9, CPU) == "none"
    assert compile_choice.choose_compile("auto", GPU, True, "Other", 1e9) == "none"
    assert compile_choice.choose_compile("regional", CPU, True, "Other") == "regional"


def test_one_picture_never_pays_for_compilation_and_a_folder_may(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the figures that are in the code, for the published video network."""
    monkeypatch.setattr(compile_choice, "kernels_installed", lambda: False)
    options = default_options("official")
    with torch.device("meta"):
        unet = UNet3DModel()
    work = [compile_choice.waiting(unet, options, films) for films in (1, 20)]
    assert work[0] == pytest.approx(350, rel=0.05)  # 7 pairs, 50 steps each
    assert work[1] == 20 * work[0]
    assert [compile_choice.choose_compile("auto", GPU, True, "UNet3DModel", w) for w in work] == ["none", "full"]
    options.video.num_inference_steps = 10
    options.video.buckets = [[160, 256], [320, 512]]
    assert compile_choice.waiting(unet, options, 20) == pytest.approx(20 * 350 / 5 / 4, rel=0.05)
    assert compile_choice.waiting(nn.Linear(2, 2), options, 20) == 0


def test_films_that_wait_reach_the_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder's pictures less those that have their films; one picture is one film."""
    found: list[float] = []
    monkeypatch.setattr(loading, "waiting", lambda network, options, films: found.append(films) or 0.0)
    monkeypatch.setattr(batch, "compiles_for", lambda option, device: True)
    for name in ("a", "b", "c"):
        Image.new("RGB", (64, 64), "red").save(tmp_path / f"{name}.png")
    small = ["runtime.device=cpu", "keyframes.operation_steps=[500]", "keyframes.num_inference_steps=1"]
    small += ["video.between=none", "prompt=red", f"output={tmp_path / 'films'}"]
    assert main([f"input={tmp_path / 'b.png'}", *small]) == 0
    assert set(found) == {1}
    found.clear()
    assert main([f"input={tmp_path}", *small]) == 0
    assert set(found) == {2}


@pytest.mark.parametrize("word", ["off", "none", "False"])
def test_no_compilation_has_one_name(word: str) -> None:
    """YAML files give `off` as false."""
    for command, schema in (("infer", InferOptions), ("train", TrainOptions)):
        arguments = ["experiment=official/single_frame"] if command == "train" else []
        assert as_schema(compose(command, [*arguments, f"runtime.compile={word}"]), schema).runtime.compile == "none"


def test_network_is_prepared_as_asked() -> None:
    class Layer(nn.Conv2d):
        fused = False
        attention_backend = "sdpa"

    for layout, wanted, expected in (("auto", True, True), ("plain", True, False), ("auto", False, False)):
        layer = Layer(4, 4, 3)
        runtime = RuntimeOptions(layout=layout, fused=wanted, attention="sliced")
        speed.prepare_network(layer, runtime, CPU)
        assert (layer.fused, layer.attention_backend) == (expected, "sliced")
        assert layer.weight.is_contiguous(memory_format=torch.channels_last) is (layout == "auto")
    assert fused.set_fused(layer, True).fused


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_freed_memory_is_kept() -> None:
    """A process that asks for it maps the pages of a large result once, not at every turn."""
    code = """
import resource, sys
import torch
from paintsundo.pipelines.heap import keep_freed_memory
if sys.argv[1] == "keep" and not keep_freed_memory():
    print("another C library"); sys.exit()
x = torch.ones(12_000_000)  # more than what the C library learns to keep by itself
for _ in range(20): x + 1
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20): x + 1
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = [
        subprocess.run([sys.executable, "-c", code, how], capture_output=True, text=True, check=True).stdout.strip()
        for how in ("keep", "free")
    ]
    if faults[0] != "another C library":
        assert int(faults[0]) < 1000 < int(faults[1])
