"""The page as Gradio Blocks: one place for the studio, and the endpoints of `gradio_client`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from paintsundo.app.ui.theme import theme

if TYPE_CHECKING:
    import gradio as gr
    from fastapi import FastAPI

    from paintsundo.app.studio import Studio

ASSETS = Path(__file__).parent / "assets"
ASSETS_PATH = "/ui"
STYLES = ("page.css", "controls.css", "stage.css")
SCRIPT = "main.js"


def build(studio: Studio) -> gr.Blocks:
    """The page for visitors of a studio."""
    import gradio as gr

    with gr.Blocks(title="paintsundo", analytics_enabled=False, fill_width=True) as blocks:
        gr.HTML('<div id="paintsundo"></div>', elem_id="paintsundo-host", container=False, apply_default_css=False)
    return blocks


def head() -> str:
    """What the page's <head> needs beside Gradio's own: styles and the script, from this server alone."""
    version = assets_version()
    styles = "".join(f'<link rel="stylesheet" href="{ASSETS_PATH}/{name}?{version}">' for name in STYLES)
    modules = "".join(f'<link rel="modulepreload" href="{ASSETS_PATH}/{file.name}">' for file in scripts())
    return f'{styles}{modules}<script type="module" src="{ASSETS_PATH}/{SCRIPT}"></script>'


def scripts() -> list[Path]:
    """The page's JavaScript modules."""
    return sorted(ASSETS.glob("*.js"))


def assets_version() -> str:
    """Changes with every asset, so that no browser shows an old page after an update."""
    digest = hashlib.sha256()
    for file in sorted(ASSETS.iterdir()):
        if file.is_file():
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def mount(app: FastAPI, studio: Studio) -> FastAPI:
    """Put the assets at /ui and the page at /; returns the server. To be called after all other routes are there."""
    import gradio as gr
    from fastapi.staticfiles import StaticFiles

    app.mount(ASSETS_PATH, StaticFiles(directory=ASSETS))
    return gr.mount_gradio_app(
        app,
        build(studio),
        path="/",
        head=head(),
        theme=theme(),
        footer_links=[],
        show_error=False,
        ssr_mode=False,
        enable_monitoring=False,
        favicon_path=str(ASSETS / "icon.svg"),
    )
