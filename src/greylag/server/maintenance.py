"""Forgetting what is past, in small steps between the batches: no cron, and nobody waits for it."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, time

from greylag.core.triplet import Triplet
from greylag.store.base import Page, Store

STEP = 500  # records looked at in one transaction: a few milliseconds
STEP_EVERY = 0.1  # seconds between steps: 5,000 records a second at the most
PASS_EVERY = 600.0  # seconds from the end of one walk to the beginning of the next
JUMP = 3600.0  # seconds by which the clock may differ from the stopwatch before nothing is expired


class Expiry:
    """Walks the records from one end to the other, and begins again after a while.

    A wall clock that has jumped since the start makes everything look expired, or nothing: then
    nothing is forgotten until the process is started again, by a human who has looked (P18).
    """

    def __init__(
        self, *, clock: Callable[[], float] = time, stopwatch: Callable[[], float] = monotonic
    ) -> None:
        self._clock = clock
        self._stopwatch = stopwatch
        self._offset = clock() - stopwatch()
        self._after: Triplet | None = None
        self._next = 0.0
        self.jumped = False

    def due(self) -> bool:
        """Tell whether it is time for a step."""
        now = self._stopwatch()
        if abs(self._clock() - now - self._offset) > JUMP:
            self.jumped = True
        return not self.jumped and now >= self._next

    def step(self, store: Store) -> Page:
        """Look at the next records. Raises StoreError."""
        page = store.expire(int(self._clock()), STEP, self._after)
        self._after = page.after
        pause = STEP_EVERY if page.after is not None else PASS_EVERY
        self._next = self._stopwatch() + pause
        return page
