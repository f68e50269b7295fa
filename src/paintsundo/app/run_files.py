"""The files of runs under /files, each given to its owner alone."""

from __future__ import annotations

import re

from fastapi import APIRouter, Response

from paintsundo.app.faults import NotThere
from paintsundo.app.file_answers import RunFile
from paintsundo.app.rest import FRESH, UNCHANGING, User
from paintsundo.app.studio import Studio

# What of a run's folder is given to its owner.
_STATE = re.compile(r"states/[0-9a-f]{16}\.png|previews/[0-9a-f]{16}-\d{1,9}\.jpg")
_WHOLE = re.compile(r"picture\.png|thumbnail\.jpg|prompt\.txt")
_KEYFRAME = re.compile(r"keyframes/(\d{1,5})\.png")
_FRAME = re.compile(r"(?:previews/)?frames/(\d{1,6})\.(?:png|jpg)")


def files(studio: Studio) -> APIRouter:
    """Files of runs, each to its owner alone."""
    router = APIRouter(prefix="/files", tags=["files"])

    @router.get("/{run_id}/{path:path}", summary="A picture of a run", response_class=RunFile)
    def file(user: User, run_id: str, path: str) -> Response:
        run = studio.store.open(user, run_id)
        headers = FRESH
        if _STATE.fullmatch(path):
            found, headers = run.folder / path, UNCHANGING
        elif _WHOLE.fullmatch(path):
            found = run.folder / path
        elif match := _KEYFRAME.fullmatch(path):
            with run.lock:
                found = run.file(run.keyframe(int(match[1])))
        elif match := _FRAME.fullmatch(path):
            found = studio.frame(user, run_id, int(match[1]))
        else:
            raise NotThere("there is no such file")
        return RunFile(found, headers=headers)

    return router
