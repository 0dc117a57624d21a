"""Counts that are written later: nothing of them is lost or counted twice on the way."""

from __future__ import annotations

import pytest

from greylag.core.attempt import Attempt
from greylag.core.engine import decide, precheck
from greylag.core.policy import Policy
from greylag.core.question import Question
from greylag.core.record import Blocked, Created, Freed, Passed, Record
from greylag.core.triplet import Triplet
from greylag.core.verdict import Decision, Reason
from greylag.service.later import Later, only_counts

NOW = 1_700_000_000
POLICY = Policy(delay=60)
WAITING = Record(NOW - 10, NOW + 50, NOW + 9000, blocked=1, passed=0)
READY = Record(NOW - 100, NOW - 40, NOW + 9000, blocked=1, passed=0)
KNOWN = Record(NOW - 100, NOW - 40, NOW + 9000, blocked=1, passed=1)


def decided(record: Record | None, number: int = 0, now: int = NOW) -> Decision:
    attempt = Attempt(b"192.0.2.17", b"a%d@example.org" % number, b"b@example.net")
    question = precheck(attempt, POLICY)
    assert isinstance(question, Question)
    return decide(question, record, now)


def triplet_of(decision: Decision) -> Triplet:
    return decision.changes[0].triplet


def filled() -> Later:
    """Two early repeats and one of a known triplet, twice each; and figures of other answers."""
    later = Later()
    for number in (0, 1):
        for _ in range(2):
            later.add(decided(WAITING, number))
    for now in (NOW + 5, NOW):
        later.add(decided(KNOWN, 2, now))
    return later


def wanted() -> list[object]:
    blocked = [Blocked(triplet_of(decided(WAITING, number)), 2) for number in (0, 1)]
    change = decided(KNOWN, 2, NOW + 5).changes[0]
    assert isinstance(change, Passed)
    return [*blocked, Passed(change.triplet, change.expires, 2)]


@pytest.mark.parametrize(
    ("record", "reason", "counts"),
    [
        (None, Reason.NEW, False),
        (WAITING, Reason.EARLY, True),
        (READY, Reason.RETRIED, False),
        (KNOWN, Reason.KNOWN, True),
    ],
)
def test_only_repeats_can_be_written_later(
    record: Record | None, reason: Reason, counts: bool
) -> None:
    decision = decided(record)
    assert decision.reason is reason
    assert only_counts(decision) is counts


def test_counts_of_one_record_are_one_change() -> None:
    later = filled()
    assert later
    assert len(later) == 3
    assert later.changes() == wanted()
    assert later.figures == {"defer:early": 4, "pass:known": 2}
    assert set(later.triplets()) == {change.triplet for change in later.changes()}


def test_early_and_known_of_one_record_are_two_changes() -> None:
    later = Later()
    later.add(decided(KNOWN))
    later.add(decided(WAITING))
    assert [type(change) for change in later.changes()] == [Blocked, Passed]
    assert len(later) == 1


def test_what_is_no_count_is_a_figure_alone() -> None:
    later = Later()
    first = decided(None)
    assert isinstance(first.changes[0], Created)
    later.add(first)
    assert later
    assert not len(later)
    assert later.changes() == []
    assert later.figures == {"defer:new": 1}


def test_nothing_is_false() -> None:
    assert not Later()
    assert not len(Later())


def test_what_is_taken_is_no_longer_there() -> None:
    later = filled()
    taken = later.take(2)
    assert (len(taken), len(later)) == (2, 1)
    assert taken.figures == {"defer:early": 4, "pass:known": 2}
    assert not later.figures
    rest = later.take(9)
    assert not later
    assert not rest.figures
    changes = [*taken.changes(), *rest.changes()]
    assert len(changes) == 3
    assert all(change in wanted() for change in changes)


def test_what_could_not_be_written_is_added_to_what_came_meanwhile() -> None:
    later = filled()
    taken = later.take(9)
    later.add(decided(WAITING, 0))
    later.add(decided(KNOWN, 2, NOW + 90))
    later.merge(taken)
    now_wanted = decided(KNOWN, 2, NOW + 90).changes[0]
    assert isinstance(now_wanted, Passed)
    assert {
        c.triplet.sender: c.count for c in later.changes() if not isinstance(c, Created | Freed)
    } == {
        "a0@example.org": 3,
        "a1@example.org": 2,
        "a2@example.org": 3,
    }
    (passed,) = (change for change in later.changes() if isinstance(change, Passed))
    assert passed.expires == now_wanted.expires
    assert later.figures == {"defer:early": 5, "pass:known": 3}
    other = Later()
    other.merge(later)
    assert other.changes() == later.changes(), "into an empty one as well"


def test_what_is_dropped_is_not_written() -> None:
    later = filled()
    kept = later.changes()[1]
    for change in later.changes():
        if change != kept:
            later.drop(change.triplet)
    assert later.changes() == [kept]
    later.drop(triplet_of(decided(None, 7)))
    assert later.changes() == [kept]
