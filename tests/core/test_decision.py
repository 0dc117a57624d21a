"""What a decision carries beside its verdict, and what senders of the world meet."""

from __future__ import annotations

import pytest

from greylag.core.attempt import Attempt, Stage
from greylag.core.client import format_address
from greylag.core.engine import decide, listed, precheck, unanswered
from greylag.core.policy import Policy
from greylag.core.question import Question
from greylag.core.record import Record
from greylag.core.triplet import Triplet
from greylag.core.value import replace
from greylag.core.verdict import Decision, Reason, Verdict
from tests.core.asking import (
    DELAY,
    KEY,
    KNOWN,
    LIFETIME,
    WAITING,
    WINDOW,
    Given,
    T,
    allow,
    ask,
    deny,
    write,
)


@pytest.mark.parametrize("now", [T + 1, T + DELAY, T + WINDOW])
def test_a_decision_shows_the_record_as_it_was(now: int) -> None:
    assert Given(record=WAITING, now=now).answer().record == WAITING


def test_a_decision_shows_that_there_was_no_record() -> None:
    assert Given().answer().record is None
    assert Given(record=KNOWN, of=replace(KEY, sender="")).answer().record is None


def test_a_decision_shows_the_entry_that_decided() -> None:
    entries = (allow("0.0.0.0/0"), deny("192.0.2.0/24"), allow("example.net"))
    decision = Given(entries=entries).answer()
    assert decision.entry == replace(entries[1], number=2)
    assert Given(entries=entries[2:]).answer().entry == replace(entries[2], number=1)
    assert Given().answer().entry is None


def test_a_question_is_made_of_canonical_parts() -> None:
    attempt = Attempt(b"::ffff:192.0.2.17", b"prvs=1a=A@Example.ORG", b"\xc9 B@Example.NET")
    assert precheck(attempt, Policy(ipv4_prefix=16)) == Question(
        b"\xc0\x00\x02\x11",
        Triplet(b"\xc0\x00\x00\x00", "a@example.org", r"\xc9\x20b@example.net"),
        "example.net",
        Policy(ipv4_prefix=16),
        attempt=attempt,
    )


def test_what_waits_for_data_leaves_no_record_before_even_without_lists() -> None:
    attempt = Attempt(b"192.0.2.17", b"", b"b@example.net", stage=Stage.RCPT_FIRST)
    question = precheck(attempt, Policy())
    assert isinstance(question, Question)
    wanted = Decision(Verdict.PASS, Reason.OTHER_STAGE)
    assert decide(question, None, T) == wanted
    assert listed(question, [], T) == wanted


def question_of(client: bytes = b"192.0.2.17", policy: Policy = Policy()) -> Question:  # noqa: B008
    question = precheck(Attempt(client, b"a@example.org", b"b@example.net"), policy)
    assert isinstance(question, Question)
    return question


def test_without_an_answer_mail_is_let_in_or_deferred() -> None:
    question, client = question_of(policy=Policy(delay=60)), bytes((192, 0, 2, 17))
    reason = Reason.STORE_UNAVAILABLE
    let_in = Decision(Verdict.PASS, reason, client=client)
    assert unanswered(question, Verdict.PASS) == let_in
    shown = question.id
    deferred = Decision(Verdict.DEFER, reason, retry_after=60, client=client, id=shown)
    assert unanswered(question, Verdict.DEFER) == deferred


@pytest.mark.parametrize(
    ("client", "shown"),
    [
        (b"192.0.2.17", "192.0.2.17"),
        (b"::FFFF:192.0.2.17", "192.0.2.17"),
        (b"2001:DB8:0::1%eth0", "2001:db8::1"),
        (b"0.0.0.0", "0.0.0.0"),
        (b"64:ff9b::192.0.2.17", "64:ff9b::c000:211"),
    ],
)
def test_a_decision_carries_the_client_that_the_mail_server_told(client: bytes, shown: str) -> None:
    """Not the IPv4 address within: the client is told what its administrator looks for."""
    question = question_of(client)
    waiting = replace(WAITING, first_seen=T)
    decisions = [
        decide(question, None, T),
        decide(question, waiting, T + 1),
        listed(question, [deny("0.0.0.0/0"), deny("::/0")], T),
        unanswered(question, Verdict.DEFER),
    ]
    assert [decision and format_address(decision.client) for decision in decisions] == [shown] * 4


def test_every_reason_has_a_meaning_of_its_own() -> None:
    assert len({reason.meaning for reason in Reason}) == len(Reason)
    assert all(reason.value == reason.name.lower().replace("_", "-") for reason in Reason)


# Seconds after the first attempt at which senders retry, and which of those should pass: from
# Pagani et al. (DSN 2016) and the programs' own sources; the bots are models.
SCHEDULES = [
    ("gmail", [362, 1742], 362),
    ("yahoo", [127, 339, 778], 339),
    ("hotmail", [61, 123, 184, 306, 487], 306),
    ("mail.com", [302, 757], 302),
    ("qmail", [400, 1600], 400),
    ("postfix", [300, 600], 300),
    ("exim", [900, 1800], 900),
    ("exchange", [60, 120, 180, 240, 540], 540),
    ("fire and forget", [], None),
    ("a burst", [1, 2, 4], None),
    ("back after the window", [WINDOW], None),
    ("a day off the net", [86400], 86400),
]


@pytest.mark.parametrize(("sender", "retries", "wanted"), SCHEDULES, ids=lambda x: str(x)[:9])
def test_what_senders_of_the_world_meet(
    sender: str, retries: list[int], wanted: int | None
) -> None:
    records: dict[Triplet, Record] = {}
    came_through = None
    for seconds in [0, *retries]:
        decision = ask(Given().attempt(), records, Policy(), T + seconds)
        write(decision, records, T + seconds)
        if came_through is None and decision.verdict is Verdict.PASS:
            came_through = decision.waited
    assert came_through == wanted, sender


def test_monthly_mail_is_let_in_at_once_for_ever_r6() -> None:
    """R6: each pass refreshes; a month is inside the lifetime."""
    records = {KEY: KNOWN}
    for month in range(1, 13):
        now = T + month * 31 * 86400
        decision = ask(Given().attempt(), records, Policy(), now)
        assert (decision.verdict, decision.reason) == (Verdict.PASS, Reason.KNOWN)
        write(decision, records, now)
    assert records[KEY] == replace(KNOWN, passed=KNOWN.passed + 12, expires=now + LIFETIME)
