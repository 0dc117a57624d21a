"""Foreign descriptors are closed in threads: what is behind one may keep whoever closes it waiting.

A TCP socket that lingers over unsent bytes, a file of a file system that does not answer (FUSE,
NFS): their close takes as long as their owner wishes, and the owner may be anybody who hands over.
"""

from __future__ import annotations

import os
import struct
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from socket import SO_LINGER, SOL_SOCKET, socket

_MOST_THREADS = 8  # that may hang in a close at once; beyond, descriptors wait
_MOST_WAITING = 32  # of them: then nothing is taken from anybody until most are closed
_AT_ONCE = struct.pack("ii", 0, 0)


class Closing:
    """Closes what it is given, later; `put` returns at once.

    `go_on` is called, in another thread, when it is stuck no more.
    """

    def __init__(self, go_on: Callable[[], None] = lambda: None) -> None:
        self._go_on = go_on
        self._waiting: deque[int] = deque()
        self._busy = 0
        self._was_stuck = False
        self._lock = threading.Lock()

    @property
    def stuck(self) -> bool:
        """Tell whether all threads hang: then nothing is to be taken from anybody.

        Not even a connection, or descriptors that are never closed would be all there are.
        """
        with self._lock:
            stuck = self._busy >= _MOST_THREADS and len(self._waiting) >= _MOST_WAITING
            self._was_stuck |= stuck
            return stuck

    def put(self, *descriptors: int) -> None:
        """Have descriptors closed."""
        self._waiting.extend(descriptors)
        self.step()

    def step(self) -> None:
        """Have one more thread close what waits, as far as there may be more."""
        with self._lock:
            if self._busy >= _MOST_THREADS or not self._waiting:
                return
            self._busy += 1
        try:
            threading.Thread(target=self._run, name="greylag-close", daemon=True).start()
        except (RuntimeError, MemoryError):  # no thread: the next one takes this along
            with self._lock:
                self._busy -= 1

    def _run(self) -> None:
        while True:
            with self._lock:
                goes_on = self._was_stuck and len(self._waiting) < _MOST_WAITING // 2
                self._was_stuck &= not goes_on
                descriptor = self._waiting.popleft() if self._waiting else None
                self._busy -= descriptor is None
            if goes_on:
                self._go_on()
            if descriptor is None:
                return
            with suppress(OSError):
                os.close(descriptor)


def unlinger(connection: socket) -> None:
    """Have a socket's close return at once, whatever whoever handed it over has set."""
    with suppress(OSError):
        connection.setsockopt(SOL_SOCKET, SO_LINGER, _AT_ONCE)
