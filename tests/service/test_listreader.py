"""Lists are read in small steps, whole, and anew where they change meanwhile (T45)."""

from __future__ import annotations

from typing import Any

import pytest

from greylag.core.accessindex import AccessIndex
from greylag.core.accesslist import NEVER, Entry, Seen
from greylag.core.subject import parse_subject
from greylag.service.listreader import AGAIN, FIRST, LEAST, MOST, STEP, TAKEN_OUT, ListReader
from greylag.store.base import EntryPage, StoreRefused, StoreUnavailable
from greylag.store.memory import MemoryStore


class Lists(MemoryStore):
    """A store that counts the pages, of which each takes so long, and may fail."""

    def __init__(self, number: int = 0) -> None:
        super().__init__()
        self.limits: list[int] = []
        self.watch = 0.0
        self.takes = STEP
        self.error: Exception | None = None
        self.changing = False
        self.put(number)

    def put(self, number: int, first: int = 0) -> None:
        names = (f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(first, first + number))
        self.put_entries([Entry(parse_subject(name), NEVER) for name in names])

    def entries_after(self, number: int, limit: int) -> EntryPage:
        self.limits.append(limit)
        self.watch += self.takes
        if self.error is not None:
            raise self.error
        if self.changing:
            self.put(1, first=100_000 + len(self.limits))
        return super().entries_after(number, limit)


class Reading:
    """A reader of a store whose stopwatch is the test's."""

    def __init__(self, store: Lists) -> None:
        self.store = store
        self.reader = ListReader(lambda: store.watch)

    def busy(self) -> bool:
        return self.reader.busy

    def all(self, most: int = 1000) -> AccessIndex:
        """Look, and take steps until the lists are whole."""
        self.reader.look(self.store)
        for _ in range(most):
            found = self.reader.step(self.store)
            if found is not None:
                return found
        raise AssertionError("never whole")


def test_all_entries_are_read_and_once() -> None:
    reading = Reading(Lists(3 * FIRST))
    assert not reading.busy()
    reading.reader.look(reading.store)
    assert reading.busy()
    assert reading.reader.step(reading.store) is None
    found = reading.all()
    assert len(found) == 3 * FIRST
    assert reading.store.limits[0] == FIRST
    assert not reading.busy()
    reading.store.limits.clear()
    reading.reader.look(reading.store)
    assert not reading.busy(), "nothing has changed"
    assert reading.reader.step(reading.store) is None
    assert reading.store.limits == []


def test_empty_lists_are_lists() -> None:
    assert len(Reading(Lists()).all()) == 0


def test_a_change_is_read_whole() -> None:
    reading = Reading(Lists(10))
    reading.all()
    reading.store.put(5, first=10)
    assert len(reading.all()) == 15


@pytest.mark.parametrize(("takes", "least", "most"), [(1.0, LEAST, FIRST), (0.0, FIRST, MOST)])
def test_a_step_takes_as_many_rows_as_fit_its_time(takes: float, least: int, most: int) -> None:
    store = Lists(2 * MOST)
    store.takes = takes
    Reading(store).all()
    assert (min(store.limits), max(store.limits)) == (least, most)
    assert store.limits[-1] in (least, most)


