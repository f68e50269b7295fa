"""Connections: those that say nothing are closed, and no address may have them all."""

from __future__ import annotations

import logging
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

log = logging.getLogger(__name__)

MOST = 1000  # connections; who comes when there are as many is turned away
_FROM_ONE = MOST // 2  # address
_SECONDS = 20.0  # for a request to begin and for its headers to come
KEPT_SECONDS = 20  # between two requests: who asks every few seconds does not meet the closing of the connection


class Connection(H11Protocol):
    """Uvicorn's HTTP connection, which waits for as long as it takes only while a request is answered."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._last: Any = None
        address = _address(self)
        others = sum(each is not self and _address(each) == address for each in self.connections)
        if others >= _FROM_ONE:
            log.warning("refused a connection from %s: it has %d", address, others)
            transport.close()
        else:
            self.loop.call_later(_SECONDS, self._look)

    def _look(self) -> None:
        if self.transport.is_closing():
            return
        answered = self.cycle is None or self.cycle.response_complete
        if answered and self.cycle is self._last:
            self.transport.close()  # nothing was asked since the last look
            return
        self._last = self.cycle
        self.loop.call_later(_SECONDS, self._look)


def _address(connection: Any) -> str:
    """Of who is at the other end; empty where that is not known."""
    return (connection.client or ("", 0))[0]
