"""Figures for Prometheus that the store has counted, whoever did it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from greylag.core.figures import HOUR, NEVER, RELEASED, SKIPPED, STOPPED
from greylag.core.history import Outcome
from greylag.core.summary import summarised
from greylag.server.errands import Errands
from greylag.server.metrics import Metrics
from greylag.server.storefigures import EVERY, StoreFigures
from greylag.store.base import Store, StoreRefused, StoreUnavailable
from greylag.store.memory import MemoryStore

NOON = 1_700_000_000 // HOUR * HOUR
SPAM, VARYING = NEVER[Outcome.LIKELY_SPAM], NEVER[Outcome.VARYING]


class Told:
    """A journal that keeps what it is told."""

    def __init__(self) -> None:
        self.errors: list[object] = []

    def event(self, _level: object, fields: Mapping[str, object]) -> None:
        assert fields["event"] == "figures-failed"
        self.errors.append(fields["error"])


class Looking:
    """A look at a store whenever a test wants one, at a time that it sets."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.metrics, self.errands = Metrics(), Errands()
        self.now, self.past = float(NOON), 0.0
        self.journal = Told()
        self.figures = StoreFigures(
            self.errands,
            self.metrics,
            self.journal,  # type: ignore[arg-type]
            clock=lambda: self.now,
            stopwatch=lambda: self.past,
        )

    def count(self, figures: Mapping[str, int], at: float | None = None) -> None:
        self.store.apply((), figures, int(self.now if at is None else at))

    def look(self, after: float = EVERY) -> dict[str, int]:
        self.now += after
        self.past += after
        self.figures.tick()
        self.errands._next = 0.0
        self.errands.step(self.store)
        self.errands._next = 0.0
        self.errands.step(self.store)
        return {name: number for name, number in self.metrics.of_store.items() if number}


@pytest.fixture
def looking() -> Looking:
    return Looking(MemoryStore())


def test_what_comes_after_the_first_look_is_counted(looking: Looking) -> None:
    looking.count({SPAM: 1000, STOPPED: 1000})
    assert looking.look() == {}
    looking.count({SPAM: 3, STOPPED: 5, VARYING: 1, SKIPPED: 7, RELEASED: 2, "pass:known": 9})
    assert looking.look() == {SPAM: 3, STOPPED: 5, VARYING: 1, SKIPPED: 7, RELEASED: 2}
    assert looking.look() == {SPAM: 3, STOPPED: 5, VARYING: 1, SKIPPED: 7, RELEASED: 2}
    # What has no class is unknown: the classes add up to all that never came back.
    never = summarised(looking.metrics.of_store).never
    assert never == {"likely-spam": 3, "other-way": 0, "varying": 1, "unknown": 1}


def test_it_looks_once_a_minute(looking: Looking) -> None:
    looking.look()
    looking.count({RELEASED: 1})
    assert looking.look(EVERY - 1) == {}
    assert looking.look(1) == {RELEASED: 1}


def test_the_turn_of_the_hour_loses_nothing(looking: Looking) -> None:
    """Nor what another host, whose clock is behind, adds to the hour that has ended here."""
    looking.now = NOON + HOUR - EVERY - 10
    looking.look()
    looking.count({RELEASED: 1})
    looking.count({RELEASED: 2}, at=NOON + HOUR)
    assert looking.look() == {RELEASED: 3}
    looking.count({RELEASED: 4}, at=NOON + HOUR - 1)
    assert looking.look() == {RELEASED: 7}


@pytest.mark.parametrize("hours", [2, 5, 40])
def test_hours_without_a_look_are_made_up_for(looking: Looking, hours: int) -> None:
    looking.look()
    for n in range(hours):
        looking.count({RELEASED: 1}, at=looking.now + n * HOUR)
    assert looking.look(hours * HOUR) == {RELEASED: hours}


def test_a_clock_that_jumps_counts_nothing_twice(looking: Looking) -> None:
    looking.count({RELEASED: 50}, at=NOON - 9 * HOUR)
    looking.count({RELEASED: 50})
    looking.look()
    looking.now -= 9 * HOUR
    before = sum(looking.look().values())
    looking.now += 9 * HOUR
    assert sum(looking.look().values()) == before
    assert before == 0


def test_figures_that_an_admin_deletes_take_nothing_back(looking: Looking) -> None:
    looking.look()
    looking.count({RELEASED: 5})
    assert looking.look() == {RELEASED: 5}
    looking.store = MemoryStore()
    assert looking.look() == {RELEASED: 5}
    looking.count({RELEASED: 1})
    assert looking.look() == {RELEASED: 6}


def test_a_store_that_fails_is_asked_again(
    looking: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking.look()
    looking.count({RELEASED: 5})
    with monkeypatch.context() as patch:
        patch.setattr(MemoryStore, "figures", _fails)
        assert looking.look() == {}
    assert looking.look() == {RELEASED: 5}


def _fails(*_arguments: object) -> dict[int, dict[str, int]]:
    raise StoreUnavailable("away")


class Refusing(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None

    def figures(self, since: int, until: int) -> dict[int, dict[str, int]]:
        if self.error is not None:
            raise self.error
        return super().figures(since, until)


def test_a_store_that_refuses_figures_is_told_of_once_until_it_works_again() -> None:
    looking = Looking(store := Refusing())
    looking.look()
    for _ in range(2):
        store.error = StoreRefused("greylag.db: no such table: figures")
        for _ in range(4):
            looking.look()
        store.error = None
        looking.count({RELEASED: 1})
        looking.look()
        looking.look()
    assert looking.journal.errors == ["greylag.db: no such table: figures"] * 2
    assert looking.metrics.of_store[RELEASED] == 2


def test_a_store_that_is_away_is_told_of_elsewhere() -> None:
    looking = Looking(store := Refusing())
    store.error = StoreUnavailable("away")
    for _ in range(3):
        looking.look()
    assert looking.journal.errors == []
