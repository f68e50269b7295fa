"""What `gradio_client` can call: the same engine, the same visitors' rights, one function each.

A visitor is known by a cookie. A program that wants its runs back gives it with every call:
`Client(url, headers={"cookie": "paintsundo_user=…"})`. Files are fetched from the addresses that are told here.
"""

from __future__ import annotations

import base64
import binascii
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from paintsundo.app.as_json import status_json, summary_json
from paintsundo.app.faults import sentence
from paintsundo.app.run_settings import RunSettings
from paintsundo.errors import UserError

if TYPE_CHECKING:
    from paintsundo.app.studio import Studio

P = ParamSpec("P")
T = TypeVar("T")


def offer(studio: Studio) -> None:
    """Add the endpoints to the Blocks being built."""
    import gradio as gr

    def settings(given: dict[str, Any] | None) -> RunSettings:
        if not isinstance(given or {}, dict):
            raise UserError('settings are names and values: {"steps": 20, "seed": 1}')
        model = (given or {}).get("model")
        return RunSettings.from_mapping(given or {}, studio.defaults(model if isinstance(model, str) else None))

    def told(user: str, run_id: str) -> dict[str, Any]:
        return status_json(studio.status(user, run_id), studio.store.open(user, run_id).folder)

    # The annotation `gr.Request` must be the class itself: Gradio looks for it there.
    def create(picture: str, settings_: dict[str, Any], request: gr.Request) -> str:
        """A new run of a picture (a file's bytes in base64, at most about 4 MB); its id."""
        return studio.create(_user(request), _bytes(picture), settings(settings_), title="picture")

    def tag(run_id: str, request: gr.Request) -> str:
        """The tagger's words for a run's picture."""
        return studio.tag_run(_user(request), run_id)

    def keyframes(run_id: str, seeds: list[int], request: gr.Request) -> dict[str, Any]:
        """Begin to draw the keyframes, of several seeds (or [], for that of the settings); the run's status."""
        studio.start_keyframes(_user(request), run_id, seeds or None)
        return told(_user(request), run_id)

    def film(run_id: str, request: gr.Request) -> dict[str, Any]:
        """Begin to make the film, keyframes first where there are none; the run's status."""
        studio.start_film(_user(request), run_id)
        return told(_user(request), run_id)

    def cancel(run_id: str, request: gr.Request) -> dict[str, Any]:
        """Stop, what is done kept; the run's status."""
        studio.cancel(_user(request), run_id)
        return told(_user(request), run_id)

    def status(run_id: str, request: gr.Request) -> dict[str, Any]:
        """How far a run is, and where its pictures are."""
        return told(_user(request), run_id)

    def runs(request: gr.Request) -> list[dict[str, Any]]:
        """All runs of the visitor, newest first."""
        return [summary_json(summary) for summary in studio.runs(_user(request))]

    for function in (create, tag, keyframes, film, cancel, status, runs):
        function.__annotations__["request"] = gr.Request
        gr.api(in_sentences(function), api_name=function.__name__, concurrency_limit=4)


def in_sentences(function: Callable[P, T]) -> Callable[P, T]:
    """The function, its `UserError`s told to the caller, anything else kept in the log."""
    import gradio as gr

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except UserError as error:
            raise gr.Error(sentence(error), print_exception=False) from error

    return call


def _user(request: Any) -> str:
    user = getattr(getattr(request.request, "state", None), "user", None)
    if user is None:
        raise UserError("you are not known here: send the cookie paintsundo_user")
    return user


def _bytes(picture: str) -> bytes:
    """The bytes of base64 text, with or without a data URL's beginning; addresses are never fetched."""
    text = picture.partition(",")[2] if picture.startswith("data:") else picture
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UserError("the picture is not base64: give the bytes of a picture file so encoded") from error
