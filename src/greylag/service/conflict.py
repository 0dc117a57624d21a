"""Trying again where another writer was faster.

Nodes of a cluster that change the same record find out at the commit, and a batch of the daemon is
hundreds of records: one more try is not enough there. One of them succeeds each time.
"""

from __future__ import annotations

from time import monotonic, sleep

from greylag.store.base import StoreConflict

TRIES = 8
ENOUGH = 1.0  # seconds: whoever waited for a lock for longer tries just once more
PAUSE = 0.002  # seconds, on average, before the second try; doubled each time


class Tries:
    """The tries of one step, which writes nothing where it meets a conflict."""

    def __init__(self, most: int = TRIES) -> None:
        self._most = most
        self._began = monotonic()
        self._failed = 0

    def lost(self, conflict: StoreConflict) -> None:
        """Wait a moment before the next try. Raises the conflict where there is to be none."""
        failed = self._failed
        self._failed += 1
        waited = failed and monotonic() - self._began > ENOUGH
        if waited or self._failed == self._most:
            raise conflict
        from random import random  # rarely needed, and a one-shot process pays for imports

        sleep(2 * random() * PAUSE * 2**failed)  # noqa: S311 - so that two do not meet again
