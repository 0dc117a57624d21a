"""Room for those who wait: a flood is bounded, and costs nobody who has passed (P12, T5, T6)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from greylag.core.attempt import Attempt
from greylag.core.engine import precheck
from greylag.core.evidence import Evidence, Kind
from greylag.core.figures import DELAYED, EVICTED, STOPPED
from greylag.core.identity import Pool, PoolKind
from greylag.core.policy import SPARING, IdentityBy, Policy, Room, with_evidence
from greylag.core.question import Question
from greylag.core.record import Created, Record
from greylag.core.sparing import with_known
from greylag.core.spf import Outcome, Result
from greylag.core.triplet import OF_TRUST, Triplet, kind_of
from greylag.core.value import replace
from greylag.core.verdict import Reason
from greylag.server.maintenance import JUMP, PASS_EVERY, STEP_EVERY, Maintenance
from greylag.service.later import Later
from greylag.service.quota import Quota
from greylag.service.shares import (
    LOOK,
    MAX_ADDRESSES,
    MAX_NETWORKS,
    MAX_WATCHED,
    REST,
    STEP,
    TRICKLE,
    Share,
)
from greylag.store.base import (
    Filter,
    Page,
    Position,
    Store,
    StoreConflict,
    StoreError,
    StoreUnavailable,
    Stretch,
)
from greylag.store.memory import MemoryStore
from tests.service.asked import decided

NOW = 1_700_000_000
POLICY = Policy()
VICTIM = b"198.51.100.9"
NET = bytes((198, 51, 100, 0))


@dataclass
class Site:
    """A store under attack, with its quota."""

    room: Room
    store: Store = field(default_factory=MemoryStore)
    now: int = NOW
    numbers: count[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin anew with the same store, as another daemon does."""
        self.quota = Quota(self.room, stopwatch=lambda: float(self.now))

    def asked(
        self, client: bytes, sender: bytes | None = None, policy: Policy = POLICY
    ) -> Question:
        fresh = b"s%d@example.org" % next(self.numbers) if sender is None else sender
        question = precheck(Attempt(client, fresh, b"b@example.net"), policy)
        assert isinstance(question, Question)
        return question

    def ask_all(self, asked: list[Question]) -> list[Reason]:
        answers = decided(self.store, asked, Later(), self.now, self.quota.admission)
        for one, answered in zip(asked, answers, strict=True):
            self.quota.answered(one, answered)
        while self.quota.exceeded:
            self.quota.make_room(self.store, self.now)
        return [answered.decision.reason for answered in answers]

    def ask(self, client: bytes, sender: bytes | None = None) -> Reason:
        return self.ask_all([self.asked(client, sender)])[0]

    def waiting(self) -> int:
        return self.store.count(self.now)[0]

    def evicted(self) -> int:
        return sum(hour.get(EVICTED, 0) for hour in self.store.figures(0, NOW * 2).values())


def test_a_flood_from_one_network_costs_that_network_alone_p12_t5() -> None:
    site = Site(Room(total=10_000, per_network=100))
    site.ask(VICTIM, b"friend@example.org")
    for _ in range(1000):
        assert site.ask(b"192.0.2.66") is Reason.NEW
    assert site.waiting() <= 101
    assert site.evicted() >= 900
    site.now += POLICY.delay
    assert site.ask(VICTIM, b"friend@example.org") is Reason.RETRIED


def test_a_flood_from_everywhere_is_bounded_and_spares_who_passed_p12_t6() -> None:
    site = Site(Room(total=500, per_network=200))
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
    site = Site(Room(total=20, per_network=10))
    answers = {site.ask(b"10.0.%d.1" % (number % 50)) for number in range(500)}
    assert answers == {Reason.NEW}


def test_a_network_whose_mail_passed_is_not_cut_back() -> None:
    """The count of what was created is a hint alone: the store knows what waits."""
    site = Site(Room(total=10_000, per_network=20))
    for number in range(100):
        sender = b"n%d@example.org" % number
        site.ask(VICTIM, sender)
        site.now += POLICY.delay
        assert site.ask(VICTIM, sender) is Reason.RETRIED
    assert site.evicted() == 0


