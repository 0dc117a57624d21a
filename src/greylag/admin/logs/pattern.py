"""A `--pattern` that fits no line: which part of it failed, and on which line it came nearest."""

from __future__ import annotations

import re

_MOST_LINES = 1000  # that are kept to compare with
_LONGEST = 500  # characters of each, and of a pattern
_OPEN_GROUPS = 8  # that a part of a pattern may leave open
_SHOWN = 120  # characters of a line that a message shows


class Nearest:
    """Keeps the first lines, and tells what is wrong with them."""

    def __init__(self) -> None:
        self._rests: list[str] = []
        self._unstamped: str | None = None

    def unstamped(self, line: str) -> None:
        """Note a line that begins with no time."""
        if self._unstamped is None and line:
            self._unstamped = line[:_LONGEST]

    def stamped(self, rest: str) -> None:
        """Note what stands behind a line's time."""
        if len(self._rests) < _MOST_LINES:
            self._rests.append(rest[:_LONGEST])

    def no_time(self) -> str | None:
        """Say that no line begins with a time, if so."""
        if self._rests or self._unstamped is None:
            return None
        return f"no line begins with a time that is known; the first is {_quoted(self._unstamped)}"

    def why(self, pattern: re.Pattern[str]) -> str:
        """Say how far the pattern fits, and where it fits so far first."""
        for rest in self._rests:
            found = pattern.search(rest)
            if found:
                taken = _quoted(found["address"] or "")
                return f"the group address took {taken}, which is no address, of {_quoted(rest)}"
        text = pattern.pattern[:_LONGEST]
        for end in range(len(text) - 1, 0, -1):
            part = _compiled(text[:end])
            rest = next((r for r in self._rests if part is not None and part.search(r)), "")
            if rest:
                fits, fails = _quoted(text[:end]), _quoted(text[end:])
                return f"{fits} of it fits, {fails} behind it does not; nearest: {_quoted(rest)}"
        first = f"; the first line says {_quoted(self._rests[0])}" if self._rests else ""
        return f"not even its beginning fits{first}"


def _compiled(text: str) -> re.Pattern[str] | None:
    for closing in range(_OPEN_GROUPS):
        try:
            return re.compile(text + ")" * closing)
        except re.error as error:
            if "unterminated subpattern" not in str(error):
                return None
    return None


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}[...]")
