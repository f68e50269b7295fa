"""A Chromium, a page, and visitors who are asked at the end whether anything went wrong."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium that can reach nothing but this machine."""
    api = pytest.importorskip("playwright.sync_api", reason="these tests need playwright")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    arguments = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--no-proxy-server", "--disable-gpu"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=arguments, timeout=120_000)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The page with the embedded models, small and quick."""
    pytest.importorskip("gradio", reason="the page needs the extra `app`")
    from serving import Server

    running = Server(tmp_path_factory.mktemp("page"))
    yield running
    running.stop()
    assert running.faults() == ""


@pytest.fixture
def visitors(browser: Any, server: Any) -> Iterator[Callable[..., Any]]:
    """Makes visitors; none of them may have met a fault."""
    from visitor import Visitor

    there: list[Visitor] = []

    def come(address: str | None = None, **options: Any) -> Visitor:
        there.append(Visitor(browser, address or server.address, **options))
        return there[-1]

    yield come
    faults = [fault for visitor in there for fault in visitor.faults]
    for visitor in there:
        visitor.close()
    assert faults == []


@pytest.fixture
def visitor(visitors: Callable[..., Any]) -> Any:
    """One who has come in."""
    return visitors().arrive()


@pytest.fixture(scope="session")
def drawing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture with colours and edges, wider than high, under a name as people have them."""
    rows, columns = np.mgrid[0:120, 0:160]
    pixels = np.stack([60 + rows, 255 - columns, 128 + 0 * rows], axis=-1).astype(np.uint8)
    pixels[20:70, 30:90] = (250, 20, 20)
    pixels[60:100, 80:140] = (20, 60, 200)
    file = tmp_path_factory.mktemp("pictures") / "été & ciel (1).png"
    Image.fromarray(pixels).save(file)
    return file