def test_what_is_counted_is_bounded_too() -> None:
    share = Share(4 * MAX_ADDRESSES, lambda: 0.0)
    for _ in range(4):
        share.add(NET, None, 1)
    for number in range(MAX_NETWORKS + 1000):
        share.add(number.to_bytes(4, "big"), None, 1)
    assert len(share._numbers) <= MAX_NETWORKS
    assert NET in share._numbers
    for network in range(MAX_WATCHED + 10):
        for address in range(2 * MAX_ADDRESSES if network % 100 == 0 else 2):
            share.add(network.to_bytes(4, "big"), address.to_bytes(2, "big"), MAX_ADDRESSES)
    assert len(share._watched) <= MAX_WATCHED
    assert all(len(one.addresses) <= MAX_ADDRESSES for one in share._watched.values())


def test_addresses_that_come_and_go_take_no_place_of_those_that_hold_records() -> None:
    share = Share(2000, lambda: 0.0)
    share.add(NET, VICTIM, 500)
    for number in range(2 * MAX_ADDRESSES):
        share.add(NET, flooder(number), 1)
        share.add(NET, flooder(number), -1 - number % 2)  # and one that another daemon had made
    assert share._watched[NET].addresses == {VICTIM: 500}


def test_where_there_are_too_many_addresses_those_of_one_record_go() -> None:
    share = Share(2000, lambda: 0.0)
    share.add(NET, None, 500)
    share.add(NET, VICTIM, 2)
    for number in range(MAX_ADDRESSES):
        share.add(NET, flooder(number), 1)
    assert share._watched[NET].addresses == {VICTIM: 1, flooder(MAX_ADDRESSES - 1): 1}


def test_a_network_is_watched_from_a_twentieth_of_its_share_on() -> None:
    """What goes of the records that were there before the daemon began is no debt."""
    share = Share(2000, lambda: 0.0)
    share.add(NET, VICTIM, -5)
    assert share.is_calm(NET, 99)
    assert not share.is_calm(NET, 100)
    share.add(NET, VICTIM, 99)
    assert not share.due
    share.add(NET, VICTIM, 1)
    assert list(share.due) == [NET]


def test_an_address_with_its_part_has_one_record_more_each_while() -> None:
    watch = Clock()
    share = Share(2000, watch)
    share.add(NET, VICTIM, 1000)
    for _ in range(3):
        assert share.admits(NET, VICTIM, (0, 0))
        watch.now += TRICKLE / 2000 - 1
        assert not share.admits(NET, VICTIM, (0, 0))
        watch.now += 1


def flood(site: Site, flooders: int, number: int, batch: int = 50) -> None:
    """Ask for so many new triplets from the first addresses of the victim's /24, or /64."""
    for start in range(0, number, batch):
        clients = [flooder(n % flooders) for n in range(start, start + batch)]
        site.ask_all([site.asked(client) for client in clients])


def flooder(number: int) -> bytes:
    return b"198.51.100.%d" % (number + (number >= 9))


@pytest.mark.parametrize(
    ("flooders", "share"), [(1, 1000), (2, 1000), (20, 1000), (200, 5000), (254, 5000)]
)
def test_a_flood_from_the_victims_own_network_leaves_him_room_t41(
    flooders: int, share: int
) -> None:
    """He passes at his first retry, whenever he comes, and so does each of his mails."""
    site = Site(Room(total=10**6, per_network=share))
    waits: list[bytes] = []
    flood(site, flooders, share)
    for number in range(30):
        flood(site, flooders, 1000)
        sender = b"friend%d@example.org" % number
        assert site.ask(VICTIM, sender) is Reason.NEW
        waits.append(sender)
        site.now += 100
        if len(waits) > 4:
            assert site.ask(VICTIM, waits.pop(0)) is Reason.RETRIED
    assert site.waiting() <= share


