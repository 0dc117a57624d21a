"""What the daemon tells of a store that works, and yet is not as it should be."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from greylag.core.record import Created, Passed
from greylag.core.triplet import Triplet
from greylag.store import open_store
from greylag.store.mysql.schema import DATA, FIGURES, LISTS
from tests.server.daemon import Daemon, serving
from tests.server.test_failure import until_deferred
from tests.servers.mariadb import MariaDb

MEGABYTE = 1 << 20
LET_IN = b"action=DUNNO"


def test_a_large_write_ahead_log_is_told_at_a_limited_rate(tmp_path: Path) -> None:
    """A long reader keeps SQLite from beginning it anew: the disk fills up."""
    with serving(tmp_path) as daemon, daemon.connect() as client:
        client.ask()
        log = Path(f"{daemon.database}-wal")
        with (
            closing(sqlite3.connect(daemon.database)) as reader,
            closing(sqlite3.connect(daemon.database)) as writer,
        ):
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM records").fetchone()
            writer.execute("PRAGMA synchronous = OFF")
            with writer:
                for hour in range(66):
                    row = (hour, "x" * MEGABYTE)
                    writer.execute("INSERT INTO figures VALUES (?, ?, 1)", row)
            assert log.stat().st_size > 64 * MEGABYTE
            assert daemon.logged(f'level=warn event=store-warning error="{log}: has ')
            time.sleep(2.5)
            assert daemon.log.read_text().count("event=store-warning") == 1
            assert client.ask(sender="other@example.org") != LET_IN


ROW = (
    "INSERT INTO entries VALUES (NULL, 'access', 'network', {}, NULL, 0, 9999999999, 0, '', '', 0)"
)
BAD_ROW, GOOD_ROW = ROW.format("x'c0000207', 33"), ROW.format("x'c6336407', 32")
CHANGED = "UPDATE state SET number = number + 1 WHERE name = 'lists'"


def count_told(daemon: Daemon, told: str, number: int) -> bool:
    end = time.monotonic() + 20
    while daemon.log.read_text().count(told) < number and time.monotonic() < end:
        time.sleep(0.05)
    return daemon.log.read_text().count(told) == number


def test_list_rows_that_name_nothing_are_told_once_for_each_load_t46(tmp_path: Path) -> None:
    open_store(f"sqlite://{tmp_path}/greylag.db", timeout=4).close()
    with closing(sqlite3.connect(tmp_path / "greylag.db")) as db:
        with db:
            db.execute(BAD_ROW)
            db.execute(GOOD_ROW)
        with serving(tmp_path) as daemon, daemon.connect() as client:
            assert count_told(daemon, "level=warn event=list-rows-ignored rows=1\n", 1)
            assert client.ask(client_address="198.51.100.7") == LET_IN
            time.sleep(2.5)
            assert "list-rows-ignored rows=2" not in daemon.log.read_text()
            with db:
                db.execute(BAD_ROW.replace("33", "34"))
                db.execute(CHANGED)
            assert count_told(daemon, "level=warn event=list-rows-ignored rows=2\n", 1)
            assert count_told(daemon, "event=list-rows-ignored rows=1\n", 1)


def test_list_rows_of_mysql_that_name_nothing_are_told_t46(
    mariadb: MariaDb, tmp_path: Path
) -> None:
    """No triggers here, as in the first releases of the old plugin: anything is taken."""
    database = mariadb.database(DATA, FIGURES, LISTS)
    put = (
        "INSERT INTO greylisting_lists (ipaddr, ipaddr_start, ipaddr_end, ipaddr_prefixsize,"
        " block_expires, record_expires) VALUES (%s, %s, %s, %s, '2000-01-01', '9999-12-31')"
    )
    rows = [
        ("foo", b"0", b"0", 0),
        ("192.0.2.0/33", bytes((192, 0, 2, 0)), bytes((192, 0, 2, 0)), 33),
        ("198.51.100.7", bytes((198, 51, 100, 7)), bytes((198, 51, 100, 7)), 32),
    ]
    with database.server.connect(database.name) as root:
        root.executemany(put, rows)
    config = tmp_path / "greylag.toml"
    config.write_text(f'store.url = "{database.url}"\nserver.socket = "{tmp_path}/s"\n')
    with serving(tmp_path, config=config) as daemon, daemon.connect() as client:
        assert count_told(daemon, "level=warn event=list-rows-ignored rows=2\n", 1)
        assert client.ask(client_address="198.51.100.7") == LET_IN
    database.drop()


def filled(folder: Path, number: int) -> Path:
    """Return a database with triplets that have passed."""
    now = int(time.time())
    path = folder / "greylag.db"
    with closing(open_store(f"sqlite://{path}", timeout=4)) as store:
        keys = [
            Triplet(bytes((10, n >> 8, n & 255, 0)), f"s{n}@example.org", "b@example.net")
            for n in range(number)
        ]
        store.apply([Created(key, now - 999, now - 500, now + 99_999) for key in keys], {}, now)
        store.apply([Passed(key, now + 99_999) for key in keys], {}, now)
    return path


@pytest.mark.parametrize("size", [0, 1, 4096, 300_000])
def test_a_database_that_is_cut_off_under_the_daemon_defers_nobody_who_is_known_t46(
    tmp_path: Path, size: int
) -> None:
    """What cannot be read is answered by store.on_failure, and the log tells why."""
    path = filled(tmp_path, 10_000)
    with serving(tmp_path) as daemon, daemon.connect() as client:
        client.ask()
        os.truncate(path, size)
        for number in range(0, 10_000, 500):
            address = f"10.{number >> 8}.{number & 255}.1"
            assert client.ask(client_address=address, sender=f"s{number}@example.org") == LET_IN
        assert daemon.logged("is malformed") or daemon.logged("store-failed")
        daemon.process.send_signal(signal.SIGHUP)
        assert client.ask()


@pytest.mark.parametrize("size", [1, 99, 4096, 300_000])
def test_a_daemon_over_a_database_that_is_cut_off_lets_in_until_it_is_mended_t46(
    tmp_path: Path, size: int
) -> None:
    path = filled(tmp_path, 10_000)
    os.truncate(path, size)
    with serving(tmp_path) as daemon, daemon.connect() as client:
        assert client.ask() == LET_IN
        assert daemon.logged("level=error event=store-failed")
        for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
            name.unlink(missing_ok=True)
        until_deferred(client, "after@example.org")
