"""Figures that no daemon counts by itself: what the store has of them, since this daemon began.

What became of those that never came back is known where a record expires: here, in another daemon,
or in `greylag expire`. So this is read from the store now and then, for the metrics: on a store
that several daemons share, each tells the same. Where the store is there and refuses it, the log
is told once, until it works again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from time import monotonic, time

from greylag.core.figures import HOUR, NEVER, RELEASED, SKIPPED, STOPPED, hour_of
from greylag.core.verdict import WARN
from greylag.server.errands import Errands
from greylag.server.journal import Journal
from greylag.server.metrics import Metrics
from greylag.store.base import StoreUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.store.base import Store

EVERY = 60.0  # seconds between looks
_LONGEST = 48 * HOUR  # without a look; what was counted before that is left out
_NAMES = (STOPPED, *NEVER.values(), SKIPPED, RELEASED)


class StoreFigures:
    """Looks once a minute, in the store's thread, at the hours that may have changed."""

    def __init__(
        self,
        errands: Errands,
        metrics: Metrics,
        journal: Journal,
        clock: Callable[[], float] = time,
        stopwatch: Callable[[], float] = monotonic,
    ) -> None:
        self._errands = errands
        self._metrics = metrics
        self._journal = journal
        self._error: str | None = None  # why the last look failed, and whether that was told
        self._told = False
        self._clock = clock
        self._stopwatch = stopwatch
        self._next = 0.0
        self._under_way = False
        self._seen: dict[int, dict[str, int]] | None = None  # by the hour
        self._looked, self._past = 0, 0.0  # when that was, by both clocks

    def tick(self) -> None:
        """Begin to look, if it is time; tell what became of the last look."""
        self._tell()
        if self._under_way or self._stopwatch() < self._next:
            return
        self._errands.put(self._look, self._done)
        self._under_way = True

    def _done(self, error: Exception | None) -> None:
        """Go on as before where it failed; called in the store's thread."""
        self._error = None
        if error is not None and not isinstance(error, StoreUnavailable):  # that is told elsewhere
            self._error = str(error) or type(error).__name__
        self._next = self._stopwatch() + EVERY
        self._under_way = False

    def _tell(self) -> None:
        error = self._error
        if error is not None and not self._told:
            self._journal.event(WARN, {"event": "figures-failed", "error": error})
        self._told = error is not None

    def _look(self, store: Store) -> Iterator[None]:
        """Add what has come in the hours since the last look.

        The first one only looks, and so does one after a jump of the clock: what it finds in other
        hours may have been counted long before.
        """
        now, past = int(self._clock()), self._stopwatch()
        if abs(now - self._looked - (past - self._past)) > HOUR:
            self._seen, self._looked = None, now
        # Other hosts' clocks may be a little behind.
        since = hour_of(max(self._looked - HOUR, now - _LONGEST))
        found = store.figures(since, hour_of(now) + HOUR)
        seen, counted = self._seen, Counter(self._metrics.of_store)
        for hour, figures in found.items():
            for name in _NAMES if seen is not None else ():
                before = (seen or {}).get(hour, {}).get(name, 0)
                counted[name] += max(figures.get(name, 0) - before, 0)
        self._seen, self._looked, self._past = found, now, past
        self._metrics.of_store = dict(counted)  # all at once: another thread reads it
        yield
