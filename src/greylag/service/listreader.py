"""Reading the lists of a store in small steps, between the batches: nobody waits for them (T45).

A step takes some milliseconds, and as long again nothing is read: who answers needs Python's lock,
too. Until all is read, the lists that were read before hold.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from greylag.core.accessindex import AccessIndex
from greylag.service.deciding import is_away, said
from greylag.store.base import Store

STEP = 0.003  # seconds that a step should take
FIRST, LEAST, MOST = 200, 20, 2000  # rows in a step
TAKEN_OUT = 2000  # subjects of an old index that are let go of in a step
AGAIN = 3  # times that it begins anew where the lists change meanwhile


class ListReader:
    """Reads lists that have changed, and lets go of those that nobody uses any more."""

    def __init__(self, stopwatch: Callable[[], float] = monotonic) -> None:
        self._stopwatch = stopwatch
        self._used: int | None = None  # the generation of the lists in use
        self._looking = False  # whether they are still those
        self._reading: int | None = None  # the generation of those that are being read
        self._halted = False  # until the next look: that goes on where this one was
        self._is_whole = False  # all of these was read
        self._index = AccessIndex()
        self._after = 0
        self._rows = FIRST
        self._anew = 0
        self._old: list[AccessIndex] = []
        self._next = 0.0
        self._error: str | None = None

    @property
    def busy(self) -> bool:
        """Tell whether there is something to do."""
        return self.reading or bool(self._old)

    @property
    def reading(self) -> bool:
        """Tell whether lists are being read."""
        return (self._looking or self._reading is not None) and not self._halted

    @property
    def wait(self) -> float:
        """Return in how many seconds the next step is due."""
        return max(0.0, self._next - self._stopwatch())

    def look(self, store: Store) -> None:
        """Begin to read if the lists are not those that were read last. Raises where it is away."""
        if self.reading:
            return
        self._halted = False
        if self._is_whole:  # and the look that would have ended it failed
            self._looking = True
            return
        try:
            self._look_on(store)
        except Exception as error:
            self.halt()
            if is_away(error):
                raise
            self._error = said(error)

    def _look_on(self, store: Store) -> AccessIndex | None:
        generation = store.generation()
        self._looking = generation is None
        if generation is not None:
            if self._is_whole:
                return self._finish(generation)
            if generation == self._used:
                self._give_up()
            elif generation != self._reading:
                self._anew = 0
                self._begin(generation)
        return None

    def _begin(self, generation: int) -> None:
        self._give_up()
        self._reading = generation

    def _give_up(self) -> None:
        """Forget what was read of lists that are not those of the store any more."""
        if self._after or self._is_whole:
            self.discard(self._index)
        self._index, self._after = AccessIndex(), 0
        self._looking = self._is_whole = False
        self._reading = None

    def halt(self) -> None:
        """Read nothing until the next look.

        That may be at a store that was opened anew: no two lists have the same generation.
        """
        self._halted = True

    def discard(self, index: AccessIndex) -> None:
        """Let go of lists that nobody uses any more, in steps: at once it would take too long."""
        self._old.append(index)

    def take_error(self) -> str | None:
        """Return why a step failed since the last call, or None."""
        error, self._error = self._error, None
        return error

    def step(self, store: Store | None) -> AccessIndex | None:
        """Do a little; return the lists once they are whole. Raises where the store is away."""
        began = self._stopwatch()
        try:
            if self._old:  # filled at its end by another thread
                if not self._old[0].take_out(TAKEN_OUT):
                    del self._old[0]
            elif store is not None and self.busy:
                return self._look_on(store) if self._looking else self._read(store)
        except Exception as error:
            self.halt()  # the lists of before hold
            if is_away(error):
                raise
            self._error = said(error)
        finally:
            self._next = 2 * self._stopwatch() - began
        return None

    def _read(self, store: Store) -> AccessIndex | None:
        began = self._stopwatch()
        page = store.entries_after(self._after, self._rows)
        self._index.add(page.entries)
        self._index.ignored += page.ignored
        took = self._stopwatch() - began
        self._rows = min(max(int(self._rows * STEP / max(took, STEP / 2)), LEAST), MOST)
        if page.after is not None:
            self._after = page.after
            return None
        self._is_whole = True
        return self._look_on(store)

    def _finish(self, generation: int) -> AccessIndex | None:
        if generation != self._reading and self._anew < AGAIN:
            self._anew += 1
            self._begin(generation)
            return None
        # Where the lists change all the time, what was read is at least newer than what holds: an
        # entry that changed lies at the end, and was read too.
        whole, self._used = self._index, self._reading
        self._index, self._after, self._is_whole = AccessIndex(), 0, False
        self._reading = None
        return whole
