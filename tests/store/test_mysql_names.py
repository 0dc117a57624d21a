"""Rows of the old program are found, and it finds ours, however their addresses are spelt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from greylag.core.attempt import Attempt
from greylag.core.policy import Policy
from greylag.core.subject import Domain
from greylag.core.verdict import Reason
from greylag.store import open_store
from greylag.store.base import Filter, Store
from greylag.store.mysql.schema import DATA, FIGURES, LISTS
from tests.reports import PolicyService, no_failure
from tests.servers.mariadb import Database, MariaDb

NOW = 1_750_000_000
CLIENT, RELAY = b"192.0.2.17", bytes((192, 0, 2, 17))
POLICY = Policy(old_tables=True)
CHARSETS = ("utf8mb3", "latin1")
# Addresses as they come, and the name by which the old program looks for them.
PLAIN = [
    (b"a@example.org", "a@example.org"),
    (b"First.Last@Example.ORG", "First.Last@Example.ORG"),
    (b"First Last@example.org", "First Last@example.org"),
    (b"a\\b@example.org", "a\\b@example.org"),
    (b"a\\\\'b\"@example.org", "a\\\\'b\"@example.org"),
    (b"a@example.org ", "a@example.org "),
    (b"a%b_c@example.org", "a%b_c@example.org"),
    ("j\u00f6rg@example.org".encode(), "j\u00f6rg@example.org"),
    ("j\u00f6rg x@b\u00fccher.example".encode(), "j\u00f6rg x@b\u00fccher.example"),
    ("u@b\u00fccher.example".encode(), "u@b\u00fccher.example"),
    (b"u@xn--bcher-kva.example", "u@xn--bcher-kva.example"),
]
TAGGED = [
    (b"prvs=1234567890=user@example.org", "user@example.org"),
    (b"prvs=user/1234567890@example.org", "user@example.org"),
    (b"PRVS=1234567890=user@example.org", "PRVS=1234567890=user@example.org"),
    (b"prvs=12-34=user@example.org", "prvs=12-34=user@example.org"),
    (b"prvs=a/b/1234@example.org", "prvs=a/b/1234@example.org"),
    (b"prvs=1=u@ab", "prvs=1=u@ab"),
]
WIDE = ("\u4f8b\u3048 x@example.org".encode(), "\u4f8b\u3048 x@example.org")
ADD = """INSERT INTO greylisting_data (relay_ip, mail_from, rcpt_to, create_time, block_expires,
    record_expires, blocked_count, passed_count, aborted_count) VALUES
    (%s, %s, %s, FROM_UNIXTIME(%s), FROM_UNIXTIME(%s), FROM_UNIXTIME(%s), 1, 1, 0)"""
# The query of the old program.
FIND = """SELECT id, relay_ip FROM greylisting_data WHERE record_expires > %s AND mail_from = %s
    AND rcpt_to = %s AND relay_ip BETWEEN %s AND %s"""


@pytest.fixture(params=CHARSETS)
def charset(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def database(mariadb: MariaDb, charset: str) -> Iterator[Database]:
    old = f"CHARSET={charset}"
    tables = [
        text.replace("CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci", old) for text in (LISTS, DATA)
    ]
    made = mariadb.database(*tables, FIGURES)
    yield made
    made.drop()


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    with closing(open_store(database.url, timeout=4)) as opened:
        yield opened


def ask(store: Store, sender: bytes, recipient: bytes, now: int = NOW) -> Reason:
    service = PolicyService(POLICY, lambda: store, report=no_failure, clock=lambda: now)
    return service.decide(Attempt(CLIENT, sender, recipient)).reason


def pairs(charset: str) -> Iterator[tuple[bytes, str, bytes, str]]:
    """Yield senders and recipients, each with the old program's name of it."""
    plain = [*PLAIN] if charset == "latin1" else [*PLAIN, WIDE]
    for sender, its_name in (*plain, *TAGGED):
        yield sender, its_name, b"b@example.net", "b@example.net"
    for recipient, name in plain:
        yield b"x@example.org", "x@example.org", recipient, name
        yield b"", "", recipient, name
    yield plain[2][0], plain[2][1], plain[3][0], plain[3][1]


def add_row(database: Database, relay: bytes, sender: str, recipient: str) -> None:
    with database.server.connect(database.name) as cursor:
        cursor.execute("SET time_zone = '+00:00'")
        cursor.execute(ADD, (relay, sender, recipient, NOW - 900, NOW - 600, NOW + 90_000))


def found(database: Database, sender: str, recipient: str) -> list[bytes]:
    """Return the clients of the rows that the old program finds."""
    low, high = RELAY[:3] + b"\0", RELAY[:3] + b"\xff"
    with database.server.connect(database.name) as cursor:
        cursor.execute(FIND, ("2025-06-15 15:06:40", sender, recipient, low, high))
        return [row[1] for row in cursor.fetchall()]