def test_the_rows_follow_the_time_that_a_step_took() -> None:
    store = Lists(10 * FIRST)
    store.takes = 2 * STEP
    reading = Reading(store)
    reading.reader.look(store)
    for _ in range(3):
        reading.reader.step(store)
    assert store.limits == [FIRST, FIRST // 2, FIRST // 4]
    store.takes = STEP
    for _ in range(2):
        reading.reader.step(store)
    assert store.limits[3:] == pytest.approx([FIRST // 8] * 2, abs=1)


def test_between_two_steps_as_much_time_passes_as_one_takes() -> None:
    reading = Reading(Lists(10 * FIRST))
    reading.reader.look(reading.store)
    assert reading.reader.wait == 0
    reading.reader.step(reading.store)
    assert reading.reader.wait == pytest.approx(STEP)
    reading.store.watch += STEP / 2
    assert reading.reader.wait == pytest.approx(STEP / 2)
    reading.store.watch += 5
    assert reading.reader.wait == 0


def test_lists_that_change_all_the_time_are_used_all_the_same() -> None:
    """After a few times: what was read is newer than what holds."""
    reading = Reading(Lists(FIRST))
    reading.store.changing = True
    found = reading.all()
    assert len(reading.store.limits) == 2 * (AGAIN + 1)
    assert len(found) > FIRST
    reading.store.limits.clear()
    reading.all()
    assert len(reading.store.limits) == 2 * (AGAIN + 1), "as often the next time"
    reading.store.changing = False
    assert len(reading.all()) == len(reading.store.entries()), "and read again at the next look"


def test_a_change_in_the_midst_begins_anew_and_loses_nothing() -> None:
    store = Lists(3 * FIRST)
    reading = Reading(store)
    reading.reader.look(store)
    assert reading.reader.step(store) is None
    store.remove_entries([parse_subject("10.0.0.1")])
    reading.reader.look(store)  # what is begun goes on
    found = reading.all()
    assert len(found) == 3 * FIRST - 1
    assert found.matching(Seen(bytes((10, 0, 0, 1)))) == []
    reading.store.limits.clear()
    reading.reader.look(store)
    assert reading.reader.step(store) is None
    assert store.limits == [], "it was read whole"


def test_half_of_what_is_read_anew_is_never_used() -> None:
    """Lists that changed while they were read, and a store that is away in the midst of it."""
    store = Lists(3 * FIRST)
    reading = Reading(store)
    reading.reader.look(store)
    for _ in range(2):
        assert reading.reader.step(store) is None
    store.remove_entries([parse_subject("10.0.0.1")])
    for _ in range(2):
        assert reading.reader.step(store) is None
    store.error = StoreUnavailable("away")
    with pytest.raises(StoreUnavailable):
        reading.all()
    store.error = None
    assert len(reading.all()) == 3 * FIRST - 1


@pytest.mark.parametrize("error", [StoreUnavailable("away"), OSError("away"), MemoryError()])
def test_a_store_that_is_away_ends_the_reading_until_the_next_look(error: Exception) -> None:
    reading = Reading(Lists(3))
    reading.reader.look(reading.store)
    reading.store.error = error
    with pytest.raises(type(error)):
        reading.reader.step(reading.store)
    assert not reading.busy()
    reading.store.error = None
    assert len(reading.all()) == 3


def test_what_the_store_refuses_is_told_and_tried_at_the_next_look() -> None:
    reading = Reading(Lists(3))
    reading.reader.look(reading.store)
    reading.store.error = StoreRefused("a bad row")
    assert reading.reader.step(reading.store) is None
    assert reading.reader.take_error() == "a bad row"
    assert reading.reader.take_error() is None
    assert not reading.busy()
    reading.store.error = None
    assert len(reading.all()) == 3


@pytest.mark.parametrize(("error", "away"), [(StoreRefused("no"), False), (OSError("no"), True)])
def test_lists_that_cannot_be_asked_for_stay_as_they_are(
    monkeypatch: pytest.MonkeyPatch, error: Exception, away: bool
) -> None:
    reading = Reading(Lists(3))

    def fails() -> Any:
        raise error

    monkeypatch.setattr(reading.store, "generation", fails)
    if away:
        with pytest.raises(OSError, match="no"):
            reading.reader.look(reading.store)
        assert reading.reader.take_error() is None
    else:
        reading.reader.look(reading.store)
        assert reading.reader.take_error() == "no"
    assert not reading.busy()


def test_lists_that_have_not_changed_are_not_read_again_after_a_failure() -> None:
    """A store that fails now and then, and has many entries, would be read without an end."""
    reading = Reading(Lists(3 * FIRST))
    reading.all()
    reading.store.limits.clear()
    reading.reader.halt()
    reading.reader.look(reading.store)
    assert not reading.busy()
    assert reading.reader.step(reading.store) is None
    assert reading.store.limits == []
    reading.store.put(1, first=3 * FIRST)
    reading.reader.halt()
    assert len(reading.all()) == 3 * FIRST + 1


def test_after_a_failure_the_reading_goes_on_where_it_was() -> None:
    """Else long lists of a store that fails now and then would never be read whole."""
    store = Lists(5 * FIRST)
    reader, found = ListReader(lambda: store.watch), None
    for _ in range(20):
        reader.look(store)
        found = found or reader.step(store)
        reader.halt()
        assert not reader.busy
    assert found is not None
    assert len(found) == 5 * FIRST
    assert len(store.limits) == 6


def test_lists_that_changed_after_a_failure_are_read_from_their_beginning() -> None:
    reading = Reading(Lists(3 * FIRST))
    reading.reader.look(reading.store)
    reading.reader.step(reading.store)
    reading.reader.halt()
    reading.store.remove_entries([parse_subject("10.0.0.1")])
    assert len(reading.all()) == 3 * FIRST - 1


def test_a_failure_of_the_last_look_costs_no_more_than_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading = Reading(Lists(3))
    reading.reader.look(reading.store)
    with monkeypatch.context() as patched:
        patched.setattr(reading.store, "generation", lambda: 1 / 0)
        assert reading.reader.step(reading.store) is None
    assert "ZeroDivisionError" in (reading.reader.take_error() or "")
    assert not reading.busy()
    assert len(reading.all()) == 3
    assert len(reading.store.limits) == 1


def test_lists_that_became_those_in_use_again_are_not_read() -> None:
    reading = Reading(Lists(3 * FIRST))
    reading.all()
    before = reading.store
    reading.store = Lists(5)  # while the store is away, another is in its place
    reading.reader.look(reading.store)
    reading.reader.halt()
    before.limits.clear()
    reading.reader.look(before)
    assert not reading.busy()
    assert before.limits == []


def test_another_store_is_read_anew() -> None:
    reading = Reading(Lists(3))
    reading.all()
    reading.reader.halt()
    assert not reading.busy()
    reading.store = Lists(4)  # changed as often
    assert len(reading.all()) == 4


def test_another_store_is_read_from_its_beginning() -> None:
    reading = Reading(Lists(3 * FIRST))
    reading.reader.look(reading.store)
    reading.reader.step(reading.store)
    reading.reader.halt()
    assert not reading.busy()
    reading.store = Lists(4)
    assert len(reading.all()) == 4


def test_without_a_store_nothing_is_read() -> None:
    reading = Reading(Lists(3))
    reading.reader.look(reading.store)
    assert reading.reader.step(None) is None
    assert reading.busy()
    assert reading.store.limits == []


def test_old_lists_are_let_go_of_in_steps_first() -> None:
    old, reading = AccessIndex(Lists(TAKEN_OUT + 10).entries()), Reading(Lists(3))
    reading.reader.discard(old)
    assert reading.busy()
    reading.reader.look(reading.store)
    assert reading.reader.step(reading.store) is None
    assert len(old) == 10
    assert reading.reader.step(None) is None
    assert len(old) == 0
    assert reading.store.limits == []
    assert len(reading.all()) == 3
    assert not reading.busy()


def test_half_read_lists_are_let_go_of_in_steps_too() -> None:
    store = Lists(3 * FIRST)
    reading = Reading(store)
    reading.reader.look(store)
    reading.reader.step(store)
    reading.reader.halt()
    store.put(1, first=3 * FIRST)
    reading.reader.look(store)
    store.limits.clear()
    assert reading.reader.step(store) is None
    assert store.limits == [], "that step let go of the old"
    assert len(reading.all()) == 3 * FIRST + 1


class Long(Lists):
    """A store whose lists are looked through in three steps."""

    steps = 0

    def generation(self) -> int | None:  # type: ignore[override]
        self.steps += 1
        return super().generation() if self.steps % 3 == 0 else None


def test_a_long_list_is_looked_through_in_steps() -> None:
    """Those are not of a batch: that calls `look`, once."""
    store = Long(FIRST)
    reading = Reading(store)
    reading.reader.look(store)
    reading.reader.look(store)
    assert store.steps == 1
    assert reading.busy()
    assert len(reading.all()) == FIRST
    assert store.steps == 6, "once more at the end: what changed meanwhile is read anew"
    reading.reader.look(store)
    assert reading.busy()
    assert [reading.reader.step(store) for _ in range(3)] == [None] * 3
    assert not reading.busy(), "nothing has changed"
    store.put(1, first=FIRST)
    assert len(reading.all()) == FIRST + 1
