"""Gradio's own parts in the page's colours, without fonts from anywhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import gradio as gr


def theme() -> gr.themes.Base:
    """A theme whose fonts are those of the system: nothing is fetched."""
    import gradio as gr

    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    return gr.themes.Base(font=fonts, font_mono=["ui-monospace", "monospace"]).set(
        body_background_fill="#f3f1ed",
        body_background_fill_dark="#191817",
        body_text_color="#24211d",
        body_text_color_dark="#ece8e1",
    )
