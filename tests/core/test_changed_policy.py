"""Settings that change while triplets wait, or are known: configuration.md, moving.md."""

from __future__ import annotations

import pytest

from greylag.core.attempt import Attempt
from greylag.core.engine import decide, precheck
from greylag.core.policy import Policy
from greylag.core.question import Question
from greylag.core.record import Record, applied
from greylag.core.verdict import Decision, Reason

NOW = 1_700_000_000


def ask(record: Record | None, policy: Policy, now: int) -> tuple[Decision, Record | None]:
    question = precheck(Attempt(b"192.0.2.7", b"a@example.org", b"b@example.net"), policy)
    assert isinstance(question, Question)
    decision = decide(question, record, now)
    for change in decision.changes:
        record = applied(change, record, now)
    return decision, record


@pytest.mark.parametrize("delay", [60, 3600])
def test_what_waits_goes_on_waiting_for_as_long_as_it_was_told(delay: int) -> None:
    first, record = ask(None, Policy(delay=300), NOW)
    assert (first.reason, first.retry_after) == (Reason.NEW, 300)
    early, record = ask(record, Policy(delay=delay), NOW + 299)
    assert (early.reason, early.retry_after) == (Reason.EARLY, 1)
    assert ask(record, Policy(delay=delay), NOW + 300)[0].reason is Reason.RETRIED


def test_a_shorter_lifetime_takes_nothing_from_what_is_known() -> None:
    record: Record | None = Record(NOW, NOW + 300, NOW + 36 * 86400, blocked=1, passed=1)
    _, record = ask(record, Policy(lifetime=86400), NOW + 86400)
    assert record is not None
    assert record.expires == NOW + 36 * 86400
    _, record = ask(record, Policy(lifetime=86400), record.expires - 1)
    assert record is not None
    assert record.expires == NOW + 37 * 86400 - 1
