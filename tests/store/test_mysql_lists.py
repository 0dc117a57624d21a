"""Rows of greylisting_lists mean to us what they mean to the old program."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from greylag.admin.exporting import lines
from greylag.core.accessindex import AccessIndex
from greylag.core.accesslist import NEVER, Entry, Seen, last_word
from greylag.core.client import parse_address
from greylag.core.subject import parse_subject
from greylag.store import open_store
from greylag.store.base import Store
from greylag.store.mysql.rows import read_entries
from tests.servers.mariadb import Database

NOW = 1_750_000_000
ALLOW, DENY = "1970-01-01 00:00:01", "9999-12-31 23:59:59"
Rows = list[tuple[str | None, str | None, str]]


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    with closing(open_store(database.url, timeout=4)) as opened:
        yield opened


def insert(database: Database, rows: Rows) -> None:
    """Insert rows as an admin does by hand: address, domain, until when they deny."""
    with database.server.connect(database.name) as cursor:
        for text, domain, until in rows:
            address, _slash, bits = (text or "").partition("/")
            start = parse_address(address.encode()) if address else b"0"
            cursor.execute(
                "INSERT INTO greylisting_lists (ipaddr, ipaddr_start, ipaddr_end,"
                " ipaddr_prefixsize, rcpt_to, block_expires, record_expires)"
                " VALUES (%s, %s, %s, %s, %s, %s, '9999-12-31 23:59:59')",
                (text, start, start, int(bits or (32 if text else 0)), domain, until),
            )


def test_an_export_has_the_row_that_decides_of_several_for_one_subject(
    store: Store, database: Database
) -> None:
    insert(database, [("192.0.2.7", None, DENY), ("192.0.2.7", None, ALLOW)])
    found = [line for line in lines(store, NOW) if line["kind"] == "entry"]
    assert [(line["subject"], line["denied_until"]) for line in found] == [("192.0.2.7", NEVER)]


@pytest.mark.parametrize(
    ("rows", "denies"),
    [
        ([("192.0.2.7", None, ALLOW), ("192.0.2.7", None, DENY)], False),
        ([("192.0.2.7", None, DENY), ("192.0.2.7", None, ALLOW)], True),
        ([(None, "example.net", ALLOW), (None, "example.net", DENY)], False),
        ([(None, "example.net", DENY), (None, "EXAMPLE.net", ALLOW)], True),
        ([("192.0.2.0/24", None, ALLOW), ("192.0.2.7", None, DENY)], True),
        ([("192.0.2.7", "example.net", ALLOW), ("192.0.2.0/24", None, DENY)], True),
        ([("192.0.2.7", "other.example", DENY), ("192.0.2.0/24", None, ALLOW)], False),
        ([(None, "example.net", DENY), ("192.0.2.0/24", "other.example", ALLOW)], False),
        ([("192.0.2.0/24", "example.net", ALLOW), ("192.0.2.7", "example.net", DENY)], True),
        ([(None, "example.net ", DENY)], True),
        ([(None, "example.net  ", ALLOW), (None, "example.net", DENY)], False),
        ([(None, " ", DENY)], None),
        ([(None, " example.net", DENY)], None),
    ],
)
def test_the_row_that_decides_is_that_of_the_old_program(
    store: Store, database: Database, rows: Rows, denies: bool | None
) -> None:
    """The first of two rows for one subject; a row of both below those of an address alone."""
    insert(database, rows)
    seen = Seen(bytes((192, 0, 2, 7)), "example.net")
    for found in (
        store.matching(seen),
        AccessIndex(store.entries()).matching(seen),
    ):
        entry = last_word(found, seen, NOW)
        assert (None if entry is None else entry.denies(NOW)) is denies


def test_what_is_put_by_us_takes_the_place_of_all_rows_of_its_subject(
    store: Store, database: Database
) -> None:
    insert(database, [(None, "example.net ", DENY), (None, "example.net", DENY)])
    (first, _second) = store.entries()
    assert store.remove_entries([first.subject]) == 1
    assert database.rows("SELECT id FROM greylisting_lists") == ()


@pytest.mark.parametrize(
    ("text", "domain", "shown"),
    [
        (None, "EXAMPLE.net ", "example.net"),
        (None, "b\u00fccher.example", "xn--bcher-kva.example"),
        (None, "xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("192.0.2.7/24", None, "192.0.2.0/24"),
        ("2001:db8::7/32", None, "2001:db8::/32"),
    ],
)
def test_a_row_is_removed_whatever_its_spelling(
    store: Store, database: Database, text: str | None, domain: str | None, shown: str
) -> None:
    """Most are found by an index; the others among the odd ones."""
    other = ("198.51.100.1", "other.example", ALLOW)
    insert(database, [(text, domain, DENY), other])
    (subject,) = (e.subject for e in store.entries() if e.denies(NOW))
    assert str(subject) == shown
    assert store.remove_entries([parse_subject(shown)]) == 1
    assert database.rows("SELECT ipaddr FROM greylisting_lists") == (("198.51.100.1",),)


def test_a_row_without_a_range_of_its_own_is_removed(store: Store, database: Database) -> None:
    insert(database, [("192.0.2.7", None, DENY)])
    database.rows("UPDATE greylisting_lists SET ipaddr_start = '0', ipaddr_prefixsize = 0")
    assert store.remove_entries([parse_subject("192.0.2.7")]) == 1
    assert store.entries() == []


def test_lists_may_be_longer_than_one_answer_t45(
    store: Store, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """450,000 rows are 64 MiB, and no answer may have more (T37)."""
    insert(database, [(f"10.0.0.{n}", None, ALLOW) for n in range(200)])
    monkeypatch.setattr("greylag.store.mysql.driver.MOST", 20_000)
    monkeypatch.setattr("greylag.store.mysql.lists._PAGE", 50)
    assert len(store.entries()) == 200


def test_putting_an_entry_reads_few_rows_of_a_long_list_t45(
    store: Store, database: Database
) -> None:
    """All others wait meanwhile."""
    insert(database, [(f"10.0.{n >> 8}.{n & 255}", None, ALLOW) for n in range(1000)])
    sent = "SHOW GLOBAL STATUS LIKE 'Rows_sent'"
    before = int(str(database.rows(sent)[0][1]))
    store.put_entries([Entry(parse_subject("10.0.1.1"), NEVER)])
    assert int(str(database.rows(sent)[0][1])) - before < 50
    assert database.rows("SELECT COUNT(*) FROM greylisting_lists") == ((1000,),)


def test_the_name_of_an_imported_file_stands_before_the_comment(
    store: Store, database: Database
) -> None:
    """There is no column for it, and this is how earlier versions wrote it."""
    client, other = parse_subject("192.0.2.7"), parse_subject("192.0.2.8")
    store.put_entries([Entry(client, 0, comment="our office", origin="a.txt")])
    store.put_entries([Entry(other, 0, origin="a.txt")])
    rows = database.rows("SELECT comment FROM greylisting_lists ORDER BY id")
    assert [row[0] for row in rows] == ["[a.txt] our office", "[a.txt]"]
    assert [(e.origin, e.comment) for e in store.entries()] == [
        ("a.txt", "our office"),
        ("a.txt", ""),
    ]


@pytest.mark.parametrize("client", ["192.0.2.7", "2001:db8::7"])
def test_of_neighbours_that_are_listed_one_by_one_few_are_read(
    store: Store, database: Database, monkeypatch: pytest.MonkeyPatch, client: str
) -> None:
    """Else a list of a whole network makes each question slow until the daemon has read it."""
    family, bits = client[:-1], 32 if "." in client else 128
    insert(database, [(f"{family}{n}/{bits}", None, DENY) for n in range(10)])
    # What the old triggers left in: a range that begins at the address it was made of.
    insert(database, [(f"{family}9/{bits - 4}", None, ALLOW)])
    read: list[object] = []

    def reading(row: tuple[object, ...]) -> list[Entry]:
        read.append(row)
        return read_entries(row)

    monkeypatch.setattr("greylag.store.mysql.lists.read_entries", reading)
    packed = parse_address(client.encode())
    assert packed is not None
    found = store.matching(Seen(packed, "example.net"))
    prefixes = sorted(entry.subject.prefix for entry in found)  # type: ignore[union-attr]
    assert prefixes == [bits - 4, bits, bits, bits, bits]  # ...0, 4 and 6 are where ranges begin
    assert len(read) == len(prefixes)
