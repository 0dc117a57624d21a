"""Ends the process where its loop cannot: without memory it neither stops nor lets anybody in.

Where the address space is used up (`softlimit`, RLIMIT_AS), a loop that cannot take a connection in
may never try again, or try without a pause, and it may not learn of SIGTERM. This thread lives
beside it, and needs next to nothing. Whoever looks after the daemon starts another; until then the
plugins do without one.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic

from greylag.server.connections import Connections
from greylag.server.rest import rest

SIGNALS = frozenset((signal.SIGTERM, signal.SIGINT))
LOOK = 0.1  # seconds between looks
KNOCK = 1.0  # seconds between connections of our own
KNOCKS = 5  # of which a listener takes none in, until we are sure
HEARD_WITHIN, ENDS_WITHIN = 10.0, 30.0  # seconds from a signal until the loop stops; and has ended
_STDERR = 2  # itself: `sys.stderr` may be gone
_LAST_WORD = b"greylag: level=fatal event=ended error=MemoryError\n"


def hold_signals() -> None:
    """Have SIGTERM and SIGINT wait until they are looked for; to be called before any thread is."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def end_at_once() -> None:
    """End without memory, with one line and a status that says that something was wrong."""
    with suppress(OSError, MemoryError):
        poll = select.poll()
        poll.register(_STDERR, select.POLLOUT)
        if poll.poll(0):  # its reader may have stopped
            os.write(_STDERR, _LAST_WORD)
    os._exit(os.EX_OSERR)


class Watch(threading.Thread):
    """Looks for signals; and, once there was no memory, whether connections are taken in."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        stop: Callable[[], None],
        places: Sequence[tuple[socket.socket, Connections]],
    ) -> None:
        super().__init__(name="greylag-watch", daemon=True)
        self._loop = loop
        self._end_loop = stop  # `_stop` is a method of Thread
        self._places = places
        self._knocks = [0] * len(places)  # since the doubt began; 0: there is none
        self._seen = [0] * len(places)  # what each had taken in then
        self._doubted = False
        self._knocked = 0.0
        self._stopping = self._ended = False

    def doubt(self) -> None:
        """There was no memory for something; needs none itself."""
        self._doubted = True

    def stopping(self) -> None:
        """The loop has begun to end."""
        self._stopping = True

    def end(self) -> None:
        """All has ended in order."""
        self._ended = True

    def run(self) -> None:
        """Look, until the end."""
        looks = 0  # since a signal; counted, as the time in which we were stopped is nobody's fault
        while not self._ended:
            try:  # around all of it: without memory any call can fail, and the thread has to live
                rest(LOOK)
                if looks or signal.sigpending() & SIGNALS:
                    looks += 1
                    self._tell(looks)
                else:
                    self._look_at_listeners()
            except Exception:  # noqa: BLE001, S110 - no memory: it is tried again
                pass

    def _tell(self, looks: int) -> None:
        patience = ENDS_WITHIN if self._stopping else HEARD_WITHIN
        if looks * LOOK > patience and not self._ended:
            end_at_once()
        if not self._stopping:
            self._loop.call_soon_threadsafe(self._end_loop)

    def _look_at_listeners(self) -> None:
        if self._doubted:
            self._doubted = False
            for number, (_listener, connections) in enumerate(self._places):
                if not self._knocks[number]:
                    self._knocks[number] = 1
                    self._seen[number] = connections.taken
        now = monotonic()
        if not any(self._knocks) or now < self._knocked + KNOCK:
            return
        self._knocked = now
        for number, (listener, connections) in enumerate(self._places):
            if connections.taken != self._seen[number]:
                self._knocks[number] = 0
            elif self._knocks[number] > KNOCKS:
                end_at_once()
            elif self._knocks[number]:
                self._knocks[number] += 1  # counted first: there may be no memory for it
                _knock(listener)


def _knock(listener: socket.socket) -> None:
    with suppress(OSError), socket.socket(listener.family) as client:
        client.setblocking(False)
        client.connect(listener.getsockname())
