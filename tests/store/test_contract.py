"""The contract of `store.base`: each store runs what it claims to keep, and the first tests.

`needs` says what a test is about (`Backend.lacks`).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from greylag.core.accesslist import NEVER, Entry, Purpose, Seen, last_word, wants
from greylag.core.client import parse_address
from greylag.core.connection import HOLD
from greylag.core.evidence import Kind
from greylag.core.figures import DELAYED, EVICTED, STOPPED, hour_of
from greylag.core.identity import Pool, PoolKind
from greylag.core.record import Blocked, Change, Created, Freed, Noted, Passed, Record
from greylag.core.subject import (
    ClientName,
    Domain,
    Network,
    RecipientMailbox,
    SenderDomain,
    SenderMailbox,
    Subject,
    parse_subject,
)
from greylag.core.triplet import Triplet, connection_of, sent_of, trapped_of, trust_of
from greylag.core.value import replace
from greylag.store import Backend, kinds, open_store
from greylag.store.base import (
    COUNTS,
    FIGURES,
    HISTORY,
    LISTS,
    NAMES,
    RECIPIENTS,
    SWITCH,
    TABLES,
    Filter,
    Store,
    StoreError,
    StoreRefused,
    Stretch,
)
from greylag.store.contacts import Times
from greylag.store.memory import MemoryStore
from greylag.store.mysql import schema
from greylag.store.mysql import store as mysql
from greylag.store.sqlite import store as sqlite
from greylag.store.tree.store import TreeStore
from tests.servers.mariadb import MariaDb

NOW = 1_700_000_000
KEY = Triplet(b"\xc0\x00\x02\x00", "a@example.org", "b@example.net")
OTHER = Triplet(b"\xc6\x33\x64\x00", "", "b@example.net")
SIXTH = Triplet(bytes.fromhex("20010db8") + bytes(12), "a@example.org", "b@example.net")
BORN = Created(KEY, NOW, NOW + 300, NOW + 1000)


def record(store: Store, key: Triplet = KEY) -> Record:
    return store.load([key])[key]


needs = pytest.mark.needs
RECORDS = (RECIPIENTS, COUNTS)  # what most tests are about
LONG = 40 * 86400  # seconds: nothing is kept for so long without a contact

# Connections: these every store keeps.
PREFIXES = {b"192.0.2.1": 24, b"198.51.100.7": 32, b"203.0.113.9": 24, b"2001:db8::1": 64}
MET = [connection_of(parse_address(a) or b"", prefix) for a, prefix in PREFIXES.items()]


def came(key: Triplet, at: int = NOW) -> Created:
    return Created(key, at, at + HOLD, at + 1000)


def test_nothing_is_known_at_first(store: Store) -> None:
    assert store.load(MET) == {}
    assert store.entries() == store.entries_after(0, 9).entries == []
    assert store.matching(Seen(bytes(4), "example.net")) == []
    assert store.figures(0, NEVER) == {}
    assert store.count(NOW) == (0, 0)
    assert list(store.search(Filter(), 10)) == []
    assert store.warning() is None
    store.check()


def test_who_came_waits_and_passes_after_the_hold(store: Store) -> None:
    key = MET[0]
    store.apply([came(key)], {"defer:new": 1}, NOW)
    for changes, at in (([], 0), ([Blocked(key)], 10), ([came(key, NOW + 20)], 20)):
        store.apply(changes, {}, NOW + at)
        found = record(store, key)
        assert (found.first_seen, found.defer_until, found.passed) == (NOW, NOW + HOLD, 0)
        assert found.live(NOW + at)
    store.apply([Passed(key, NOW + LONG)], {}, NOW + HOLD)
    assert (record(store, key).first_seen, record(store, key).passed) == (NOW, 1)
    assert store.load(MET).keys() == {key}
    assert (store.count(NOW + HOLD), store.count(NOW + HOLD)) == ((0, 1), (0, 1))


def test_a_waiting_connection_from_the_future_is_replaced_t8(store: Store) -> None:
    store.apply([came(MET[1], NOW + 6)], {}, NOW)
    store.apply([came(MET[1])], {}, NOW)
    assert record(store, MET[1]).first_seen == NOW


def test_a_connection_that_was_removed_meanwhile_is_not_made_anew(store: Store) -> None:
    store.apply([Blocked(MET[0]), Passed(MET[1], NOW + LONG)], {}, NOW)
    assert store.load(MET) == {}


def test_connections_are_found_counted_and_removed(store: Store) -> None:
    store.apply([came(key) for key in MET], {}, NOW)
    store.apply([Passed(MET[1], NOW + LONG)], {}, NOW + HOLD)
    assert store.count(NOW + HOLD) == (3, 1)
    ordered = sorted(MET, key=lambda key: key.key)
    one = MET[2].network
    for wanted, keys in (
        (Filter(), ordered),
        (Filter(passed=True), [MET[1]]),
        (Filter(sender="x"), []),
        (Filter(first_network=one, last_network=one), [MET[2]]),
    ):
        assert sorted((k for k, _ in store.search(wanted, 9)), key=lambda k: k.key) == keys
        assert len(list(store.search(wanted, 2))) == min(len(keys), 2)
    assert store.forget([MET[0], MET[2], MET[0]], NOW) == 2
    assert store.forget(MET[:1], NOW) == 0
    assert store.load(MET).keys() == {MET[1], MET[3]}


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_connections_expire_in_steps(store: Store, limit: int) -> None:
    store.apply([came(key) for key in MET], {}, NOW)
    store.apply([Passed(MET[1], NOW + 2000)], {}, NOW + HOLD)
    store.apply([came(KNOWN, NOW + LONG)], {}, NOW + LONG)
    after, stopped, delayed, waiting, passed = None, 0, 0, 0, 0
    for _ in range(len(MET) + 2):
        page = store.expire(NOW + LONG, limit, after)
        after, stopped, delayed = page.after, stopped + page.stopped, delayed + page.delayed
        waiting, passed = waiting + page.waiting, passed + page.passed
        if after is None:
            break
    assert (after, stopped, delayed, waiting, passed) == (None, 3, 1, 1, 0)
    assert store.load([*MET, KNOWN]).keys() == {KNOWN}


KNOWN = connection_of(bytes((9, 9, 9, 9)), 24)


def test_trim_spares_connections_that_passed_t6(store: Store) -> None:
    store.apply([came(key) for key in MET], {}, NOW)
    store.apply([Passed(key, NOW + LONG) for key in MET[:2]], {}, NOW + HOLD)
    gone = sum(store.trim(1, NOW + HOLD) for _ in range(60))
    assert gone == 2
    assert store.load(MET).keys() == set(MET[:2])


PARTS = (LISTS, FIGURES, HISTORY, RECIPIENTS, COUNTS, NAMES, SWITCH, TABLES)


def backend(store: Store) -> type[Backend]:
    (kind,) = (k for k in kinds() if type(store).__module__.startswith(k.__module__))
    return kind


def test_what_a_store_cannot_keep_it_says_in_one_sentence(store: Store) -> None:
    """What is there to be read is empty, and what would be written is refused with that."""
    lacks = backend(store).lacks
    for part, sentence in lacks.items():
        assert part in PARTS
        assert sentence.isprintable()
        assert len(sentence) < 100
        assert not sentence.endswith(".")
    assert all(
        store.lacks(part) == lacks.get(part) for part in (LISTS, FIGURES, HISTORY, RECIPIENTS)
    )
    triplet = Triplet(b"\xc0\x00\x02\x00", "a@example.org", "b@example.net")
    refused: dict[str, Callable[[], object]] = {
        LISTS: lambda: store.put_entries([entry("192.0.2.7")]),
        RECIPIENTS: lambda: store.load([triplet]),
        COUNTS: lambda: store.merge({MET[0]: SEEN}),
        SWITCH: lambda: store.set_switch(None),
    }
    for part, call in refused.items():
        if part in lacks:
            kind = StoreRefused if part == RECIPIENTS else StoreError
            with pytest.raises(kind, match=re.escape(lacks[part])):
                call()
        else:
            call()
    if FIGURES in lacks:
        store.apply([], {"defer:new": 1}, NOW)
        assert store.figures(0, NEVER) == {}


def test_first_and_last_contacts_are_the_part_of_who_has_no_counts(store: Store) -> None:
    contacts = store.contacts()
    assert (contacts is not None) == (COUNTS in backend(store).lacks)
    if contacts is None:
        return
    one, two = Times(NOW, NOW + 50), Times(NOW - 9, NOW + 40)
    contacts.put_times([(MET[0], one), (MET[3], two)])
    contacts.put_times([(MET[0], two)])
    assert contacts.times(MET) == {MET[0]: Times(NOW - 9, NOW + 50), MET[3]: two}
    assert dict(contacts.all_times()) == contacts.times(MET)


@needs(*RECORDS)
def test_created_then_blocked_then_passed(store: Store) -> None:
    store.apply([BORN], {}, NOW)
    assert record(store) == Record(NOW, NOW + 300, NOW + 1000, blocked=1)
    store.apply([Blocked(KEY)], {}, NOW + 10)
    assert record(store) == Record(NOW, NOW + 300, NOW + 1000, blocked=2)
    store.apply([Passed(KEY, NOW + 9000)], {}, NOW + 300)
    assert record(store) == Record(NOW, NOW + 300, NOW + 9000, blocked=2, passed=1)


@needs(*RECORDS)
def test_a_second_creation_counts_and_moves_nothing(store: Store) -> None:
    """Two first contacts at the same moment: one record, both counted (fault 7)."""
    store.apply([BORN], {}, NOW)
    store.apply([Created(KEY, NOW + 5, NOW + 305, NOW + 1005)], {}, NOW + 5)
    assert record(store) == Record(NOW, NOW + 300, NOW + 1000, blocked=2)


@needs(*RECORDS, FIGURES)
def test_an_expired_record_is_replaced_and_counted_by_its_fate(store: Store) -> None:
    anew = replace(BORN, first_seen=NOW + 1000, defer_until=NOW + 1300, expires=NOW + 2000)
    store.apply([BORN], {}, NOW)
    store.apply([replace(anew, first_seen=NOW + 999)], {}, NOW + 999)
    assert record(store).first_seen == NOW
    store.apply([anew], {}, NOW + 1000)
    assert record(store) == anew.record()
    store.apply([Passed(KEY, NOW + 3000)], {}, NOW + 1400)
    store.apply([replace(anew, first_seen=NOW + 3000)], {}, NOW + 3000)
    hours = store.figures(0, NEVER).values()
    assert sum(hour.get(STOPPED, 0) for hour in hours) == 1
    assert sum(hour.get(DELAYED, 0) for hour in hours) == 1


@pytest.mark.parametrize(("ahead", "replaced"), [(5, False), (6, True)])
@needs(*RECORDS)
def test_a_record_from_the_future_is_replaced_t8(store: Store, ahead: int, replaced: bool) -> None:
    store.apply([replace(BORN, first_seen=NOW + ahead, expires=NOW + 9000)], {}, NOW)
    store.apply([BORN], {}, NOW)
    assert record(store).first_seen == (NOW if replaced else NOW + ahead)


@needs(*RECORDS)
def test_a_passed_record_from_the_future_stays(store: Store) -> None:
    store.apply([replace(BORN, first_seen=NOW + 99, expires=NOW + 9000)], {}, NOW)
    store.apply([Passed(KEY, NOW + 9000)], {}, NOW)
    store.apply([BORN], {}, NOW)
    assert record(store).first_seen == NOW + 99


@needs(*RECORDS)
def test_the_expiry_never_moves_back(store: Store) -> None:
    store.apply([BORN, Passed(KEY, NOW + 9000)], {}, NOW)
    store.apply([Passed(KEY, NOW + 8000)], {}, NOW)
    assert record(store).expires == NOW + 9000


@needs(*RECORDS)
def test_what_was_forgotten_meanwhile_stays_forgotten(store: Store) -> None:
    store.apply([Blocked(KEY), Passed(KEY, NOW + 9000)], {}, NOW)
    assert store.load([KEY]) == {}


@needs(*RECORDS)
def test_families_and_null_senders_are_keys_of_their_own(store: Store) -> None:
    keys = [KEY, OTHER, SIXTH]
    store.apply([replace(BORN, triplet=key) for key in keys], {}, NOW)
    store.apply([Blocked(SIXTH)], {}, NOW)
    assert {k: r.blocked for k, r in store.load(keys).items()} == {KEY: 1, OTHER: 1, SIXTH: 2}


@needs(FIGURES)
def test_figures_add_up_by_the_hour(store: Store) -> None:
    store.apply([], {"defer:new": 2}, NOW)
    store.apply([], {"defer:new": 3, "pass:known": 1}, NOW + 1)
    store.apply([], {"defer:new": 1}, NOW + 3600)
    first, second = hour_of(NOW), hour_of(NOW + 3600)
    assert store.figures(first, second) == {first: {"defer:new": 5, "pass:known": 1}}
    assert store.figures(first, second + 1)[second] == {"defer:new": 1}
    assert store.figures(first + 1, second) == {}


@needs(*RECORDS, FIGURES)
def test_a_figure_that_cannot_grow_costs_no_record_t34(store: Store) -> None:
    for _ in range(3):
        store.apply([], {"defer:new": 2**62}, NOW)
    store.apply([BORN], {"defer:new": 1}, NOW)
    assert store.figures(0, NEVER)[hour_of(NOW)] == {"defer:new": 2**53}
    assert store.load([KEY]).keys() == {KEY}


def entry(text: str, *, deny: bool = False, comment: str = "") -> Entry:
    return Entry(parse_subject(text), NEVER if deny else 0, comment=comment, created=NOW)


@needs(LISTS)
def test_entries_are_found_by_what_they_name(store: Store) -> None:
    texts = ["192.0.2.0/24", "192.0.2.7", "0.0.0.0/0", "2001:db8::/32", "example.net"]
    store.put_entries([entry(text) for text in texts])
    assert [str(e.subject) for e in store.entries()] == texts
    assert len({e.number for e in store.entries()}) == len(texts)

    def named(client: bytes, domain: str) -> set[str]:
        packed = parse_address(client)
        assert packed is not None
        seen = Seen(packed, domain)
        # A store may return more than speaks; what speaks it must return.
        found = store.matching(seen)
        return {str(e.subject) for e in found if last_word([e], seen, NOW) is not None}

    assert named(b"192.0.2.7", "x.example") == {"192.0.2.0/24", "192.0.2.7", "0.0.0.0/0"}
    assert named(b"198.51.100.1", "example.net") == {"0.0.0.0/0", "example.net"}
    assert named(b"2001:db8::1", "x.example") == {"2001:db8::/32"}
    assert named(b"2001:db9::1", "x.example") == set()


KINDS: dict[Subject, Seen] = {
    ClientName("mail.example.org"): Seen(bytes(4), names=("x.example", "a.mail.example.org")),
    SenderMailbox("a@example.org"): Seen(bytes(4), sender="a@example.org"),
    SenderDomain("example.org"): Seen(bytes(4), sender="a@example.org"),
    SenderDomain("example.org", below=True): Seen(bytes(4), sender="a@x.y.example.org"),
    RecipientMailbox("b@example.net"): Seen(bytes(4), recipient="b@example.net"),
    Domain("example.net", below=True): Seen(bytes(4), "x.y.example.net"),
}
STRANGER = Seen(bytes((9, 9, 9, 9)), "a.example", "b@a.example", "c@b.example", ("c.example",))


@pytest.mark.parametrize("subject", KINDS, ids=lambda subject: subject.kind)
@needs(LISTS)
def test_entries_of_every_kind_are_kept_and_found(store: Store, subject: Subject) -> None:
    wanted = Entry(subject, 0, NEVER, "why", NOW, origin="whitelist.txt", spoofable=True)
    block = entry("192.0.2.0/24")
    store.put_entries([block, wanted])
    assert [replace(e, number=0) for e in store.entries()] == [block, wanted]
    assert store.entries_after(0, 9).entries == store.entries()
    (found,) = store.matching(KINDS[subject])
    assert replace(found, number=0) == wanted
    assert store.matching(STRANGER) == []
    assert store.remove_entries([subject]) == 1
    assert [e.subject for e in store.entries()] == [block.subject]


@needs(LISTS)
def test_kinds_with_the_same_name_are_other_subjects(store: Store) -> None:
    kinds: list[Subject] = [SenderDomain("a.example"), SenderDomain("a.example", below=True)]
    kinds += [Domain("a.example"), Domain("a.example", below=True), ClientName("a.example")]
    store.put_entries([Entry(subject, 0) for subject in kinds])
    store.put_entries([Entry(kinds[0], NEVER)])
    found = [e.subject for e in store.entries()]
    assert set(found) == set(kinds)
    assert (len(found), found[-1]) == (len(kinds), kinds[0])
    assert store.remove_entries(kinds[1:2]) == 1
    assert {e.subject for e in store.entries()} == {kinds[0], *kinds[2:]}


@needs(LISTS)
def test_one_subject_has_an_entry_for_each_purpose(store: Store) -> None:
    for subject in (parse_subject("192.0.2.7"), RecipientMailbox("b@example.net")):
        all_of_it = [Entry(subject, 0, purpose=purpose) for purpose in Purpose]
        store.put_entries(all_of_it)
        store.put_entries([replace(all_of_it[0], comment="again")])
        found = store.matching(Seen(bytes((192, 0, 2, 7)), recipient="b@example.net"))
        assert {e.purpose for e in found} == set(Purpose)
        assert len(found) == len(Purpose)
        assert store.remove_entries([subject], Purpose.TRAP) == 1
        assert {e.purpose for e in store.entries()} == {*Purpose} - {Purpose.TRAP}
        for purpose in Purpose:
            store.remove_entries([subject], purpose)
        assert store.entries() == []


@needs(LISTS)
def test_where_names_are_not_known_a_look_up_tells_that_some_entry_has_one(store: Store) -> None:
    seen = Seen(bytes((9, 9, 9, 9)), "a.example")
    store.put_entries([entry("192.0.2.7"), entry("example.net")])
    assert wants(store.matching(seen), seen, NOW) == frozenset()
    store.put_entries([Entry(ClientName(f"{n}.example"), 0) for n in range(3)])
    assert wants(store.matching(seen), seen, NOW) == {Kind.NAMES}
    assert store.matching(replace(seen, names=("a.example.org",))) == []


@needs(LISTS)
def test_a_look_up_says_what_all_entries_say(store: Store) -> None:
    """Also of names with many labels, and with an address inside another."""
    dice = random.Random(7)
    labels = ".".join(str(n) for n in range(40))
    names = ["example.org", "a.example.org", f"{labels}.example.org"]
    subjects: list[Subject] = [parse_subject(text) for text in ("192.0.2.7", "192.0.2.0/24")]
    subjects += [parse_subject("64:ff9b::/96"), parse_subject("::/0")]
    subjects += [Domain(name) for name in names]
    for name in names:
        subjects += [Domain(name, below=True), ClientName(name), SenderDomain(name)]
        subjects += [SenderDomain(name, below=True), SenderMailbox(f"a@{name}")]
        subjects += [RecipientMailbox(f"a@{name}")]
    for _ in range(20):
        store.put_entries(
            Entry(s, dice.choice([0, NEVER])) for s in dice.sample(subjects, len(subjects) // 3)
        )
        name, sender = dice.choice(names), dice.choice(names)
        seen = Seen(bytes((192, 0, 2, 7)), name, f"a@{name}", f"a@{sender}")
        seen = replace(seen, names=dice.choice([None, (), (name, sender)]))
        seen = replace(seen, spf_passed=dice.choice([None, False, True]))
        carriers = (b"", parse_address(b"64:ff9b::c000:207"), parse_address(b"2002:c000:207::1"))
        seen = replace(seen, carrier=dice.choice(carriers))
        for word in (last_word, wants):
            assert word(store.matching(seen), seen, NOW) == word(store.entries(), seen, NOW)
        store.remove_entries(dice.sample(subjects, 3))


@needs(LISTS)
def test_one_entry_a_subject_and_the_last_word_counts(store: Store) -> None:
    store.put_entries([entry("192.0.2.7"), entry("example.net")])
    store.put_entries([entry("192.0.2.7", deny=True, comment="now refused")])
    assert [(str(e.subject), e.comment) for e in store.entries()] == [
        ("example.net", ""),
        ("192.0.2.7", "now refused"),
    ]
    assert store.entries()[1] == replace(
        entry("192.0.2.7", deny=True, comment="now refused"), number=store.entries()[1].number
    )


@needs(LISTS)
def test_removing_entries_says_how_many_there_were(store: Store) -> None:
    store.put_entries([entry("192.0.2.7"), entry("example.net"), entry("2001:db8::/32")])
    gone = [parse_subject("192.0.2.7"), Domain("example.net"), parse_subject("192.0.2.8")]
    assert store.remove_entries(gone) == 2
    assert [e.subject for e in store.entries()] == [parse_subject("2001:db8::/32")]
    assert store.remove_entries([Network(b"\xc0\x00\x02\x07", 31)]) == 0


@needs(LISTS)
def test_entries_are_put_all_or_none(store: Store) -> None:
    def failing() -> Iterator[Entry]:
        yield entry("192.0.2.7")
        raise RuntimeError("mid")

    with pytest.raises(RuntimeError, match="mid"):
        store.put_entries(failing())
    assert store.entries() == []


@needs(LISTS)
def test_the_generation_tells_a_change(store: Store) -> None:
    seen = [store.generation()]
    store.put_entries([entry("192.0.2.7")])
    seen.append(store.generation())
    store.remove_entries([parse_subject("192.0.2.7")])
    seen.append(store.generation())
    assert len(set(seen)) == 3
    store.apply([came(MET[0])], {"defer:new": 1}, NOW)
    assert store.generation() == seen[-1]


def many(number: int) -> Iterator[Change]:
    for i in range(number):
        network = bytes((192, 0, 2, i % 256)) if i % 2 else bytes((i % 256,)) * 16
        key = Triplet(network, f"s{i}@example.org", "b@example.net")
        yield Created(key, NOW, NOW + 300, NOW + (1000 if i % 3 else 5000))
        if not i % 6:
            yield Passed(key, NOW + 2000)


def waiting_in(net: bytes, number: int) -> list[Change]:
    keys = [Triplet(net, f"s{n}@example.org", "b@example.net") for n in range(number)]
    return [Created(key, NOW, NOW + 300, NOW + 1000) for key in keys]


def thinned(
    store: Store, network: bytes, look: int, part: float, *, passed: bool = False
) -> list[Stretch]:
    """Walk over one network to its end."""
    steps: list[Stretch] = []
    while not steps or steps[-1].after is not None:
        after = steps[-1].after if steps else None
        steps.append(
            store.thin(network, passed=passed, look=look, part=part, now=NOW + 300, after=after)
        )
    return steps


def crowded(store: Store) -> list[Triplet]:
    """Fill two networks, with neighbours of one; return those of the first that passed."""
    below, above = bytes((192, 0, 1, 0)), bytes((192, 0, 3, 0))
    nets = [waiting_in(KEY.network, 40), waiting_in(SIXTH.network, 5)]
    store.apply(
        [x for net in (*nets, waiting_in(below, 3), waiting_in(above, 3)) for x in net], {}, NOW
    )
    passed = [Triplet(KEY.network, f"s{n}@example.org", "b@example.net") for n in range(10)]
    store.apply([Passed(key, NOW + 9000) for key in passed], {}, NOW + 300)
    store.apply([Passed(key, NOW + 9000) for key in passed[:4]], {}, NOW + 300)
    return passed


@pytest.mark.parametrize("look", [1, 7, 100])
@needs(*RECORDS)
def test_a_network_is_counted_in_steps_t36(store: Store, look: int) -> None:
    crowded(store)
    for passed, number in ((False, 30), (True, 10)):
        steps = thinned(store, KEY.network, look, 0, passed=passed)
        assert sum(step.found for step in steps) == number
        assert all(step.found <= look and not step.gone for step in steps)
    assert sum(step.found for step in thinned(store, SIXTH.network, look, 0)) == 5
    assert thinned(store, OTHER.network, look, 0) == [Stretch(0, 0, None)]
    assert store.count(NOW) == (41, 10)


@pytest.mark.parametrize("look", [7, 100])
@needs(*RECORDS, FIGURES)
def test_thin_forgets_waiting_records_of_the_network_alone_t6(store: Store, look: int) -> None:
    passed = crowded(store)
    gone = sum(step.gone for step in thinned(store, KEY.network, look, 0.5))
    assert 15 <= gone <= 22
    assert store.count(NOW + 300) == (41 - gone, 10)
    assert sum(step.gone for step in thinned(store, KEY.network, look, 1)) == 30 - gone
    assert store.count(NOW + 300) == (11, 10)
    assert set(store.load(passed)) == set(passed)
    assert sum(hour.get(EVICTED, 0) for hour in store.figures(0, NEVER).values()) == 30


@needs(*RECORDS, FIGURES)
def test_thin_forgets_passed_records_of_the_network_alone_the_used_ones_last_t36(
    store: Store,
) -> None:
    passed = crowded(store)
    assert sum(step.gone for step in thinned(store, KEY.network, 100, 0.6, passed=True)) == 6
    assert set(store.load(passed)) == set(passed[:4])
    assert store.count(NOW + 300) == (41, 4)
    assert sum(hour.get(DELAYED, 0) for hour in store.figures(0, NEVER).values()) == 6


@pytest.mark.parametrize("first", [0, 255])
@needs(*RECORDS)
def test_trim_of_any_network_spares_what_has_passed_t6(store: Store, first: int) -> None:
    nets = [bytes((first, n, 7, 0)) for n in range(50)] + [SIXTH.network]
    store.apply([change for net in nets for change in waiting_in(net, 4)], {}, NOW)
    passed = [Triplet(net, "s0@example.org", "b@example.net") for net in nets]
    store.apply([Passed(key, NOW + 9000) for key in passed], {}, NOW + 300)
    gone = 0
    for _ in range(100):
        step = store.trim(30, NOW + 300)
        assert step <= 30
        gone += step
        if gone == 3 * len(nets):
            break
    assert gone > len(nets)
    assert store.count(NOW + 300) == (3 * len(nets) - gone, len(nets))
    assert set(store.load(passed)) == set(passed)


@pytest.mark.parametrize("limit", [1, 7, 100, 1000])
@needs(*RECORDS, FIGURES)
def test_expire_forgets_what_is_dead_in_steps_and_counts_it(store: Store, limit: int) -> None:
    store.apply(list(many(100)), {}, NOW)
    stopped = delayed = steps = waiting = passed = 0
    after = None
    while steps == 0 or after is not None:
        page = store.expire(NOW + 1000, limit, after)
        assert page.stopped + page.delayed + page.waiting + page.passed <= limit
        stopped, delayed, after = stopped + page.stopped, delayed + page.delayed, page.after
        waiting, passed = waiting + page.waiting, passed + page.passed
        steps += 1
    assert (stopped, delayed) == (66, 0)
    assert (waiting, passed) == (17, 17)
    assert steps >= -(-100 // limit)  # one that takes long ends early
    assert store.count(NOW + 1000) == (17, 17)
    rest = store.expire(NOW + 5000, 1000)
    assert (rest.stopped, rest.delayed, rest.after) == (17, 17, None)
    total = sum(hour.get(STOPPED, 0) for hour in store.figures(0, NEVER).values())
    assert total == 83


@needs(*RECORDS)
def test_expire_keeps_what_lives_to_the_second(store: Store) -> None:
    store.apply([BORN], {}, NOW)
    assert store.expire(NOW + 999, 10).stopped == 0
    assert store.expire(NOW + 1000, 10).stopped == 1


@needs(*RECORDS)
def test_count_is_of_the_living(store: Store) -> None:
    store.apply([BORN, replace(BORN, triplet=OTHER), Passed(OTHER, NOW + 9000)], {}, NOW)
    assert store.count(NOW) == (1, 1)
    assert store.count(NOW + 1000) == (0, 1)
    assert store.count(NOW + 9000) == (0, 0)
    assert store.count(NOW - 6) == (0, 1)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(), [KEY, OTHER, SIXTH]),
        (Filter(sender="a@"), [KEY, SIXTH]),
        (Filter(sender="%"), []),
        (Filter(sender="_"), []),
        (Filter(recipient="example.net"), [KEY, OTHER, SIXTH]),
        (Filter(recipient="example.org"), []),
        (Filter(null_sender=True), [OTHER]),
        (Filter(passed=True), [OTHER]),
        (Filter(passed=False), [KEY, SIXTH]),
        (Filter(first_network=bytes(4), last_network=b"\xff" * 4), [KEY, OTHER]),
        (Filter(first_network=bytes(16), last_network=b"\xff" * 16), [SIXTH]),
        (Filter(first_network=KEY.network, last_network=KEY.network), [KEY]),
        (Filter(first_network=KEY.network, last_network=KEY.network, passed=True), []),
    ],
)
@needs(*RECORDS)
def test_search(store: Store, wanted: Filter, found: list[Triplet]) -> None:
    keys = sorted([KEY, OTHER, SIXTH], key=lambda key: key.network)
    store.apply([replace(BORN, triplet=key) for key in keys], {}, NOW)
    store.apply([Passed(OTHER, NOW + 9000)], {}, NOW)
    wanted_keys = [key for key in keys if key in found]
    assert [key for key, _ in store.search(wanted, 10)] == wanted_keys
    assert [key for key, _ in store.search(wanted, 1)] == wanted_keys[:1]
    assert all(record(store, key) == found_record for key, found_record in store.search(wanted, 9))


@pytest.mark.parametrize("step", [1, 2, 7])
@needs(*RECORDS)
def test_a_search_in_steps_finds_each_record_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Also of a network with more records than a step, and where some change between steps."""
    for module in (sqlite, mysql):
        monkeypatch.setattr(module, "STEP", step)
    nets = [KEY.network, OTHER.network, SIXTH.network, bytes(4), b"\xff" * 16]
    keys = [Triplet(net, f"{n}@example.org", "b@example.net") for net in nets for n in range(5)]
    store.apply([replace(BORN, triplet=key) for key in keys], {}, NOW)
    found = []
    for key, _record in store.search(Filter(), 1000):
        found.append(key)
        store.apply([Passed(key, NOW + 9000)], {}, NOW)
    assert sorted(found, key=lambda key: key.key) == sorted(keys, key=lambda key: key.key)
    assert len(list(store.search(Filter(), 12))) == 12
    assert len(list(store.search(Filter(sender="3@"), 4))) == 4
    only = Filter(first_network=SIXTH.network, last_network=b"\xff" * 16)
    assert len(list(store.search(only, 1000))) == 10


