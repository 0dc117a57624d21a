"""Connections of browsers: how long one may take for a request, and how much of it may wait.

How many there may be of whom, see `web.crowd`.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from greylag.web.crowd import Crowd

HEAD = 16384  # bytes of a request's line and headers
PATIENCE = 10.0  # seconds without a whole request's head
LONGEST = 60.0  # seconds from one response to the end of the next


class Connection(H11Protocol):
    """uvicorn's, which would wait for ever for the first request, or for the rest of one."""

    crowd: ClassVar[Crowd]  # of whoever listens: see `connections_of`

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._peer: tuple[str, int] = ("", 0)
        self.conn = h11.Connection(h11.SERVER, HEAD)
        self._watch: asyncio.TimerHandle | None = None
        self._idle_since = self.loop.time()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to count the time; make room for it where there are too many."""
        super().connection_made(transport)
        peer = transport.get_extra_info("peername") or self._peer
        self._peer = peer[0], peer[1]
        self.crowd.enter(self, *self._peer)
        self._idle_since = self.loop.time()
        self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count no more."""
        if self._watch is not None:
            self._watch.cancel()
        self.crowd.leave(self, *self._peer)
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._idle_since = self.loop.time()
        super().on_response_complete()

    @property
    def serving(self) -> bool:
        """Tell whether a request is being answered."""
        cycle: Any = self.cycle  # None before the first request
        return cycle is not None and not cycle.response_complete

    def end(self) -> None:
        """Close it at once, whatever was sent."""
        self.transport.abort()

    def _look_later(self) -> None:
        self._watch = self.loop.call_later(PATIENCE / 3, self._look)

    def _look(self) -> None:
        waited = self.loop.time() - self._idle_since
        if waited > LONGEST or self.transport.is_closing():
            self.transport.abort()  # whoever does not read would keep it open for ever
            return
        if not self.serving and waited > PATIENCE:
            self.transport.close()
        self._look_later()


def connections_of(proxies: frozenset[str]) -> type[Connection]:
    """Return the class of connections that share one crowd."""
    return type("Connection", (Connection,), {"crowd": Crowd(proxies)})
