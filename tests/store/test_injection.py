"""T10, CVE-2004-1113: whatever a field holds is data, in every store and every field."""

from __future__ import annotations

from contextlib import closing

import pytest

from greylag.core.accesslist import NEVER, Entry, Seen
from greylag.core.address import canonical, canonical_domain
from greylag.core.attempt import Attempt
from greylag.core.policy import Policy
from greylag.core.record import Blocked, Created
from greylag.core.subject import Domain
from greylag.core.triplet import Triplet
from greylag.core.value import replace
from greylag.core.verdict import Reason
from greylag.store.base import COUNTS, LISTS, RECIPIENTS, Filter, Store
from tests.evil import EVIL, SQL_PAYLOADS
from tests.reports import PolicyService, no_failure

pytestmark = pytest.mark.needs(RECIPIENTS, COUNTS, LISTS)

NOW = 1_700_000_000
FIELDS = ("sender", "recipient", "sender domain", "recipient domain")


def test_there_are_60_payloads() -> None:
    assert len(set(SQL_PAYLOADS)) >= 60


def addresses(payload: bytes, field: str) -> tuple[bytes, bytes]:
    sender, recipient = b"a@example.org", b"b@example.net"
    if field == "sender":
        return payload, recipient
    if field == "recipient":
        return sender, payload
    if field == "sender domain":
        return b"a@" + payload, recipient
    return sender, b"b@" + payload


@pytest.mark.parametrize("field", FIELDS)
def test_an_attempt_is_data(store: Store, field: str) -> None:
    """Each is greylisted as any other address: nothing fails, passes, or touches its neighbours."""
    policy = Policy()
    clock = [NOW]
    service = PolicyService(policy, lambda: store, report=no_failure, clock=lambda: clock[0])
    attempts = {
        addresses(payload, field): Attempt(b"192.0.2.1", *addresses(payload, field))
        for payload in EVIL
    }
    kinds = {(canonical(a.sender or b""), canonical(a.recipient or b"")) for a in attempts.values()}
    reasons = [service.decide(attempt).reason for attempt in attempts.values()]
    assert reasons.count(Reason.NEW) == len(kinds)
    assert set(reasons) <= {Reason.NEW, Reason.EARLY}
    assert store.count(NOW) == (len(kinds), 0)
    clock[0] += policy.delay
    for attempt in attempts.values():
        assert service.decide(attempt).reason in (Reason.RETRIED, Reason.KNOWN)
    assert store.count(clock[0]) == (0, len(kinds))


@pytest.mark.parametrize("payload", SQL_PAYLOADS, ids=lambda text: repr(text)[:30])
def test_every_text_that_reaches_a_store_is_data(store: Store, payload: bytes) -> None:
    """Also those that no canonical form has gone over: triplets, entries, figures, filters."""
    text = payload.decode()
    key, plain = Triplet(b"\xc0\x00\x02\x00", text, text), Triplet(b"\xc0\x00\x02\x00", "a", "b")
    for triplet in (key, plain):
        store.apply([Created(triplet, NOW, NOW + 1, NOW + 9)], {text: 2}, NOW)
    store.apply([Blocked(key)], {text: 3}, NOW)
    assert {t: r.blocked for t, r in store.load([key, plain]).items()} == {key: 2, plain: 1}
    assert [*store.figures(0, NEVER).values()] == [{text: 7}]
    found = [t for t, _ in store.search(Filter(sender=text, recipient=text), 9)]
    named = replace(key, sender=canonical(payload), recipient=canonical(payload))
    assert {key, named} & {*found}  # a table of the old plugin has canonical names alone
    entry = Entry(Domain(text), 0, comment=text)
    store.put_entries([entry])
    (match,) = store.matching(Seen(b"\xc0\x00\x02\x01", text))
    # A table of the old plugin compares without case: its store has canonical forms alone.
    assert match.subject in (Domain(text), Domain(canonical_domain(payload)))
    assert match.comment == text
    assert store.remove_entries([Domain(text)]) == 1
    assert store.forget([key], NOW) == 1
    assert list(store.load([key, plain])) == [plain]


def test_the_schema_is_untouched_afterwards(store: Store) -> None:
    with closing(store):
        for payload in SQL_PAYLOADS:
            text = payload.decode()
            list(store.search(Filter(sender=text, recipient=text), 9))
            store.matching(Seen(b"\xc0\x00\x02\x01", text))
        assert store.count(NOW) == (0, 0)
        assert store.generation() == 0
