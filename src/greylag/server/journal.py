"""The daemon's log: key=value lines, written once for each iteration of the loop.

To a file that is opened again on SIGHUP, or to stderr for multilog and journald. A log that
cannot be written never stops an answer.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from greylag.core.attempt import Attempt
from greylag.core.verdict import Decision, Reason
from greylag.wire.logline import connection_line, decision_line, format_event

FATAL, ERROR, WARN, INFO, DEBUG = 1, 2, 3, 4, 5
_NAMES = ("off", "fatal", "error", "warn", "info", "debug")
_PREFIX = "greylag: "
_MAX_HELD = 1 << 20  # bytes that wait for a slow reader of the log; more is dropped, and counted
_MODE = 0o640  # who mails whom is nobody else's business


class Journal:
    """Writes events at or below a level."""

    def __init__(self, path: str = "", level: int = INFO) -> None:
        self.level = level
        self._path = path
        self._held: list[str] = []
        self._size = 0
        self._dropped = 0
        self._scheduled = False
        self._descriptor = self._open()

    def _open(self) -> int:
        if not self._path:
            return sys.stderr.fileno() if sys.stderr is not None else -1
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(self._path, flags, _MODE)

    def reopen(self) -> None:
        """Open the file anew, as after it was rotated. Raises OSError; the old one stays then."""
        self.flush()
        if self._path:
            before, self._descriptor = self._descriptor, self._open()
            os.close(before)

    def event(self, level: int, fields: Mapping[str, bytes | str | int]) -> None:
        """Write an event; anything but `info` is named in the line."""
        if level <= self.level:
            named = fields if level == INFO else {"level": _NAMES[level], **fields}
            self._hold(format_event(named))

    def decision(self, attempt: Attempt, decision: Decision) -> None:
        """Write what was answered to an attempt."""
        if decision.reason is Reason.INCOMPLETE:
            if self.level >= FATAL:
                self._hold(f"level=fatal {decision_line(attempt, decision)}")
        elif decision.reason is Reason.OTHER_STAGE:
            if self.level >= DEBUG:
                self._hold(f"level=debug {decision_line(attempt, decision)}")
        elif self.level >= INFO:
            self._hold(decision_line(attempt, decision))

    def connection(self, client_address: bytes, decision: Decision) -> None:
        """Write what was answered about a connection."""
        if self.level >= INFO:
            self._hold(connection_line(client_address, decision))

    def internal_error(self, _loop: object, context: Mapping[str, Any]) -> None:
        """Write what the loop says of an exception that nobody caught: a bug, or no memory."""
        error = context.get("exception")
        cause = f"{type(error).__name__}: {error}" if error else str(context.get("message"))
        fields: dict[str, bytes | str | int] = {"event": "internal-error"}
        fields["error"] = cause.removesuffix(": ")
        trace = error.__traceback__ if error else None
        while trace is not None:
            place = os.path.basename(trace.tb_frame.f_code.co_filename)
            fields["where"] = f"{place}:{trace.tb_lineno}"
            trace = trace.tb_next
        with suppress(MemoryError):
            self.event(ERROR, fields)

    def _hold(self, line: str) -> None:
        if self._size > _MAX_HELD:
            self._dropped += 1
            return
        self._held.append(f"{_PREFIX}{line}\n")
        self._size += len(_PREFIX) + len(line) + 1
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Write what is held."""
        self._scheduled = False
        if self._dropped:
            self._held.append(f"{_PREFIX}level=warn dropped={self._dropped}\n")
            self._dropped = 0
        data = "".join(self._held).encode("ascii")
        self._held.clear()
        self._size = 0
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            return  # nobody is left to tell
