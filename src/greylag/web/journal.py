"""The log of the dashboard, on standard error: who signed in, and each change with who made it.

A thread of its own writes it, so a reader that has stopped holds nobody up. What comes while many
lines wait is dropped and counted.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from queue import Full, Queue
from threading import Thread

from greylag.wire.logline import format_event

_MOST = 1000  # lines that wait
_STDERR = 2
_PATIENCE = 1.0  # seconds for the last lines


class Journal:
    """Writes events."""

    def __init__(self, handle: int = _STDERR) -> None:
        self._handle = handle
        self._lines: Queue[bytes | None] = Queue(_MOST)
        self.dropped = 0
        self._thread = Thread(target=self._write, daemon=True)
        self._thread.start()

    def event(self, fields: Mapping[str, str | int], level: str = "") -> None:
        """Write an event; anything but info names its level."""
        told = {"level": level, **fields} if level else fields
        line = f"greylag: {format_event(dict(told))}\n".encode()
        try:
            self._lines.put_nowait(line)
        except Full:
            self.dropped += 1

    def close(self) -> None:
        """Write what is held, for as long as somebody reads it."""
        with suppress(Full):
            self._lines.put_nowait(None)
            self._thread.join(_PATIENCE)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            with suppress(OSError):
                os.write(self._handle, line)
            if self.dropped:
                dropped, self.dropped = self.dropped, 0
                self.event({"event": "log-dropped", "lines": dropped}, "error")
