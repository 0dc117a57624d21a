"""Stand-ins for parts of the contract that a store cannot keep: `Store.lacks` says why.

What is read is empty, and what would be written is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from greylag.core.accesslist import Entry, Purpose
from greylag.core.subject import Subject
from greylag.store.base import HISTORY, LISTS, SWITCH, EntryPage, Store, StoreError
from greylag.store.history import DeferralPage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.core.accesslist import Asked
    from greylag.core.history import Action, By, Event, Sought, Tally
    from greylag.core.policy import Kept
    from greylag.core.switch import Switch


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

    def switch(self) -> Switch | None:
        return None

    def set_switch(self, switch: Switch | None) -> None:
        raise StoreError(self.lacks(SWITCH))


class NoFigures(Store):
    """The figures of a store that keeps none: `apply` leaves them out."""

    def figures(self, since: int, until: int) -> dict[int, dict[str, int]]:
        return {}


class NoHistory(Store):
    """The history of a store that keeps none."""

    def remember(self, events: Sequence[Event], now: int) -> None:
        raise StoreError(self.lacks(HISTORY))

    def deferrals(self, wanted: Sought, limit: int, before: int | None = None) -> DeferralPage:
        return DeferralPage([], None)

    def tallies(self, since: int, until: int, by: By, limit: int) -> dict[str, Tally]:
        return {}

    def forget_history(self, kept: Kept, now: int, limit: int) -> int:
        return 0

    def note_action(self, action: Action) -> None:
        raise StoreError(self.lacks(HISTORY))

    def actions(self, limit: int) -> list[Action]:
        return []
