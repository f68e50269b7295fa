"""The REST service under /api/v1: what the page itself speaks."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Depends, Request
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

import paintsundo
from paintsundo.app.as_json import run_json, status_json, summary_json
from paintsundo.app.faults import NotThere
from paintsundo.app.file_answers import RunFile
from paintsundo.app.studio import ExportKind, Studio
from paintsundo.app.uploads import display_name, display_text
from paintsundo.errors import UserError

_MEDIA = {
    "mp4": "video/mp4",
    "webp": "image/webp",
    "gif": "image/gif",
    "zip": "application/zip",
    "ora": "image/openraster",
    "sheet": "image/png",
}
UNCHANGING = {"cache-control": "private, max-age=31536000, immutable"}
FRESH = {"cache-control": "private, no-cache"}
_PRESETS = (3, 5, 6, 8, 12)

Seed = Annotated[StrictInt, Field(ge=0, lt=2**63)]


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Seeds(_Given):
    """Seeds to try side by side; null: that of the settings."""

    seeds: list[Seed] | None = None


class OneSeed(_Given):
    """The seed of one keyframe."""

    seed: Seed


class Place(_Given):
    """Where a keyframe goes, counted from 0, the finished picture."""

    to: StrictInt


class Added(_Given):
    """A keyframe to be made: operation step 0 (finished) … 999 (first stroke); the run's own seed by default."""

    operation_step: StrictInt
    seed: Seed | None = None


class Kept(_Given):
    """Whether a run is never cleaned away."""

    kept: StrictBool = True


class Title(_Given):
    """What a run is called."""

    name: StrictStr = Field(max_length=200)


async def _user(request: Request) -> str:
    user = request.state.user
    if user is None:
        raise UserError("you are not known here: load the page again")
    return user


async def _body(request: Request) -> bytes:
    return await request.body()


User = Annotated[str, Depends(_user)]
Bytes = Annotated[bytes, Depends(_body)]
_PICTURE_BODY = {
    "requestBody": {
        "required": True,
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_RUN_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "example": {"type": "string", "description": "name of an example"},
                        "repeat": {"type": "object", "description": "a run.json"},
                    },
                }
            },
        },
    }
}


