"""Ends the process where its loop cannot: without memory it neither stops nor lets anybody in.

Where the address space is used up (`softlimit`, RLIMIT_AS), a loop that cannot take a connection
in may never try again, or try without a pause, and it may not learn of SIGTERM; nor does it always
tell that there was no memory. This thread lives beside it until the process ends, and needs next to
nothing. Whoever looks after the daemon starts another; until then the plugins do without one.

Python itself can be stuck without memory: to enter an exception handler it may need a number, and
it tries that for ever, while no other thread runs, not even this one. So the kernel counts the
processor time since the last look, and ends the process by SIGPROF.
"""

from __future__ import annotations

import asyncio
import os
import resource
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
FAILS = 100  # looks that fail, one after the other, before the process ends
SPINS = 10.0  # seconds of processor time in which this thread never ran, before the process ends
DOUBT_EVERY = 10.0  # seconds, where the address space has a limit
HEARD_WITHIN, ENDS_WITHIN = 10.0, 30.0  # seconds from a signal until the loop stops; and has ended
_AT_MOST = 1.0  # seconds for the last line
_STDERR = 2  # itself: `sys.stderr` may be gone
_LAST_WORD = b"greylag: level=fatal event=ended error=MemoryError\n"


def hold_signals() -> None:
    """Have SIGTERM and SIGINT wait until they are looked for; to be called before any thread is."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def end_at_once() -> None:
    """End without memory, with one line and a status that says that something was wrong.

    Nothing may be raised here, for want of memory either: that would end the thread that looks.
    """
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, _AT_MOST)  # the kernel ends what hangs here
        finally:
            _say_the_last_word()
    finally:
        os._exit(os.EX_OSERR)


def _say_the_last_word() -> None:
    try:
        poll = select.poll()
        poll.register(_STDERR, select.POLLOUT)
        room = bool(poll.poll(0))  # its reader may have stopped
    except MemoryError:
        room = True  # most likely
    if room:
        os.write(_STDERR, _LAST_WORD)


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
        self._knocked = self._doubts_at = 0.0
        self._stopping = False

    def doubt(self) -> None:
        """There was no memory for something; needs none itself."""
        self._doubted = True

    def stopping(self) -> None:
        """The loop has begun to end, and so must the process; to close a loop takes memory, too."""
        self._stopping = True

    def run(self) -> None:
        """Look, until the process ends."""
        looks = 0  # since a signal; counted, as the time in which we were stopped is nobody's fault
        failed = 0  # looks, one after the other
        while True:
            try:
                rest(LOOK)
                # Of the processor: a process that is stopped, or has to wait, uses none of it.
                signal.setitimer(signal.ITIMER_PROF, SPINS)
                if looks or self._stopping or signal.sigpending() & SIGNALS:
                    looks += 1
                    self._tell(looks)
                else:
                    self._look_at_listeners()
                failed = 0
            except Exception:  # noqa: BLE001 - no memory: it is tried again
                failed += 1  # a small number, which Python has ready
                if failed > FAILS:
                    end_at_once()

    def _tell(self, looks: int) -> None:
        patience = ENDS_WITHIN if self._stopping else HEARD_WITHIN
        if looks * LOOK > patience:
            end_at_once()
        if not self._stopping:
            self._loop.call_soon_threadsafe(self._end_loop)

    def _look_at_listeners(self) -> None:
        now = monotonic()
        limited = False
        if now >= self._doubts_at:
            self._doubts_at = now + DOUBT_EVERY
            limited = resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
        if self._doubted or limited:
            self._begin_to_doubt()
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
                if not _knock(listener):
                    self._knocks[number] -= 1

    def _begin_to_doubt(self) -> None:
        for number, (listener, connections) in enumerate(self._places):
            # Without a report unix sockets alone: a firewall may drop our own TCP connections.
            doubted = self._doubted or listener.family == socket.AF_UNIX
            if doubted and not self._knocks[number]:
                self._knocks[number] = 1
                self._seen[number] = connections.taken
        self._doubted = False


def _knock(listener: socket.socket) -> bool:
    """Connect; tell whether there was a descriptor for it."""
    try:
        client = socket.socket(listener.family)
    except OSError:
        return False
    with suppress(OSError), client:
        client.setblocking(False)
        client.connect(listener.getsockname())
    return True
