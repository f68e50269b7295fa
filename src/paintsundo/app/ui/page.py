"""The page as Gradio Blocks: one place for the studio, and the endpoints of `gradio_client`."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paintsundo.app.ui.early import EarlyHead
from paintsundo.app.ui.endpoints import offer
from paintsundo.app.ui.theme import theme

if TYPE_CHECKING:
    import gradio as gr
    from fastapi import FastAPI, Response

    from paintsundo.app.studio import Studio

ASSETS = Path(__file__).parent / "assets"
ASSETS_PATH = "/ui"
STYLES = ("page.css", "controls.css", "picture.css", "keyframes.css", "film.css", "runs.css")
SCRIPT = "main.js"


def build(studio: Studio) -> gr.Blocks:
    """The page for visitors of a studio."""
    import gradio as gr

    with gr.Blocks(title="paintsundo", analytics_enabled=False, fill_width=True) as blocks:
        gr.Column(elem_id="paintsundo")  # its place; what stands in it is made by main.js
        offer(studio)
    return blocks


def head() -> str:
    """What the page's <head> needs beside Gradio's own: styles and the script, from this server alone."""
    folder = assets_path()
    styles = "".join(f'<link rel="stylesheet" href="{folder}/{name}">' for name in STYLES)
    modules = "".join(f'<link rel="modulepreload" href="{folder}/{file.name}">' for file in scripts())
    return f'{styles}{modules}<script type="module" src="{folder}/{SCRIPT}"></script>'


def scripts() -> list[Path]:
    """The page's JavaScript modules."""
    return sorted(ASSETS.glob("*.js"))


@functools.cache
def assets_path() -> str:
    """Where the server gives the assets; another for every version of them, so that no browser shows an old page."""
    digest = hashlib.sha256()
    for file in sorted(ASSETS.iterdir()):
        if file.is_file():
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return f"{ASSETS_PATH}/{digest.hexdigest()[:12]}"


def mount(app: FastAPI, studio: Studio) -> FastAPI:
    """Put the assets at /ui and the page at /; returns the server. To be called after all other routes are there."""
    import gradio as gr
    from fastapi.staticfiles import StaticFiles
    from starlette.routing import Mount

    class Lasting(StaticFiles):
        def file_response(self, *args: Any, **kwargs: Any) -> Response:
            response = super().file_response(*args, **kwargs)
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
            if str(getattr(response, "path", "")).endswith(".js"):
                # Some machines' lists of types call it plain text, and then no browser runs a module.
                response.headers["Content-Type"] = "text/javascript; charset=utf-8"
            return response

    app.mount(assets_path(), Lasting(directory=ASSETS))
    gr.mount_gradio_app(
        app,
        build(studio),
        path="/",
        theme=theme(),
        footer_links=[],
        show_error=False,
        ssr_mode=False,
        enable_monitoring=False,
        favicon_path=str(ASSETS / "icon.svg"),
    )
    gradio = app.routes[-1]
    assert isinstance(gradio, Mount)
    gradio.app = EarlyHead(gradio.app, head())
    return app
