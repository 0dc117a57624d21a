"""The daemon's log: key=value lines, which a thread of its own writes (`logfile`).

To a file that is opened again on SIGHUP, or to stderr for multilog and journald. A log that
cannot be written never stops an answer.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from time import monotonic
from typing import Any

from greylag.core.attempt import Attempt
from greylag.core.connection import Connection
from greylag.core.verdict import ERROR, INFO, Decision
from greylag.server.logfile import LogWriter
from greylag.wire.logline import BEGINNINGS, connection_line, decision_line, format_event
from greylag.wire.postgreyline import postgrey_line

IN_FILE, ALWAYS, NEVER = "file", "always", "never"  # when lines begin with their time
_FORMS = {"greylag": decision_line, "postgrey": postgrey_line}
_PATIENCE = 2.0  # seconds for the last lines, at the end
_RARELY = 60.0  # seconds until the same error is told again
_MOST_ERRORS = 64  # that are remembered for this


def _stamped(path: str, times: str) -> bool:
    """Tell whether lines get their time: what supervises a daemon stamps its stderr itself."""
    return times == ALWAYS or (times == IN_FILE and path != "")


class Journal:
    """Writes events at or below a level."""

    def __init__(
        self, path: str = "", level: int = INFO, times: str = NEVER, form: str = "greylag"
    ) -> None:
        self.level = level
        self._decision_line = _FORMS[form]
        self._path = path
        self._told: dict[str, float] = {}  # errors, and when they may be told again
        self._unsaid: Counter[str] = Counter()
        self._writer = LogWriter(path, stamped=_stamped(path, times))
        self._writer.start()

    @property
    def dropped(self) -> int:
        """Return how many lines could not be written so far."""
        return self._writer.dropped

    def reopen(self) -> None:
        """Open the file anew, as after it was rotated; where that fails, the log tells it."""
        self._writer.reopen(self._path)

    def use(self, path: str, level: int, times: str = NEVER, form: str = "greylag") -> None:
        """Write to this file from now on, at or below this level."""
        self.level = level
        self._decision_line = _FORMS[form]
        self._writer.stamp(stamped=_stamped(path, times), at_once=path == self._path)
        if path != self._path:
            self._path = path
            self._writer.reopen(path)

    def close(self) -> None:
        """Write what is held, for as long as somebody reads it."""
        self._writer.end(_PATIENCE)

    def rarely(self, level: int, fields: Mapping[str, bytes | str | int]) -> None:
        """Write an event that may come thousands of times: the same is told once a minute."""
        line = format_event(fields)
        now = monotonic()
        if now < self._told.get(line, 0.0):
            self._unsaid[line] += 1
            return
        if len(self._told) >= _MOST_ERRORS:
            self._told.clear()
            self._unsaid.clear()
        self._told[line] = now + _RARELY
        unsaid = self._unsaid.pop(line, 0)
        self.event(level, {**fields, "unsaid": unsaid} if unsaid else fields)

    def event(self, level: int, fields: Mapping[str, bytes | str | int]) -> None:
        """Write an event; anything but `info` is named in the line."""
        if level <= self.level:
            self._hold(BEGINNINGS[level] + format_event(fields))

    def decision(self, attempt: Attempt, decision: Decision) -> None:
        """Write what was answered to an attempt."""
        level = decision.reason.logged
        if level <= self.level:
            self._hold(BEGINNINGS[level] + self._decision_line(attempt, decision))

    def connection(self, connection: Connection, decision: Decision) -> None:
        """Write what was answered about a connection."""
        level = decision.reason.logged
        if level <= self.level:
            self._hold(BEGINNINGS[level] + connection_line(connection, decision))

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
            self.rarely(ERROR, fields)

    def _hold(self, line: str) -> None:
        self._writer.add(line)
