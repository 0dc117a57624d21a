"""Batches: what is answered before anything is written, and in which order all see each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from greylag.core.accesslist import NEVER, Entry
from greylag.core.attempt import Attempt
from greylag.core.connection import Connection, held, precheck_connection
from greylag.core.engine import precheck
from greylag.core.figures import EVICTED
from greylag.core.policy import Policy
from greylag.core.question import Question
from greylag.core.record import Passed
from greylag.core.subject import parse_subject
from greylag.core.triplet import Triplet
from greylag.core.value import replace
from greylag.core.verdict import Decision, Reason
from greylag.service import deciding
from greylag.service.conflict import TRIES
from greylag.service.deciding import Deciding
from greylag.service.later import Later
from greylag.store.base import Store, StoreConflict, StoreError, StoreRefused, StoreUnavailable
from greylag.store.memory import MemoryStore
from tests.service.asked import decided

NOW = 1_700_000_000
POLICY = Policy(delay=60)


def asked(
    sender: str,
    *,
    client: bytes = b"192.0.2.17",
    policy: Policy = POLICY,
    listed: bool = True,
    counts: bool | None = None,
) -> Question:
    question = precheck(Attempt(client, sender.encode(), b"b@example.net"), policy)
    assert isinstance(question, Question)
    return replace(question, listed=listed, counts=counts)


def key(sender: str) -> Triplet:
    return asked(sender).triplet


def everyone() -> Callable[[Question], bool]:
    return lambda _asked: True


class Counted(MemoryStore):
    """A memory that counts transactions, and refuses the keys of some senders."""

    def __init__(self) -> None:
        super().__init__()
        self.transactions = 0
        self.reads = 0
        self.unreadable: set[str] = set()
        self.unwritable: set[str] = set()
        self.error: type[Exception] = StoreRefused
        self.proofs = 0
        self.is_away = True  # where the error may mean that

    def prove(self) -> None:
        self.proofs += 1
        if self.is_away:
            raise StoreUnavailable("away")

    def load(self, triplets: Any) -> Any:
        self.reads += 1
        if any(t.sender in self.unreadable for t in triplets):
            raise self.error("refused")
        return super().load(triplets)

    def apply(self, changes: Any, figures: Any, now: int) -> None:
        self.transactions += 1
        if any(change.triplet.sender in self.unwritable for change in changes):
            raise self.error("refused")
        super().apply(changes, figures, now)


def reasons(found: Any) -> list[Reason | None]:
    return [None if one is None else one.decision.reason for one in found]


def test_attempts_of_one_batch_see_each_other() -> None:
    """The second of two first contacts is early, and of two first passes is known."""
    store = MemoryStore()
    twice = [asked("a@example.org"), asked("x@example.org"), asked("a@example.org")]
    found = decided(store, twice, Later(), NOW)
    assert reasons(found) == [Reason.NEW, Reason.NEW, Reason.EARLY]
    assert [one.record.blocked for one in found if one.record] == [1, 1, 2]
    found = decided(store, twice, Later(), NOW + 60)
    assert reasons(found) == [Reason.RETRIED, Reason.RETRIED, Reason.KNOWN]
    assert [one.record.passed for one in found if one.record] == [1, 1, 2]


def test_what_only_counts_is_answered_without_a_transaction() -> None:
    store, batches = Counted(), Deciding(everyone)
    decided(store, [asked("early@example.org"), asked("known@example.org")], Later(), NOW)
    store.apply([Passed(key("known@example.org"), NOW + 9999)], {}, NOW)
    before = store.transactions
    again = [asked("known@example.org"), asked("early@example.org"), asked("known@example.org")]
    found = batches.look(store, again, NOW + 1)
    assert reasons(found) == [Reason.KNOWN, Reason.EARLY, Reason.KNOWN]
    assert [one.record.passed for one in found if one and one.record] == [2, 0, 3]
    assert store.transactions == before


def test_a_first_contact_and_a_first_pass_are_left_to_be_written() -> None:
    """And so is whoever asks after one of them in the same batch."""
    store, batches = Counted(), Deciding(everyone)
    decided(store, [asked("waits@example.org")], Later(), NOW)
    some = [asked("waits@example.org"), asked("waits@example.org"), asked("new@example.org")] * 2
    assert reasons(batches.look(store, some, NOW + 60)) == [None] * 6
    found = batches.write(store, some, Later(), NOW + 60)
    assert reasons(found) == [
        *(Reason.RETRIED, Reason.KNOWN, Reason.NEW),
        *(Reason.KNOWN, Reason.KNOWN, Reason.EARLY),
    ]


@pytest.mark.parametrize(
    ("client", "explicit", "reason"),
    [
        (b"198.51.100.66", False, Reason.DENYLISTED),
        (b"198.51.100.77", False, Reason.ALLOWLISTED),
        (b"203.0.113.1", True, Reason.NOT_LISTED),
        (b"203.0.113.1", False, None),
    ],
)
def test_the_stores_lists_decide_where_those_in_memory_did_not_yet(
    client: bytes, explicit: bool, reason: Reason | None
) -> None:
    store = Counted()
    denied, allowed = map(parse_subject, ("198.51.100.66", "198.51.100.77"))
    store.put_entries([Entry(denied, NEVER), Entry(allowed, 0)])
    policy = Policy(delay=60, explicit=explicit)
    one = asked("a@example.org", client=client, policy=policy, listed=False)
    assert heard(Deciding(everyone), store, one) is reason
    had = asked("a@example.org", client=client, policy=policy)
    assert heard(Deciding(everyone), store, had) is None


def heard(deciding: Deciding, store: Store, question: Question) -> Reason | None:
    """Return why the store's lists decide, where they do."""
    found = deciding.ask_lists(store, question, NOW)
    return found.reason if isinstance(found, Decision) else None


