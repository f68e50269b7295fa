"""Who asks: a visitor's name in a signed cookie, the password, and how often anyone may ask."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from dataclasses import dataclass

COOKIE = "paintsundo_user"
PASS_COOKIE = "paintsundo_pass"
_MOST_KEYS = 20_000


class Visitors:
    """Names that this server gave, and passes for those who knew the password.

    A visitor's cookie is a random token and the server's signature; their folder is named by a hash of the token, so
    that no one who sees the folder can pass for them.

    Args:
        secret: of the server; the same after a restart.
        password: None: everybody may come in.
    """

    def __init__(self, secret: bytes, password: str | None) -> None:
        self._secret = secret
        self._password = password

    def new_token(self) -> str:
        """The cookie of a new visitor."""
        random = secrets.token_urlsafe(32)
        return f"{random}.{self._signed('visitor', random)}"

    def user(self, token: str | None) -> str | None:
        """The visitor's name, 32 hexadecimal digits; None for a cookie that this server did not give."""
        random, dot, signature = (token or "").partition(".")
        if not dot or not _same(signature, self._signed("visitor", random)):
            return None
        return hashlib.sha256(random.encode()).hexdigest()[:32]

    @property
    def open(self) -> bool:
        """Whether there is no password."""
        return self._password is None

    def right(self, password: str) -> bool:
        """Whether this is the password."""
        return self._password is not None and _same(
            self._signed("password", password), self._signed("password", self._password)
        )

    def pass_for(self, user: str) -> str:
        """The cookie of a visitor who gave the password; worthless to others and after a change of the password."""
        return self._signed("pass", f"{user} {self._password}")

    def may_enter(self, user: str | None, given: str | None) -> bool:
        """Whether there is no password, or the visitor gave it."""
        return self.open or (user is not None and given is not None and _same(given, self.pass_for(user)))

    def _signed(self, purpose: str, text: str) -> str:
        return hmac.new(self._secret, f"{purpose} {text}".encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def _same(first: str, second: str) -> bool:
    # In constant time; as bytes, because letters beyond ASCII are refused otherwise.
    return hmac.compare_digest(first.encode("utf-8", "surrogatepass"), second.encode("utf-8", "surrogatepass"))


@dataclass
class _Bucket:
    left: float
    at: float


class RateLimit:
    """So many a minute for each key, in bursts of as many.

    Args:
        per_minute: allowed.
    """

    def __init__(self, per_minute: float) -> None:
        self._most = float(per_minute)
        self._buckets: dict[str, _Bucket] = {}
        self._lock = threading.Lock()

    def allows(self, key: str, now: float | None = None) -> bool:
        """Whether one more is allowed; counts it if so."""
        now = time.monotonic() if now is None else now
        with self._lock:
            bucket = self._buckets.get(key)
            if bucket is None:
                if len(self._buckets) >= _MOST_KEYS:
                    self._forget(now)
                bucket = self._buckets[key] = _Bucket(self._most, now)
            bucket.left = min(self._most, bucket.left + (now - bucket.at) * self._most / 60)
            bucket.at = now
            if bucket.left < 1:
                return False
            bucket.left -= 1
            return True

    def _forget(self, now: float) -> None:
        full = [key for key, bucket in self._buckets.items() if (now - bucket.at) > 60]
        for key in full or list(self._buckets)[: _MOST_KEYS // 2]:
            del self._buckets[key]