@needs(*RECORDS, FIGURES)
def test_forget_is_uncounted(store: Store) -> None:
    store.apply([BORN, replace(BORN, triplet=OTHER)], {}, NOW)
    assert store.forget([KEY, SIXTH], NOW) == 1
    assert list(store.load([KEY, OTHER])) == [OTHER]
    assert store.figures(0, NEVER) == {}


@needs(*RECORDS, FIGURES)
def test_removals_are_counted_and_nothing_else_is(store: Store) -> None:
    """So that a daemon, on whatever host, knows when its memory may be wrong."""
    before = store.removals()
    assert before is not None
    store.apply([BORN, replace(BORN, triplet=OTHER)], {"defer:new": 2}, NOW)
    store.apply([Passed(KEY, NOW + 1000)], {}, NOW + 300)
    store.expire(NOW + 10_000, 1000)
    assert store.removals() == before
    store.apply([BORN], {}, NOW)
    store.forget([KEY], NOW)
    after = store.removals()
    assert after not in (None, before)
    store.forget([KEY], NOW)
    assert store.removals() not in (None, before, after)
    assert store.figures(0, NEVER).keys() <= {
        hour_of(NOW),
        hour_of(NOW + 300),
        hour_of(NOW + 10_000),
    }


@needs(*RECORDS)
def test_what_waits_is_found_among_a_bounded_number(store: Store) -> None:
    names = [replace(KEY, sender=f"s{number}@example.org") for number in range(20)]
    pooled = replace(KEY, network=Pool(PoolKind.SPF, "example.org").packed)
    keys = [*names, KEY, OTHER, SIXTH]
    store.apply([replace(BORN, triplet=key) for key in (*keys, pooled)], {}, NOW)
    store.apply([Passed(names[0], NOW + 9000)], {}, NOW + 300)

    def found(look: int = 99, **wanted: object) -> list[Triplet]:
        some = store.waiting(Filter(**wanted), look)  # type: ignore[arg-type]
        assert some.whole is (look == 99)
        return [key for key, _record in some.records]

    assert set(found()) == set(keys) - {names[0]}
    assert set(found(sender="a@")) == {KEY, SIXTH}
    assert found(null_sender=True) == [OTHER]
    assert found(first_network=OTHER.network, last_network=OTHER.network) == [OTHER]
    assert found(recipient="c@") == []
    assert 0 < len(found(look=5)) <= 5
    ((_, one),) = store.waiting(Filter(null_sender=True), 99).records
    assert one == record(store, OTHER)