def test_the_lists_decide_beside_a_first_contact_of_the_same_network() -> None:
    """Two clients of one network have one triplet, and a list may name only one of them."""
    store = Counted()
    store.put_entries([Entry(parse_subject("192.0.2.18"), NEVER)])
    some = [
        asked("a@example.org", listed=False),
        asked("a@example.org", client=b"192.0.2.18", listed=False),
    ]
    deciding = Deciding(everyone)
    assert [heard(deciding, store, one) for one in some] == [None, Reason.DENYLISTED]


def test_a_connection_asks_after_the_first_pass_of_another_in_its_batch() -> None:
    """Each brings its own hold, so the second may be early where the first one is not."""
    store, items = MemoryStore(), []
    for hold in (60, 600):
        connection = Connection(b"192.0.2.17", hold=hold)
        question = precheck_connection(connection, held(POLICY, hold))
        assert isinstance(question, Question)
        items.append(question)
    decided(store, items[:1], Later(), NOW)
    assert reasons(Deciding(everyone).look(store, items, NOW + 60)) == [None, None]
    found = decided(store, items, Later(), NOW + 60)
    assert reasons(found) == [Reason.RETRIED, Reason.EARLY]
    assert [one.record.passed for one in found if one.record] == [1, 1]


def test_each_answer_is_in_the_figures_of_the_hour() -> None:
    store = MemoryStore()
    twice = [asked("a@example.org"), asked("a@example.org"), asked("x@example.org")]
    decided(store, twice, Later(), NOW)
    (figures,) = store.figures(0, 2 * NOW).values()
    assert figures == {"defer:new": 2, "defer:early": 1}


def test_who_is_not_admitted_is_deferred_and_not_recorded() -> None:
    """And nobody but a first contact has to be admitted."""
    store, seen = MemoryStore(), []

    def admits(one: Question) -> bool:
        seen.append(one.triplet)
        return False

    def nobody() -> Callable[[Question], bool]:
        return admits

    decided(store, [asked("known@example.org")], Later(), NOW)
    some = [asked("known@example.org"), asked("new@example.org"), asked("new@example.org")]
    found = decided(store, some, Later(), NOW + 1, nobody)
    assert reasons(found) == [Reason.EARLY, Reason.NEW, Reason.NEW]
    assert [one.record for one in found[1:]] == [None, None]
    assert seen == [key("new@example.org")] * 2
    assert store.count(NOW + 1) == (1, 0)
    (figures,) = store.figures(0, 2 * NOW).values()
    assert figures == {"defer:new": 3, "defer:early": 1, EVICTED: 2}