@pytest.mark.parametrize("share", [1000, 10_000])
def test_addresses_that_flood_one_after_the_other_leave_him_room_t41(share: int) -> None:
    """Each takes all that it may before the next one begins, hour after hour."""
    site = Site(Room(total=10**6, per_network=share))
    for number in range(15):
        for one in range(60):
            site.ask_all([site.asked(flooder(one)) for _ in range(max(20, share >> one + 1))])
        sender = b"friend%d@example.org" % number
        assert site.ask(VICTIM, sender) is Reason.NEW
        site.now += POLICY.delay
        assert site.ask(VICTIM, sender) is Reason.RETRIED
        assert site.waiting() <= share


@pytest.mark.parametrize(
    ("victim", "share", "neighbours"),
    [(VICTIM, 200, "198.51.100.{}"), (b"2001:db8::9", 500, "2001:db8::{:x}:1")],
)
def test_where_all_of_a_small_share_floods_at_once_he_waits_until_it_ends_t41(
    victim: bytes, share: int, neighbours: str
) -> None:
    """Nobody is let in for it, and he passes soon after."""
    others = [n for n in range(255 if victim == VICTIM else 4000) if n != 9]
    site = Site(Room(total=10**6, per_network=share))
    answers = set()
    for _ in range(8):
        for start in range(0, 4000, 50):
            clients = [others[n % len(others)] for n in range(start, start + 50)]
            asked = [site.asked(neighbours.format(n).encode()) for n in clients]
            answers.update(site.ask_all(asked))
        answers.add(site.ask(victim, b"friend@example.org"))
        assert site.waiting() <= share
        site.now += 600
    assert answers == {Reason.NEW}
    found = []
    while Reason.RETRIED not in found:
        found.append(site.ask(victim, b"friend@example.org"))
        site.now += 600
        assert len(found) <= 4


def test_a_flood_from_the_victims_own_network_over_restarts_t41() -> None:
    """Another daemon knows no addresses, but how many records the network has."""
    site = Site(Room(total=10**6, per_network=2000))
    for number in range(12):
        flood(site, 20, 2000)
        sender = b"friend%d@example.org" % number
        assert site.ask(VICTIM, sender) is Reason.NEW
        site.restart()
        flood(site, 20, 2000)
        for _ in range(2):
            site.now += POLICY.delay
            found = site.ask(VICTIM, sender)
            if found is Reason.RETRIED:
                break
        assert found is Reason.RETRIED
        assert site.waiting() <= 2000
        site.now += 600


def test_a_flood_beside_one_shots_that_record_all_t41() -> None:
    """They know no shares: the daemon cuts the network back by chance, at most once a minute."""
    site = Site(Room(total=10**6, per_network=2000))
    site.ask_all([site.asked(flooder(n % 20)) for n in range(600)])
    decided(site.store, [site.asked(flooder(0)) for _ in range(3000)], Later(), site.now)
    site.now += int(REST)
    site.ask_all([site.asked(flooder(n % 20)) for n in range(2000)])
    assert site.waiting() <= 2000
    assert site.ask(VICTIM, b"friend@example.org") is Reason.NEW
    assert site.store.load([site.asked(VICTIM, b"friend@example.org").triplet])


def test_an_address_that_flooded_once_is_not_shut_out() -> None:
    """Its honest users come through at a trickle, long before the flood's records expire."""
    site = Site(Room(total=10**6, per_network=2000))
    flood(site, 1, 4000)
    site.now += int(TRICKLE / 2000) + 1
    assert site.ask(flooder(0), b"honest@example.org") is Reason.NEW
    site.now += POLICY.delay
    assert site.ask(flooder(0), b"honest@example.org") is Reason.RETRIED


def test_what_has_expired_is_room_again() -> None:
    site = Site(Room(total=10**6, per_network=2000))
    flood(site, 1, 4000)
    held = site.waiting()
    assert 2000 * 3 / 8 < held < 2000
    site.now += POLICY.retry_window + 1
    site.store.expire(site.now, 10**6)
    assert site.waiting() == 0
    flood(site, 1, 4000)
    site.now += 1
    flood(site, 1, 4000)
    assert site.waiting() > held / 2


