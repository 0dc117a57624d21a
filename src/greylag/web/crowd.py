"""Who holds connections. Where there are too many, whoever holds most of them loses one.

Anybody can open hundreds of them, and send half a request on each. So a connection that comes then
is served, and one of the source that has most is closed: an idle one before one that is served, and
the oldest of these. Behind a named proxy each connection is a source of its own, because it may be
anybody's.
"""

from __future__ import annotations

from typing import Protocol

from greylag.web.throttle import network_of

MOST = 200  # connections


class Held(Protocol):
    """A connection."""

    @property
    def serving(self) -> bool:
        """Tell whether a request of it is being answered."""

    def end(self) -> None:
        """Close it at once."""


class Crowd:
    """Connections by their source, the oldest first."""

    def __init__(self, proxies: frozenset[str]) -> None:
        self._proxies = proxies
        self._of: dict[str, dict[Held, None]] = {}
        self._number = 0

    def enter(self, held: Held, host: str, port: int) -> None:
        """Count a connection; make room for it where there is none."""
        if self._number >= MOST:
            source = max(self._of, key=lambda one: (len(self._of[one]), self._has_idle(one)))
            others = self._of[source]
            gone = next((one for one in others if not one.serving), next(iter(others)))
            self._remove(source, gone)
            gone.end()
        source = f"{host}:{port}" if host in self._proxies else network_of(host)
        self._of.setdefault(source, {})[held] = None
        self._number += 1

    def leave(self, held: Held, host: str, port: int) -> None:
        """Count it no more."""
        self._remove(f"{host}:{port}" if host in self._proxies else network_of(host), held)

    def _has_idle(self, source: str) -> bool:
        return not all(held.serving for held in self._of[source])

    def _remove(self, source: str, held: Held) -> None:
        of_source = self._of.get(source, {})
        if held in of_source:
            del of_source[held]
            self._number -= 1
        if not of_source:
            self._of.pop(source, None)