class Batches:
    """What answers batches, with a stopwatch that stands where the test puts it."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.watch = 0.0
        self.deciding = Deciding(everyone, lambda: self.watch)

    def settle(self, *senders: str, later: Later | None = None) -> list[Reason | None]:
        items = [asked(sender) for sender in senders]
        found = self.deciding.look(self.store, items, NOW)
        rest = [item for item, one in zip(items, found, strict=True) if one is None]
        written = iter(self.deciding.write(self.store, rest, later or Later(), NOW))
        return reasons(next(written) if one is None else one for one in found)


SENDERS = [f"s{number}@example.org" for number in range(512)]


@pytest.mark.parametrize("kind", ["unreadable", "unwritable"])
@pytest.mark.parametrize("error", [StoreRefused, ValueError, OverflowError])
@pytest.mark.parametrize("bad", [[0], [511], [7, 8, 300]])
def test_who_is_refused_pays_alone_t34(kind: str, error: type[Exception], bad: list[int]) -> None:
    store = Counted()
    getattr(store, kind).update(SENDERS[n] for n in bad)
    store.error = error
    batches = Batches(store)
    found = batches.settle(*SENDERS)
    assert [number for number, reason in enumerate(found) if reason is None] == bad
    assert store.count(NOW)[0] == 512 - len(bad)
    assert "refused" in (batches.deciding.take_cause() or "")
    assert batches.deciding.take_cause() is None


@pytest.mark.parametrize("kind", ["unreadable", "unwritable"])
def test_who_was_refused_is_not_searched_for_again_at_once_t34(kind: str) -> None:
    store = Counted()
    getattr(store, kind).add(SENDERS[100])
    batches = Batches(store)
    batches.settle(*SENDERS)
    assert store.transactions + store.reads < 100
    store.transactions = store.reads = 0
    for _ in range(10):
        assert batches.settle(*SENDERS).count(None) == 1
    assert store.reads + store.transactions <= 10  # all others are early, and nothing is written
    getattr(store, kind).clear()
    assert batches.settle(SENDERS[100]) == [None]
    batches.watch += deciding.REMEMBERED_FOR
    assert batches.settle(SENDERS[100]) == [Reason.NEW]


def test_the_search_ends_before_all_have_waited_for_too_long_t34(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = Counted()
    store.unwritable.update(SENDERS)
    batches = Batches(store)
    apply = store.apply

    def slow(*arguments: Any) -> None:
        batches.watch += deciding.PATIENCE / 10
        apply(*arguments)

    monkeypatch.setattr(store, "apply", slow)
    assert batches.settle(*SENDERS) == [None] * 512
    assert store.transactions < 50


@pytest.mark.parametrize("error", [StoreUnavailable, StoreError, OSError, MemoryError])
@pytest.mark.parametrize("kind", ["unreadable", "unwritable"])
def test_a_store_that_is_away_is_nobodys_fault(kind: str, error: type[Exception]) -> None:
    store = Counted()
    getattr(store, kind).add(SENDERS[0])
    store.error = error
    with pytest.raises(error):
        Batches(store).settle(*SENDERS)


@pytest.mark.parametrize("error", [StoreUnavailable, StoreConflict, StoreError])
@pytest.mark.parametrize("kind", ["unreadable", "unwritable"])
def test_a_store_that_can_write_another_key_is_not_away_t34(
    kind: str, error: type[Exception]
) -> None:
    """Whatever its error says: one key is to blame."""
    store = Counted()
    getattr(store, kind).add(SENDERS[300])
    store.error, store.is_away = error, False
    batches = Batches(store)
    found = batches.settle(*SENDERS)
    assert [number for number, reason in enumerate(found) if reason is None] == [300]
    assert batches.settle(SENDERS[300]) == [None]
    assert batches.deciding.take_cause() == "refused"
    assert 1 < store.proofs < 12  # one for each step of the search


def test_after_a_key_that_always_loses_batches_are_tried_but_twice_t34(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Eight tries take a quarter of a second: a flood of such keys would hold up all others."""
    monkeypatch.setattr("greylag.service.conflict.sleep", lambda _seconds: None)
    store = Counted()
    store.unwritable.update(SENDERS[:2])
    store.error, store.is_away = StoreConflict, False
    batches = Batches(store)
    assert batches.settle(SENDERS[0]) == [None]
    assert store.transactions == TRIES
    for times, bad in ((TRIES + 2, 1), (TRIES + 4, 2)):
        batches.deciding.refused.clear()
        assert batches.settle(SENDERS[bad - 1]) == [None]
        assert store.transactions == times
    batches.watch += deciding.REMEMBERED_FOR
    assert batches.settle(SENDERS[0]) == [None]
    assert store.transactions == 2 * TRIES + 4


