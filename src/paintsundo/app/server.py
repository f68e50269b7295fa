"""The server: REST, files and page behind one guard."""

from __future__ import annotations

import html
import logging
import socket
import sys
import webbrowser
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

import paintsundo
from paintsundo.app import rest, run_files
from paintsundo.app.faults import Crowded, NotThere, as_sentence, sentence
from paintsundo.app.guard import LOGIN, Guard
from paintsundo.app.options import LITERAL_KEYS, AppOptions
from paintsundo.app.security_headers import pass_cookie
from paintsundo.app.studio import Studio
from paintsundo.app.visitors import RateLimit, Visitors
from paintsundo.command_line import exit_code
from paintsundo.errors import UserError

log = logging.getLogger(__name__)

_LOGINS_PER_MINUTE = 10
_LOGIN_BYTES = 4096
_SHUTDOWN_SECONDS = 5


def create_app(options: AppOptions, studio: Studio | None = None, page: bool = True) -> FastAPI:
    """The whole server as an ASGI application; `app.state.studio` is its engine.

    Args:
        options: of the page, checked.
        studio: an engine to use; it is closed with the server.
        page: whether the interface is mounted at /; without it there is only the REST service.

    Raises:
        UserError: the runs' folder cannot be used.
    """
    engine = studio or Studio(options)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        engine.close()

    # The documentation pages of FastAPI load scripts from elsewhere; /api is our own.
    app = FastAPI(
        title="paintsundo",
        version=paintsundo.__version__,
        description="Every visitor has a cookie, given with the first answer, and sees only runs made with it.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        redirect_slashes=False,
    )
    app.state.studio = engine
    visitors = Visitors(engine.store.secret(), options.server.password)
    app.include_router(rest.api(engine))
    app.include_router(run_files.files(engine))
    _add_login(app, visitors)
    _add_documentation(app)
    _tell_errors_as_sentences(app)
    if page:
        from paintsundo.app.ui.page import mount

        mount(app, engine)
    app.add_middleware(Guard, options=options, visitors=visitors)
    return app