@needs(*RECORDS)
def test_who_is_freed_need_not_wait(store: Store) -> None:
    """The earliest moment holds: with two hosts it does not matter which of them comes first."""
    store.apply([BORN, replace(BORN, triplet=OTHER), replace(BORN, triplet=SIXTH)], {}, NOW)
    store.apply([Passed(SIXTH, NOW + 2000)], {}, NOW + 300)
    before = {key: record(store, key) for key in (KEY, OTHER, SIXTH)}
    store.apply([Freed(KEY, NOW + 60), Blocked(KEY), Freed(SIXTH, NOW + 60)], {}, NOW + 60)
    store.apply([Freed(KEY, NOW + 99), Freed(Triplet(b"\xc0\0\x02\0", "", ""), NOW)], {}, NOW + 99)
    freed = replace(before[KEY], defer_until=NOW + 60, blocked=2)
    assert store.load([KEY, OTHER, SIXTH]) == before | {KEY: freed}
    store.apply([Freed(OTHER, NOW + 1000)], {}, NOW + 1000)  # too late: it has expired
    assert record(store, OTHER) == before[OTHER]


@needs(*RECORDS, FIGURES)
def test_each_daemon_is_told_who_is_freed(store: Store) -> None:
    store.apply([BORN], {}, NOW)
    before = store.removals()
    store.apply([Freed(KEY, NOW + 60)], {"released": 1}, NOW + 60)
    assert store.removals() not in (None, before)
    assert store.figures(0, NEVER) == {hour_of(NOW + 60): {"released": 1}}


