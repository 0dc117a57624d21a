"""Records: which count, and what changes make of them (the reference of every store)."""

from __future__ import annotations

import pytest

from greylag.core.record import (
    CLOCK_TOLERANCE,
    Blocked,
    Change,
    Created,
    Freed,
    Passed,
    Record,
    applied,
    joined,
)
from greylag.core.value import replace
from tests.core.asking import BLOCKED, KEY, KNOWN, LIFETIME, WAITING, WINDOW, T, created, passed

SOON = Created(KEY, T + 10, T + 310, T + 10 + WINDOW)


def test_a_record_of_times_alone_counts_nothing() -> None:
    assert Record(1, 2, 3) == Record(1, 2, 3, blocked=0, passed=0)


@pytest.mark.parametrize(
    ("record", "now", "live"),
    [
        pytest.param(WAITING, T, True, id="at once"),
        pytest.param(WAITING, T + WINDOW - 1, True, id="until it expires"),
        pytest.param(WAITING, T + WINDOW, False, id="not when it expires"),
        pytest.param(KNOWN, T + LIFETIME - 1, True, id="passed: until it expires"),
        pytest.param(KNOWN, T + LIFETIME, False, id="passed: not when it expires"),
        pytest.param(WAITING, T - CLOCK_TOLERANCE, True, id="T8: a future that servers differ by"),
        pytest.param(WAITING, T - CLOCK_TOLERANCE - 1, False, id="T8: a future that is no proof"),
        pytest.param(Record(T + 99, T, T + 999, passed=1), T, True, id="passed: from any future"),
    ],
)
def test_a_record_counts(record: Record, now: int, live: bool) -> None:
    assert record.live(now) is live


@pytest.mark.parametrize(
    ("change", "before", "now", "after"),
    [
        pytest.param(created(), None, T, WAITING, id="created"),
        pytest.param(SOON, WAITING, T + 10, replace(WAITING, blocked=2),
                     id="created meanwhile: counted, nothing moved"),
        pytest.param(SOON, KNOWN, T + 10, replace(KNOWN, blocked=3), id="created, but passed"),
        pytest.param(created(now=T + WINDOW), WAITING, T + WINDOW - 1, replace(WAITING, blocked=2),
                     id="created, the record's last second"),
        pytest.param(created(now=T + WINDOW), WAITING, T + WINDOW,
                     created(now=T + WINDOW).record(), id="created anew"),
        pytest.param(created(now=T - 6), WAITING, T - 6, created(now=T - 6).record(),
                     id="created in place of one from the future"),
        pytest.param(BLOCKED, WAITING, T + 1, replace(WAITING, blocked=2), id="blocked"),
        pytest.param(BLOCKED, KNOWN, T, replace(KNOWN, blocked=3), id="blocked, passed meanwhile"),
        pytest.param(BLOCKED, None, T, None, id="blocked, forgotten meanwhile"),
        pytest.param(passed(now=T + 300), WAITING, T + 300,
                     replace(WAITING, passed=1, expires=T + 300 + LIFETIME), id="passed"),
        pytest.param(passed(now=T + 1), KNOWN, T + 1,
                     replace(KNOWN, passed=4, expires=T + 1 + LIFETIME), id="passed again"),
        pytest.param(Passed(KEY, T + 1), KNOWN, T, replace(KNOWN, passed=4),
                     id="passed: the latest expiry stays"),
        pytest.param(passed(), None, T, None, id="passed, forgotten meanwhile"),
        pytest.param(Freed(KEY, T + 9), WAITING, T + 9, replace(WAITING, defer_until=T + 9),
                     id="freed"),
        pytest.param(Freed(KEY, T + 301), WAITING, T + 301, WAITING, id="freed: nothing moves on"),
        pytest.param(Freed(KEY, T), KNOWN, T, KNOWN, id="freed, passed meanwhile"),
        pytest.param(Freed(KEY, T), WAITING, T + WINDOW, WAITING, id="freed, expired meanwhile"),
        pytest.param(Freed(KEY, T), None, T, None, id="freed, forgotten meanwhile"),
    ],
)  # fmt: skip
def test_a_change(change: Change, before: Record | None, now: int, after: Record | None) -> None:
    assert applied(change, before, now) == after


def test_changes_of_one_moment_commute() -> None:
    """Facts that merge: counts are sums and the expiry is the latest, in any order."""
    changes: list[Change] = [Blocked(KEY), passed(now=T + 300), Passed(KEY, T + 9), SOON]
    freed: list[Change] = [Freed(KEY, T + 9), Blocked(KEY), Freed(KEY, T + 7), SOON]
    for some in (freed, freed[::-1]):
        record: Record | None = WAITING
        for change in some:
            record = applied(change, record, T + 10)
        assert record == replace(WAITING, blocked=3, defer_until=T + 7)
    forth: Record | None = WAITING
    back: Record | None = WAITING
    for one, other in zip(changes, changes[::-1], strict=True):
        forth, back = applied(one, forth, T + 300), applied(other, back, T + 300)
    assert forth == back == replace(WAITING, blocked=3, passed=2, expires=T + 300 + LIFETIME)


@pytest.mark.parametrize(
    ("one", "other", "after"),
    [
        pytest.param(WAITING, WAITING, WAITING, id="copies: nothing counts twice"),
        pytest.param(
            Record(10, 40, 90, blocked=1, passed=7),
            Record(20, 30, 80, blocked=5, passed=2),
            Record(10, 30, 90, blocked=5, passed=7),
            id="seen first the earliest, expiry the latest, the larger counts",
        ),
        pytest.param(
            Record(10, 20, 30, blocked=9),
            Record(30, 40, 90),
            Record(30, 40, 90),
            id="expired when the other began: no proof of a first contact",
        ),
        pytest.param(
            Record(10, 20, 31, blocked=9),
            Record(30, 40, 90),
            Record(10, 20, 90, blocked=9),
            id="not expired yet when the other began",
        ),
    ],
)
def test_two_of_one_triplet_come_to_one(one: Record, other: Record, after: Record) -> None:
    assert joined(one, other) == joined(other, one) == after
    assert joined(after, one) == joined(after, other) == after
