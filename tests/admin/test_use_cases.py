"""Use cases by themselves, as another front end than the command would ask for them."""

from __future__ import annotations

import pytest

from greylag.admin import expiry, explain, figures, records
from greylag.admin.copying import Copied, copy
from greylag.admin.expiry import ClockDoubted, Expired
from greylag.admin.records import state_of, wanted
from greylag.admin.typed import WrongValue, typed_client, typed_triplet
from greylag.core.accesslist import NEVER, Entry
from greylag.core.figures import STOPPED
from greylag.core.history import Action, Begun, Deferral
from greylag.core.policy import Greylist, Policy
from greylag.core.record import Record
from greylag.core.subject import parse_subject
from greylag.core.switch import Switch
from greylag.core.triplet import OF_CONNECTIONS, Triplet, connection_of
from greylag.core.value import replace
from greylag.core.verdict import Decision, Reason, Verdict
from greylag.store.base import Store, StoreError, StoreUnavailable
from greylag.store.memory import MemoryStore

NOW = 1_800_000_000
DAY = 86400
POLICY = Policy()
CLIENT, SENDER, RECIPIENT = "192.0.2.1", "user@example.org", "info@example.net"
KEY = typed_triplet((CLIENT, SENDER, RECIPIENT), POLICY)


def keys(number: int) -> list[Triplet]:
    return [Triplet(KEY.network, f"s{n}@example.org", RECIPIENT) for n in range(number)]


def kept(*found: tuple[Triplet, Record]) -> MemoryStore:
    store = MemoryStore()
    store.merge(dict(found))
    return store


def waiting(first_seen: int) -> Record:
    return Record(first_seen, first_seen + 300, first_seen + 2 * DAY, blocked=1, passed=0)


def passed(last: int) -> Record:
    return Record(last - 600, last - 300, last + POLICY.lifetime, blocked=1, passed=1)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"client": "example.org"}, "client"),
        ({"client": "192.0.2.1/24"}, "client"),
        ({"sender": " "}, "sender"),
        ({"recipient": ""}, "recipient"),
        ({"kind": OF_CONNECTIONS, "sender": ""}, "connections"),
    ],
)
def test_a_wrong_value_says_which_it_is(given: dict[str, str | bool], name: str) -> None:
    with pytest.raises(WrongValue) as raised:
        wanted(POLICY, **given)  # type: ignore[arg-type]
    assert raised.value.name == name
    assert not str(raised.value).startswith("-"), "options are the command's own"


def test_a_wrong_address_is_a_wrong_value() -> None:
    with pytest.raises(WrongValue, match="expected an IPv4 or IPv6 address, got 'x'"):
        typed_client("x")


def test_the_newest_of_those_that_are_wanted() -> None:
    connection = connection_of(KEY.network, 24)
    many = [(key, waiting(NOW - age)) for age, key in enumerate(keys(9))]
    store = kept(*many, (connection, passed(NOW)))
    what = wanted(POLICY, client=CLIENT, passed=False)
    assert records.newest(store, what, 2) == (9, many[:2])
    only = wanted(POLICY, kind=OF_CONNECTIONS)
    assert [key for key, _record in records.fitting(store, only)] == [connection]


def test_the_state_of_a_record() -> None:
    states = [state_of(waiting(NOW), NOW + age) for age in (0, 299, 300, 2 * DAY)]
    assert states == ["waiting", "waiting", "due", "forgotten"]
    assert state_of(passed(NOW), NOW) == "passed"


def test_an_answer_is_explained_and_nothing_written() -> None:
    store = kept((KEY, waiting(NOW - 100)))
    asked = explain.attempt(CLIENT, SENDER, RECIPIENT, POLICY)
    found = explain.explain(asked, lambda: store, Verdict.PASS, NOW)
    decision = found.decision
    assert (decision.verdict, decision.retry_after) == (Verdict.DEFER, 200)
    assert (found.failure, found.evidence, found.signs, found.identity) == (None, {}, None, None)
    assert explain.may_pass_at(decision, NOW) == NOW + 200
    called = explain.Names(helo="h")
    named = explain.attempt(CLIENT, SENDER, RECIPIENT, POLICY, called=called)
    assert "helo=h" in explain.log_line(named, decision)
    assert store.load([KEY]) == {KEY: waiting(NOW - 100)}
    connection = explain.connection(CLIENT, POLICY)
    found = explain.explain(connection, lambda: store, Verdict.PASS, NOW)
    assert (found.decision.reason, found.failure) == (Reason.NEW, None)


def test_a_list_says_never_or_until_when() -> None:
    store = MemoryStore()
    asked = explain.attempt(CLIENT, SENDER, RECIPIENT, POLICY)
    for until, told in ((NOW + 9, NOW + 9), (NEVER, None)):
        store.put_entries([Entry(parse_subject(CLIENT), until, NEVER, "", NOW)])
        decision = explain.explain(asked, lambda: store, Verdict.PASS, NOW).decision
        assert (decision.verdict, explain.may_pass_at(decision, NOW)) == (Verdict.REJECT, told)


