"""Looking through the history in bounded time: the newest first, and only so many."""

from __future__ import annotations

from collections.abc import Iterator

from greylag.core.history import Deferral, Sought
from greylag.core.value import value
from greylag.store.base import Store

# Deferrals that are looked at, so that an answer takes less than a second however many there are.
MOST_LOOKED = 60_000
_AT_ONCE = 2000


@value
class Looked:
    """What was found, and how far that is all."""

    deferrals: list[Deferral]
    complete: bool  # all that there are were looked at
    reached: int  # first contact of the oldest that was looked at


class Looking:
    """One look through the history, step by step."""

    def __init__(
        self, store: Store, wanted: Sought, most: int = MOST_LOOKED, first: int = _AT_ONCE
    ) -> None:
        self._store, self._wanted, self._most, self._first = store, wanted, most, first
        self.complete, self.reached = False, 0

    def __iter__(self) -> Iterator[Deferral]:
        """Yield what fits. Its end may be that of the history, of the time, or of patience."""
        before: int | None = None
        left, step = self._most, self._first
        while left > 0:
            step = min(step, _AT_ONCE, left)
            page = self._store.deferrals(self._wanted, step, before)
            left, step = left - step, 8 * step
            self.reached, before = page.reached, page.before
            yield from page.deferrals
            # Numbers are given in the order of first contacts, but for what clocks differ by.
            if before is None or page.reached < self._wanted.since:
                self.complete = True
                return


def look(
    store: Store, wanted: Sought, enough: int | None = None, most: int = MOST_LOOKED
) -> Looked:
    """Return what fits, the newest first; no more than is enough."""
    # Where nearly all fit, a few are enough: so the first step is small.
    looking = Looking(store, wanted, most, _AT_ONCE if enough is None else 10 * enough)
    found: list[Deferral] = []
    for one in looking:
        found.append(one)
        if enough is not None and len(found) >= enough:
            break
    return Looked(found, looking.complete, looking.reached)