@needs(*RECORDS, NAMES)
def test_the_record_of_a_pool_is_freed_as_any(store: Store) -> None:
    pooled = Triplet(Pool(PoolKind.SPF, "example.org").packed, KEY.sender, KEY.recipient)
    store.apply([replace(BORN, triplet=pooled)], {}, NOW)
    store.apply([Freed(pooled, NOW + 60)], {}, NOW + 60)
    assert record(store, pooled).defer_until == NOW + 60


SEEN = Record(NOW, NOW + 300, NOW + 1000, blocked=3)


@needs(*RECORDS, FIGURES)
def test_facts_merge_and_merging_again_changes_nothing_p8(store: Store) -> None:
    """What two stores know of a triplet becomes one record; a copy of a copy counts nothing."""
    known = Record(NOW - 50, NOW + 250, NOW + 9000, blocked=2, passed=4)
    both = Record(NOW - 50, NOW + 250, NOW + 9000, blocked=3, passed=4)
    store.merge({KEY: SEEN, SIXTH: known})
    for records in ({KEY: known, OTHER: SEEN}, {KEY: SEEN}, {KEY: known, SIXTH: known}, {}):
        store.merge(records)
        assert store.load([KEY, OTHER, SIXTH]) == {
            KEY: both,
            SIXTH: known,
        } | {OTHER: SEEN}
    assert store.figures(0, NEVER) == {}
    assert [key for key, _ in store.search(Filter(), 9)] == sorted(
        (KEY, OTHER, SIXTH), key=lambda t: t.key
    )


