"""A store that refuses one key is there for all others (T34)."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.server.daemon import Connection, Daemon, serving, write_config
from tests.server.test_failure import DEFERRED, LET_IN
from tests.servers.mariadb import Database

SOAK = os.environ.get("GREYLAG_SOAK") == "1"
STRANGERS = 100 if SOAK else 20
EVERY = 0.3 if SOAK else 0.1  # seconds between two questions about the bad key
KNOWN = 3000  # records of the SQLite file
Ask = Callable[[Connection], bytes]


def strangers_let_in(daemon: Daemon, bad: Ask, stranger: Callable[[Connection, int], bytes]) -> int:
    """Ask about the bad key again and again, and about strangers; return how many pass."""
    passed = 0
    next_bad = 0.0
    with daemon.connect() as client, daemon.connect() as other:
        for number in range(STRANGERS):
            if time.monotonic() >= next_bad:
                next_bad = time.monotonic() + EVERY
                bad(other)
            passed += not stranger(client, number).startswith(DEFERRED)
            time.sleep(EVERY / 3)
    return passed


def stranger(client: Connection, number: int) -> bytes:
    return client.ask(client_address=f"203.0.{number}.7", sender=f"new{number}@example.org")


def told(daemon: Daemon, cause: str) -> None:
    """The cause is told, and seldom; the breaker never opened."""
    assert daemon.logged("event=store-refused")
    log = daemon.log.read_text()
    (line,) = [line for line in log.splitlines() if "event=store-refused" in line]
    assert cause in line
    assert "event=store-failed" not in log


def spoil_the_page_of(database: Path, text: bytes) -> None:
    """Overwrite the page of a SQLite file in which a text stands, as a bad disk would."""
    with closing(sqlite3.connect(database)) as db:
        size = db.execute("PRAGMA page_size").fetchone()[0]
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw = bytearray(database.read_bytes())
    start = raw.index(text) // size * size
    raw[start : start + size] = b"\xa5" * size
    database.write_bytes(raw)


@pytest.mark.parametrize("name", ["lists", "removals"])
@pytest.mark.parametrize("number", ["'text'", "1.5", "x'00'"])
def test_a_state_that_is_no_number_lets_nobody_in_t34(
    tmp_path: Path, name: str, number: str
) -> None:
    """A damaged page or a foreign hand put it there: what holds is what was read before."""
    loose = "UPDATE sqlite_schema SET sql = replace(sql, 'STRICT,', '') WHERE name = 'state'"
    with serving(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / "greylag.db")) as db, db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute(loose)
    with closing(sqlite3.connect(tmp_path / "greylag.db")) as db, db:
        db.execute(f"INSERT OR REPLACE INTO state VALUES ('{name}', {number})")
    with serving(tmp_path) as daemon:
        assert strangers_let_in(daemon, Connection.ask, stranger) == 0
        told(daemon, "a row is no state")


@pytest.fixture
def spoilt(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon on a file with one page of the records in ruins: that of s1500@example.org."""
    with serving(tmp_path):
        pass
    now = int(time.time())
    with closing(sqlite3.connect(tmp_path / "greylag.db")) as db, db:
        rows = (
            (bytes((10, n >> 8, n & 255, 0)), f"s{n}@example.org", now, now + 300, now + 9999)
            for n in range(KNOWN)
        )
        db.executemany(
            "INSERT INTO records (settled, network, sender, recipient, first_seen, defer_until,"
            " expires, blocked, passed) VALUES (0, ?, ?, 'b@example.net', ?, ?, ?, 1, 0)",
            rows,
        )
    spoil_the_page_of(tmp_path / "greylag.db", b"s1500@example.org")
    with serving(tmp_path) as daemon:
        yield daemon


def spoilt_key(client: Connection, number: int = 1500) -> bytes:
    place = f"10.{number >> 8}.{number & 255}.1"
    return client.ask(client_address=place, sender=f"s{number}@example.org")


def test_a_corrupt_page_of_sqlite_costs_its_own_answers_alone_t34(spoilt: Daemon) -> None:
    with spoilt.connect() as client:
        assert spoilt_key(client) == LET_IN  # store.on_failure
        assert spoilt_key(client, 100).startswith(DEFERRED)
    assert strangers_let_in(spoilt, spoilt_key, stranger) == 0
    told(spoilt, "malformed")


