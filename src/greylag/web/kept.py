"""What takes long to count is counted beside the pages, and kept for a while.

A page waits for it for a moment. If that is not enough it shows what was counted before, with its
time, if that is not too long ago; or says that it is being counted. So a page is there in no time,
however much mail there is.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Any, TypeVar

from greylag.store.base import Store
from greylag.web.stores import Stores

PATIENCE = 0.2  # seconds
OLDEST = 3600  # seconds: what was counted before that is not shown any more

T = TypeVar("T")


class Kept:
    """Results by their names, each with the time at which its counting began."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._kept: dict[str, tuple[int, Any]] = {}
        self._running: dict[str, Future[Any]] = {}
        self._lock = Lock()

    def of(self, name: str, now: int, lasts: int, count: Callable[[Store], T]) -> T | None:
        """Return what was counted at most so many seconds ago, or lately, or None. See above."""
        with self._lock:
            at, kept = self._kept.get(name, (0, None))
            result: T | None = kept if 0 <= now - at < OLDEST else None
            if result is not None and now - at < lasts:
                return result
            running = self._running.get(name)
            if running is None:
                running = self._running[name] = self._stores.begin(count)
                begun = running
            else:
                begun = None
        if begun is not None:  # outside of the lock: it may be done already
            begun.add_done_callback(lambda done: self._keep(name, now, done))
        try:
            found: T = running.result(PATIENCE)
        except TimeoutError:
            return result
        return found

    def _keep(self, name: str, now: int, done: Future[Any]) -> None:
        with self._lock:
            self._running.pop(name, None)
            if not done.cancelled() and done.exception() is None:
                self._kept[name] = (now, done.result())