def test_a_store_that_fails_is_told_beside_the_answer() -> None:
    def away() -> Store:
        raise StoreUnavailable("away")

    asked = explain.attempt(CLIENT, SENDER, RECIPIENT, POLICY)
    found = explain.explain(asked, away, Verdict.PASS, NOW)
    assert (found.decision.reason, str(found.failure)) == (Reason.STORE_UNAVAILABLE, "away")
    assert isinstance(found.failure, StoreError)


def test_who_mailed_a_trap_may_pass_when_it_is_forgotten_unless_it_mails_one_now() -> None:
    record = passed(NOW)
    trapped = Decision(Verdict.REJECT, Reason.TRAPPED, record=record)
    assert explain.may_pass_at(trapped, NOW) == record.expires
    entry = Entry(parse_subject("example.net"), 0, NEVER, "", NOW)
    assert explain.may_pass_at(replace(trapped, entry=entry), NOW) is None
    assert explain.may_pass_at(replace(trapped, record=None), NOW) is None


def test_figures_of_whole_hours() -> None:
    store = kept((KEY, waiting(NOW)))
    for age in (0, 3600, 4 * 3600):
        store.apply((), {STOPPED: 1}, NOW - age)
    found = figures.report(store, NOW, 5400)
    assert (found.total.stopped, [hour.stopped for _start, hour in found.hours]) == (2, [1, 1])
    assert (found.until, found.waiting, found.passed, found.no_figures) == (NOW, 1, 0, None)


def test_expired_records_are_deleted_and_counted() -> None:
    gone, stay = keys(5), keys(8)[5:]
    store = kept(
        *((key, waiting(NOW - 3 * DAY)) for key in gone), *((k, waiting(NOW)) for k in stay)
    )
    wanted_of_it = Expired(5, 0, 3, 0, None)
    assert expiry.expire(store, NOW, POLICY.lifetime, dry_run=True) == wanted_of_it
    assert len(store.load([*gone, *stay])) == 8
    assert expiry.expire(store, NOW, POLICY.lifetime) == wanted_of_it
    assert store.load([*gone, *stay]).keys() == set(stay)


def test_a_clock_that_jumped_deletes_nothing_unless_the_admin_is_sure_p18() -> None:
    many = keys(expiry.MANY)
    store = kept(*((key, passed(NOW)) for key in many))
    later = NOW + 100 * DAY
    with pytest.raises(ClockDoubted, match="nothing was seen since 2027-01-15 08:00:00 UTC"):
        expiry.expire(store, later, POLICY.lifetime)
    assert len(store.load(many)) == expiry.MANY
    assert expiry.expire(store, later, POLICY.lifetime, dry_run=True).doubt
    assert expiry.expire(store, later, POLICY.lifetime, sure=True).delayed == expiry.MANY


def test_a_copy_has_the_switch_and_what_admins_did_once() -> None:
    old, new = MemoryStore(), MemoryStore()
    done = [Action(NOW + n, "admin", "allow", f"192.0.2.{n}") for n in range(3)]
    for action in done[:2]:
        old.note_action(action)
    old.set_switch(switch := Switch(Greylist.OFF, NOW + 60, NOW, "admin"))
    copied = copy(old, new, POLICY, NOW, dry_run=True)
    assert (copied.actions, copied.switch) == (2, True)
    assert (new.actions(9), new.switch()) == ([], None)
    assert copy(old, new, POLICY, NOW) == copied
    assert (new.actions(9), new.switch()) == (done[1::-1], switch)
    old.note_action(done[2])
    copied = copy(old, new, POLICY, NOW)
    assert (copied.actions, copied.switch, copied.actions_left_out) == (1, False, 0)
    assert new.actions(9) == done[::-1]
    new.note_action(replace(done[0], at=NOW + 9))  # it goes on by itself
    new.set_switch(None)
    old.note_action(done[1])
    copied = copy(old, new, POLICY, NOW + 60)
    assert (copied.actions, copied.switch, copied.actions_left_out) == (0, False, 4)
    assert len(new.actions(9)) == 4


def test_a_copy_says_that_single_mails_are_left_out() -> None:
    old = MemoryStore()
    assert not copy(old, MemoryStore(), POLICY, NOW).history_left_out
    old.remember([Begun(Deferral(KEY, NOW, NOW + 300))], NOW)
    assert copy(old, MemoryStore(), POLICY, NOW).history_left_out


def test_a_copy_tells_what_was_new_and_may_be_made_again() -> None:
    old, new = kept((KEY, waiting(NOW))), MemoryStore()
    old.put_entries([Entry(parse_subject(CLIENT), 0, NEVER, "why", NOW)])
    old.apply((), {STOPPED: 3}, NOW)
    told = Copied(read=1, copied=1, left_out=0, entries=1, hours=1, entries_left_out=0)
    assert copy(old, new, POLICY, NOW, dry_run=True) == told
    assert new.load([KEY]) == {}
    assert copy(old, new, POLICY, NOW) == told
    assert copy(old, new, POLICY, NOW) == Copied(1, 0, 0, 0, 0, 0)
    assert new.load([KEY]) == old.load([KEY])
