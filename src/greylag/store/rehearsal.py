"""A store that is read as it is, and in which nothing is written: what `--dry-run` runs on.

So a command does all that it would do, and tells what came of it, without a second way through its
code that could tell something else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from greylag.core.triplet import Triplet
    from greylag.store.base import Store

# Each changes the store and returns nothing that has to be told.
_WRITES = frozenset(
    ("apply", "merge", "put_entries", "set_switch", "remember", "note_action", "remove_entries")
)


def rehearsal(store: Store) -> Store:
    """Return a store with what another holds; what is written to it goes nowhere."""
    return _Rehearsal(store)


class _Rehearsal:
    """Reads of a store. What is neither a read nor a write that is known here is refused."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        if name in _WRITES:
            return _ignored
        if name in _READS:
            return getattr(self._store, name)
        raise AttributeError(f"{name} has no dry run")

    def transaction(
        self, _waiting: Callable[[], None] | None = None, *, lazy: bool = False
    ) -> AbstractContextManager[None]:
        """Begin nothing: nobody has to wait for a command that changes nothing."""
        return nullcontext()

    def forget(self, triplets: Iterable[Triplet], _now: int) -> int:
        """Return how many there are."""
        return len(self._store.load(list(triplets)))


_READS = frozenset(
    (
        *("load", "removals", "count", "search", "waiting", "matching", "entries"),
        *("entries_after", "generation", "switch", "figures", "deferrals", "tallies", "actions"),
        *("lacks", "contacts", "count_in_time", "glance", "warning", "check", "close"),
    )
)


def _ignored(*_words: object, **_more: object) -> int:
    return 0
