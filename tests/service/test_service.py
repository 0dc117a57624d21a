"""Engine, store, clock and failure policy together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from greylag.core.accessindex import AccessIndex
from greylag.core.accesslist import NEVER, Entry
from greylag.core.attempt import Attempt
from greylag.core.engine import precheck
from greylag.core.policy import NullSender, Policy
from greylag.core.question import Question
from greylag.core.record import Change
from greylag.core.subject import parse_subject
from greylag.core.value import replace
from greylag.core.verdict import Decision, Reason, Verdict
from greylag.service import ask_lists
from greylag.service.desk import Desk
from greylag.service.later import Later
from greylag.store.base import Filter, Store, StoreConflict, StoreError, StoreUnavailable
from greylag.store.memory import MemoryStore
from greylag.store.sqlite.store import SqliteStore
from tests.reports import PolicyService, no_failure
from tests.service.asked import decided

NOW = 1_700_000_000
ATTEMPT = Attempt(b"192.0.2.17", b"a@example.org", b"b@example.net")


class Clock:
    """A clock that stands where the test puts it."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = (
        MemoryStore() if request.param == "memory" else SqliteStore(str(tmp_path / "x.db"))
    )
    yield made
    made.close()


def service_of(store: Store, clock: Clock, policy: Policy | None = None) -> PolicyService:
    return PolicyService(policy or Policy(), lambda: store, report=no_failure, clock=clock)


def entry(subject: str, denied_until: int) -> Entry:
    return Entry(parse_subject(subject), denied_until, created=NOW)


@pytest.mark.parametrize(
    ("subject", "denied_until", "verdict"),
    [
        ("192.0.2.0/24", NEVER, Verdict.REJECT),
        ("192.0.2.0/24", 0, Verdict.PASS),
        ("64:ff9b::/96", NEVER, Verdict.REJECT),
        ("64:ff9b::/96", 0, Verdict.PASS),
        ("198.51.100.0/24", NEVER, Verdict.DEFER),
    ],
)
def test_both_addresses_of_a_translated_client_are_looked_up(
    store: Store, clock: Clock, subject: str, denied_until: int, verdict: Verdict
) -> None:
    """One by one, in a batch before the lists are in memory, and by those in memory."""
    store.put_entries([entry(subject, denied_until)])
    attempt = replace(ATTEMPT, client_address=b"64:ff9b::192.0.2.17")
    assert service_of(store, clock).explain(attempt).verdict is verdict
    desk = Desk(clock=clock)
    question = precheck(attempt, Policy())
    assert isinstance(question, Question)
    unlisted = desk.look_up(question)
    assert isinstance(unlisted, Question)
    word = ask_lists(store, unlisted, NOW)
    assert (Verdict.DEFER if isinstance(word, Question) else word.verdict) is verdict
    desk.use_lists(AccessIndex(store.entries()))
    found = desk.look_up(question)
    assert (Verdict.DEFER if isinstance(found, Question) else found.verdict) is verdict


def test_the_life_of_a_triplet(store: Store, clock: Clock) -> None:
    service = service_of(store, clock)
    told = []
    for after in (0, 299.9, 300, 301, 300 + 36 * 86400, 90 * 86400):
        clock.now = NOW + after
        decision = service.decide(ATTEMPT)
        told.append((decision.verdict.value, decision.reason.value, decision.retry_after))
    assert told == [
        ("defer", "new", 300),
        ("defer", "early", 1),
        ("pass", "retried", 0),
        ("pass", "known", 0),
        ("pass", "known", 0),
        ("defer", "new", 300),
    ]


def test_the_figures_of_a_life(store: Store, clock: Clock) -> None:
    service = service_of(store, clock)
    for after in (0, 1, 400, 500):
        clock.now = NOW + after
        service.decide(ATTEMPT)
    total: dict[str, int] = {}
    for hour in store.figures(0, NEVER).values():
        for name, number in hour.items():
            total[name] = total.get(name, 0) + number
    assert total == {
        "defer:new": 1,
        "defer:early": 1,
        "pass:retried": 1,
        "pass:known": 1,
        "waited:600": 1,
        "waited:seconds": 400,
    }