@needs(*RECORDS)
def test_a_dead_predecessor_is_no_first_contact_p8(store: Store) -> None:
    """Else who was first seen long ago would pass before the delay."""
    dead = Record(NOW - 9000, NOW - 8700, NOW, blocked=7, passed=7)
    store.merge({KEY: dead, OTHER: SEEN})
    store.merge({KEY: SEEN, OTHER: dead})
    assert store.load([KEY, OTHER]) == {KEY: SEEN, OTHER: SEEN}


@needs(*RECORDS)
def test_what_is_merged_lives_on(store: Store) -> None:
    store.merge({KEY: SEEN})
    store.apply([Passed(KEY, NOW + 2000)], {}, NOW + 300)
    assert record(store) == Record(NOW, NOW + 300, NOW + 2000, blocked=3, passed=1)


def test_what_is_tried_leaves_nothing_t34(store: Store) -> None:
    """And a store that cannot try it says so: then it is what its errors say."""
    if isinstance(store, sqlite.SqliteStore | mysql.MysqlStore):
        for _ in range(2):
            store.prove()
        assert store.count(NOW) == (0, 0)
        assert list(store.search(Filter(), 10)) == []
        assert store.expire(NOW, 10).stopped == 0
        with store.transaction(lambda: None):
            store.apply([BORN], {}, NOW)
        assert record(store).blocked == 1
    elif isinstance(store, TreeStore):
        for _ in range(2):
            store.prove()
        assert list(store.walk()) == []
        assert list(store.search(Filter(), 10)) == []
    else:
        with pytest.raises(StoreError):
            store.prove()


