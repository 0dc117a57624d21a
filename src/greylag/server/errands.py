"""Work on the store that nobody waits for: done in steps, in the store's thread, between batches.

Between two steps, a while passes: reading all entries of long lists takes a thousand of them.

An errand is a function that takes the store and yields after each step, which should take some
milliseconds. What it returns, or the error that ended it, is told in the store's thread.
"""

from __future__ import annotations

from queue import Empty, SimpleQueue
from time import monotonic

from greylag.store.base import Store, StoreConflict, StoreError, StoreUnavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Errand = Callable[[Store], Iterator[None]]
    Done = Callable[[Exception | None], None]


STEP_EVERY = 0.1  # seconds


class Errands:
    """What is to be done, one after the other."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[tuple[Errand, Done]] = SimpleQueue()
        self._under_way: tuple[Iterator[None], Done] | None = None
        self._next = 0.0

    def put(self, errand: Errand, done: Done) -> None:
        """Have an errand done; from any thread."""
        self._waiting.put((errand, done))

    def step(self, store: Store) -> bool:
        """Do a step, if it is time for one; tell whether the store can be used as before."""
        if monotonic() < self._next:
            return True
        if self._under_way is None:
            try:
                errand, done = self._waiting.get_nowait()
            except Empty:
                return True
            self._under_way = errand(store), done
        steps, done = self._under_way
        failed: Exception | None = None
        try:
            next(steps)
        except StopIteration:
            pass
        except Exception as error:  # noqa: BLE001 - a bug must not cost the thread
            failed = error
        else:
            return True
        finally:
            self._next = monotonic() + STEP_EVERY
        self._under_way = None
        done(failed)
        return failed is None or _has_answered(failed)


def _has_answered(error: Exception) -> bool:
    if isinstance(error, StoreUnavailable):
        return isinstance(error, StoreConflict)
    return isinstance(error, StoreError)
