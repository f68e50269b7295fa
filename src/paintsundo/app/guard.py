"""What every request passes first: who asks, from where, for what, with how much."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import re
import socket
import time
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from paintsundo.app.asked import SAFE, Asked, Refused
from paintsundo.app.faults import INSIDE
from paintsundo.app.gradio_calls import without_files
from paintsundo.app.options import AppOptions
from paintsundo.app.security_headers import cookie, with_headers
from paintsundo.app.visitors import COOKIE, PASS_COOKIE, RateLimit, Visitors

log = logging.getLogger(__name__)

LOGIN = "/login"
_JSON_BYTES = 6 * 2**20
# Requests that change or make something, by one visitor, from one address, by all; fewer than the server has threads.
_AT_ONCE, _AT_ONCE_ADDRESS, _AT_ONCE_ALL = 4, 12, 24
_LOOKS = 20  # times as many requests that only look
_PATIENCE, _SLOWEST = 20.0, 2**14  # seconds for a body, and bytes a second beyond them

# What the interface and `gradio_client` need of Gradio. Its uploads, its files and its proxy are not among them.
_GRADIO = re.compile(
    r"/|/config/?|/theme\.css|/favicon\.ico|/robots\.txt|/manifest\.json|/pwa_icon(?:/\d+)?"
    r"|/(?:assets|static|svelte)/.*"
    r"|/gradio_api/(?:info/?|startup-events|theme\.css|app_id/?|heartbeat/\w+|queue/(?:join|data)|cancel|reset/?"
    r"|call/(?:v2/)?\w+(?:/\w+)?)"
)
_OURS = re.compile(r"/(?:api/v1|ui|files)/.*|/api|/login")
_NO_VISITOR = re.compile(r"/(?:ui|assets|static|svelte)/.*|/theme\.css|/favicon\.ico|/robots\.txt|/manifest\.json")
_BEFORE_LOGIN = re.compile(r"/login|/ui/icon\.svg|/favicon\.ico|/robots\.txt")
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
_GRADIO_CALL = re.compile(r"/gradio_api/(?:queue/join|call/.*)")


class Guard:
    """ASGI middleware: sets `request.state.user`, and answers what is refused itself."""

    def __init__(self, app: ASGIApp, options: AppOptions, visitors: Visitors) -> None:
        self._app = app
        self._visitors = visitors
        limits = options.limits
        self._upload_bytes = int(limits.picture_mib * 2**20) + 2**16
        self._requests = RateLimit(limits.requests_per_minute)
        self._from_address = RateLimit(5 * limits.requests_per_minute)
        self._looks = RateLimit(_LOOKS * limits.requests_per_minute)
        self._new_visitors = RateLimit(limits.new_users_per_minute)
        self._under_way: Counter[str] = Counter()
        self._names = {"localhost", options.server.host.lower(), *(name.lower() for name in options.server.hosts)}
        if not options.local:
            self._names.add(socket.gethostname().lower())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        request = Asked(scope)
        began = failed = False
        cookies: list[str] = []
        secured = with_headers(send, request.path, cookies)

        async def answer(message: Message) -> None:
            nonlocal began, failed
            # A fault is told below in a sentence, whoever made the answer.
            failed = failed or (message["type"] == "http.response.start" and message["status"] >= 500 and not began)
            if failed:
                return
            began = True
            done()  # who reads the answer slowly keeps nobody waiting
            await secured(message)

        done = _nothing
        try:
            user = self._checked(request, cookies)
            scope.setdefault("state", {})["user"] = user
            done = self._one_of_few(request, user)
            bounded = self._bounded(request, receive)
            if request.method not in SAFE and _GRADIO_CALL.fullmatch(request.path):
                bounded = await without_files(bounded)
            await self._app(scope, bounded, answer)
            if failed:
                raise RuntimeError("an answer of status 500 without an error")
        except Refused as refusal:
            log.warning(
                "refused %s %r from %s: %s", request.method, request.path[:200], request.address, refusal.reason[:300]
            )
            if began:
                raise
            await _tell(refusal, request, secured)
        except Exception as error:
            fault = Refused(500, INSIDE)
            if type(error).__name__ == "FnIndexInferError":  # Gradio's own, for a name that it does not know
                fault = Refused(404, "There is nothing here.")
            else:
                log.exception("%s %r failed", request.method, request.path[:200])
            if not began:
                await _tell(fault, request, secured)
        finally:
            done()

    def _checked(self, request: Asked, cookies: list[str]) -> str | None:
        """The visitor, if the request may go on; a new one's cookie is put into `cookies`."""
        self._check_place(request)
        if request.method not in SAFE:
            self._check_origin(request)
        token = request.cookies.get(COOKIE)
        user = self._visitors.user(token)
        if user is None and not _NO_VISITOR.fullmatch(request.path):
            if not self._new_visitors.allows(request.address):
                raise Refused(429, "Too many new visitors come from your address: try again in a minute.")
            token = self._visitors.new_token()
            user = self._visitors.user(token)
            cookies.append(cookie(COOKIE, token, request.secure))
        enters = self._visitors.may_enter(user, request.cookies.get(PASS_COOKIE))
        if not enters and not _BEFORE_LOGIN.fullmatch(request.path):
            raise Refused(401, "This server asks for a password: open the page and give it.", "no password")
        if request.works and not (
            self._from_address.allows(request.address) and self._requests.allows(user or request.address)
        ):
            raise Refused(429, "You ask for too much at once: wait a moment.", "too many requests")
        if user is not None and not self._looks.allows(user):
            raise Refused(429, "You ask for too much at once: wait a moment.", "too many looks")
        return user

    def _one_of_few(self, request: Asked, user: str | None) -> Callable[[], None]:
        """Bound the work, and the memory that uploads take, at any one moment; call what is returned at its end."""
        if not request.works or user is None:
            return _nothing
        most = {user: _AT_ONCE, f"from {request.address}": _AT_ONCE_ADDRESS, "all": _AT_ONCE_ALL}
        if any(self._under_way[key] >= number for key, number in most.items()):
            raise Refused(429, "You ask for too much at once: wait a moment.", "too many requests at once")
        self._under_way.update(most.keys())
        counted = True

        def done() -> None:
            nonlocal counted
            if counted:
                counted = False
                self._under_way.subtract(most.keys())
                self._under_way += Counter()  # forgets whom nothing is under way for

        return done

    def _check_place(self, request: Asked) -> None:
        if not self._known_host(request.host):
            # Another site's name that leads here would let that site read what this one shows.
            raise Refused(421, "This server does not go by that name.", f"host {request.host!r}")
        segments = re.split(r"[/\\]", request.path)
        if ".." in segments or "\\" in request.path or "\0" in request.path or "//" in request.path:
            raise Refused(404, "There is nothing here.", "path outside its folder")
        if not (_OURS.fullmatch(request.path) or _GRADIO.fullmatch(request.path)):
            raise Refused(404, "There is nothing here.", "not offered")

    def _known_host(self, host: str) -> bool:
        if not _HOST.fullmatch(host):
            return False
        name = host[1 : host.index("]")] if host.startswith("[") else host.partition(":")[0].lower()
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return True  # an address is no name that could be made to lead elsewhere

    def _check_origin(self, request: Asked) -> None:
        site = request.headers.get("sec-fetch-site")
        origin = request.headers.get("origin")
        if site not in (None, "same-origin", "none"):
            raise Refused(403, "This comes from another site.", f"sent from {site}")
        if origin is not None and urlsplit(origin).netloc != request.host:
            raise Refused(403, "This comes from another site.", f"origin {origin!r}")

    def _bounded(self, request: Asked, receive: Receive) -> Receive:
        """`receive` that gives up where a body is larger than any upload may be, or comes more slowly."""
        most = self._upload_bytes if request.path.startswith("/api/v1/runs") else _JSON_BYTES
        if _GRADIO_CALL.fullmatch(request.path):
            most = 2 * self._upload_bytes  # a picture as text, with room for more than its four thirds
        sentence = f"This is larger than {most / 2**20:.0f} MiB, which is as much as can be sent."
        length = request.headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > most:
            raise Refused(413, sentence, f"{length[:30]} bytes")
        began, seen, more = time.monotonic(), 0, True

        async def bounded() -> Message:
            nonlocal seen, more
            if not more:
                return await receive()  # the visitor's going, for which one waits as long as it takes
            left = began + _PATIENCE + seen / _SLOWEST - time.monotonic()
            try:
                message = await asyncio.wait_for(receive(), left)
            except TimeoutError:
                raise Refused(408, "What you sent came too slowly: try again.", f"{seen} bytes so far") from None
            seen += len(message.get("body", b""))
            more = message["type"] == "http.request" and message.get("more_body", False)
            if seen > most:
                raise Refused(413, sentence, f"more than {most} bytes")
            return message

        return bounded


async def _tell(refusal: Refused, request: Asked, send: Send) -> None:
    headers = [(b"cache-control", b"no-store")]
    if refusal.status == 401 and request.page and request.method in SAFE:
        status, body = 303, b""
        headers.append((b"location", LOGIN.encode()))
    else:
        status, body = refusal.status, json.dumps({"error": refusal.sentence}).encode()
        headers.append((b"content-type", b"application/json"))
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if request.method == "HEAD" else body})


def _nothing() -> None:
    pass