def test_closing_twice_is_fine(store: Store) -> None:
    store.close()
    store.close()


KEYS = [KEY, OTHER, SIXTH]
TIMES = st.integers(NOW - 3, NOW + 12)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[list[Change], int]]:
    """Draw batches of any changes at any times: short lives, so that all guards are met."""
    change = st.one_of(
        st.builds(Created, st.sampled_from(KEYS), TIMES, TIMES, TIMES),
        st.builds(Blocked, st.sampled_from(KEYS), st.integers(1, 9)),
        st.builds(Passed, st.sampled_from(KEYS), TIMES, st.integers(1, 9)),
        st.builds(Freed, st.sampled_from(KEYS), TIMES),
    )
    return draw(st.lists(st.tuples(st.lists(change, max_size=4), TIMES), max_size=12))


def figures_of(one: Store, store: Store) -> dict[int, dict[str, int]]:
    """Return figures, without what became of the stopped where the other store cannot tell."""
    left_out = "never:" if store.lacks(HISTORY) else "nothing"
    hours = one.figures(0, NEVER).items()
    return {hour: {n: v for n, v in h.items() if not n.startswith(left_out)} for hour, h in hours}


def same_as_the_reference(store: Store, history: list[tuple[list[Change], int]]) -> None:
    reference = MemoryStore()
    for changes, now in history:
        states = []
        for one in (reference, store):
            one.apply(changes, {}, now)
            states.append((one.load(KEYS), figures_of(one, store), one.count(now)))
        assert states[0] == states[1]