def test_what_the_old_program_knows_passes(store: Store, database: Database, charset: str) -> None:
    """C: nobody is greylisted again at changeover."""
    for sender, its_name, recipient, name in pairs(charset):
        database.rows("DELETE FROM greylisting_data")
        add_row(database, RELAY[:3] + b"\xc8", its_name, name)
        assert ask(store, sender, recipient) is Reason.KNOWN, (sender, recipient)
        counts = database.rows("SELECT passed_count FROM greylisting_data")
        assert counts == ((2,),)


def test_what_we_know_passes_there_p9(store: Store, database: Database, charset: str) -> None:
    """Both work side by side: one row, with the client's whole address as the old program has."""
    for sender, its_name, recipient, name in pairs(charset):
        database.rows("DELETE FROM greylisting_data")
        assert ask(store, sender, recipient) is Reason.NEW
        assert ask(store, sender, recipient) is Reason.EARLY
        assert found(database, its_name, name) == [RELAY], (sender, recipient)
        assert ask(store, sender, recipient, NOW + POLICY.delay) is Reason.RETRIED
        assert database.rows("SELECT COUNT(*) FROM greylisting_data") == ((1,),)


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff@example.org",
        b"a\\x20b@example.org",
        b"a\\xc3\\xbc@example.org",
        b"\\several",
        b"\xf0\x9f\x98\x80 x@example.org",
        WIDE[0],
        b"x" * 300 + b" @example.org",
        b"\x01@example.org",
    ],
)
def test_what_no_row_can_say_is_kept_by_its_name(store: Store, raw: bytes) -> None:
    """No text of a row would be read as these, or the column cannot hold it."""
    assert ask(store, raw, b"b@example.net") is Reason.NEW
    assert ask(store, raw, b"b@example.net", NOW + POLICY.delay) is Reason.RETRIED
    assert ask(store, b"a@example.org", raw) is Reason.NEW
    assert ask(store, b"a@example.org", raw, NOW + POLICY.delay) is Reason.RETRIED
    assert ask(store, b"x@example.org", raw.replace(b"\\", b" ")) is Reason.NEW


@pytest.mark.parametrize("charset", ["utf8mb4"], indirect=True)
def test_rows_that_greylag_wrote_by_its_own_names_are_found(
    store: Store, database: Database
) -> None:
    """As it did for these addresses in former releases."""
    add_row(database, RELAY[:3] + b"\0", r"first\x20last@example.org", r"j\xc3\xb6rg@example.net")
    recipient = "j\u00f6rg@example.net".encode()
    assert ask(store, b"First Last@example.org", recipient) is Reason.KNOWN
    assert database.rows("SELECT passed_count FROM greylisting_data") == ((2,),)


def test_rows_of_both_spellings_are_one_record(store: Store, database: Database) -> None:
    for sender in ("First Last@example.org", r"first\x20last@example.org"):
        add_row(database, RELAY, sender, "b@example.net")
    assert ask(store, b"first last@example.org", b"b@example.net") is Reason.KNOWN
    ((key, record),) = {*store.search(Filter(), 1)}
    assert (key.sender, key.network) == (r"first\x20last@example.org", RELAY)
    assert store.load([key])[key].passed == 3
    assert len(list(store.search(Filter(sender=r"ST\x20LA".lower()), 9))) == 2
    assert store.forget([key], NOW) == 1
    assert database.rows("SELECT id FROM greylisting_data") == ()
    assert record.blocked == 1


def test_a_column_that_cannot_hold_a_name_is_not_read_through(
    store: Store, database: Database
) -> None:
    """The server would convert all of the column to compare it with such a name."""
    for number in range(300):
        add_row(database, RELAY, f"s{number}@example.org", f"r{number}@example.net")
    database.rows("ANALYZE TABLE greylisting_data")
    raw = WIDE[0]
    assert ask(store, raw, raw) is Reason.NEW
    reads = "SHOW GLOBAL STATUS LIKE 'Handler_read%'"
    before = sum(int(str(number)) for _name, number in database.rows(reads))
    assert ask(store, raw, raw) is Reason.EARLY
    assert sum(int(str(number)) for _name, number in database.rows(reads)) - before < 300


@pytest.mark.parametrize(
    ("row", "recipient", "wanted"),
    [
        ("B\u00fccher.example", "u@b\u00fccher.example", Reason.ALLOWLISTED),
        ("b\u00fccher.example", "u@xn--bcher-kva.example", Reason.ALLOWLISTED),
        ("xn--bcher-kva.example", "u@b\u00fccher.example", Reason.ALLOWLISTED),
        ("bucher.example", "u@b\u00fccher.example", Reason.NEW),
        ("b\u00fccher.example", "u@bucher.example", Reason.NEW),
    ],
)
def test_a_list_row_in_another_script_decides(
    store: Store, database: Database, row: str, recipient: str, wanted: Reason
) -> None:
    with database.server.connect(database.name) as cursor:
        cursor.execute(
            "INSERT INTO greylisting_lists (rcpt_to, block_expires, record_expires)"
            " VALUES (%s, '1970-01-01 00:00:01', '9999-12-31 23:59:59')",
            (row,),
        )
    assert ask(store, b"a@example.org", recipient.encode()) is wanted
    (entry,) = store.entries()
    assert store.remove_entries([Domain(entry.subject.name)]) == 1  # type: ignore[union-attr]