def test_an_explanation_is_the_decision_and_writes_nothing(store: Store, clock: Clock) -> None:
    service = service_of(store, clock)
    for after in (0, 1, 300, 400):
        clock.now = NOW + after
        explained = service.explain(ATTEMPT)
        before = (list(store.search(Filter(), 9)), store.figures(0, NEVER))
        assert service.explain(ATTEMPT) == explained
        assert (list(store.search(Filter(), 9)), store.figures(0, NEVER)) == before
        assert service.decide(ATTEMPT) == explained


def test_what_the_lists_decide_leaves_no_record(store: Store, clock: Clock) -> None:
    store.put_entries(
        [
            Entry(parse_subject("192.0.2.0/24"), 0),
            Entry(parse_subject("198.51.100.0/24"), NEVER),
        ]
    )
    service = service_of(store, clock)
    assert service.decide(ATTEMPT).reason is Reason.ALLOWLISTED
    denied = service.decide(replace(ATTEMPT, client_address=b"198.51.100.9"))
    assert (denied.verdict, denied.reason) == (Verdict.REJECT, Reason.DENYLISTED)
    assert store.count(NOW) == (0, 0)
    (figures,) = store.figures(0, NEVER).values()
    assert figures == {"pass:allowlisted": 1, "reject:denylisted": 1}


NEEDS_NO_STORE = [
    (replace(ATTEMPT, enabled=False), Reason.DISABLED),
    (replace(ATTEMPT, relay=True), Reason.RELAY),
    (replace(ATTEMPT, authenticated=True), Reason.AUTHENTICATED),
    (replace(ATTEMPT, recipient_refused=True), Reason.RECIPIENT_REFUSED),
    (replace(ATTEMPT, sender=None), Reason.INCOMPLETE),
    (replace(ATTEMPT, client_address=b"not-an-ip"), Reason.INVALID_CLIENT),
]


@pytest.mark.parametrize(("attempt", "reason"), NEEDS_NO_STORE)
def test_what_needs_no_store_opens_none(attempt: Attempt, reason: Reason) -> None:
    service = PolicyService(Policy(), lambda: pytest.fail("opened"), report=no_failure)
    decision = service.decide(attempt)
    assert (decision.verdict, decision.reason) == (Verdict.PASS, reason)


class Failing(MemoryStore):
    """A real store whose n-th call raises instead of being done."""

    def __init__(self, at: int, error: StoreError) -> None:
        super().__init__()
        self.calls_left, self.error = at, error

    def itself(self) -> Store:
        return self

    def fail_or_go_on(self) -> None:
        self.calls_left -= 1
        if self.calls_left == 0:
            raise self.error

    def matching(self, asked):  # type: ignore[no-untyped-def]
        self.fail_or_go_on()
        return super().matching(asked)

    def load(self, triplets):  # type: ignore[no-untyped-def]
        self.fail_or_go_on()
        return super().load(triplets)

    def apply(self, changes, figures, now):  # type: ignore[no-untyped-def]
        self.fail_or_go_on()
        super().apply(changes, figures, now)


@pytest.mark.parametrize("on_failure", [Verdict.PASS, Verdict.DEFER])
@pytest.mark.parametrize("error", [StoreError("/x.db: corrupt"), StoreUnavailable("/x.db: full")])
def test_every_call_that_fails_is_answered_p7(error: StoreError, on_failure: Verdict) -> None:
    """Fail the n-th call for all n: an answer each time, the state before, never half."""
    answered = 0
    for at in range(1, 99):
        store = Failing(at, error)
        said: list[StoreError] = []
        service = PolicyService(Policy(), store.itself, report=said.append, on_failure=on_failure)
        decision = service.decide(ATTEMPT)
        if decision.reason is Reason.NEW:
            break
        assert (decision.verdict, decision.reason) == (on_failure, Reason.STORE_UNAVAILABLE)
        assert decision.retry_after == (300 if on_failure is Verdict.DEFER else 0)
        assert said == [error]
        store.calls_left = -1
        assert store.count(NOW) == (0, 0)
        assert store.figures(0, NEVER) == {}
        answered += 1
    assert answered == 3


def test_a_store_that_does_not_open_is_answered() -> None:
    def refuse() -> Store:
        raise StoreUnavailable("/x.db: no such folder")

    said: list[StoreError] = []
    decision = PolicyService(Policy(), refuse, report=said.append).decide(ATTEMPT)
    assert (decision.verdict, decision.reason) == (Verdict.PASS, Reason.STORE_UNAVAILABLE)
    assert [str(error) for error in said] == ["/x.db: no such folder"]


