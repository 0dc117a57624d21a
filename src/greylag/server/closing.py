"""Foreign descriptors are closed in threads: what is behind one may keep whoever closes it waiting.

A TCP socket that lingers over unsent bytes, a file of a file system that does not answer (FUSE,
NFS): their close takes as long as their owner wishes, and the owner may be anybody who hands over.
"""

from __future__ import annotations

import os
import struct
import threading
from collections import deque
from contextlib import suppress
from socket import SO_LINGER, SOL_SOCKET, socket

_MOST_THREADS = 8  # that may hang in a close at once; beyond, descriptors wait
_AT_ONCE = struct.pack("ii", 0, 0)


class Closing:
    """Closes what it is given, later; `put` returns at once."""

    def __init__(self) -> None:
        self._waiting: deque[int] = deque()
        self._busy = 0
        self._lock = threading.Lock()

    @property
    def stuck(self) -> bool:
        """Tell whether all threads hang: then no descriptor is to be taken from anybody."""
        return self._busy >= _MOST_THREADS and len(self._waiting) >= _MOST_THREADS

    def put(self, descriptor: int) -> None:
        """Have a descriptor closed."""
        self._waiting.append(descriptor)
        with self._lock:
            if self._busy >= _MOST_THREADS:
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
                if not self._waiting:
                    self._busy -= 1
                    return
                descriptor = self._waiting.popleft()
            with suppress(OSError):
                os.close(descriptor)


def unlinger(connection: socket) -> None:
    """Have a socket's close return at once, whatever whoever handed it over has set."""
    with suppress(OSError):
        connection.setsockopt(SOL_SOCKET, SO_LINGER, _AT_ONCE)
