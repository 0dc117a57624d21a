"""Room for those who wait: a flood is bounded, and costs nobody who has passed (P12, T5, T6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count

import pytest

from greylag.core.attempt import Attempt
from greylag.core.engine import Question, precheck
from greylag.core.figures import EVICTED
from greylag.core.policy import Policy, Room
from greylag.core.triplet import Triplet
from greylag.core.verdict import Reason
from greylag.server.maintenance import Maintenance
from greylag.service.batch import Asked, decide_batch
from greylag.service.later import Later
from greylag.service.quota import MAX_NETWORKS, Quota
from greylag.store.base import Filter, Page, StoreConflict, StoreError, StoreUnavailable
from greylag.store.memory import MemoryStore

NOW = 1_700_000_000
POLICY = Policy()
VICTIM = b"198.51.100.9"


@dataclass
class Site:
    """A store under attack, with its quota."""

    quota: Quota
    store: MemoryStore = field(default_factory=MemoryStore)
    now: int = NOW
    numbers: count[int] = field(default_factory=count)

    def ask(self, client: bytes, sender: bytes | None = None) -> Reason:
        fresh = b"s%d@example.org" % next(self.numbers) if sender is None else sender
        question = precheck(Attempt(client, fresh, b"b@example.net"), POLICY)
        assert isinstance(question, Question)
        asked = Asked(question, POLICY)
        (answered,) = decide_batch(self.store, [asked], Later(), self.now)
        self.quota.answered(asked, answered)
        while self.quota.exceeded and self.quota.make_room(self.store, self.now):
            pass
        return answered.decision.reason

    def waiting(self) -> int:
        return self.store.count(self.now)[0]

    def evicted(self) -> int:
        return sum(hour.get(EVICTED, 0) for hour in self.store.figures(0, NOW * 2).values())


def test_a_flood_from_one_network_costs_that_network_alone_p12_t5() -> None:
    site = Site(Quota(Room(total=10_000, per_network=100)))
    site.ask(VICTIM, b"friend@example.org")
    for _ in range(1000):
        assert site.ask(b"192.0.2.66") is Reason.NEW
    assert site.waiting() <= 101
    assert site.evicted() >= 900
    site.now += POLICY.delay
    assert site.ask(VICTIM, b"friend@example.org") is Reason.RETRIED


def test_a_flood_from_everywhere_is_bounded_and_spares_who_passed_p12_t6() -> None:
    site = Site(Quota(Room(total=500, per_network=100)))
    friends = [b"f%d@example.org" % n for n in range(50)]
    for friend in friends:
        site.ask(VICTIM, friend)
    site.now += POLICY.delay
    assert {site.ask(VICTIM, friend) for friend in friends} == {Reason.RETRIED}
    for number in range(3000):
        site.ask(b"10.%d.%d.1" % divmod(number, 256))
        assert site.waiting() <= 500
    assert {site.ask(VICTIM, friend) for friend in friends} == {Reason.KNOWN}
    assert site.store.count(site.now)[1] == 50


def test_nobody_is_let_in_for_lack_of_room() -> None:
    site = Site(Quota(Room(total=20, per_network=10)))
    answers = {site.ask(b"10.0.%d.1" % (number % 50)) for number in range(500)}
    assert answers == {Reason.NEW}


def test_a_network_whose_mail_passed_is_not_cut_back() -> None:
    """The count of what was created is a hint alone: the store knows what waits."""
    site = Site(Quota(Room(total=10_000, per_network=20)))
    for number in range(100):
        sender = b"n%d@example.org" % number
        site.ask(VICTIM, sender)
        site.now += POLICY.delay
        assert site.ask(VICTIM, sender) is Reason.RETRIED
    assert site.evicted() == 0


def test_what_is_counted_is_bounded_too() -> None:
    quota = Quota(Room(total=10**9, per_network=5))
    site = Site(quota)
    for _ in range(4):
        site.ask(b"192.0.2.66")
    for number in range(MAX_NETWORKS + 1000):
        quota._created(number.to_bytes(4, "big"))
    assert len(quota._networks) <= MAX_NETWORKS
    assert bytes((192, 0, 2, 0)) in quota._networks


def test_a_walk_corrects_the_estimate() -> None:
    quota = Quota(Room(total=10, per_network=5))
    quota.waiting = 50
    key = Triplet(bytes((192, 0, 2, 0)), "a@example.org", "b@example.net")
    quota.walked(Page(30, 0, key, waiting=3))
    assert quota.waiting == 20
    quota.walked(Page(0, 0, None, waiting=4))
    assert quota.waiting == 7
    assert not quota.exceeded


def test_what_comes_behind_a_walk_is_counted_with_it() -> None:
    """A flood while a long walk is under way is in the count at its end."""
    site = Site(Quota(Room(total=1000, per_network=1000)))
    for number in range(50):
        site.ask(b"10.0.%d.1" % number)
    page = site.store.expire(site.now, 20)
    site.quota.walked(page)
    for number in range(100):
        site.ask(b"9.0.0.1" if number % 2 else b"11.0.0.1")
    site.quota.walked(site.store.expire(site.now, 1000, page.after))
    assert site.quota.waiting == site.waiting() == 150


class Failing(MemoryStore):
    """A store whose maintenance fails."""

    def expire(self, now: int, limit: int, after: Triplet | None = None) -> Page:
        raise StoreUnavailable("/var/lib/x.db: database is locked")


def test_a_step_that_fails_is_told_and_tried_again_later() -> None:
    clock = [0.0]
    quota = Quota(Room())
    work = Maintenance(quota, clock=lambda: NOW + clock[0], stopwatch=lambda: clock[0])
    assert work.due()
    assert not work.step(Failing())
    assert work.take_error() == "/var/lib/x.db: database is locked"
    assert work.take_error() is None
    clock[0] = 0.9
    assert not work.due()
    clock[0] = 1.1
    assert work.due()


@pytest.mark.parametrize(
    ("error", "goes_on"),
    [
        (StoreUnavailable("gone away"), False),
        (StoreConflict("deadlock"), True),
        (StoreError("DELETE command denied"), True),
        (MemoryError(), False),
    ],
)
def test_a_session_goes_on_where_the_store_has_answered(error: Exception, goes_on: bool) -> None:
    class Refusing(MemoryStore):
        def expire(self, *_arguments: object) -> Page:
            raise error

    assert Maintenance(Quota(Room())).step(Refusing()) is goes_on


def test_a_walk_tells_how_many_records_there_are() -> None:
    site = Site(Quota(Room()))
    for number in range(700):
        site.ask(b"10.0.%d.1" % (number % 50))
    clock = [0.0]
    quota = Quota(Room())
    work = Maintenance(quota, clock=lambda: NOW + clock[0], stopwatch=lambda: clock[0])
    assert work.step(site.store)
    before = work.records
    clock[0] += 1
    work.step(site.store)
    assert quota.waiting == 700
    assert (before, work.records) == (None, (700, 0))
    assert len(list(site.store.search(Filter(), 1000))) == 700


@dataclass
class Clock:
    """A clock that stands where it is put."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("jump", [400 * 86400, -86400])
def test_a_clock_that_jumps_ends_the_walks_p18_t30(jump: int) -> None:
    """What looks expired after a jump is left alone until a human has looked."""
    site, wall, watch = Site(Quota(Room())), Clock(NOW), Clock()
    for number in range(10):
        site.ask(b"10.0.%d.1" % number)
    work = Maintenance(Quota(Room()), clock=wall, stopwatch=watch)
    assert work.due()
    wall.now += jump
    watch.now += 1000
    assert not work.due()
    work.step(site.store)
    assert len(list(site.store.search(Filter(), 100))) == 10
    wall.now -= jump  # set right again: it is still for a human to say
    assert not work.due()
