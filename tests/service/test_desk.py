"""What the daemon answers from memory, and what it asks the store."""

from __future__ import annotations

import pytest

from greylag.core.accessindex import AccessIndex
from greylag.core.accesslist import NEVER, Entry, Purpose
from greylag.core.attempt import Attempt
from greylag.core.engine import precheck
from greylag.core.evidence import Kind
from greylag.core.policy import Policy
from greylag.core.question import Question
from greylag.core.record import Noted
from greylag.core.subject import ClientName, parse_subject
from greylag.core.triplet import sent_of
from greylag.core.verdict import Decision, Reason
from greylag.service.batch import Answered
from greylag.service.desk import BRIEFLY, MOST_TAUGHT, TRUSTED_FOR, Desk
from greylag.service.later import Later
from greylag.store.memory import MemoryStore
from tests.service.asked import decided

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.core.accesslist import Asked

POLICY = Policy(delay=1)


class Counter:
    """A desk with its store; clock and stopwatch stand where the test puts them."""

    def __init__(self, *entries: Entry, size: int = 10) -> None:
        self.now = 1_700_000_000.0
        self.watch = 0.0
        self.desk = Desk(size=size, clock=lambda: self.now, stopwatch=lambda: self.watch)
        self.desk.use_lists(AccessIndex(list(entries)))
        self.store = MemoryStore()

    def ask(self, number: int) -> Decision | Question:
        """Return what the desk says to one of many triplets."""
        attempt = Attempt(b"192.0.2.17", b"a@example.org", b"b%d@example.net" % number)
        question = precheck(attempt, POLICY)
        assert isinstance(question, Question)
        return self.desk.look_up(question)

    def settle(self, number: int) -> Reason:
        """Ask, the store too if need be; return the reason."""
        found = self.ask(number)
        if isinstance(found, Question):
            (answered,) = decided(self.store, [found], Later(), int(self.now))
            self.desk.learn(found, answered)
            found = answered.decision
        return found.reason

    def remembers(self, number: int) -> bool:
        """Tell whether a triplet is answered from memory."""
        return isinstance(self.ask(number), Decision)


def test_first_contact_and_first_pass_are_the_stores() -> None:
    counter = Counter()
    assert isinstance(counter.ask(1), Question)
    assert counter.settle(1) is Reason.NEW
    early = counter.ask(1)
    assert isinstance(early, Decision)
    assert early.reason is Reason.EARLY
    counter.now += POLICY.delay  # and the record is believed still
    assert isinstance(counter.ask(1), Question)
    assert counter.settle(1) is Reason.RETRIED
    known = counter.ask(1)
    assert isinstance(known, Decision)
    assert known.reason is Reason.KNOWN


def test_who_is_known_is_not_looked_for_among_ranges_of_providers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """These have nearly all prefix lengths: it would take longer than all else of an answer."""
    block = Entry(parse_subject("192.0.2.0/24"), 0, purpose=Purpose.PROVIDER)
    name = Entry(ClientName("mail.example.org"), 0)
    counter, lists = Counter(), AccessIndex([block, name])
    assert counter.settle(1) is Reason.NEW
    counter.now += POLICY.delay
    assert counter.settle(1) is Reason.RETRIED
    counter.desk.use_lists(lists)
    asked: list[Asked] = []
    real = AccessIndex.providers

    def providers(lists: AccessIndex, question: Asked) -> list[Entry]:
        asked.append(question)
        return real(lists, question)

    monkeypatch.setattr(AccessIndex, "providers", providers)
    known = counter.ask(1)
    assert isinstance(known, Decision)
    assert known.reason is Reason.KNOWN
    assert asked == []
    first = counter.ask(2)
    assert isinstance(first, Question)
    assert (first.provider, first.wants) == (block, frozenset([Kind.NAMES]))
    assert len(asked) == 1
    counter.now += POLICY.lifetime  # what was known is a first contact again
    again = counter.ask(1)
    assert isinstance(again, Question)
    assert (again.provider, again.wants) == (block, frozenset([Kind.NAMES]))


def test_a_record_that_is_no_longer_believed_is_read_with_all_that_lists_say() -> None:
    """It may be gone meanwhile: then it is a first contact, and what spares it counts."""
    block = Entry(parse_subject("192.0.2.0/24"), 0, purpose=Purpose.PROVIDER)
    counter = Counter()
    counter.settle(1)
    counter.now += POLICY.delay
    counter.settle(1)
    counter.desk.use_lists(AccessIndex([block]))
    counter.watch += TRUSTED_FOR
    found = counter.ask(1)
    assert isinstance(found, Question)
    assert found.provider == block


@pytest.mark.parametrize(("removals", "seconds"), [(None, BRIEFLY), (0, TRUSTED_FOR)])
def test_a_record_is_believed_longer_where_the_store_tells_of_removals(
    removals: int | None, seconds: float
) -> None:
    counter = Counter()
    counter.desk.heed(removals)
    counter.settle(1)
    counter.now += POLICY.delay
    assert counter.settle(1) is Reason.RETRIED
    counter.watch += seconds - 0.1
    assert counter.remembers(1)
    counter.watch += 0.1
    assert not counter.remembers(1)


def test_one_that_waits_is_believed_for_a_moment() -> None:
    """An admin may have changed its row with SQL to let it in."""
    counter = Counter()
    counter.desk.heed(0)
    counter.settle(1)
    counter.watch += BRIEFLY - 0.1
    assert counter.remembers(1)
    counter.watch += 0.1
    assert not counter.remembers(1)