def test_a_new_key_whose_place_is_a_corrupt_page_t34(spoilt: Daemon) -> None:
    """It is written there, not read."""
    bad: Ask = lambda client: client.ask(client_address="10.5.220.9", sender="s0@example.org")  # noqa: E731
    assert strangers_let_in(spoilt, bad, stranger) == 0


def test_many_at_once_among_them_bad_keys_t34(spoilt: Daemon) -> None:
    """All of one batch, and of the next ones: each gets the answer of his own."""
    numbers = [*range(1400, 1600), *range(2000, 2200)]
    random.Random(34).shuffle(numbers)
    with spoilt.connect() as first:
        alone = {number: spoilt_key(first, number) for number in numbers}
    bad = [number for number, answer in alone.items() if answer == LET_IN]
    assert 5 < len(bad) < 150
    assert 1500 in bad
    clients = [spoilt.connect() for _ in numbers]
    try:
        for client, number in zip(clients, numbers, strict=True):
            place = f"10.{number >> 8}.{number & 255}.1"
            fields = {"client_address": place, "sender": f"s{number}@example.org"}
            client.send(**fields)
        for client, number in zip(clients, numbers, strict=True):
            assert (client.response() == LET_IN) is (number in bad)
    finally:
        for client in clients:
            client.socket.close()
    told(spoilt, "malformed")


def test_failing_may_mean_deferring_for_a_refused_key_too(spoilt: Daemon) -> None:
    folder = spoilt.folder / "other"
    folder.mkdir()
    config = write_config(folder, store='on_failure = "defer"')
    config.write_text(config.read_text().replace(f"{folder}/greylag.db", str(spoilt.database)))
    with serving(folder, config=config) as daemon, daemon.connect() as client:
        assert spoilt_key(client).startswith(DEFERRED)
        assert daemon.logged("reason=store-unavailable")


def connects(client: Connection, address: str) -> bytes:
    fields = {"protocol_state": "CONNECT", "greylag_client": "jgreylist"}
    return client.ask(client_address=address, client_name="host.example.org", **fields)


def test_a_record_with_two_names_in_a_tree_t34(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "198" / "051").mkdir(parents=True, mode=0o700)
    (tree / "198" / "051" / "100").touch()
    (tree / "198" / "051" / "101").hardlink_to(tree / "198" / "051" / "100")
    config = write_config(tmp_path, url=f"tree://{tree}")
    with serving(tmp_path, config=config) as daemon:
        passed = strangers_let_in(
            daemon,
            lambda client: connects(client, "198.51.100.1"),
            lambda client, n: connects(client, f"203.0.{n}.1").replace(b"action=450", DEFERRED),
        )
        assert passed == 0
        told(daemon, "is no record")


def test_a_count_that_a_column_cannot_hold_t34(database: Database, tmp_path: Path) -> None:
    """The count is lost; the answer is the right one, and so are all others.

    Of the old table's own columns we know what they hold; this one an admin has made smaller.
    """
    most = 255
    with database.server.connect(database.name) as cursor:
        cursor.execute("ALTER TABLE greylisting_data MODIFY passed_count TINYINT UNSIGNED NOT NULL")
        cursor.execute(
            "INSERT INTO greylisting_data (relay_ip, mail_from, rcpt_to, block_expires,"
            " record_expires, blocked_count, passed_count) VALUES (%s, 'full@example.org',"
            " 'b@example.net', NOW() - INTERVAL 1 DAY, NOW() + INTERVAL 9 DAY, 1, %s)",
            (bytes((198, 51, 100, 7)), most),
        )
    config = write_config(tmp_path, url=database.url)

    def full(client: Connection) -> bytes:
        return client.ask(client_address="198.51.100.7", sender="full@example.org")

    with serving(tmp_path, config=config) as daemon:
        assert strangers_let_in(daemon, full, stranger) == 0
        with daemon.connect() as client:
            assert full(client) == LET_IN
        assert "reason=store-unavailable" not in daemon.log.read_text()
        told(daemon, "Out of range")
    found = "SELECT COUNT(*) FROM greylisting_data WHERE mail_from LIKE 'new%'"
    assert database.rows(found) == ((STRANGERS,),)


SIGNALLED = [
    1205,
    1213,
    2006,
    2013,
    1053,
    1142,
    1146,
    1290,
]  # as if the server itself were at fault


