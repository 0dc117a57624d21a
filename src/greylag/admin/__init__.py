"""Use cases of an admin: functions that take a store, a clock and values, and return values.

Nothing here prints, asks or ends the process: `cli` does, and so may other front ends. Long work
is told to a `Progress`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from time import monotonic, sleep
from typing import Protocol, TypeVar

AT_ONCE = 1000  # records or entries in one transaction: on MySQL 5,000 could take over a second
PAUSE = 0.12  # seconds between two of them: whoever waits for SQLite's lock looks every 0.1

T = TypeVar("T")


class Progress(Protocol):
    """Yields the items of long work one by one, and may show how far it has come."""

    def __call__(
        self, items: Iterable[T], total: int | None, label: str, step: int = 1, unit: str = "rows"
    ) -> Iterator[T]:
        """Each item stands for `step` units of the total; None: nobody knows how many these are."""


def unseen(
    items: Iterable[T], total: int | None, label: str, step: int = 1, unit: str = "rows"
) -> Iterator[T]:
    """Yield the items, and show nothing."""
    del total, label, step, unit
    yield from items


def in_parts(items: Sequence[T], size: int = AT_ONCE) -> Iterator[Sequence[T]]:
    """Yield the items in parts, each for a transaction of its own.

    A store has one writer at a time, and a mail server's question waits for it a second at most.
    So between two parts all others have their turn, for as long as a part takes.
    """
    for start in range(0, len(items), size):
        began = monotonic()
        yield items[start : start + size]
        if start + size < len(items):
            sleep(max(PAUSE * size / AT_ONCE, monotonic() - began))
