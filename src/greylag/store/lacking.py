"""Stand-ins for parts of the contract that a store cannot keep: `Store.lacks` says why.

What is read is empty, and what would be written is refused.
"""

from __future__ import annotations

from collections.abc import Iterable

from greylag.core.accesslist import Entry, Purpose
from greylag.core.subject import Subject
from greylag.store.base import LISTS, EntryPage, Store, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.core.accesslist import Asked


class NoLists(Store):
    """The lists of a store that keeps none."""

    def matching(self, asked: Asked) -> list[Entry]:
        return []

    def entries(self) -> list[Entry]:
        return []

    def entries_after(self, number: int, limit: int) -> EntryPage:
        return EntryPage([], None)

    def put_entries(self, entries: Iterable[Entry]) -> None:
        raise StoreError(self.lacks(LISTS))

    def remove_entries(self, subjects: Iterable[Subject], purpose: Purpose = Purpose.ACCESS) -> int:
        return 0

    def generation(self) -> int | None:
        return 0


class NoFigures(Store):
    """The figures of a store that keeps none: `apply` leaves them out."""

    def figures(self, since: int, until: int) -> dict[int, dict[str, int]]:
        return {}