def test_who_is_a_network_of_his_own_has_all_of_its_share() -> None:
    site = Site(Room(total=10**6, per_network=400))
    alone = Policy(ipv4_prefix=32)
    site.ask_all([site.asked(VICTIM, policy=alone) for _ in range(500)])
    assert 380 <= site.waiting() <= 400


def test_new_addresses_of_one_ipv6_network_stay_within_its_share_p12() -> None:
    """Who has a /64 meets himself in it: nobody is let in, and it never grows beyond its share."""
    site = Site(Room(total=10**6, per_network=400))
    for number in range(3000):
        assert site.ask(b"2001:db8::%x" % number) is Reason.NEW
        assert site.waiting() <= 400
        site.now += number % 2
    assert site.evicted() >= 2500


def test_passed_records_of_one_network_are_capped_t36() -> None:
    """What goes is its own, and of that first what passed just once."""
    site = Site(Room(total=10**6, per_network=2000, passed_per_network=1000))
    friends = [b"friend%d@example.org" % number for number in range(50)]
    elsewhere = b"203.0.113.5"
    for client in (VICTIM, elsewhere):
        site.ask_all([site.asked(client, friend) for friend in friends])
    site.now += POLICY.delay
    for client in (VICTIM, elsewhere):
        assert {site.ask(client, friend) for friend in friends} == {Reason.RETRIED}
        assert {site.ask(client, friend) for friend in friends} == {Reason.KNOWN}
    for _ in range(10):
        fresh = [site.asked(flooder(n)) for n in range(200)]
        site.ask_all(fresh)
        site.now += POLICY.delay
        assert set(site.ask_all(fresh)) == {Reason.RETRIED}
        assert site.store.count(site.now)[1] <= 1000 + 50
    for client in (VICTIM, elsewhere):
        assert {site.ask(client, friend) for friend in friends} == {Reason.KNOWN}