@pytest.mark.parametrize("kind", ["unreadable", "unwritable"])
def test_who_has_waited_for_long_asks_no_more_whose_fault_it_is(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for another's lock on the file: the loop has answered long ago."""
    store = Counted()
    getattr(store, kind).add(SENDERS[0])
    store.error, store.is_away = StoreUnavailable, False
    batches = Batches(store)

    def slow(*_arguments: Any) -> None:
        batches.watch += deciding.LONG
        raise StoreUnavailable("locked")

    monkeypatch.setattr(store, "load", slow)
    with pytest.raises(StoreUnavailable):
        batches.settle(*SENDERS)
    assert store.proofs == 0


def test_what_only_counts_is_refused_without_harm_to_others_t34() -> None:
    store = Counted()
    batches = Batches(store)
    batches.settle("full@example.org", "early@example.org")
    store.unwritable.add("full@example.org")
    transactions = store.transactions
    for _ in range(5):
        later = Later()
        for one in batches.deciding.look(store, [*map(asked, ("full@example.org",))], NOW):
            assert one is not None  # it can be read, and so it is answered
            later.add(one.decision)
        for one in batches.deciding.look(store, [*map(asked, ("early@example.org",))], NOW):
            assert one is not None
            later.add(one.decision)
        assert batches.settle(later=later) == []
    found = store.load([key("full@example.org"), key("early@example.org")])
    assert [record.blocked for record in found.values()] == [1, 6]
    assert store.transactions - transactions < 12  # it is searched for once


def test_a_count_that_was_refused_is_tried_again_later_t34() -> None:
    store = Counted()
    batches = Batches(store)
    batches.settle("early@example.org")
    store.unwritable.add("early@example.org")
    for wait, blocked in ((0.0, 1), (deciding.REMEMBERED_FOR - 1, 1), (1.0, 2)):
        batches.watch += wait
        later = Later()
        (early,) = batches.deciding.look(store, [asked("early@example.org")], NOW)
        assert early is not None
        later.add(early.decision)
        batches.settle(later=later)
        store.unwritable.clear()
        assert [r.blocked for r in store.load([key("early@example.org")]).values()] == [blocked]


def test_counts_are_written_beside_who_is_refused_t34() -> None:
    store = Counted()
    batches = Batches(store)
    batches.settle("early@example.org")
    later = Later()
    (early,) = batches.deciding.look(store, [asked("early@example.org")], NOW)
    assert early is not None
    later.add(early.decision)
    store.unwritable.add("bad@example.org")
    assert batches.settle("bad@example.org", later=later) == [None]
    assert [r.blocked for r in store.load([key("early@example.org")]).values()] == [2]
    assert store.figures(0, 2 * NOW)[NOW // 3600 * 3600]["defer:early"] == 1


def test_nothing_is_read_for_who_was_refused_alone_t34() -> None:
    store = Counted()
    store.unreadable.add(SENDERS[0])
    batches = Batches(store)
    batches.settle(SENDERS[0])
    store.reads = 0
    assert batches.settle(SENDERS[0], SENDERS[0]) == [None, None]
    assert store.reads == 0


def test_no_more_than_so_many_refused_are_remembered_t34(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deciding, "MOST", 3)
    refused = deciding.Refused(lambda: 0.0)
    for number in (0, 1, 2, 0, 3):  # the first is younger than the second by then
        refused.add(key(SENDERS[number]))
    assert list(refused) == [key(SENDERS[number]) for number in (2, 0, 3)]


def test_a_new_store_is_asked_for_everybody() -> None:
    store = Counted()
    store.unreadable.add(SENDERS[0])
    batches = Batches(store)
    assert batches.settle(SENDERS[0]) == [None]
    store.unreadable.clear()
    batches.deciding.forget()
    assert batches.settle(SENDERS[0]) == [Reason.NEW]


def test_lists_that_refuse_one_question_refuse_nobody_else_t34(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batches = Batches(Counted())
    some = [asked(sender, listed=False) for sender in SENDERS[:2]]
    error: Exception = StoreRefused("a bad row")

    def matching(_asked: object) -> list[Entry]:
        if not list(batches.deciding.refused):
            raise error
        return []

    monkeypatch.setattr(batches.store, "matching", matching)
    assert [heard(batches.deciding, batches.store, one) for one in some] == [None, None]
    assert list(batches.deciding.refused) == [key(SENDERS[0])]
    found = batches.deciding.write(batches.store, some, Later(), NOW)
    assert reasons(found) == [None, Reason.NEW]
    batches.deciding.forget()
    error = StoreUnavailable("away")
    with pytest.raises(StoreUnavailable):
        heard(batches.deciding, batches.store, some[0])


def test_those_refused_first_are_let_go_of_first_t34() -> None:
    watch = [0.0]
    refused = deciding.Refused(lambda: watch[0])
    for number in range(3):
        watch[0] = float(number)
        refused.add(key(SENDERS[number]))
    watch[0] = deciding.REMEMBERED_FOR + 1
    refused.let_go()
    assert list(refused) == [key(SENDERS[2])]
