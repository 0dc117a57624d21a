"""One epoll for thousands of raw sockets: the event loop watches only that one descriptor.

A transport of asyncio would cost several kilobytes for each; here it is an entry of a dict.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Watched(Protocol):
        """What a socket is watched for."""

        def ready(self, events: int) -> None:
            """Something happened: a mask of EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR."""

        def failed(self) -> None:
            """Go on, or let go of the socket, after an exception that nobody foresaw."""


READ, WRITE, NOTHING = select.EPOLLIN, select.EPOLLOUT, 0
BROKEN = select.EPOLLHUP | select.EPOLLERR
_MOST = 16  # sockets served before the loop's other work has its turn


class Poller:
    """Calls `ready` of whatever watches a socket that is ready."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._watched: dict[int, Watched] = {}
        self._epoll = select.epoll()

    def start(self) -> None:
        """Begin; to be called in the loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._epoll.fileno(), self._ready)

    def stop(self) -> None:
        """End; sockets that are still watched are forgotten."""
        self._loop.remove_reader(self._epoll.fileno())
        self._watched.clear()
        self._epoll.close()

    def watch(self, descriptor: int, watched: Watched, events: int = READ) -> None:
        """Watch a socket. Raises OSError."""
        self._epoll.register(descriptor, events)
        self._watched[descriptor] = watched

    def change(self, descriptor: int, events: int) -> None:
        """Watch for other events; broken connections are always told."""
        self._epoll.modify(descriptor, events)

    def close(self, connection: socket.socket) -> None:
        """Close a socket, watched or not."""
        self.forget(connection)
        connection.close()

    def forget(self, connection: socket.socket) -> None:
        """Watch a socket no more."""
        descriptor = connection.fileno()
        if self._watched.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)  # another process may hold the socket, too

    def _ready(self) -> None:
        for descriptor, events in self._epoll.poll(0, _MOST):
            watched = self._watched.get(descriptor)
            if watched is None:
                continue  # closed by what was ready before it
            self.guard(watched, partial(watched.ready, events))

    def guard(self, watched: Watched, work: Callable[[], object]) -> None:
        """Do something for one socket: a bug, or no memory, must end that one, not the daemon."""
        try:
            work()
        except Exception as error:  # noqa: BLE001
            with suppress(Exception):
                self._report(f"{type(error).__name__}: {error}".removesuffix(": "))
            if watched in self._watched.values():
                with suppress(Exception):
                    watched.failed()
