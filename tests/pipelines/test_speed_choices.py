"""What is chosen to make networks fast: layout, compilation, memory of the process."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from paintsundo.models import fused
from paintsundo.pipelines import speed
from paintsundo.pipelines.options import RuntimeOptions

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("option", "device", "expected"),
    [("auto", "cpu", True), ("auto", "cuda", True), ("auto", "mps", False), ("plain", "cpu", False)],
)
def test_layout(option: str, device: str, expected: bool) -> None:
    assert speed.choose_layout(option, torch.device(device)) is expected


def test_compilation_waits_for_enough_work(monkeypatch: pytest.MonkeyPatch) -> None:
    assert speed.choose_compile("full", CPU, True) == "full"
    monkeypatch.setattr(speed, "kernels_installed", lambda: True)
    assert speed.choose_compile("auto", GPU, fused=True, pictures=100) == "off"
    assert speed.choose_compile("auto", CPU, fused=False, pictures=100) == "off"
    monkeypatch.setattr(speed, "kernels_installed", lambda: False)
    assert speed.choose_compile("auto", GPU, fused=True, pictures=1) == "off"
    assert speed.choose_compile("auto", GPU, fused=True, pictures=4) == "regional"


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
