"""List entries that the old lists cannot express have a table of their own: greylag_entries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pymysql
import pytest

from greylag.core.accesslist import NEVER, Entry, Purpose, Seen
from greylag.core.subject import (
    ClientName,
    Domain,
    Network,
    RecipientMailbox,
    SenderDomain,
    parse_subject,
)
from greylag.core.value import replace
from greylag.store import open_store
from greylag.store.base import KINDS, Store, StoreRefused
from tests.servers.mariadb import Database

NOW = 1_750_000_000
ADDRESS, DOMAIN = parse_subject("192.0.2.7"), parse_subject("example.net")
SEEN = Seen(bytes((192, 0, 2, 7)), "example.net", "b@example.net", names=())
OWN = [
    Entry(SenderDomain("example.org"), 0, spoofable=True),
    Entry(RecipientMailbox("b@example.net"), 0, purpose=Purpose.TRAP),
    Entry(parse_subject("192.0.2.0/24"), 0, purpose=Purpose.PROVIDER, origin="provider:example"),
    Entry(ClientName("mail.example.org"), NEVER, comment="b\u00fccher \U0001f600"),
]
ADD = """INSERT INTO greylag_entries (purpose, kind, network, prefix, name, denied_until, expires,
    created, comment, origin, spoofable) VALUES """


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    with closing(open_store(database.url, timeout=4)) as opened:
        yield opened


def number_of(database: Database) -> tuple[int, int]:
    """Return how many rows the old lists have, and how many ours."""
    (found,) = database.rows(
        "SELECT (SELECT COUNT(*) FROM greylisting_lists), (SELECT COUNT(*) FROM greylag_entries)"
    )
    return int(str(found[0])), int(str(found[1]))


def test_what_the_old_lists_can_express_stays_there(store: Store, database: Database) -> None:
    store.put_entries([Entry(ADDRESS, NEVER), *OWN, Entry(DOMAIN, 0)])
    assert number_of(database) == (2, len(OWN))
    assert [replace(e, number=0) for e in store.entries()][2:] == OWN
    found = store.matching(SEEN)
    assert {e.key for e in found} == {
        *((Purpose.ACCESS, subject) for subject in (ADDRESS, DOMAIN)),
        OWN[1].key,
        OWN[2].key,
    }


def test_a_subject_has_one_entry_whichever_table_it_is_in(store: Store, database: Database) -> None:
    """It changes the table when what it says does."""
    for entry, rows in (
        (Entry(ADDRESS, NEVER, created=NOW), (1, 0)),
        (Entry(ADDRESS, 0, origin="clients.txt", spoofable=True), (0, 1)),
        (Entry(ADDRESS, 0, spoofable=True), (0, 1)),
        (Entry(ADDRESS, NEVER, created=NOW), (1, 0)),
    ):
        store.put_entries([entry])
        assert number_of(database) == rows
        assert [replace(e, number=0) for e in store.entries()] == [entry]
    store.put_entries([Entry(ADDRESS, 0, purpose=Purpose.PROVIDER)])
    assert store.remove_entries([ADDRESS]) == 1
    assert number_of(database) == (0, 1)
    assert store.remove_entries([ADDRESS, DOMAIN], Purpose.PROVIDER) == 1
    assert number_of(database) == (0, 0)


def test_of_one_key_the_last_that_is_put_stays_in_either_table(store: Store) -> None:
    store.put_entries([replace(OWN[0], comment="first"), Entry(ADDRESS, 0), OWN[0]])
    store.put_entries([Entry(ADDRESS, 0), Entry(ADDRESS, 0, origin="clients.txt", spoofable=True)])
    assert [replace(e, number=0) for e in store.entries()] == [
        OWN[0],
        Entry(ADDRESS, 0, origin="clients.txt", spoofable=True),
    ]


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 6, 7, 99])
def test_pages_go_over_both_tables(store: Store, limit: int) -> None:
    old = [Entry(parse_subject(f"192.0.2.{n}"), 0, NEVER, "", NOW) for n in range(3)]
    new = [Entry(ClientName(f"{n}.example.org"), 0) for n in range(3)]
    store.put_entries(old + new)
    found: list[Entry] = []
    after: int | None = 0
    while after is not None:
        page = store.entries_after(after, limit)
        assert len(page.entries) <= limit
        found, after = found + page.entries, page.after
    assert [replace(e, number=0) for e in found] == old + new
    assert len({e.number for e in found}) == 6


def test_a_change_of_ours_is_seen_from_another_host_and_nothing_else_is(
    store: Store, database: Database
) -> None:
    with closing(open_store(database.url, timeout=4)) as other:
        seen = [other.generation()]
        assert seen == [0]
        store.put_entries(OWN)
        seen.append(other.generation())
        store.put_entries([replace(OWN[0], comment="new")])
        seen.append(other.generation())
        store.remove_entries([OWN[1].subject], Purpose.TRAP)
        seen.append(other.generation())
        assert len(set(seen)) == 4
        assert other.generation() == seen[-1]
        with closing(open_store(database.url, timeout=4)) as third:  # after a failure
            assert third.generation() == seen[-1]


def test_planted_rows_decide_nothing_and_are_counted(store: Store, database: Database) -> None:
    store.put_entries([OWN[0]])
    most = 2**63 - 1
    rows = [
        f"('access', 'network', UNHEX('C00002'), 24, '', 0, {most}, 0, '', '', 0)",
        f"('access', 'network', UNHEX('C0000207'), 24, '', 0, {most}, 0, '', '', 0)",
        f"('access', 'network', UNHEX('C0000200'), -1, '', 0, {most}, 0, '', '', 0)",
        f"('access', 'network', UNHEX('C0000200'), 33, '', 0, {most}, 0, '', '', 0)",
        f"('access', 'domain', '', 0, '', 0, {most}, 0, '', '', 0)",
        f"('access', 'sender', '', 0, UNHEX('FF'), 0, {most}, 0, '', '', 0)",
        f"('access', 'nonsense', '', 0, 'example.net', 0, {most}, 0, '', '', 0)",
        f"('nonsense', 'domain', '', 0, 'example.net', 0, {most}, 0, '', '', 0)",
        f"('', UNHEX('FF'), UNHEX('FF'), 0, 'example.net', 0, {most}, 0, '', '', 0)",
        f"('access', 'domain', '', 0, 'odd.example', -{most}, {most}, -{most}, '', '', -7)",
    ]
    with database.server.connect(database.name) as cursor:
        cursor.execute(ADD + ",".join(rows))
    page = store.entries_after(0, 99)
    odd = Entry(Domain("odd.example"), -most, created=-most, spoofable=True)
    assert [replace(e, number=0) for e in page.entries] == [OWN[0], odd]
    assert page.ignored == 9
    assert store.matching(SEEN) == []
    assert store.remove_entries([Domain("example.net"), Network(b"\xc0\0\2\7", 24)]) == 0


def test_without_the_table_such_entries_alone_are_refused_t10(database: Database) -> None:
    database.grant_only("SELECT, INSERT, UPDATE, DELETE", ["greylisting_data", "greylisting_lists"])
    with closing(open_store(database.url, timeout=4)) as store:
        with pytest.raises(StoreRefused, match="greylag db init --print"):
            store.put_entries([Entry(ADDRESS, 0), OWN[0]])
        assert store.entries() == []
        assert "greylag db init --print" in (store.lacks(KINDS) or "")
        store.put_entries([Entry(ADDRESS, 0), Entry(DOMAIN, 0)])
        assert len(store.matching(replace(SEEN, names=None))) == 2
        assert store.remove_entries([OWN[0].subject]) == 0
        assert store.remove_entries([ADDRESS, DOMAIN]) == 2
        assert store.entries_after(0, 9).after is None
        assert store.generation() is not None


def test_what_speaks_is_found_in_one_trip(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put_entries([Entry(ADDRESS, 0), *OWN])
    trips: list[str] = []
    execute = pymysql.cursors.Cursor.execute

    def counting(cursor: Any, text: str, arguments: Any = None) -> int:
        trips.append(text)
        return execute(cursor, text, arguments)

    monkeypatch.setattr(pymysql.cursors.Cursor, "execute", counting)
    asked = replace(SEEN, names=None, carrier=bytes.fromhex("20010db8") + bytes(12))
    assert len(store.matching(asked)) == 4  # some name of a client among them
    assert len(trips) == 1
    trips.clear()
    store.put_entries(OWN)  # and ours are put without a look at the old lists
    assert not any("greylisting_lists" in text and "SELECT" in text for text in trips[1:])
