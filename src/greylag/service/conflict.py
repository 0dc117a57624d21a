"""Trying again where another writer was faster.

Nodes of a cluster that change the same record find out at the commit, and a batch of the daemon is
hundreds of records: one more try is not enough there. One of them succeeds each time.
"""

from __future__ import annotations

from time import monotonic, sleep

from greylag.store.base import StoreConflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

TRIES = 8
ENOUGH = 1.0  # seconds: whoever waited for a lock for longer tries just once more
PAUSE = 0.002  # seconds, on average, before the second try; doubled each time


def settled(step: Callable[[], T]) -> T:
    """Return what a step returns; a conflict, which wrote nothing, is tried again a few times."""
    began = monotonic()
    for tries in range(TRIES - 1):
        try:
            return step()
        except StoreConflict:
            if tries and monotonic() - began > ENOUGH:
                raise
            from random import random  # rarely needed, and a one-shot process pays for imports

            sleep(2 * random() * PAUSE * 2**tries)  # noqa: S311 - so that two do not meet again
    return step()
