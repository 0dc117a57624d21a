"""What became of a record that never passed, and how much work a step of expiry may do for it."""

from __future__ import annotations

import pytest

from greylag.core.ends import OTHERS, Work, deferral_of, outcome_of, own_of
from greylag.core.history import Deferral, Outcome
from greylag.core.record import Record
from greylag.core.value import replace
from tests.core.asking import KEY, WAITING, T

ONE = Deferral(KEY, T, T + 300, number=7)
ELSEWHERE = replace(ONE, triplet=replace(KEY, network=b"\xc6\x33\x64\0"), number=8)
PASSED = replace(ONE, outcome=Outcome.PASSED, ended=T + 400)
OLDER = replace(PASSED, first_seen=T - 900, ended=T)  # of an earlier attempt that waited
LET_IN = replace(ONE, outcome=Outcome.OTHER_WAY, ended=T + 60)


def test_work_is_done_when_as_much_was_read_and_compared_as_is_allowed() -> None:
    def left(read: int) -> Work:
        work = Work(3)
        work.read(read)
        return work

    assert [left(read).done for read in (0, 2, 3, 9)] == [False, False, True, True]
    work = left(2)
    assert work.compare([ONE]) == [ONE]
    assert work.compare([ONE]) == ()


def test_the_newest_deferrals_of_a_pair_are_compared_and_no_more() -> None:
    many = [replace(ONE, number=number) for number in range(OTHERS + 9)]
    work = Work(OTHERS + 1)
    assert work.compare(many) == many[-OTHERS:]
    assert work.compare(many) == many[-OTHERS:]
    assert work.compare(many) == ()


def test_what_a_record_alone_says_of_its_deferral() -> None:
    record = Record(T, T + 300, T + 9000, blocked=4)
    assert deferral_of(KEY, record, b"\xc0\0\2\x11") == Deferral(
        KEY, T, T + 300, b"\xc0\0\2\x11", tries=3
    )
    assert deferral_of(KEY, replace(record, blocked=0)).tries == 0


@pytest.mark.parametrize(
    ("near", "own"),
    [
        ([], None),
        ([ELSEWHERE], None),
        ([ONE, ELSEWHERE], ONE),
        ([ONE, replace(ONE, number=9)], replace(ONE, number=9)),
        ([PASSED], PASSED),  # from another server of its pool
        ([LET_IN], LET_IN),
        ([ONE, replace(PASSED, number=9)], ONE),  # what waits comes first
        ([PASSED, replace(LET_IN, number=9)], replace(LET_IN, number=9)),
        (
            [replace(PASSED, first_seen=T - 900, ended=T)],
            replace(PASSED, first_seen=T - 900, ended=T),
        ),
        ([replace(PASSED, first_seen=T - 900, ended=T - 1)], None),  # is of an older record
        ([replace(LET_IN, first_seen=T - 1)], None),
        ([replace(ONE, outcome=Outcome.EVICTED)], None),
        ([replace(ONE, outcome=Outcome.UNKNOWN)], None),
    ],
)
def test_which_deferral_a_record_is_of(near: list[Deferral], own: Deferral | None) -> None:
    assert own_of(KEY, WAITING, near) == own
    assert own_of(KEY, WAITING, near[::-1]) == own


def test_a_record_whose_mail_came_all_the_same_came_another_way() -> None:
    for came in (PASSED, LET_IN):
        assert outcome_of(KEY, WAITING, came, [came]) is Outcome.OTHER_WAY


def test_the_outcome_of_a_record_is_that_of_its_deferral() -> None:
    signs = replace(ONE, signs=("helo", "spf"))
    assert outcome_of(KEY, WAITING, ONE, [ONE]) is Outcome.UNKNOWN
    assert outcome_of(KEY, WAITING, signs, [signs]) is Outcome.LIKELY_SPAM
    passed = replace(ELSEWHERE, outcome=Outcome.PASSED, ended=T + 400)
    assert outcome_of(KEY, WAITING, ONE, [ONE, passed]) is Outcome.OTHER_WAY


def test_a_record_that_the_history_does_not_remember_has_an_outcome_as_well() -> None:
    assert outcome_of(KEY, WAITING, None, []) is Outcome.UNKNOWN
    passed = replace(ELSEWHERE, outcome=Outcome.PASSED, ended=T + 400)
    assert outcome_of(KEY, WAITING, None, [passed]) is Outcome.OTHER_WAY
