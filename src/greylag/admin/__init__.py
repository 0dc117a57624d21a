"""Use cases of an admin: functions that take a store, a clock and values, and return values.

Nothing here prints, asks or ends the process: `cli` does, and so may other front ends. Long work
is told to a `Progress`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Progress(Protocol):
    """Yields the items of long work one by one, and may show how far it has come."""

    def __call__(
        self, items: Iterable[T], total: int | None, label: str, step: int = 1
    ) -> Iterator[T]:
        """Each item stands for `step` of the total; None: nobody knows how many there are."""


def unseen(items: Iterable[T], total: int | None, label: str, step: int = 1) -> Iterator[T]:
    """Yield the items, and show nothing."""
    del total, label, step
    yield from items