@pytest.mark.parametrize(("all_after", "most"), [(20, 20), (0, 300)])
def test_trust_of_ever_new_sender_domains_is_bounded_t36(
    all_after: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One address that retries all: a record for each sender domain would fill the store."""
    monkeypatch.setattr("greylag.core.sparing.MOST_DOMAINS", 300)
    policy = replace(SPARING, identity=IdentityBy.NONE, trust_all_after=all_after)
    site = Site(Room(total=10**6, per_network=2000, passed_per_network=1000))
    domains = iter(range(10**6))
    for _ in range(5):
        senders = [b"a@d%d.example.org" % next(domains) for _ in range(200)]
        site.ask_all([site.asked(VICTIM, sender, policy) for sender in senders])
        site.now += POLICY.delay
        for sender in senders:
            (reason,) = site.ask_all([site.asked(VICTIM, sender, policy)])
            assert reason is Reason.RETRIED
    keys = [key for key, _record in site.store.search(Filter(), 10**6)]
    assert sum(kind_of(key) == OF_TRUST for key in keys) == most + 1


def test_the_process_counts_the_fates_that_the_store_counts() -> None:
    """Expired, started anew, evicted, cut back after they passed, and not recorded."""
    site = Site(Room(total=300, per_network=100, passed_per_network=50))
    site.ask(VICTIM, b"friend@example.org")
    site.now += POLICY.delay
    site.ask(VICTIM, b"friend@example.org")
    fresh = [site.asked(b"203.0.113.5") for _ in range(90)]
    site.ask_all(fresh)
    site.now += POLICY.delay
    site.ask_all(fresh)  # more pass than one network may have
    for number in range(400):
        site.ask(b"192.0.2.66")  # more than one address may have
        site.ask(b"10.%d.%d.1" % divmod(number, 256), b"a@example.org")  # and more than all may
    site.now += POLICY.lifetime
    site.ask(b"10.1.5.1", b"a@example.org")
    site.ask(VICTIM, b"friend@example.org")
    site.quota.walked(site.store.expire(site.now, 10**6))
    stored: Counter[str] = Counter()
    for hour in site.store.figures(0, NOW * 2).values():
        stored.update({name: n for name, n in hour.items() if name.startswith("fate:")})
    assert set(stored) == {STOPPED, DELAYED, EVICTED}
    assert min(stored.values()) > 0
    assert site.quota.fates == stored


class Watching(MemoryStore):
    """A store that notes how many records a step looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.looks: list[int] = []
        self.gone: list[int] = []

    def thin(self, network: bytes, **how: Any) -> Stretch:
        stretch = super().thin(network, **how)
        self.looks.append(stretch.found)
        self.gone.append(stretch.gone)
        return stretch


def test_no_step_grows_with_the_network_t36() -> None:
    """A network that has far more than its share, as from before there were shares."""
    site = Site(Room(total=10**6, per_network=2000, passed_per_network=1000), Watching())
    assert isinstance(site.store, Watching)
    old = [Triplet(NET, f"old{n}@example.org", "b@example.net") for n in range(25_000)]
    record = Record(NOW, NOW, NOW + 10**6, passed=1)
    site.store.merge(dict.fromkeys(old, record))
    fresh = [site.asked(VICTIM) for _ in range(300)]
    site.ask_all(fresh)
    site.now += POLICY.delay
    site.ask_all(fresh)
    assert site.store.count(site.now)[1] <= 1000
    assert max(site.store.looks) <= LOOK
    assert max(site.store.gone) <= STEP + 1
    assert len(site.store.looks) > 25_000 / LOOK + 24_000 / STEP


@pytest.mark.parametrize("share", [20, 100])
def test_a_network_far_beyond_its_share_keeps_its_share_t36(share: int) -> None:
    """Fewer than one record of each step stays, and yet not all of them go."""
    site = Site(Room(total=10**6, per_network=2000, passed_per_network=share))
    old = [Triplet(NET, f"old{n}@example.org", "b@example.net") for n in range(600 * share)]
    record = Record(NOW, NOW, NOW + 10**6, passed=1)
    site.store.merge(dict.fromkeys(old, record))
    fresh = [site.asked(VICTIM) for _ in range(10)]
    site.ask_all(fresh)
    site.now += POLICY.delay
    site.ask_all(fresh)
    assert share // 2 <= site.store.count(site.now)[1] <= share


def test_long_addresses_count_for_more_t36() -> None:
    """The total is one of bytes too: a record of the longest addresses takes 680."""
    site = Site(Room(total=1000, per_network=10**6))
    for number in range(1500):
        site.ask(b"10.%d.%d.1" % divmod(number, 256), b"%d.%s@example.org" % (number, b"x" * 220))
    assert 300 < site.waiting() < 500
    assert site.quota.size <= site.room.total_size


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
    site = Site(Room(total=1000, per_network=1000))
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

    def expire(self, now: int, limit: int, after: Position | None = None) -> Page:
        raise StoreUnavailable("/var/lib/x.db: database is locked")


def test_a_step_that_fails_is_told_and_tried_again_later() -> None:
    clock = [0.0]
    quota = Quota(Room())
    work = Maintenance(quota, clock=lambda: NOW + clock[0], stopwatch=lambda: clock[0])
    work.step(MemoryStore())  # the history
    assert work.due()
    assert not work.step(Failing())
    assert work.take_error() == "/var/lib/x.db: database is locked"
    assert work.take_error() is None
    assert work.has_failed
    clock[0] = 0.9
    assert not work.due()
    clock[0] = 1.1
    assert work.due()
    assert work.step(MemoryStore())
    assert not work.has_failed


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

    work = Maintenance(Quota(Room()))
    work.step(MemoryStore())  # the history
    assert work.step(Refusing()) is goes_on
    assert work.take_error() == (str(error) or "MemoryError")


def test_a_walk_tells_how_many_records_there_are() -> None:
    site = Site(Room())
    for number in range(700):
        site.ask(b"10.0.%d.1" % (number % 50))
    clock = [0.0]
    quota = Quota(Room())
    work = Maintenance(quota, clock=lambda: NOW + clock[0], stopwatch=lambda: clock[0])
    assert work.step(MemoryStore())  # the history
    assert work.step(site.store)
    before = work.records
    assert not work.due(), "there is a pause between steps"
    clock[0] += STEP_EVERY
    assert work.due()
    work.step(site.store)
    assert quota.waiting == 700
    assert (before, work.records) == (None, (700, 0))
    assert len(list(site.store.search(Filter(), 1000))) == 700
    clock[0] += PASS_EVERY - 1
    assert not work.due()
    clock[0] += 1
    assert work.due()
    for _ in range(3):  # the history again, and the records in two steps
        work.step(site.store)
        clock[0] += STEP_EVERY
    assert work.records == (700, 0), "counted from nothing again"


def test_a_walk_counts_the_same_mail_as_the_figures_do() -> None:
    """A pool's record takes room, but stands beside that of a network, which is counted."""
    site = Site(Room())
    site.ask(b"192.0.2.1")
    [key] = [key for key, _record in site.store.search(Filter(), 9)]
    pool = replace(key, network=Pool(PoolKind.NAME, "example.net").packed)
    site.store.apply([Created(pool, NOW, NOW + 300, NOW + 9999)], {}, NOW)
    work = Maintenance(Quota(Room()), clock=lambda: NOW)
    for _ in range(2):  # the history, and the records
        work.step(site.store)
    assert work.records == site.store.count(NOW) == (1, 0)
    assert work.quota.waiting == 2


@dataclass
class Clock:
    """A clock that stands where it is put."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("jump", "pause"), [(400 * 86400, 86400), (-86400, 3600)])
def test_a_clock_that_jumps_pauses_the_walks_p18_t30(jump: int, pause: int) -> None:
    """What looks expired after a jump is left alone until the clock has been steady for a while."""
    site, wall, watch = Site(Room()), Clock(NOW), Clock()
    for number in range(10):
        site.ask(b"10.0.%d.1" % number)
    work = Maintenance(Quota(Room()), clock=wall, stopwatch=watch)
    assert work.due()
    wall.now += jump
    watch.now += 1000
    assert not work.due()
    work.step(site.store)
    assert len(list(site.store.search(Filter(), 100))) == 10
    assert work.take_jump() == (jump - 1000, pause)
    assert work.take_jump() is None
    assert (work.paused, work.jumps) == (True, 1)
    for clock in (wall, watch):
        clock.now += pause - 1
    assert not work.due()
    for clock in (wall, watch):
        clock.now += 1
    assert work.due()
    assert not work.paused
    for _ in range(2):  # the history, and the records
        work.step(site.store)
    assert work.records is not None
    assert work.take_jump() is None


@pytest.mark.parametrize("step", [JUMP, -JUMP])
def test_a_clock_that_is_set_by_an_hour_has_not_jumped(step: float) -> None:
    wall = Clock(NOW)
    work = Maintenance(Quota(Room()), clock=wall, stopwatch=Clock())
    wall.now += step
    assert work.due()
    assert not work.paused
    assert work.take_jump() is None


def test_a_clock_that_is_set_right_is_believed_after_an_hour_t30() -> None:
    """It ran ahead, and was set back: the pause counts from the last jump."""
    wall, watch = Clock(NOW), Clock()
    work = Maintenance(Quota(Room()), clock=wall, stopwatch=watch)
    wall.now += 400 * 86400
    assert not work.due()
    wall.now -= 400 * 86400
    assert not work.due()
    watch.now += 3600
    wall.now += 3600
    assert work.due()
    assert work.jumps == 2


def test_waiting_records_of_pools_are_room_t6() -> None:
    """A flood in the name of domains that list all of it makes two records for each contact."""
    evidence: Evidence = {
        Kind.SPF: Outcome(Result.PASS, ("ip4:10.0.0.0/12",), narrow=True),
        Kind.NAMES: ("mx.example.org",),
    }
    policy = with_evidence(replace(SPARING, dns=True))
    site = Site(Room(total=1000, per_network=200))
    for start in range(0, 6000, 200):
        asked = [
            site.asked(b"10.%d.%d.9" % divmod(number, 250), None, policy)
            for number in range(start, start + 200)
        ]
        site.ask_all([with_known(question, evidence) for question in asked])
    rows = sum(1 for _ in site.store.search(Filter(), 10**6))
    assert rows <= 1000 + 2 * 200
    assert site.quota.waiting == rows
