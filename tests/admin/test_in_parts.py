"""Long work of an admin holds the store for a part of it at a time: others write, too (T45)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from greylag import admin
from greylag.admin import AT_ONCE, in_parts, lists
from greylag.admin.copying import copy
from greylag.admin.lists import ALLOW, How
from greylag.admin.records import forget
from greylag.core.accesslist import NEVER, Entry
from greylag.core.policy import Policy
from greylag.core.record import Record
from greylag.core.subject import Network, Subject
from greylag.core.triplet import Triplet
from greylag.store.memory import MemoryStore

NOW = 1_800_000_000
MANY = 2 * AT_ONCE + 1


class Watched(MemoryStore):
    """A store that notes how much is done in each of its transactions."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[int] = []
        self._inside = False

    def _note(self, number: int) -> None:
        if self._inside:
            self.done[-1] += number
        else:
            self.done.append(number)

    @contextmanager
    def transaction(self, *arguments: Any, **named: Any) -> Iterator[None]:
        outer, self._inside = self._inside, True
        if not outer:
            self.done.append(0)
        with super().transaction(*arguments, **named):
            yield
        self._inside = outer

    def entries(self) -> list[Entry]:
        found = super().entries()
        if self._inside:
            self.done[-1] += len(found)
        return found

    def put_entries(self, entries: Iterable[Entry]) -> None:
        given = list(entries)
        self._note(len(given))
        super().put_entries(given)

    def remove_entries(self, subjects: Iterable[Subject], *more: Any) -> int:
        given = list(subjects)
        self._note(len(given))
        return super().remove_entries(given, *more)

    def forget(self, triplets: Iterable[Triplet], now: int) -> int:
        given = list(triplets)
        self._note(len(given))
        return super().forget(given, now)

    def in_parts(self) -> bool:
        """Tell whether there were several, and none of them long."""
        return len(self.done) > 1 and max(self.done) <= AT_ONCE


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(admin, "sleep", found.append)
    return found


def subjects() -> list[Subject]:
    return [Network(bytes((10, n >> 16, n >> 8 & 255, n & 255)), 32) for n in range(MANY)]


def filled(store: MemoryStore) -> MemoryStore:
    store.put_entries(Entry(s, 0, NEVER, "", NOW, origin="names") for s in subjects())
    return store


def test_between_two_parts_all_others_have_their_turn(pauses: list[float]) -> None:
    assert [*map(len, in_parts(range(MANY)))] == [AT_ONCE, AT_ONCE, 1]
    assert [pause >= admin.PAUSE for pause in pauses] == [True, True]
    assert [*in_parts([])] == []


def test_entries_are_put_in_parts_t45() -> None:
    store = Watched()
    lists.put(store, ALLOW, dict.fromkeys(subjects(), ""), How(), NOW)
    assert store.in_parts()


def test_what_an_import_replaces_goes_in_parts_t45() -> None:
    store = Watched()
    filled(store)
    store.done.clear()
    (first, *others) = subjects()
    stored = lists.put(store, ALLOW, {first: ""}, How(origin="names", replace=True), NOW)
    assert stored.removed == others
    assert store.in_parts()
    assert [entry.subject for entry in store.entries()] == [first]


def test_what_is_taken_from_a_list_goes_in_parts_t45() -> None:
    store = Watched()
    filled(store)
    store.done.clear()
    removed = lists.remove(store, ALLOW, subjects(), NOW)
    assert (len(removed.gone), removed.missing) == (MANY, [])
    assert store.in_parts()


def test_lists_are_copied_in_parts_t45() -> None:
    store = Watched()
    assert copy(filled(MemoryStore()), store, Policy(), NOW).entries == MANY
    assert store.in_parts()


def test_records_are_forgotten_in_parts_t45() -> None:
    store = Watched()
    keys = [Triplet(bytes((10, n >> 8, n & 255, 0)), "a@example.org", "b") for n in range(MANY)]
    store.merge({key: Record(NOW, NOW, NOW + 9, 1, 0) for key in keys})
    assert forget(store, keys, NOW) == MANY
    assert store.in_parts()
    assert store.count(NOW) == (0, 0)