def test_threads_on_one_database_count_exactly_fault_7(tmp_path: Path) -> None:
    """Interleaved attempts equal a serial order: one `new` each, one `retried` each."""
    path, clock = str(tmp_path / "x.db"), Clock()
    attempts = [replace(ATTEMPT, recipient=b"r%d@example.net" % n) for n in range(5)]

    def run(_worker: int) -> list[Reason]:
        with closing(SqliteStore(path)) as store:
            service = service_of(store, clock)
            return [service.decide(attempt).reason for attempt in attempts]

    with ThreadPoolExecutor(8) as pool:
        first = [reason for told in pool.map(run, range(8)) for reason in told]
        clock.now += 300
        second = [reason for told in pool.map(run, range(8)) for reason in told]
    assert (first.count(Reason.NEW), first.count(Reason.EARLY)) == (5, 35)
    assert (second.count(Reason.RETRIED), second.count(Reason.KNOWN)) == (5, 35)
    with closing(SqliteStore(path)) as store:
        assert [(r.blocked, r.passed) for _, r in store.search(Filter(), 9)] == [(8, 8)] * 5


@pytest.mark.parametrize("jump", [-86400, -10, 0, 365 * 86400])
def test_the_clock_may_jump_p18(store: Store, clock: Clock, jump: int) -> None:
    """No early pass, and nobody is deferred for longer than the delay of the new time."""
    service = service_of(store, clock)
    service.decide(ATTEMPT)
    clock.now += jump
    assert service.decide(ATTEMPT).verdict is Verdict.DEFER
    clock.now += 299
    assert service.decide(ATTEMPT).verdict is Verdict.DEFER
    clock.now += 11
    assert service.decide(ATTEMPT).verdict is Verdict.PASS
    clock.now -= 2 * 86400  # and what has passed stays known when it jumps again
    assert service.decide(ATTEMPT).reason is Reason.KNOWN


def test_the_null_sender_under_each_policy(store: Store, clock: Clock) -> None:
    bounce = replace(ATTEMPT, sender=b"")
    told = {
        when: service_of(store, clock, Policy(null_sender=when)).explain(bounce)
        for when in NullSender
    }
    assert {when: (d.verdict, d.at_data) for when, d in told.items()} == {
        NullSender.DATA: (Verdict.DEFER, True),
        NullSender.RCPT: (Verdict.DEFER, False),
        NullSender.NEVER: (Verdict.PASS, False),
    }


class Contested(MemoryStore):
    """A store in which another writer is faster, so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def apply(self, changes: Sequence[Change], figures: Mapping[str, int], now: int) -> None:
        if self.times:
            self.times -= 1
            raise StoreConflict("deadlock")
        super().apply(changes, figures, now)


@pytest.mark.parametrize(
    ("times", "reason"), [(1, Reason.NEW), (7, Reason.NEW), (8, Reason.STORE_UNAVAILABLE)]
)
def test_a_conflict_with_another_writer_is_tried_a_few_times(times: int, reason: Reason) -> None:
    store = Contested(times)
    service = PolicyService(Policy(), lambda: store, report=lambda _error: None)
    attempt = Attempt(b"192.0.2.17", b"a@example.org", b"b@example.net")
    assert service.decide(attempt).reason is reason
    question = precheck(attempt, Policy())
    assert isinstance(question, Question)
    store = Contested(1)
    (answered,) = decided(store, [question], Later(), NOW)
    assert answered.decision.reason is Reason.NEW
    assert store.count(NOW) == (1, 0)


def test_the_lists_are_asked_for_both_addresses() -> None:
    """An IPv4 address inside an IPv6 address: entries may name either."""
    carrier = b"2002:c000:211::1"
    for address in (carrier, b"192.0.2.17"):
        question = precheck(replace(ATTEMPT, client_address=address), Policy())
        assert isinstance(question, Question)
        for entry in ("192.0.2.17", carrier.decode()):
            wanted = Reason.DENYLISTED if entry == "192.0.2.17" or address == carrier else None
            store, desk = MemoryStore(), Desk()
            store.put_entries([Entry(parse_subject(entry), denied_until=NEVER)])
            desk.use_lists(AccessIndex(store.entries()))
            for found in (ask_lists(store, question, NOW), desk.look_up(question)):
                decision = found if isinstance(found, Decision) else None
                assert (decision and decision.reason) == wanted
