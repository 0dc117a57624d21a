"""The contract of `store.history`: each store that claims to keep a history runs it."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greylag.core.accesslist import NEVER
from greylag.core.history import (
    Action,
    Begun,
    By,
    Deferral,
    Ended,
    Event,
    LetIn,
    Outcome,
    Released,
    Sought,
    Tally,
    Tried,
)
from greylag.core.identity import Pool, PoolKind
from greylag.core.policy import Kept
from greylag.core.shortid import last_of_pair, pair_id, short_id
from greylag.core.tallies import DAY, HIGHEST
from greylag.core.triplet import Triplet
from greylag.core.value import replace
from greylag.store import memoryhistory, open_store
from greylag.store.base import HISTORY, Store, StoreError
from greylag.store.history import DeferralPage
from greylag.store.memory import MemoryStore
from greylag.store.mysql import history as mysqlhistory
from greylag.store.mysql import remembering as mysqlremembering
from greylag.store.sqlite import history as sqlitehistory
from greylag.store.sqlite import remembering
from tests.servers.mariadb import Database

NOW = 1_700_000_000
KEY = Triplet(b"\xc0\x00\x02\x00", "a@example.org", "b@example.net")
OTHER = Triplet(b"\xc6\x33\x64\x00", "", "b@example.net")
SIXTH = Triplet(bytes.fromhex("20010db8") + bytes(12), "a@example.org", "b@example.net")
ANY = Sought()

needs = pytest.mark.needs

POOL = Pool(PoolKind.SPF, "example.org").packed
FIRST = Deferral(KEY, NOW, NOW + 300, b"\xc0\x00\x02\x07", "mx.example.org", ("helo", "spf"), POOL)


def all_deferrals(store: Store, wanted: Sought = ANY, limit: int = 1000) -> list[Deferral]:
    """Return what all pages have, without their numbers."""
    found: list[Deferral] = []
    before = None
    while True:
        page = store.deferrals(wanted, limit, before)
        numbers = [one.number for one in page.deferrals]
        assert numbers == sorted(numbers, reverse=True)
        assert before is None or all(number < before for number in numbers)
        found += page.deferrals
        before = page.before
        if before is None:
            return [replace(one, number=0) for one in found]


def began(key: Triplet = KEY, at: int = NOW, **more: Any) -> Begun:
    return Begun(Deferral(key, at, at + 300, **more))


@needs(HISTORY)
def test_a_deferral_is_kept_with_all_that_is_known_of_it(store: Store) -> None:
    assert store.deferrals(ANY, 10) == DeferralPage([], None)
    store.remember([Begun(FIRST)], NOW)
    (found,) = store.deferrals(ANY, 10).deferrals
    assert replace(found, number=0) == FIRST
    assert found.number > 0


@needs(HISTORY)
def test_early_tries_and_the_pass_are_added_to_their_deferral(store: Store) -> None:
    store.remember([Begun(FIRST), Tried(KEY, NOW + 10)], NOW)
    store.remember([Tried(KEY, NOW + 60, 3), Tried(OTHER, NOW + 60)], NOW)
    tried = replace(FIRST, tries=4, first_try=NOW + 10, last_try=NOW + 60)
    assert all_deferrals(store) == [tried]
    store.remember([Ended(KEY, NOW + 400, Outcome.PASSED), Tried(KEY, NOW + 500)], NOW)
    passed = replace(tried, outcome=Outcome.PASSED, ended=NOW + 400)
    assert all_deferrals(store) == [passed]
    assert passed.waited == 400


@needs(HISTORY)
def test_an_event_is_of_the_newest_deferral_that_waits(store: Store) -> None:
    store.remember([began(), Ended(KEY, NOW + 9, Outcome.UNKNOWN), began(at=NOW + 50)], NOW)
    store.remember([Tried(KEY, NOW + 60)], NOW)
    new, old = all_deferrals(store)
    assert (new.tries, old.tries) == (1, 0)
    store.remember([Ended(KEY, NOW + 400, Outcome.PASSED)], NOW)
    new, old = all_deferrals(store)
    assert (new.outcome, old.outcome) == (Outcome.PASSED, Outcome.UNKNOWN)


@needs(HISTORY)
def test_what_has_ended_does_not_end_again_but_mail_that_passes_has_passed(store: Store) -> None:
    store.remember([began(), Ended(KEY, NOW + 9, Outcome.EVICTED)], NOW)
    store.remember([Ended(KEY, NOW + 10, Outcome.UNKNOWN), Released(KEY, NOW + 11)], NOW)
    (ended,) = all_deferrals(store)
    assert (ended.outcome, ended.ended, ended.released) == (Outcome.EVICTED, NOW + 9, 0)
    store.remember([Ended(KEY, NOW + 20, Outcome.PASSED)], NOW)
    store.remember([Ended(KEY, NOW + 30, Outcome.PASSED)], NOW)
    (ended,) = all_deferrals(store)
    assert (ended.outcome, ended.ended) == (Outcome.PASSED, NOW + 20)


@needs(HISTORY)
def test_a_release_is_remembered(store: Store) -> None:
    store.remember([Begun(FIRST), Released(KEY, NOW + 20)], NOW)
    assert all_deferrals(store) == [replace(FIRST, released=NOW + 20, defer_until=NOW + 20)]


@needs(HISTORY)
def test_events_of_a_pool_are_of_the_deferral_that_has_it(store: Store) -> None:
    elsewhere = replace(KEY, network=OTHER.network)
    pooled = replace(KEY, network=POOL)
    store.remember([Begun(FIRST), began(elsewhere, NOW + 1)], NOW)
    store.remember([Tried(pooled, NOW + 60), Ended(pooled, NOW + 400, Outcome.PASSED)], NOW)
    other, found = all_deferrals(store)
    assert (found.tries, found.outcome, found.ended) == (1, Outcome.PASSED, NOW + 400)
    assert (other.tries, other.outcome) == (0, Outcome.WAITING)
    store.remember([Tried(replace(pooled, recipient="c@example.net"), NOW + 500)], NOW)
    assert all_deferrals(store) == [other, found]


@needs(HISTORY)
def test_others_with_the_same_id_or_pair_are_not_meant(store: Store) -> None:
    """A short id is no secret: anybody can make triplets that have the same one."""
    one, other = twins()
    store.remember([began(one), began(other, NOW + 1)], NOW)
    assert len({found.id for found in all_deferrals(store)}) == 1
    store.remember([Ended(one, NOW + 400, Outcome.PASSED)], NOW)
    found = {d.triplet: d.outcome for d in all_deferrals(store)}
    assert found == {one: Outcome.PASSED, other: Outcome.WAITING}


def twins() -> tuple[Triplet, Triplet]:
    """Return two triplets with the same short id."""
    seen: dict[int, Triplet] = {}
    for number in range(100_000):
        triplet = replace(KEY, sender=f"{number}@example.org")
        other = seen.setdefault(short_id(triplet), triplet)
        if other is not triplet:
            return other, triplet
    raise AssertionError


SEVERAL_OF_THEM = [
    FIRST,
    Deferral(replace(KEY, sender="bounce+7@example.org"), NOW + 10, NOW + 310),
    Deferral(OTHER, NOW + 20, NOW + 320),
    Deferral(SIXTH, NOW + 30, NOW + 330, tries=2, first_try=NOW + 40, last_try=NOW + 50),
    Deferral(KEY, NOW + 40, NOW + 340, outcome=Outcome.LIKELY_SPAM, ended=NOW + 900),
]
PAIR = pair_id(KEY.sender, KEY.recipient)


@pytest.mark.parametrize("limit", [1, 2, 100])
@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Sought(), [4, 3, 2, 1, 0]),
        (Sought(since=NOW + 10, until=NOW + 40), [3, 2, 1]),
        (Sought(first_id=FIRST.id, last_id=FIRST.id), [4, 0]),
        (Sought(first_id=PAIR, last_id=last_of_pair(PAIR)), [4, 3, 1, 0]),
        (Sought(first_id=PAIR, last_id=last_of_pair(PAIR), sender="bounce"), [1]),
        (Sought(networks=(b"\xc0\x00\x00\x00", b"\xc1\x00\x00\x00")), [4, 1, 0]),
        (Sought(networks=(bytes(16), b"\xff" * 16)), [3]),
        (Sought(sender="example.org", recipient="b@"), [4, 3, 1, 0]),
        (Sought(null_sender=True), [2]),
        (Sought(outcomes=frozenset((Outcome.LIKELY_SPAM,))), [4]),
        (Sought(outcomes=frozenset()), []),
        (Sought(without=("bounce", "nobody")), [4, 3, 2, 0]),
        (Sought(without=("example.net",)), []),
        (Sought(sign="spf"), [0]),
        (Sought(sign="sp"), []),
    ],
    ids=range(15),
)
@needs(HISTORY)
def test_deferrals_are_found_the_newest_first(
    store: Store, wanted: Sought, found: list[int], limit: int
) -> None:
    store.remember([Begun(deferral) for deferral in SEVERAL_OF_THEM], NOW)
    assert all_deferrals(store, wanted, limit) == [SEVERAL_OF_THEM[n] for n in found]


@needs(HISTORY)
def test_a_step_looks_at_a_bounded_number_whatever_fits(store: Store) -> None:
    store.remember([Begun(deferral) for deferral in SEVERAL_OF_THEM], NOW)
    page = store.deferrals(Sought(null_sender=True), 2)
    assert page.deferrals == []
    assert page.before is not None
    assert page.reached == NOW + 30
    page = store.deferrals(Sought(null_sender=True), 2, page.before)
    assert [one.triplet for one in page.deferrals] == [OTHER]


@needs(HISTORY)
def test_deferrals_go_the_oldest_first(store: Store) -> None:
    store.remember([began(at=NOW + n) for n in range(10)], NOW)
    assert store.forget_history(Kept(1, 1000), NOW + 5, 3) == 3
    assert store.forget_history(Kept(1, 1000), NOW + 5, 3) == 1
    assert store.forget_history(Kept(1, 1000), NOW + 5, 3) == 0
    assert [one.first_seen - NOW for one in all_deferrals(store)] == [9, 8, 7, 6, 5, 4]
    assert store.forget_history(Kept(1, 2), NOW + 1, 100) == 4
    assert [one.first_seen - NOW for one in all_deferrals(store)] == [9, 8]
    assert store.forget_history(Kept(1, 2), NOW + 1, 100) == 0


def every_tally(store: Store, by: By = By.RECIPIENT, limit: int = 99) -> dict[str, Tally]:
    return store.tallies(0, NEVER, by, limit)


@needs(HISTORY)
def test_tallies_add_up_by_the_day_and_by_what_is_asked(store: Store) -> None:
    store.remember([Begun(FIRST), began(OTHER, NOW + 1), began(SIXTH, NOW + 2)], NOW)
    ends = [
        Ended(KEY, NOW + 400, Outcome.PASSED),
        Ended(OTHER, NOW + 500, Outcome.LIKELY_SPAM),
        Ended(SIXTH, NOW + 600, Outcome.OTHER_WAY),
    ]
    store.remember(ends, NOW + DAY)
    assert every_tally(store, By.NETWORK) == {
        "192.0.2.0": Tally(1, 1, 400),
        "198.51.100.0": Tally(1, likely_spam=1, never=1),
        "2001:db8::": Tally(1, never=1),
    }
    assert every_tally(store, By.SENDER_DOMAIN) == {
        "example.org": Tally(2, 1, 400, never=1),
        "<>": Tally(1, likely_spam=1, never=1),
    }
    assert every_tally(store, By.RECIPIENT_DOMAIN) == {"example.net": Tally(3, 1, 400, 1, 2)}
    assert every_tally(store) == {"b@example.net": Tally(3, 1, 400, 1, 2)}
    today, tomorrow = NOW - NOW % DAY, NOW - NOW % DAY + DAY
    assert store.tallies(today, tomorrow, By.RECIPIENT, 9) == {"b@example.net": Tally(3)}
    assert store.tallies(tomorrow, tomorrow + 1, By.RECIPIENT, 9) == {
        "b@example.net": Tally(0, 1, 400, 1, 2)
    }


@needs(HISTORY)
def test_what_speaks_of_nothing_that_is_remembered_is_tallied_alone(store: Store) -> None:
    pooled = replace(KEY, network=POOL)
    store.remember([Ended(KEY, NOW, Outcome.PASSED), Ended(pooled, NOW, Outcome.UNKNOWN)], NOW)
    assert all_deferrals(store) == []
    assert every_tally(store) == {"b@example.net": Tally(passed=1, never=1)}
    assert every_tally(store, By.NETWORK) == {"192.0.2.0": Tally(passed=1)}


@needs(HISTORY)
def test_what_ends_otherwise_is_in_no_tally(store: Store) -> None:
    store.remember([began(), began(OTHER)], NOW)
    ends = [Ended(KEY, NOW, Outcome.EVICTED), Ended(OTHER, NOW, Outcome.FORGOTTEN)]
    store.remember([*ends, Tried(KEY, NOW)], NOW)
    assert every_tally(store) == {"b@example.net": Tally(2)}


@needs(HISTORY)
def test_names_with_most_deferrals_come_first_and_the_rest_is_added_up(store: Store) -> None:
    keys = [replace(KEY, recipient=f"{n}@example.net") for n in range(4)]
    store.remember([began(key) for n, key in enumerate(keys) for _ in range(n + 1)], NOW)
    assert every_tally(store, limit=2) == {
        "3@example.net": Tally(4),
        "2@example.net": Tally(3),
        "": Tally(3),
    }


@needs(HISTORY)
def test_a_day_has_a_bounded_number_of_names_t36(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (sqlitehistory, remembering, memoryhistory, mysqlhistory, mysqlremembering):
        monkeypatch.setattr(module, "MOST_NAMES", 5, raising=False)
        monkeypatch.setattr(module, "NAMES_KEPT", 2, raising=False)
    keys = [replace(KEY, recipient=f"{n}@example.net") for n in range(9)]
    for key in keys:
        store.remember([began(key)] * 2, NOW)
    store.remember([began(keys[1]), began(keys[3])], NOW)
    found = every_tally(store)
    assert found == {f"{n}@example.net": Tally(2 + (n in (1, 3))) for n in range(5)} | {
        "": Tally(8)
    }
    store.remember([began(OTHER)], NOW + DAY)  # that day is over
    while store.forget_history(Kept(NOW, 1000), NOW + DAY, 2):
        pass
    assert every_tally(store) == {
        "1@example.net": Tally(3),
        "3@example.net": Tally(3),
        "b@example.net": Tally(1),
        "": Tally(14),
    }
    store.remember([began(keys[8])], NOW)  # there is room for names again
    assert every_tally(store)["8@example.net"] == Tally(1)


@needs(HISTORY)
def test_tallies_and_actions_go_with_the_deferrals(store: Store) -> None:
    for day in range(3):
        store.remember([began(at=NOW + day * DAY)], NOW + day * DAY)
        store.note_action(Action(NOW + day * DAY, "admin", "allow", f"192.0.2.{day}"))
    while store.forget_history(Kept(1, 1000), NOW + DAY + 1, 2):
        pass
    assert len(all_deferrals(store)) == 2
    assert every_tally(store) == {"b@example.net": Tally(2)}
    assert [action.subject for action in store.actions(9)] == ["192.0.2.2", "192.0.2.1"]


@needs(HISTORY)
def test_where_it_is_off_all_is_deleted_but_what_admins_did_t9(store: Store) -> None:
    old = Action(NOW - 31 * DAY, "admin", "allow", "192.0.2.1")
    done = Action(NOW - 29 * DAY, "admin", "allow", "192.0.2.2")
    for action in (old, done):
        store.note_action(action)
    store.remember([began(at=NOW - n) for n in range(5)], NOW)
    while store.forget_history(Kept(0), NOW, 2):
        pass
    assert all_deferrals(store) == []
    assert [every_tally(store, by) for by in By] == [{}] * len(By)
    assert store.actions(9) == [done]


@needs(HISTORY)
def test_what_a_wrong_clock_wrote_lies_in_nobodys_way_t30(store: Store) -> None:
    ahead = NOW + 400 * DAY
    store.remember([began(at=ahead + n) for n in range(5)], ahead)
    for n in range(5):
        store.note_action(Action(ahead + n, "admin", "allow", "192.0.2.1"))
    store.remember([began(OTHER, at=NOW - 9 * DAY), began(at=NOW + 60)], NOW - 9 * DAY)
    done = Action(NOW + 60, "admin", "allow", "192.0.2.2")
    store.note_action(replace(done, at=NOW - 9 * DAY))
    store.note_action(done)
    while store.forget_history(Kept(DAY), NOW, 2):
        pass
    # Hosts may differ by a minute.
    assert [one.first_seen for one in all_deferrals(store)] == [NOW + 60]
    assert store.actions(9) == [done]
    assert every_tally(store) == {}


@needs(HISTORY)
def test_a_day_of_a_wrong_clock_ends_no_other_day_t30(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Today had all names cut but the few that are kept of a day that is over."""
    for module in (sqlitehistory, memoryhistory, mysqlhistory):
        monkeypatch.setattr(module, "NAMES_KEPT", 2)
    store.remember([began()], NOW + DAY // 2)
    keys = [replace(KEY, recipient=f"{n}@example.net") for n in range(5)]
    store.remember([began(key) for key in keys], NOW)
    while store.forget_history(Kept(DAY), NOW, 2):
        pass
    assert len(every_tally(store)) == 6


@needs(HISTORY)
def test_no_number_of_a_day_outgrows_its_place_t36(store: Store) -> None:
    """A clock that was wrong makes waits of any length: their sums no longer were numbers."""
    passed = Ended(KEY, NOW + (1 << 60), Outcome.PASSED)
    for _ in range(10):
        store.remember([began(), passed], NOW)
    assert every_tally(store) == {"b@example.net": Tally(10, 10, HIGHEST)}


@needs(HISTORY)
def test_actions_are_kept_the_newest_first(store: Store) -> None:
    done = [Action(NOW + n, "admin", "release", f"ID {n}") for n in range(3)]
    for action in done:
        store.note_action(action)
    assert store.actions(2) == [done[2], done[1]]


@needs(HISTORY)
def test_what_is_written_in_a_transaction_that_fails_is_not_there_p7(store: Store) -> None:
    def fail() -> None:
        with store.transaction():
            store.remember([began()], NOW)
            raise ValueError("of the caller")

    if isinstance(store, MemoryStore):  # it has no transactions
        return
    with pytest.raises(ValueError, match="of the caller"):
        fail()
    assert all_deferrals(store) == []
    assert every_tally(store) == {}


def test_where_no_history_is_kept_nothing_is_read_and_nothing_written(store: Store) -> None:
    if store.lacks(HISTORY) is None:
        return
    refused: list[Callable[[], object]] = [
        lambda: store.remember([began()], NOW),
        lambda: store.note_action(Action(NOW, "admin", "allow", "192.0.2.7")),
    ]
    for call in refused:
        with pytest.raises(StoreError, match=re.escape(store.lacks(HISTORY) or "")):
            call()
    assert store.deferrals(ANY, 10) == DeferralPage([], None)
    assert every_tally(store) == {}
    assert store.forget_history(Kept(1, 10), NOW + 1, 10) == 0
    assert store.actions(10) == []


texts = st.sampled_from(["a@example.org", "b@example.org", "", "a@example.com"])
event_keys = st.builds(
    Triplet, st.sampled_from([KEY.network, OTHER.network, POOL]), texts, st.just("b@example.net")
)
events = st.one_of(
    st.builds(
        began,
        event_keys.filter(lambda key: key.network != POOL),
        st.integers(NOW, NOW + 99),
        pool=st.sampled_from([b"", POOL]),
    ),
    st.builds(Tried, event_keys, st.integers(NOW, NOW + 99), st.integers(1, 3)),
    st.builds(Released, event_keys, st.integers(NOW, NOW + 99)),
    st.builds(LetIn, event_keys, st.integers(NOW, NOW + 99)),
    st.builds(Ended, event_keys, st.integers(NOW, NOW + 99), st.sampled_from(Outcome)),
)


def same_as_the_reference(store: Store, told: list[list[Event]]) -> None:
    reference = MemoryStore()
    for n, some in enumerate(told):
        for one in (store, reference):
            one.remember(some, NOW + n * DAY)
    assert all_deferrals(store) == all_deferrals(reference)
    for by in By:
        assert every_tally(store, by) == every_tally(reference, by)


@given(told=st.lists(st.lists(events, max_size=8), max_size=5))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_sqlite_remembers_what_the_reference_does(
    tmp_path_factory: pytest.TempPathFactory, told: list[list[Event]]
) -> None:
    path = tmp_path_factory.mktemp("x") / "x.db"
    with closing(open_store(f"sqlite://{path}", timeout=4)) as store:
        same_as_the_reference(store, told)


@given(told=st.lists(st.lists(events, max_size=8), max_size=5))
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_mysql_remembers_what_the_reference_does(
    database: Database, told: list[list[Event]]
) -> None:
    with closing(open_store(database.url, timeout=4)) as store:
        with database.server.connect(database.name) as root:
            for table in ("greylag_deferrals", "greylag_tallies", "greylag_days"):
                root.execute(f"DELETE FROM {table}")
        same_as_the_reference(store, told)