def _tell_errors_as_sentences(app: FastAPI) -> None:
    @app.exception_handler(UserError)
    async def user_error(request: Request, error: UserError) -> Response:
        status = 404 if isinstance(error, NotThere) else 429 if isinstance(error, Crowded) else 400
        if request.method not in ("GET", "HEAD"):
            log.warning("refused %s %r: %s", request.method, request.url.path[:200], str(error)[:300])
        return rest.failure(status, sentence(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part not in ("body", "path", "query"))
        message = str(first["msg"]).removeprefix("Input ")
        return rest.failure(422, as_sentence(f"{where or 'what was sent'}: {message}"[:300]))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        known = {404: "There is nothing here.", 405: "This cannot be done here."}.get(error.status_code)
        return rest.failure(error.status_code, known or as_sentence(str(error.detail)[:300]))


def _add_login(app: FastAPI, visitors: Visitors) -> None:
    attempts = RateLimit(_LOGINS_PER_MINUTE)

    @app.get(LOGIN, include_in_schema=False)
    def login_page() -> Response:
        return RedirectResponse("/", 303) if visitors.open else HTMLResponse(_login_html(""))

    @app.post(LOGIN, summary="Give the password; form field `password`", tags=["password"])
    async def login(request: Request) -> Response:
        address = request.client.host if request.client else "unknown"
        if visitors.open:
            return RedirectResponse("/", 303)
        if not attempts.allows(address):
            log.warning("refused password from %s: too many attempts", address)
            return HTMLResponse(_login_html("Too many attempts: wait a minute."), 429)
        if int(request.headers.get("content-length") or _LOGIN_BYTES + 1) > _LOGIN_BYTES:
            return HTMLResponse(_login_html("That is not the password."), 403)
        body = (await request.body()).decode("utf-8", "replace")
        given = parse_qs(body, keep_blank_values=True).get("password", [""])[0]
        if not visitors.right(given):
            log.warning("refused password from %s: wrong", address)
            return HTMLResponse(_login_html("That is not the password."), 403)
        answer = RedirectResponse("/", 303)
        answer.headers.append(
            "set-cookie", pass_cookie(visitors.pass_for(request.state.user), request.url.scheme == "https")
        )
        return answer


_LOGIN_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>paintsundo</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }}
body {{ display: grid; place-content: center; min-height: 90vh; margin: 1rem }}
form {{ display: grid; gap: .75rem; min-width: min(20rem, 90vw) }}
input, button {{ font: inherit; padding: .5rem .75rem }}
</style>
<form method="post" action="/login"><h1>paintsundo</h1>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required autofocus>
<button>Come in</button><p role="alert">{message}</p></form></html>"""


def _login_html(message: str) -> str:
    return _LOGIN_PAGE.format(message=html.escape(message))


_DOCUMENTATION = """<!doctype html><html lang="en"><meta charset="utf-8"><title>paintsundo REST</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }}
body {{ max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
td {{ padding: .2rem 1rem .2rem 0; vertical-align: top }} td:first-child {{ white-space: nowrap }}
</style>
<h1>REST service</h1>
<p>{description} The full description, for programs: <a href="/api/v1/openapi.json">openapi.json</a>.
Errors are <code>{{"error": "One sentence."}}</code>.</p>
<table>{rows}</table></html>"""


def _add_documentation(app: FastAPI) -> None:
    @app.get("/api", include_in_schema=False)
    def documentation() -> HTMLResponse:
        rows = "".join(
            f"<tr><td><code>{method.upper()} {html.escape(path)}</code><td>{html.escape(told.get('summary', ''))}"
            for path, methods in app.openapi()["paths"].items()
            for method, told in methods.items()
        )
        return HTMLResponse(_DOCUMENTATION.format(description=html.escape(app.description), rows=rows))


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until interrupted, with command-line arguments (those of the process by default); the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    return exit_code(
        lambda: serve(arguments), interrupted="stopped; runs that were at work can go on at the next start"
    )


def serve(arguments: Sequence[str]) -> int:
    """Compose the options and serve until interrupted.

    Raises:
        UserError: an option is impossible, or the address or the runs' folder cannot be used.
    """
    if {"--help", "-h"} & set(arguments):
        print(_help([argument for argument in arguments if "=" in argument]))
        return 0
    options = AppOptions.composed(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("httpx", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    listening = _listen(options)
    try:
        app = create_app(options)
        _serve(app, listening, options)
    finally:
        listening.close()
    return 0


def _serve(app: FastAPI, listening: socket.socket, options: AppOptions) -> None:
    import uvicorn

    from paintsundo.app.connections import KEPT_SECONDS, MOST, Connection

    host, port = listening.getsockname()[:2]
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            print(f"The page is at http://{shown}:{port}/", flush=True)
            if not options.local and options.server.password is None:
                log.warning("others can reach this server, and there is no password: server.password=WORD sets one")
            if options.server.open_browser:
                webbrowser.open(f"http://{shown}:{port}/")

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        # Whoever asks could say that the request came from elsewhere.
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MOST,
        http=Connection,
        timeout_keep_alive=KEPT_SECONDS,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    Server(config).run(sockets=[listening])


def _listen(options: AppOptions) -> socket.socket:
    host, port = options.server.host, options.server.port
    try:
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.socket(address[0], socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address[4])
        listening.listen(128)
    except OSError as error:
        raise UserError(f"server.host={host} server.port={port}: {error.strerror}; choose another port") from error
    return listening


def _help(arguments: Sequence[str]) -> str:
    import dataclasses

    from paintsundo.pipelines.help import explained_options
    from paintsundo.settings import as_schema, compose

    options = dataclasses.asdict(as_schema(compose("app", arguments, LITERAL_KEYS), AppOptions))
    groups = ("server", "runs", "choices", "limits")
    own = {group: options[group] for group in groups}
    lines = explained_options(own, {f"{group}.": "app" for group in groups})
    return "\n".join(
        [
            "python -m paintsundo.app [option=value …]",
            "",
            "Serves the page. Options and their defaults, beside those of infer.py (infer.py --help), which the page",
            "begins with:",
            "",
            *lines,
        ]
    )