def api(studio: Studio) -> APIRouter:
    """All routes under /api/v1."""
    router = APIRouter(prefix="/api/v1", tags=["runs"])

    def run_of(user: str, run_id: str) -> dict[str, Any]:
        return run_json(studio.store.open(user, run_id), studio.status(user, run_id))

    @router.get("/about", summary="What can be chosen, and what the limits are")
    def about() -> dict[str, Any]:
        models = []
        for choice in studio.models():
            settings = dataclasses.asdict(studio.defaults(choice.name))
            multiples = {
                "size_multiple": studio.size_multiple(choice.name),
                "film_multiple": studio.film_multiple(choice.name),
            }
            models.append({**dataclasses.asdict(choice), **multiples, "settings": settings})
        return {
            "version": paintsundo.__version__,
            "models": models,
            "defaults": dataclasses.asdict(studio.defaults()),
            "loras": studio.loras(),
            "schedulers": studio.schedulers(),
            "windows": ["none", "prv", "first", "roll"],
            "memory": ["auto", "high", "low"],
            "presets": {
                f"{name}-{count}": studio.placed(name, count) for name in studio.placements() for count in _PRESETS
            },
            "limits": dataclasses.asdict(studio.limits),
            "examples": [{"name": file.name, "url": f"/api/v1/examples/{file.name}"} for file in studio.examples()],
        }

    @router.get("/examples/{name}", summary="A picture to try", response_class=FileResponse)
    def example(name: str) -> FileResponse:
        return FileResponse(studio.example(name), headers=FRESH)

    @router.get("/presets/{placement}/{count}", summary="Operation steps of a preset")
    def preset(placement: str, count: int) -> list[int]:
        return studio.placed(placement, count)

    @router.post(
        "/runs",
        summary="A new run: of the picture in the body, of an example, or like the one of a run.json",
        openapi_extra=_RUN_BODY,
        status_code=201,
    )
    def create(user: User, body: Bytes, request: Request, name: str = "") -> dict[str, Any]:
        if request.headers.get("content-type", "").split(";")[0].strip() == "application/json":
            run_id = _from_json(studio, user, body)
        else:
            run_id = studio.create(user, body, title=name)
        return run_of(user, run_id)

    @router.get("/runs", summary="Your runs, newest first")
    def runs(user: User) -> list[dict[str, Any]]:
        return [summary_json(summary) for summary in studio.runs(user)]

    @router.get("/runs/{run_id}", summary="A run")
    def run(user: User, run_id: str) -> dict[str, Any]:
        return run_of(user, run_id)

    @router.patch("/runs/{run_id}", summary="Change settings; those not given stay")
    def change(user: User, run_id: str, settings: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
        studio.change(user, run_id, settings)
        return run_of(user, run_id)

    @router.delete("/runs/{run_id}", summary="Remove a run and its files for good")
    def delete(user: User, run_id: str) -> dict[str, Any]:
        studio.delete(user, run_id)
        return {"deleted": run_id}

    @router.get("/runs/{run_id}/status", summary="How far a run is")
    def status(user: User, run_id: str) -> dict[str, Any]:
        return status_json(studio.status(user, run_id), studio.store.open(user, run_id).folder)

    @router.post("/runs/{run_id}/name", summary="Call a run something else")
    def rename(user: User, run_id: str, given: Title) -> dict[str, Any]:
        studio.rename(user, run_id, display_text(given.name))
        return run_of(user, run_id)

    @router.post("/runs/{run_id}/keep", summary="Never clean a run away")
    def keep(user: User, run_id: str, given: Kept) -> dict[str, Any]:
        studio.keep(user, run_id, given.kept)
        return run_of(user, run_id)

    @router.post("/runs/{run_id}/tag", summary="The tagger's words for the picture")
    def tag(user: User, run_id: str) -> dict[str, str]:
        return {"prompt": studio.tag_run(user, run_id)}

    @router.post("/runs/{run_id}/keyframes", summary="Make the keyframes, of several seeds to choose from")
    def keyframes(user: User, run_id: str, given: Seeds) -> dict[str, Any]:
        studio.start_keyframes(user, run_id, given.seeds)
        return run_of(user, run_id)

    @router.post("/runs/{run_id}/candidates/{number}/choose", summary="Take the keyframes of one seed")
    def choose(user: User, run_id: str, number: int) -> dict[str, Any]:
        studio.choose(user, run_id, number)
        return run_of(user, run_id)

    @router.post("/runs/{run_id}/keyframes/add", summary="Make one more keyframe")
    def add(user: User, run_id: str, given: Added) -> dict[str, Any]:
        studio.add(user, run_id, given.operation_step, given.seed)
        return run_of(user, run_id)

    @router.post("/runs/{run_id}/keyframes/{index}/regenerate", summary="Make one keyframe with another seed")
    def regenerate(user: User, run_id: str, index: int, given: OneSeed) -> dict[str, Any]:
        studio.regenerate(user, run_id, index, given.seed)
        return run_of(user, run_id)

    @router.put(
        "/runs/{run_id}/keyframes/{index}", summary="Put a picture in a keyframe's place", openapi_extra=_PICTURE_BODY
    )
    def replace(user: User, run_id: str, index: int, body: Bytes) -> dict[str, Any]:
        studio.replace(user, run_id, index, body)
        return run_of(user, run_id)

    @router.delete("/runs/{run_id}/keyframes/{index}", summary="Take a keyframe out")
    def remove(user: User, run_id: str, index: int) -> dict[str, Any]:
        studio.remove(user, run_id, index)
        return run_of(user, run_id)

    @router.post("/runs/{run_id}/keyframes/{index}/move", summary="Put a keyframe elsewhere")
    def move(user: User, run_id: str, index: int, given: Place) -> dict[str, Any]:
        studio.move(user, run_id, index, given.to)
        return run_of(user, run_id)

    @router.post("/runs/{run_id}/{action}", summary="Make the film; stop; go on")
    def act(user: User, run_id: str, action: Literal["film", "cancel", "resume"]) -> dict[str, Any]:
        {"film": studio.start_film, "cancel": studio.cancel, "resume": studio.resume}[action](user, run_id)
        return run_of(user, run_id)

    @router.get("/runs/{run_id}/frames/{index}", summary="A frame, 0 (blank) …", response_class=RunFile)
    def frame(user: User, run_id: str, index: int) -> RunFile:
        return RunFile(studio.frame(user, run_id, index), headers=UNCHANGING)

    @router.get("/runs/{run_id}/curves", summary="Progress, edges and colour over the film")
    def curves(user: User, run_id: str) -> dict[str, list[float]]:
        return studio.curves(user, run_id)

    @router.get("/runs/{run_id}/export/{kind}", summary="The film to take home", response_class=RunFile)
    def export(user: User, run_id: str, kind: ExportKind) -> RunFile:
        file = studio.export(user, run_id, kind)
        stem = studio.store.open(user, run_id).record.picture.name.rsplit(".", 1)[0]
        name = f"{display_name(stem, 'film')}{file.suffix}"
        return RunFile(file, media_type=_MEDIA[kind], filename=name, headers=FRESH)

    @router.get("/runs/{run_id}/run.json", summary="How the film was made", response_class=RunFile)
    def record(user: User, run_id: str) -> RunFile:
        file = studio.store.open(user, run_id).folder / "run.json"
        if not file.is_file():
            raise NotThere("the film is not finished yet")
        return RunFile(file, media_type="application/json", filename="run.json", headers=FRESH)

    return router


def _from_json(studio: Studio, user: str, body: bytes) -> str:
    try:
        given = json.loads(body)
        (what, value), *more = given.items()
    except (ValueError, AttributeError, RecursionError):
        more = ["not understood"]
    if more or what not in ("example", "repeat"):
        raise UserError('send a picture, {"example": NAME}, or {"repeat": run.json}')
    if what == "repeat":
        return studio.repeat(user, json.dumps(value).encode())
    file = studio.example(str(value))
    return studio.create(user, file.read_bytes(), title=file.name)


def failure(status: int, sentence: str) -> JSONResponse:
    """How the service tells an error: one sentence."""
    return JSONResponse({"error": sentence}, status_code=status, headers={"cache-control": "no-store"})