@given(history=histories())
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_sqlite_does_what_the_reference_does(
    history: list[tuple[list[Change], int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The SQL of a store and `core.record.applied` are the same rule."""
    path = tmp_path_factory.mktemp("reference")
    with closing(open_store(f"sqlite://{path}/x.db", timeout=4)) as store:
        same_as_the_reference(store, history)


@given(history=histories())
@settings(max_examples=100, deadline=None)
def test_mysql_does_what_the_reference_does(
    mariadb: MariaDb, history: list[tuple[list[Change], int]]
) -> None:
    database = mariadb.database(schema.LISTS, schema.DATA)
    with closing(open_store(database.url, timeout=4)) as store:
        same_as_the_reference(store, history)
    database.drop()


@needs(*RECORDS)
def test_what_is_noted_makes_a_record_that_has_passed_or_is_counted(store: Store) -> None:
    store.apply([Noted(KEY, NOW, NOW + 50), Noted(KEY, NOW + 1, NOW + 40, 3)], {}, NOW)
    assert record(store) == Record(NOW, NOW, NOW + 50, passed=4)
    store.apply([Created(OTHER, NOW, NOW + 300, NOW + 1000)], {}, NOW)
    store.apply([Noted(OTHER, NOW + 1, NOW + 2000)], {}, NOW + 1)
    assert record(store, OTHER) == Record(NOW, NOW + 300, NOW + 2000, blocked=1, passed=1)


@needs(*RECORDS)
def test_what_is_noted_after_a_record_has_ended_begins_anew(store: Store) -> None:
    store.apply([BORN], {}, NOW)
    store.apply([Noted(KEY, NOW + 1000, NOW + 5000)], {}, NOW + 1000)
    assert record(store) == Record(NOW + 1000, NOW + 1000, NOW + 5000, passed=1)
    found = figures_of(store, MemoryStore())[hour_of(NOW + 1000)]
    assert found == {STOPPED: 1} | ({} if store.lacks(HISTORY) else {"never:unknown": 1})


# What is no mail from a network: a pool's triplet, and what is known of clients and of our users.
POOL = Pool(PoolKind.SPF, "pool.example.org").packed
NAMED = [
    replace(KEY, network=POOL),
    trust_of(POOL, ""),
    trust_of(POOL, "example.org"),
    trapped_of(b"\xc0\0\2\1"),
    trapped_of(bytes.fromhex("20010db8") + bytes(12)),
    sent_of("a@example.org", "b@example.net"),
    sent_of("x" * 255, "y" * 255),
    replace(KEY, network=Pool(PoolKind.NAME, "n" * 253).packed),
]


@needs(*RECORDS)
@pytest.mark.parametrize("key", NAMED, ids=range(len(NAMED)))
def test_what_stands_under_a_name_is_kept_as_all_else(store: Store, key: Triplet) -> None:
    store.apply(
        [Created(key, NOW, NOW + 300, NOW + 1000), Created(KEY, NOW, NOW, NOW + 9)], {}, NOW
    )
    store.apply([Noted(key, NOW + 1, NOW + 2000)], {}, NOW)
    wanted = Record(NOW, NOW + 300, NOW + 2000, blocked=1, passed=1)
    assert store.load([key, KEY]) == {key: wanted, KEY: Record(NOW, NOW, NOW + 9, blocked=1)}
    assert store.count(NOW) == (1, 0)
    assert store.forget([key], NOW) == 1
    assert store.load([key]) == {}


@needs(*RECORDS)
@pytest.mark.parametrize("key", NAMED, ids=range(len(NAMED)))
def test_the_end_of_what_stands_under_a_name_is_in_no_figure(store: Store, key: Triplet) -> None:
    store.apply([Created(key, NOW, NOW, NOW + 9), Noted(NAMED[3], NOW, NOW + 9), BORN], {}, NOW)
    page = store.expire(NOW, 100)
    assert page.waiting - page.pools == store.count(NOW)[0] == 1, "pools take room, but are no mail"
    page = store.expire(NOW + 9, 100)
    assert (page.stopped, page.delayed, page.waiting, page.passed) == (0, 0, 1, 0)
    assert store.load([key, NAMED[3]]) == {}
    assert store.figures(0, NOW + 9999).get(hour_of(NOW), {}).get(STOPPED, 0) == 0
    store.apply([Created(key, NOW, NOW, NOW + 9)], {}, NOW)
    store.apply([Created(key, NOW + 10, NOW + 10, NOW + 20)], {}, NOW + 10)
    assert record(store, key) == Record(NOW + 10, NOW + 10, NOW + 20, blocked=1)
    assert store.figures(0, NOW + 9999).get(hour_of(NOW), {}).get(STOPPED, 0) == 0


@needs(*RECORDS)
def test_a_search_for_one_name_finds_what_stands_under_it_alone(store: Store) -> None:
    store.apply([*(Noted(key, NOW, NOW + 9) for key in NAMED), BORN], {}, NOW)
    for name in {key.network for key in NAMED}:
        found = [key for key, _ in store.search(Filter(name, name), 100)]
        assert set(found) == {key for key in NAMED if key.network == name}
    assert [key for key, _ in store.search(Filter(KEY.network, KEY.network), 100)] == [KEY]
    trust = Filter(POOL, POOL, recipient=trust_of(POOL, "").recipient)
    assert len(list(store.search(trust, 100))) == 2


def test_what_stands_under_a_name_is_in_nobodys_way_where_it_is_not_kept(store: Store) -> None:
    """A tree keeps networks alone: a connection is answered as if nothing were known beside it."""
    connection = connection_of(b"\xc0\x00\x02\x00", 32)
    pooled, trust = replace(connection, network=POOL), trust_of(POOL, "")
    made = [Created(key, NOW, NOW + 120, NOW + 900) for key in (connection, pooled)]
    store.apply([*made, Noted(trust, NOW, NOW + 900)], {}, NOW)
    found = store.load([connection, pooled, trust])
    assert connection in found
    assert len(found) == (1 if store.lacks(NAMES) else 3)