def mine(client: Connection) -> bytes:
    return client.ask(client_address="198.51.100.7", sender="bad@example.org")


def on(database: Database, folder: Path) -> Path:
    return write_config(folder, url=database.url)


@pytest.mark.parametrize("number", SIGNALLED)
def test_an_error_of_mariadb_that_one_key_alone_brings_out_t34(
    database: Database, tmp_path: Path, number: int
) -> None:
    """By its number it might be the server's; a key that nobody has tells that it is not."""
    with database.server.connect(database.name) as cursor:
        cursor.execute(
            "CREATE TRIGGER bad BEFORE INSERT ON greylisting_data FOR EACH ROW"
            " IF NEW.mail_from = 'bad@example.org' THEN"
            f" SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = 'of one key';"
            " END IF"
        )
    with serving(tmp_path, config=on(database, tmp_path)) as daemon:
        assert strangers_let_in(daemon, mine, stranger) == 0
        with daemon.connect() as client:
            assert mine(client) == LET_IN  # store.on_failure
        told(daemon, "of one key")
    found = "SELECT COUNT(*) FROM greylisting_data WHERE mail_from LIKE 'new%'"
    assert database.rows(found) == ((STRANGERS,),)
    kept = "SELECT mail_from FROM greylisting_data WHERE mail_from NOT LIKE 'new%'"
    assert database.rows(kept) == ()  # what was tried has left nothing


@pytest.mark.parametrize("passes", [True, False])
def test_a_row_that_another_program_holds_locked_t34(
    database: Database, tmp_path: Path, passes: bool
) -> None:
    """A first pass, which is to be written, and a repeat, which is counted later."""
    due = "NOW() - INTERVAL 1 DAY" if passes else "NOW() + INTERVAL 1 HOUR"
    with database.server.connect(database.name) as cursor:
        cursor.execute(
            "INSERT INTO greylisting_data (relay_ip, mail_from, rcpt_to, block_expires,"
            " record_expires, blocked_count, passed_count) VALUES (%s, 'bad@example.org',"
            f" 'b@example.net', {due}, NOW() + INTERVAL 9 DAY, 1, 0)",
            (bytes((198, 51, 100, 7)),),
        )
    with (
        serving(tmp_path, config=on(database, tmp_path)) as daemon,
        database.server.connect(database.name) as holder,
    ):
        holder.execute("START TRANSACTION")
        holder.execute("UPDATE greylisting_data SET blocked_count = 2 WHERE id = 1")
        assert strangers_let_in(daemon, mine, stranger) == 0
        told(daemon, "Lock wait timeout")


def test_an_error_of_sqlite_that_one_key_alone_brings_out_t34(tmp_path: Path) -> None:
    with serving(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / "greylag.db")) as db, db:
        db.execute(
            "CREATE TRIGGER bad BEFORE INSERT ON records WHEN NEW.sender = 'bad@example.org'"
            " BEGIN SELECT abs(-9223372036854775807 - 1); END"
        )
    with serving(tmp_path) as daemon:
        assert strangers_let_in(daemon, mine, stranger) == 0
        told(daemon, "integer overflow")


def test_an_expired_row_that_another_program_holds_locked_t34(
    database: Database, tmp_path: Path
) -> None:
    """The walk of the expiry meets it, in the thread that answers: it does not wait there."""
    with database.server.connect(database.name) as cursor:
        cursor.execute(
            "INSERT INTO greylisting_data (relay_ip, mail_from, rcpt_to, block_expires,"
            " record_expires, blocked_count, passed_count) VALUES (%s, 'old@example.org',"
            " 'b@example.net', NOW() - INTERVAL 9 DAY, NOW() - INTERVAL 1 DAY, 1, 0)",
            (bytes((198, 51, 100, 7)),),
        )
    with database.server.connect(database.name) as holder:
        holder.execute("START TRANSACTION")
        holder.execute("UPDATE greylisting_data SET blocked_count = 2 WHERE id = 1")
        with serving(tmp_path, config=on(database, tmp_path)) as daemon:
            assert strangers_let_in(daemon, Connection.ask, stranger) == 0
            assert "event=store-failed" not in daemon.log.read_text()
        assert database.rows("SELECT COUNT(*) FROM greylisting_data WHERE id = 1") == ((1,),)
