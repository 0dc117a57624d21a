"""The old program beside us on the same tables: neither changes what the other has.

It looks at greylisting_lists first, then at the client's /24 or /64 in greylisting_data, and a cron
job deletes what has expired.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import product

import pytest

from greylag.core.accesslist import NEVER, Entry, Purpose
from greylag.core.client import last_address, network, parse_address
from greylag.core.history import Action, Begun, Deferral, Tried
from greylag.core.identity import Pool, PoolKind, of_address
from greylag.core.record import Change, Created, Noted
from greylag.core.subject import (
    ClientName,
    Domain,
    RecipientMailbox,
    SenderDomain,
    SenderMailbox,
    parse_subject,
)
from greylag.core.triplet import Triplet, sent_of, trapped_of, trust_of
from greylag.store import open_store
from greylag.store.base import Filter, Store
from tests.servers.mariadb import Database

NOW = 1_750_000_000
SENDER, RECIPIENT = "a@example.org", "b@example.net"
CLIENTS = ["192.0.2.17", "192.0.2.200", "198.51.100.9", "2001:db8::1", "2001:db8:0:1::9", "0.0.0.1"]
# Addresses whose bytes are those of names, as a look-up by range could find them.
CLIENTS += ["1.112.111.111", "3.49.57.50", "170:6f6f:6c2e::1", "131:3932:2e30:2e32::"]
WRITERS = [SENDER, "", "example.org", "c@example.org"]
READERS = [RECIPIENT, r"\\trusted", r"\\trapped", r"\trusted", "other@a.example"]

OLD_LISTS = """SELECT block_expires > FROM_UNIXTIME(%s) FROM greylisting_lists
    WHERE record_expires > FROM_UNIXTIME(%s) AND ((ipaddr_start <= %s AND ipaddr_end >= %s)
        OR rcpt_to = %s) ORDER BY ipaddr_prefixsize DESC, id LIMIT 1"""
OLD_RECORD = """SELECT id, block_expires > FROM_UNIXTIME(%s) FROM greylisting_data
    WHERE record_expires > FROM_UNIXTIME(%s) AND mail_from = %s AND rcpt_to = %s
    AND relay_ip BETWEEN %s AND %s"""
OLD_NEW = """INSERT INTO greylisting_data VALUES (0, %s, %s, %s, FROM_UNIXTIME(%s),
    FROM_UNIXTIME(%s), 1, 0, 0, FROM_UNIXTIME(%s), NOW())"""
OLD_CLEANER = "DELETE FROM greylisting_data WHERE record_expires < FROM_UNIXTIME(%s)"
OLD_TABLES = "CHECKSUM TABLE greylisting_data, greylisting_lists"

POOL = Pool(PoolKind.SPF, "pool.example.org").packed
KEYS = [
    *(Triplet(identity, SENDER, RECIPIENT) for identity in (POOL, of_address(b"\xc0\0\2\x11"))),
    Triplet(Pool(PoolKind.NAME, "oo.example").packed, "", RECIPIENT),
    trust_of(POOL, ""),
    trust_of(of_address(b"\xc0\0\2\x11"), "example.org"),
    trust_of(of_address(bytes.fromhex("20010db8") + bytes(12)), "example.org"),
    trapped_of(b"\xc0\0\2\x11"),
    sent_of(SENDER, RECIPIENT),
]
ENTRIES = [
    Entry(parse_subject("192.0.2.0/24"), NEVER, purpose=Purpose.PROVIDER),
    Entry(parse_subject("198.51.100.9"), NEVER, spoofable=True),
    Entry(parse_subject("2001:db8::/32"), 0, spoofable=True),
    Entry(Domain("example.net", below=True), NEVER),
    Entry(Domain("a.example"), NEVER, spoofable=True),
    Entry(RecipientMailbox(RECIPIENT), NEVER),
    Entry(RecipientMailbox(RECIPIENT), 0, purpose=Purpose.TRAP),
    Entry(RecipientMailbox(RECIPIENT), 0, purpose=Purpose.EXPECTED),
    Entry(SenderMailbox(SENDER), NEVER),
    Entry(SenderDomain("example.org"), 0, spoofable=True),
    Entry(ClientName("mail.example.org"), NEVER),
]


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    with closing(open_store(database.url, timeout=4)) as opened:
        yield opened


def ours(store: Store) -> None:
    """Keep all that the old program has no place for."""
    changes: list[Change] = [Created(key, NOW, NOW + 300, NOW + 9000) for key in KEYS]
    store.apply([*changes, *(Noted(key, NOW, NOW + 99999) for key in KEYS)], {}, NOW)
    store.put_entries(ENTRIES)
    client = network(b"\xc0\0\2\x11", 24)
    deferral = Deferral(Triplet(client, SENDER, RECIPIENT), NOW, NOW + 300, pool=POOL)
    store.remember([Begun(deferral), Tried(deferral.triplet, NOW + 9)], NOW)
    store.note_action(Action(NOW, "admin", "allow", "192.0.2.0/24"))


def verdicts(database: Database) -> list[object]:
    """Return what the old program would say to many, and which rows it says so of."""
    found: list[object] = []
    with database.server.connect(database.name) as cursor:
        cursor.execute("SET time_zone = '+00:00'")
        for client, sender, recipient in product(CLIENTS, WRITERS, READERS):
            address = parse_address(client.encode())
            assert address is not None
            prefix = 24 if len(address) == 4 else 64
            net = network(address, prefix), last_address(address, prefix)
            domain = recipient.rpartition("@")[2]
            cursor.execute(OLD_LISTS, (NOW + 400, NOW + 400, address, address, domain))
            found.append(cursor.fetchall())
            cursor.execute(OLD_RECORD, (NOW + 400, NOW + 400, sender, recipient, *net))
            found.append(cursor.fetchall())
    return found


def old_rows(database: Database) -> None:
    """Fill the tables as the old program and its admin do."""
    with database.server.connect(database.name) as cursor:
        cursor.execute("SET time_zone = '+00:00'")
        for client in CLIENTS[:4]:
            given = (parse_address(client.encode()), SENDER, RECIPIENT, NOW + 300, NOW + 9000, NOW)
            cursor.execute(OLD_NEW, given)
        cursor.execute(
            OLD_NEW, (b"\xcb\0\x71\1", SENDER, RECIPIENT, NOW - 9000, NOW - 5000, NOW - 9300)
        )
        cursor.execute(
            "INSERT INTO greylisting_lists (ipaddr, ipaddr_start, ipaddr_end, ipaddr_prefixsize,"
            " rcpt_to, block_expires, record_expires) VALUES"
            " (NULL, '0', '0', 0, 'other.example', '2000-01-01', '9999-12-31 23:59:59'),"
            " ('198.51.100.0/24', UNHEX('C6336400'), UNHEX('C63364FF'), 24, NULL,"
            " '9999-12-31 23:59:59', '9999-12-31 23:59:59')"
        )


@pytest.mark.parametrize("filled", [False, True])
def test_the_old_programs_verdicts_are_those_without_our_rows(
    store: Store, database: Database, filled: bool
) -> None:
    if filled:
        old_rows(database)
    before, sums = verdicts(database), database.rows(OLD_TABLES)
    ours(store)
    assert len(database.rows("SELECT 1 FROM greylag_records")) == len(KEYS)
    assert len(database.rows("SELECT 1 FROM greylag_entries")) == len(ENTRIES)
    assert database.rows("SELECT tries FROM greylag_deferrals") == ((1,),)
    assert verdicts(database) == before
    assert database.rows(OLD_TABLES) == sums
    store.forget(KEYS, NOW)
    for purpose in Purpose:
        store.remove_entries([e.subject for e in ENTRIES if e.purpose is purpose], purpose)
    assert database.rows("SELECT 1 FROM greylag_entries") == ()
    assert database.rows(OLD_TABLES) == sums


def test_ours_ends_in_its_time_and_takes_no_row_of_the_old_program_along(
    store: Store, database: Database
) -> None:
    old_rows(database)
    ours(store)
    with database.server.connect(database.name) as cursor:  # what the old program keeps long
        cursor.execute("UPDATE greylisting_data SET record_expires = '2037-01-01'")
    sums = database.rows(OLD_TABLES)
    assert store.expire(NOW + 100_000, 999).after is None
    assert store.load(KEYS) == {}
    assert database.rows(OLD_TABLES) == sums
    ours(store)
    for _ in range(20):
        store.trim(9, NOW)  # nothing of it waits: all rows of names have passed
    assert store.load(KEYS).keys() == set(KEYS)


def test_the_old_cleaner_breaks_nothing_of_ours(store: Store, database: Database) -> None:
    old_rows(database)
    ours(store)
    records, entries = dict(store.search(Filter(), 99)), store.entries()
    with database.server.connect(database.name) as cursor:
        cursor.execute("SET time_zone = '+00:00'")
        assert cursor.execute(OLD_CLEANER, (NOW,)) == 1
    dead = {key for key in records if key.network == b"\xcb\0\x71\1"}
    assert len(dead) == 1
    assert dict(store.search(Filter(), 99)) == {k: r for k, r in records.items() if k not in dead}
    assert store.entries() == entries
    with database.server.connect(database.name) as cursor:
        cursor.execute("SET time_zone = '+00:00'")
        cursor.execute(OLD_CLEANER, (NOW + 100_000,))
    assert store.load(KEYS).keys() == set(KEYS)
    assert store.count(NOW) == (0, 0)
    store.apply([Noted(KEYS[0], NOW, NOW + 99999)], {}, NOW)
    assert store.load(KEYS[:1])[KEYS[0]].passed == 2
