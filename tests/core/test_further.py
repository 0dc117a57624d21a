"""Which records and which evidence a question needs beside its own record."""

from __future__ import annotations

import pytest

from greylag.core.accesslist import NEVER, Entry, Purpose
from greylag.core.attempt import Attempt, Stage
from greylag.core.connection import Connection, precheck_connection
from greylag.core.engine import precheck
from greylag.core.evidence import Evidence, Kind
from greylag.core.policy import SPARING, Policy, with_evidence
from greylag.core.question import Question
from greylag.core.sparing import further, heed
from greylag.core.spf import Outcome, Result
from greylag.core.subject import RecipientMailbox, SenderDomain, parse_subject
from greylag.core.triplet import Triplet, sent_of, trapped_of, trust_of
from greylag.core.value import replace
from tests.core.asking import T
from tests.core.test_sparing import CLIENT, GOOD, HERE, POLICY, POOL, POOLED, asked

TRUST = [trust_of(HERE, ""), trust_of(HERE, "example.org")]
OF_POOL = [trust_of(POOL, ""), trust_of(POOL, "example.org")]
TRAPPED, SENT = trapped_of(CLIENT), sent_of("a@example.org", "b@example.net")
NO_TRUST = replace(POLICY, trust_after=0, trust_all_after=0)


@pytest.mark.parametrize(
    ("question", "keys"),
    [
        (asked(), [*TRUST, TRAPPED, SENT]),
        (asked(GOOD), [POOLED, *TRUST, *OF_POOL, TRAPPED, SENT]),
        (asked(policy=NO_TRUST), [TRAPPED, SENT]),
        (asked(GOOD, NO_TRUST), [POOLED, TRAPPED, SENT]),
        (asked(policy=replace(POLICY, trapped_for=0)), [*TRUST, SENT]),
        (asked(policy=replace(POLICY, correspondents=0)), [*TRUST, TRAPPED]),
        (asked(policy=Policy()), []),
        (replace(asked(GOOD), lists_only=True), []),
    ],
)
def test_which_records_a_first_contact_rests_on(question: Question, keys: list[Triplet]) -> None:
    assert further(question) == keys


def test_a_bounce_has_no_domain_to_trust_and_no_correspondent() -> None:
    bounce = precheck(Attempt(b"192.0.2.17", b"", b"b@example.net", stage=Stage.DATA), POLICY)
    assert isinstance(bounce, Question)
    assert bounce.null_sender
    assert further(bounce) == [trust_of(HERE, ""), TRAPPED]


def test_of_a_connection_neither_traps_nor_correspondents_are_asked() -> None:
    """Nobody has said yet who mails whom."""
    policy = with_evidence(SPARING)
    question = precheck_connection(Connection(b"192.0.2.17"), policy)
    assert isinstance(question, Question)
    assert not question.null_sender
    assert further(question) == [trust_of(HERE, "")]


def test_what_the_mail_server_tells_need_not_be_gathered() -> None:
    attempt = Attempt(
        b"192.0.2.17",
        b"a@example.org",
        b"b@example.net",
        told={b"name": b"mx.example.org"},
        words=replace(Attempt(b"", b"", b"").words, client_name=b"name", confirmed=True),
    )
    question = precheck(attempt, POLICY)
    assert isinstance(question, Question)
    assert set(question.known) == {Kind.NAMES}
    assert set(asked().known) == set()
    assert set(asked({Kind.SPF: None}).known) == {Kind.SPF}
    assert set(asked({Kind.NAMES: None}).known) == {Kind.NAMES}


def test_what_the_lists_say_of_a_first_contact_goes_with_the_question() -> None:
    box = RecipientMailbox("b@example.net")
    waits = Entry(box, 0, purpose=Purpose.EXPECTED)
    bait = Entry(box, 0, purpose=Purpose.TRAP)
    big = Entry(parse_subject("192.0.2.0/24"), 0, purpose=Purpose.PROVIDER, origin="provider:x")
    sender = Entry(SenderDomain("example.org"), 0)  # speaks only where SPF passed
    question = asked()
    assert heed(question, [], T) is question
    assert heed(question, [waits, bait, big, sender], T) == replace(
        question, expected=waits, trap=bait, provider=big, wants=frozenset({Kind.SPF})
    )
    over = replace(waits, expires=T)
    assert heed(question, [over], T) == question
    assert heed(question, [replace(waits, expires=NEVER)], T).expected is not None


@pytest.mark.parametrize(
    ("found", "passed"),
    [
        ({}, None),
        ({Kind.SPF: None}, None),
        ({Kind.SPF: Outcome(Result.FAIL)}, False),
        ({Kind.SPF: Outcome(Result.PASS)}, False),  # by a term that is too wide
        ({Kind.SPF: Outcome(Result.PASS, ("ip4:192.0.2.17",), narrow=True)}, True),
    ],
)
def test_who_spf_vouches_for(found: Evidence, passed: bool | None) -> None:
    assert asked(found).spf_passed is passed