def test_after_a_removal_nothing_is_believed() -> None:
    counter = Counter()
    counter.desk.heed(7)
    counter.settle(1)
    counter.desk.heed(7)
    assert counter.remembers(1)
    counter.desk.heed(8)
    assert not counter.remembers(1)
    counter.settle(1)
    assert counter.remembers(1)


@pytest.mark.parametrize("size", [1, 3, 10])
def test_memory_is_bounded_and_the_oldest_go_first(size: int) -> None:
    counter = Counter(size=size)
    for number in range(50):
        counter.settle(number)
        kept = [n for n in range(number + 1) if counter.remembers(n)]
        assert kept == list(range(max(0, number + 1 - size), number + 1))


def test_who_is_learnt_again_is_young_again() -> None:
    counter = Counter(size=2)
    counter.settle(1)
    counter.settle(2)
    counter.watch += 2
    counter.settle(1)
    counter.watch -= 2
    counter.settle(3)
    assert [counter.remembers(n) for n in (1, 2, 3)] == [True, False, True]


def test_who_has_no_record_takes_no_room_in_memory() -> None:
    """As one whose network has its share: a flood of such would push out those who are known."""
    counter = Counter(size=1)
    counter.settle(1)
    unrecorded = counter.ask(2)
    assert isinstance(unrecorded, Question)
    (answered,) = decided(MemoryStore(), [unrecorded], Later(), int(counter.now))
    counter.desk.learn(unrecorded, Answered(answered.decision, None))
    assert counter.remembers(1)


def test_nothing_is_remembered_of_a_store_that_was_away() -> None:
    counter = Counter()
    counter.settle(1)
    counter.desk.forget_all()
    assert not counter.remembers(1)


def test_lists_are_asked_before_memory() -> None:
    counter = Counter()
    counter.settle(1)
    net = parse_subject("192.0.2.0/24")
    counter.desk.use_lists(AccessIndex([Entry(net, 0, NEVER)]))
    assert counter.settle(1) is Reason.ALLOWLISTED


def test_counts_from_memory_reach_the_store_and_the_record_in_memory() -> None:
    counter = Counter()
    counter.settle(1)
    assert [counter.settle(1) for _ in range(2)] == [Reason.EARLY] * 2
    found = counter.ask(1)
    assert isinstance(found, Decision)
    assert found.record is not None
    assert found.record.blocked == 3, "the first contact, and two early repeats"
    later = counter.desk.take_later(9)
    assert not counter.desk.later
    decided(counter.store, [], later, int(counter.now))
    (record,) = counter.store.load([found.changes[0].triplet]).values()
    assert record.blocked == 4
    (figures,) = counter.store.figures(0, 2 * int(counter.now)).values()
    assert figures == {"defer:new": 1, "defer:early": 3}


def test_what_lists_decide_is_in_the_figures() -> None:
    counter = Counter(Entry(parse_subject("192.0.2.17"), NEVER))
    assert counter.settle(1) is Reason.DENYLISTED
    assert counter.desk.later.figures == {"reject:denylisted": 1}


def test_hits_and_misses_of_the_cache_are_counted() -> None:
    counter = Counter()
    assert (counter.desk.hits, counter.desk.misses) == (0, 0)
    counter.settle(1)
    assert (counter.desk.hits, counter.desk.misses) == (0, 1)
    counter.settle(1)
    assert (counter.desk.hits, counter.desk.misses) == (1, 1)
    counter.now += POLICY.delay
    counter.settle(1)  # in the cache, but the store's
    assert (counter.desk.hits, counter.desk.misses) == (1, 2)
    counter.settle(1)
    assert (counter.desk.hits, counter.desk.misses) == (2, 2)


def test_the_store_is_told_whether_the_lists_were_asked() -> None:
    counter = Counter()
    assert counter.desk.ready
    found = counter.ask(1)
    assert isinstance(found, Question)
    assert found.listed
    counter.desk = Desk()
    found = counter.ask(1)
    assert isinstance(found, Question)
    assert not found.listed


def test_new_lists_give_back_those_that_held_before() -> None:
    desk, first, second = Desk(), AccessIndex(), AccessIndex()
    assert desk.use_lists(first) is None
    assert desk.use_lists(second) is first


def test_without_lists_only_the_store_knows() -> None:
    counter = Counter()
    counter.settle(1)
    counter.desk = Desk()
    assert not counter.desk.ready
    assert not counter.remembers(1)


def test_an_account_that_writes_to_a_million_addresses_fills_no_memory() -> None:
    """It may be stolen. What is beyond the bound is not learned; all else goes on."""
    desk = Counter().desk
    for number in range(MOST_TAUGHT + 1000):
        theirs = f"s{number}@example.org"
        desk.learn_later(Noted(sent_of(theirs, "b@example.net"), 1, 2))
    assert len(desk.later) == MOST_TAUGHT
    before = len(desk.later)
    for _ in range(10):
        desk.learn_later(Noted(sent_of("s0@example.org", "b@example.net"), 1, 2))
    assert len(desk.later) == before
    while len(desk.later):
        assert desk.take_later(50_000)
    desk.learn_later(Noted(sent_of("a@example.org", "b@example.net"), 1, 2))
    assert len(desk.later) == 1
