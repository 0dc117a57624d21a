"""Long lists: decided by from the first answer on, and changed under load (T45)."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Self

import pytest

from greylag.core.accesslist import NEVER
from tests.server.daemon import Daemon, serving, write_config
from tests.server.test_failure import DEFERRED, LET_IN
from tests.servers.mariadb import Database

SOAK = os.environ.get("GREYLAG_SOAK") == "1"
ENTRIES = 300_000
ENTRIES_OF_MYSQL = ENTRIES if SOAK else 20_000
ROUNDS = 5 if SOAK else 1
UNSEEN = 0.02  # seconds: a wait that nobody notices
SEEN_WITHIN = 90 if SOAK else 30  # seconds; with the other tests' load
DENIED, ALLOWED = bytes((198, 51, 100, 66)), bytes((198, 51, 100, 77))


INTO = (
    "INTO entries (purpose, kind, network, prefix, denied_until, expires, created, comment, origin,"
    " spoofable) VALUES ('access', 'network', ?, ?, ?, ?, ?, ?, '', 0)"
)


def fill_sqlite(database: Path, number: int, start: int = 0) -> None:
    """Put entries into the lists, many of them about nobody, in one transaction."""
    rows = [
        (bytes((10, n >> 16 & 255, n >> 8 & 255, n & 255)), 32, 0, NEVER, 0, "")
        for n in range(start, start + number)
    ]
    rows += [(DENIED, 32, NEVER, NEVER, 0, ""), (ALLOWED, 32, 0, NEVER, 0, "")]
    with closing(sqlite3.connect(database, timeout=20)) as db, db:
        db.executemany(
            f"INSERT OR REPLACE {INTO}",
            rows,
        )
        db.execute("UPDATE state SET number = number + 1 WHERE name = 'lists'")


def fill_mysql(database: Database, number: int, start: int = 0) -> None:
    """The same."""
    rows = [
        (f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}", n.to_bytes(4, "big"), "2000-01-01")
        for n in range((10 << 24) + start, (10 << 24) + start + number)
    ]
    rows += [("198.51.100.66", DENIED, "9999-12-31"), ("198.51.100.77", ALLOWED, "2000-01-01")]
    with database.server.connect(database.name) as cursor:
        cursor.execute("START TRANSACTION")
        cursor.executemany(
            "INSERT INTO greylisting_lists (ipaddr, ipaddr_start, ipaddr_end, ipaddr_prefixsize,"
            " block_expires, record_expires) VALUES (%s, %s, %s, 32, %s, '9999-12-31')",
            [(text, packed, packed, until) for text, packed, until in rows],
        )
        cursor.execute("COMMIT")


class Askers:
    """Clients who ask without a pause, each with the answer that is right for him."""

    def __init__(self, daemon: Daemon, *who: str) -> None:
        self._daemon = daemon
        self._stop = threading.Event()
        self.wrong: Counter[str] = Counter()
        self.waits: list[float] = []
        self._threads = [threading.Thread(target=self._ask, args=(one,)) for one in who]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, who: str) -> None:
        address, right = WHO[who]
        with self._daemon.connect() as client:
            for number in range(10**9):
                if self._stop.is_set():
                    return
                began = time.monotonic()
                answer = client.ask(client_address=address, sender=f"{who}{number}@example.org")
                self.waits.append(time.monotonic() - began)
                if not answer.startswith(right):
                    self.wrong[f"{who}: {answer.decode()}"] += 1
                time.sleep(0.002)


WHO = {
    "denied": ("198.51.100.66", b"action=553"),
    "allowed": ("198.51.100.77", LET_IN),
    "stranger": ("203.0.113.5", DEFERRED),
}


def test_lists_decide_from_the_first_answer_on(tmp_path: Path) -> None:
    """Before they are read into memory, too."""
    with serving(tmp_path):
        pass
    fill_sqlite(tmp_path / "greylag.db", ENTRIES)
    with serving(tmp_path) as daemon, Askers(daemon, *WHO) as askers:
        time.sleep(3)
    assert not askers.wrong
    assert "store-unavailable" not in daemon.log.read_text()


def test_lists_of_mysql_decide_from_the_first_answer_on(database: Database, tmp_path: Path) -> None:
    fill_mysql(database, ENTRIES_OF_MYSQL)
    config = on(database, tmp_path)
    with serving(tmp_path, config=config) as daemon, Askers(daemon, *WHO) as askers:
        time.sleep(1)
    assert not askers.wrong


def on(database: Database, folder: Path) -> Path:
    config = write_config(folder)
    url = f"sqlite://{folder}/greylag.db"
    config.write_text(config.read_text().replace(url, database.url))
    return config


def high(waits: list[float]) -> float:
    """Return the 99th percentile."""
    return sorted(waits)[len(waits) * 99 // 100]


def change(daemon: Daemon, add: Callable[[int], None]) -> None:
    """Change the lists under load: all is answered rightly, and the change is seen."""
    with Askers(daemon, *WHO) as quiet:
        time.sleep(10 if SOAK else 0)
    with Askers(daemon, *WHO) as askers, daemon.connect() as client:
        for number in range(ROUNDS):
            new = f"192.0.2.{number}"
            assert client.ask(client_address=new).startswith(DEFERRED)
            add(number)
            end = time.monotonic() + SEEN_WITHIN
            while client.ask(client_address=new) != LET_IN:
                assert time.monotonic() < end
                time.sleep(0.05)
    assert not askers.wrong
    log = daemon.log.read_text()
    assert "reason=store-unavailable" not in log
    assert "event=store-failed" not in log
    if SOAK:
        print(f"99th percentile {high(quiet.waits):.4f} s, meanwhile {high(askers.waits):.4f}")
        assert high(askers.waits) < max(2 * high(quiet.waits), UNSEEN)


def test_a_change_in_long_lists_under_load_t45(tmp_path: Path) -> None:
    with serving(tmp_path):
        pass
    database = tmp_path / "greylag.db"
    fill_sqlite(database, ENTRIES)

    def add(number: int) -> None:
        with closing(sqlite3.connect(database, timeout=20)) as db, db:
            where = (bytes((192, 0, 2, number)), 32, 0, NEVER, 0, "")
            db.execute(
                f"INSERT {INTO}",
                where,
            )
            db.execute("UPDATE state SET number = number + 1 WHERE name = 'lists'")

    with serving(tmp_path) as daemon:
        change(daemon, add)


def test_a_change_in_long_lists_of_mysql_under_load_t45(database: Database, tmp_path: Path) -> None:
    fill_mysql(database, ENTRIES_OF_MYSQL)

    def add(number: int) -> None:
        with database.server.connect(database.name) as cursor:
            cursor.execute(
                "INSERT INTO greylisting_lists (ipaddr, ipaddr_start, ipaddr_end,"
                " ipaddr_prefixsize, block_expires, record_expires)"
                " VALUES (%s, %s, %s, 32, '2000-01-01', '9999-12-31')",
                (f"192.0.2.{number}", *[bytes((192, 0, 2, number))] * 2),
            )

    with serving(tmp_path, config=on(database, tmp_path)) as daemon:
        change(daemon, add)


@pytest.mark.parametrize("fault", ["reload", "away"])
def test_lists_go_on_deciding_where_the_store_was_away(tmp_path: Path, fault: str) -> None:
    """What was read holds until the store is read again."""
    with serving(tmp_path):
        pass
    fill_sqlite(tmp_path / "greylag.db", 1000)
    with serving(tmp_path) as daemon, daemon.connect() as client:
        assert client.ask(client_address="198.51.100.66").startswith(b"action=553")
        time.sleep(1.2)
        if fault == "away":
            (tmp_path / "greylag.db").rename(tmp_path / "elsewhere")
            assert daemon.logged("event=store-failed")
            assert client.ask(client_address="198.51.100.66").startswith(b"action=553")
            (tmp_path / "elsewhere").rename(tmp_path / "greylag.db")
        else:
            daemon.process.send_signal(1)
            assert daemon.logged("event=reloaded")
        for who, (address, right) in WHO.items():
            if who != "stranger":
                assert client.ask(client_address=address).startswith(right)
