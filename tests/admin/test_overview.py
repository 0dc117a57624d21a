"""Figures over time, what waits now, and looking through the history in bounded time."""

from __future__ import annotations

import pytest

from greylag.admin.looking import look
from greylag.admin.overview import USUAL, Step, overview, since, waiting_now
from greylag.core.figures import STOPPED
from greylag.core.history import Begun, Deferral, Ended, Outcome, Sought
from greylag.core.triplet import Triplet
from greylag.store.memory import MemoryStore

NOW = 1_800_000_000  # 2027-01-15 08:00:00 UTC, a Friday
HOUR, DAY = 3600, 86400
MIDNIGHT = NOW - 8 * HOUR


def deferral(number: int, at: int = NOW) -> Deferral:
    return Deferral(Triplet(b"\xc0\0\2\0", f"u{number}@example.org", "b@example.net"), at, at + 300)


@pytest.mark.parametrize(
    ("step", "starts"),
    [
        (Step.HOUR, [NOW - 2 * HOUR, NOW - HOUR, NOW]),
        (Step.DAY, [MIDNIGHT - 2 * DAY, MIDNIGHT - DAY, MIDNIGHT]),
        (Step.WEEK, [MIDNIGHT - 18 * DAY, MIDNIGHT - 11 * DAY, MIDNIGHT - 4 * DAY]),
        (Step.MONTH, [MIDNIGHT - 75 * DAY, MIDNIGHT - 45 * DAY, MIDNIGHT - 14 * DAY]),
    ],
)
def test_time_is_cut_where_people_cut_it(step: Step, starts: list[int]) -> None:
    """1 November and 1 December 2026, 1 January 2027; weeks begin on Mondays."""
    store = MemoryStore()
    for start in starts:
        store.apply((), {STOPPED: 1}, start)
        store.apply((), {STOPPED: 1}, start + HOUR - 1)
    store.apply((), {STOPPED: 1}, starts[0] - 1)
    found = overview(store, NOW + HOUR - 1, step, 3)
    assert [(part.start, part.summary.stopped) for part in found.parts] == [
        (start, 2) for start in starts
    ]
    assert (found.total.stopped, found.since) == (6, starts[0])


@pytest.mark.parametrize("step", Step)
def test_steps_without_figures_are_there(step: Step) -> None:
    found = overview(MemoryStore(), NOW, step)
    assert len(found.parts) == USUAL[step]
    assert not any(part.summary.stopped for part in found.parts)


def test_of_a_long_time_what_has_no_figures_is_left_out() -> None:
    store = MemoryStore()
    for at in (NOW - 390 * DAY, NOW):
        store.apply((), {STOPPED: 1}, at)
    found = since(store, NOW, Step.HOUR, 36_500 * DAY)
    assert [part.start for part in found.parts] == [NOW - 390 * DAY, NOW]
    assert found.total.stopped == 2


def test_what_waits_now_is_told_with_when_it_may_pass() -> None:
    store = MemoryStore()
    some = [deferral(number, NOW - 100 + number) for number in range(5)]
    store.remember([Begun(one) for one in (deferral(9, NOW - 3 * DAY), *some)], NOW)
    store.remember([Ended(some[1].triplet, NOW, Outcome.PASSED)], NOW)
    found = waiting_now(store, NOW, 2 * DAY, limit=10)
    assert [one.triplet.sender[:2] for one in found.deferrals] == ["u4", "u3", "u2", "u0"]
    assert [one.defer_until - NOW for one in found.deferrals] == [204, 203, 202, 200]
    assert found.complete
    few = waiting_now(store, NOW, 2 * DAY, limit=2)
    assert ([one.triplet.sender[:2] for one in few.deferrals], few.complete) == (
        ["u4", "u3"],
        False,
    )


def test_a_look_is_bounded_and_says_so() -> None:
    store = MemoryStore()
    store.remember([Begun(deferral(number, NOW + number)) for number in range(5000)], NOW)
    everything = look(store, Sought())
    assert (len(everything.deferrals), everything.complete) == (5000, True)
    part = look(store, Sought(), most=2000)
    assert (len(part.deferrals), part.complete) == (2000, False)
    assert part.reached == NOW + 3000
    recent = look(store, Sought(since=NOW + 4990))
    assert (len(recent.deferrals), recent.complete) == (10, True)


def test_a_look_ends_where_the_time_does() -> None:
    """It reads no page beyond, however long the history is."""

    class Counting(MemoryStore):
        pages = 0

        def deferrals(self, wanted, limit, before=None):  # type: ignore[no-untyped-def]
            self.pages += 1
            return super().deferrals(wanted, limit, before)

    store = Counting()
    store.remember([Begun(deferral(number, NOW + number)) for number in range(9000)], NOW)
    assert look(store, Sought(since=NOW + 8000)).complete
    assert store.pages == 1
