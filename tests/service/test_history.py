"""What answers mean for the history of deferred mail, and how that gets into the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from greylag.core.accesslist import NEVER, Entry, Purpose
from greylag.core.attempt import Attempt
from greylag.core.engine import precheck
from greylag.core.evidence import Kind
from greylag.core.figures import SKIPPED
from greylag.core.history import Begun, Deferral, Ended, Event, Outcome, Sought, Tried
from greylag.core.identity import Pool, PoolKind
from greylag.core.policy import Greylist, Kept, Policy
from greylag.core.question import Question
from greylag.core.subject import RecipientMailbox
from greylag.core.triplet import Triplet
from greylag.core.value import replace
from greylag.core.verdict import Decision, Reason, Verdict
from greylag.service import Service
from greylag.service.batch import decide_batch
from greylag.service.collecting import (
    AFTER_FAILURE,
    MOST_WAITING,
    NEW_AT_ONCE,
    NEW_PER_SECOND,
    PART,
    TRIES_EVERY,
    WRITE_EVERY,
    Collector,
)
from greylag.service.history import event_of
from greylag.service.later import Later
from greylag.store.base import (
    HISTORY,
    Store,
    StoreConflict,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)
from greylag.store.memory import MemoryStore
from greylag.store.sqlite.store import SqliteStore

NOW = 1_700_000_000
POLICY = Policy(delay=300)
POOL = Pool(PoolKind.SPF, "example.org").packed
DAMAGES = [StoreError, StoreRefused, StoreUnavailable, MemoryError, ZeroDivisionError]


class Failing(MemoryStore):
    """A memory that may fail to remember."""

    error: BaseException | None = None

    def remember(self, events: Sequence[Event], now: int) -> None:
        if self.error is not None:
            raise self.error
        super().remember(events, now)


def asked(sender: str = "a@example.org", policy: Policy = POLICY, **more: object) -> Question:
    attempt = Attempt(b"192.0.2.17", sender.encode(), b"b@example.net", **more)  # type: ignore[arg-type]
    question = precheck(attempt, policy)
    assert isinstance(question, Question)
    return question


class Site:
    """A collector beside what answers, on a clock that stands where the test puts it."""

    def __init__(self, store: Store | None = None, kept: Kept | None = None) -> None:
        self.store = Failing() if store is None else store
        self.now = float(NOW)
        self.collector = Collector(kept or Kept(), lambda: self.now, lambda: self.now)
        self.collector.opened(self.store)

    def ask(self, *questions: Question) -> list[Reason]:
        later = Later()
        found = decide_batch(self.store, questions, later, int(self.now))
        self.collector.answered(questions, found)
        return [answered.decision.reason for answered in found]  # type: ignore[union-attr]

    def write(self) -> list[Deferral]:
        """Write all that is due; return what is remembered, the oldest first."""
        while self.collector.due():
            assert self.collector.step(self.store)
        return self.remembered()

    def remembered(self) -> list[Deferral]:
        return self.store.deferrals(Sought(), 10**6).deferrals[::-1]

    @property
    def skipped(self) -> int:
        return sum(hour.get(SKIPPED, 0) for hour in self.store.figures(0, NEVER).values())


@pytest.fixture
def site() -> Site:
    return Site()


def test_a_life_is_remembered(site: Site) -> None:
    question = asked()
    assert site.ask(question) == [Reason.NEW]
    site.now += 60
    assert site.ask(question, question) == [Reason.EARLY, Reason.EARLY]
    site.now += 340
    assert site.ask(question) == [Reason.RETRIED]
    site.now += 1
    assert site.ask(question) == [Reason.KNOWN]
    (found,) = site.write()
    assert found == Deferral(
        question.triplet,
        NOW,
        NOW + 300,
        question.client,
        "",
        (),
        tries=2,
        first_try=NOW + 60,
        last_try=NOW + 60,
        outcome=Outcome.PASSED,
        ended=NOW + 400,
        number=found.number,
    )


def test_signs_name_and_pool_are_those_of_the_first_contact() -> None:
    question = replace(
        asked(),
        evidence={Kind.NAMES: ("mx.example.org",), Kind.DNSBL: ("bl.example",)},
        pooled=Triplet(POOL, "a@example.org", "b@example.net"),
    )
    site = Site()
    site.ask(question)
    (found,) = site.write()
    assert (found.name, found.signs, found.pool) == ("mx.example.org", ("dnsbl",), POOL)


def test_what_a_pools_record_decides_is_of_the_deferral_with_that_pool(site: Site) -> None:
    pooled = Triplet(POOL, "a@example.org", "b@example.net")
    policy = replace(POLICY, evidence=frozenset((Kind.NAMES,)))
    known = {"pooled": pooled, "evidence": {Kind.NAMES: ()}}
    first = replace(asked(policy=policy), **known)
    attempt = Attempt(b"198.51.100.7", b"a@example.org", b"b@example.net")
    second = precheck(attempt, policy)
    assert isinstance(second, Question)
    second = replace(second, **known)
    assert site.ask(first) == [Reason.NEW]
    site.now += 60
    assert site.ask(second) == [Reason.EARLY]
    site.now += 340
    assert site.ask(second) == [Reason.RETRIED]
    (found,) = site.write()
    assert (found.triplet, found.tries) == (first.triplet, 1)
    assert (found.outcome, found.ended) == (Outcome.PASSED, NOW + 400)


def test_what_is_expected_ends_the_deferral_that_waits(site: Site) -> None:
    """Else it would count as mail that never came back."""
    question = asked()
    site.ask(question)
    site.now += 60
    entry = Entry(RecipientMailbox("b@example.net"), 0, purpose=Purpose.EXPECTED)
    assert site.ask(replace(question, expected=entry)) == [Reason.EXPECTED]
    (found,) = site.write()
    assert (found.outcome, found.ended) == (Outcome.OTHER_WAY, NOW + 60)
    site.store.expire(NOW + POLICY.retry_window, 100)
    (figures,) = site.store.figures(NOW + POLICY.retry_window - 3600, NEVER).values()
    assert figures["never:other-way"] == 1


def test_a_process_for_one_recipient_remembers_that_mail_was_expected() -> None:
    store, box = MemoryStore(), RecipientMailbox("b@example.net")
    assert service(store, NOW).answer(asked()).reason is Reason.NEW
    store.put_entries([Entry(box, 0, purpose=Purpose.EXPECTED)])
    assert service(store, NOW + 60).answer(asked()).reason is Reason.EXPECTED
    (found,) = store.deferrals(Sought(), 10).deferrals
    assert found.outcome is Outcome.OTHER_WAY


def test_retries_that_memory_answered_are_remembered_with_their_counts(site: Site) -> None:
    question, later = asked(), Later()
    site.ask(question)
    early = decide_batch(site.store, [question], Later(), NOW + 10)[0]
    for _ in range(3):
        later.add(early.decision)  # type: ignore[union-attr]
    site.now += 20
    site.collector.counted(later.blocked())
    site.now += TRIES_EVERY
    (found,) = site.write()
    assert (found.tries, found.last_try) == (3, NOW + 20)


def test_tries_of_some_seconds_are_written_at_once(site: Site) -> None:
    """Each time the row of the deferral is read and written; a flood would do that each second."""
    question = asked()
    site.ask(question)
    site.write()
    for seconds in range(1, int(TRIES_EVERY)):
        site.now = float(NOW + seconds)
        site.collector.counted([(question.triplet, 2)])
        assert not site.collector.due()
    last = int(site.now)
    site.now = NOW + 1 + TRIES_EVERY
    (found,) = site.write()
    assert (found.tries, found.first_try, found.last_try) == (2 * (last - NOW), NOW + 1, last)


def test_tries_are_written_before_what_came_of_them(site: Site) -> None:
    question = asked()
    site.ask(question)
    site.now += 299
    site.collector.counted([(question.triplet, 2)])
    site.now += 1
    assert site.ask(question) == [Reason.RETRIED]
    (found,) = site.write()
    assert (found.tries, found.outcome, found.ended) == (2, Outcome.PASSED, NOW + 300)


def test_tries_that_wait_are_bounded_and_written_at_the_end(site: Site) -> None:
    keys = [asked(f"{n}@example.org").triplet for n in range(MOST_WAITING + 5)]
    site.collector.counted([(key, 1) for key in keys])
    written = 0
    while site.collector.due(at_the_end=True):
        assert site.collector.step(site.store)
        written += PART
    assert written == MOST_WAITING


def test_connections_and_what_is_only_observed_are_no_deferred_mail(site: Site) -> None:
    connection = replace(asked(), connection=True)
    observed = asked(policy=replace(POLICY, greylist=Greylist.OBSERVE))
    assert site.ask(connection, observed) == [Reason.NEW, Reason.OBSERVED]
    assert site.write() == []


def test_what_was_not_recorded_is_not_remembered() -> None:
    """A flood has its share of records, and no more of them is written."""
    decision = Decision(Verdict.DEFER, Reason.NEW)
    assert event_of(asked(), decision, NOW) is None


def test_of_a_flood_a_part_is_remembered_and_the_rest_counted(site: Site) -> None:
    flood = [asked(f"{n}@example.org") for n in range(NEW_AT_ONCE + 70)]
    site.ask(*flood)
    site.now += 1
    site.ask(*(asked(f"later{n}@example.org") for n in range(NEW_PER_SECOND + 5)))
    assert len(site.write()) == NEW_AT_ONCE + NEW_PER_SECOND
    assert site.skipped == 75


def test_after_a_flood_there_is_room_for_as_many_at_once_again(site: Site) -> None:
    site.ask(*(asked(f"{n}@example.org") for n in range(NEW_AT_ONCE + 1)))
    site.now += 3600
    site.ask(*(asked(f"later{n}@example.org") for n in range(NEW_AT_ONCE + 1)))
    assert len(site.write()) == 2 * NEW_AT_ONCE
    assert site.skipped == 2


def test_it_is_written_once_a_second_in_parts(site: Site) -> None:
    site.ask(*(asked(f"{n}@example.org") for n in range(PART + 1)))
    assert site.collector.due()
    site.collector.step(site.store)
    assert len(site.remembered()) == PART
    assert site.collector.due()  # there is more
    site.collector.step(site.store)
    site.ask(asked("later@example.org"))
    assert not site.collector.due()
    site.now += WRITE_EVERY
    assert site.collector.due()
    assert len(site.write()) == PART + 2


def test_what_cannot_be_written_for_another_writer_is_written_a_moment_later(site: Site) -> None:
    assert isinstance(site.store, Failing)
    site.ask(asked(), asked("c@example.org"))
    site.store.error = StoreConflict("another writer")
    assert site.collector.step(site.store)
    assert not site.collector.due()
    site.store.error = None
    site.now += WRITE_EVERY
    assert [d.triplet.sender for d in site.write()] == ["a@example.org", "c@example.org"]
    assert site.collector.take_error() is None


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_failure_is_told_once_a_minute_and_the_rest_goes_on_t34(
    site: Site, kind: type[Exception]
) -> None:
    assert isinstance(site.store, Failing)
    site.ask(asked())
    site.store.error = kind("broken")
    usable = site.collector.step(site.store)
    assert usable == (kind in (StoreError, StoreRefused))  # else the store is opened anew
    told = "MemoryError" if kind is MemoryError else "broken"
    assert site.collector.take_error() == told
    site.store.error = None
    assert site.ask(asked(), asked("c@example.org")) == [Reason.EARLY, Reason.NEW]
    assert not site.collector.due()
    assert not site.collector.due(at_the_end=True)  # it would only cost time
    site.now += AFTER_FAILURE
    assert [d.triplet.sender for d in site.write()] == ["c@example.org"]
    assert site.collector.take_error() is None


def test_what_waits_is_bounded_t36(site: Site) -> None:
    assert isinstance(site.store, Failing)
    site.store.error = StoreConflict("for long")
    for hour in range(MOST_WAITING // NEW_AT_ONCE + 3):
        site.now = float(NOW + hour * 3600)
        site.ask(*(asked(f"{hour}.{n}@example.org") for n in range(NEW_AT_ONCE)))
        site.collector.step(site.store)
    site.store.error = None
    site.now += WRITE_EVERY
    assert len(site.write()) == MOST_WAITING
    assert site.skipped == 3 * NEW_AT_ONCE


def test_nothing_is_noted_where_it_is_off_or_the_store_keeps_none(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.collector.use(Kept(0))
    site.ask(asked())
    site.collector.counted([(asked().triplet, 1)])
    assert not site.collector.due()
    site.collector.use(Kept())
    lacks = {HISTORY: "none here"}
    monkeypatch.setattr(site.store, "lacks", lacks.get)
    site.collector.opened(site.store)
    site.ask(asked("c@example.org"))
    assert not site.collector.due()


def test_what_waits_when_it_is_switched_off_is_not_written_t9(site: Site) -> None:
    site.ask(asked())
    site.collector.use(Kept(0))
    site.now += WRITE_EVERY
    assert site.write() == []
    assert not site.collector.due()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "greylag.db"


def test_it_does_not_wait_for_another_writer_t34(path: Path) -> None:
    """Who asks about known mail would wait, too: for as long as the store's timeout."""
    with closing(SqliteStore(str(path))) as store, closing(sqlite3.connect(path)) as other:
        site = Site(store)
        site.ask(asked())
        other.execute("BEGIN IMMEDIATE")
        assert site.collector.step(store)
        assert not site.collector.due()
        other.execute("ROLLBACK")
        site.now += WRITE_EVERY
        assert len(site.write()) == 1


def service(store: Store, now: float, *, history: bool = True) -> Service:
    return Service(
        lambda: store,
        report=lambda error: pytest.fail(str(error)),
        clock=lambda: now,
        history=history,
    )


def test_a_process_for_one_recipient_remembers_in_its_transaction(path: Path) -> None:
    with closing(SqliteStore(str(path))) as store:
        for after, reason in ((0, Reason.NEW), (60, Reason.EARLY), (400, Reason.RETRIED)):
            assert service(store, NOW + after).answer(asked()).reason is reason
        (found,) = store.deferrals(Sought(), 9).deferrals
        assert (found.tries, found.outcome, found.waited) == (1, Outcome.PASSED, 400)
        service(store, NOW, history=False).answer(asked("c@example.org"))
        service(store, NOW).foretell(asked("d@example.org"))
        assert store.deferrals(Sought(), 9).deferrals == [found]


@pytest.mark.parametrize("kind", [StoreError, StoreRefused, StoreUnavailable])
def test_a_history_that_fails_costs_no_answer(
    path: Path, kind: type[StoreError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_given: object) -> None:
        raise kind("broken")

    with closing(SqliteStore(str(path))) as store:
        monkeypatch.setattr(store, "remember", fail)
        told = [service(store, NOW + after).answer(asked()).reason for after in (0, 60, 400)]
        assert told == [Reason.NEW, Reason.EARLY, Reason.RETRIED]
        assert store.load([asked().triplet])[asked().triplet].blocked == 2


@pytest.mark.parametrize("table", ["deferrals", "tallies", "tally_days"])
def test_without_its_tables_all_goes_on_but_the_history_t46(path: Path, table: str) -> None:
    with closing(SqliteStore(str(path))) as store, closing(sqlite3.connect(path)) as db:
        service(store, NOW).answer(asked("old@example.org"))
        db.execute(f"DROP TABLE {table}")
        told = [service(store, NOW + n).answer(asked()).reason for n in (0, 60, 400, 500)]
        assert told == [Reason.NEW, Reason.EARLY, Reason.RETRIED, Reason.KNOWN]
        later = NOW + 9 * 86400
        assert service(store, later).answer(asked("old@example.org")).reason is Reason.NEW
        assert store.forget([asked("old@example.org").triplet], NOW) == 1
        service(store, NOW).answer(asked("e@example.org"))
        assert store.expire(later, 99).stopped == 1
        figures = [name for hour in store.figures(0, NEVER).values() for name in hour]
        assert "fate:stopped" in figures


def test_events_say_when_it_was() -> None:
    site = Site()
    question = asked()
    site.ask(question)
    found = decide_batch(site.store, [question], Later(), NOW + 30)[0]
    assert event_of(question, found.decision, NOW + 30) == Tried(question.triplet, NOW + 30)  # type: ignore[union-attr]
    found = decide_batch(site.store, [question], Later(), NOW + 330)[0]
    ended = Ended(question.triplet, NOW + 330, Outcome.PASSED)
    assert event_of(question, found.decision, NOW + 999) == ended  # type: ignore[union-attr]
    begun = event_of(question, Decision(Verdict.PASS, Reason.KNOWN), NOW)
    assert not isinstance(begun, Begun)
