"""Damaged tables of our own beside the old plugin's take no verdict away (T34).

They hold figures, history, records of pools and some list entries: all goes on without them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import product
from pathlib import Path

import pytest

from greylag.core.record import Created
from greylag.core.triplet import Triplet
from greylag.store import open_store
from greylag.store.base import FIGURES, HISTORY, KINDS, NAMES
from greylag.store.mysql.schema import DATA, LISTS
from greylag.store.mysql.sql import OWN_TABLES
from tests.server.daemon import Daemon
from tests.server.test_failure import DEFERRED
from tests.server.test_mysql import on
from tests.servers.mariadb import Database, MariaDb, running

SOAK = os.environ.get("GREYLAG_SOAK") == "1"
TABLES = ("greylag_figures", *OWN_TABLES)
UNDER_A_DAEMON = (
    TABLES if SOAK else ("greylag_tallies", "greylag_records", "greylag_entries", "greylag_figures")
)
STRANGERS = 20
POOL = Triplet(b"\x01example.org", "a@example.org", "b@example.net")
NETWORK = Triplet(b"\xc0\x00\x02\x00", "a@example.org", "b@example.net")


def let_in(daemon: Daemon, tag: str) -> int:
    """Ask about strangers, one at a time; return how many were let in."""
    with daemon.connect() as client:
        answers = [
            client.ask(client_address=f"203.0.{n}.7", sender=f"{tag}{n}@example.org")
            for n in range(STRANGERS)
        ]
    return sum(not answer.startswith(DEFERRED) for answer in answers)


def test_tables_that_are_damaged_under_a_daemon_let_nobody_in_t34(
    database: Database, tmp_path: Path
) -> None:
    """One after the other loses its file; each costs a moment, until it is noticed."""
    with on(database, tmp_path) as daemon:
        assert let_in(daemon, "before") == 0
        for table in UNDER_A_DAEMON:
            database.rows(f"ALTER TABLE {table} DISCARD TABLESPACE")
            let_in(daemon, f"first-{table}-")
            time.sleep(2.5)
            assert let_in(daemon, f"{table}-") == 0
        assert daemon.logged("event=store-warning")
    with on(database, tmp_path) as daemon:  # nobody finds anything of it whole
        assert let_in(daemon, "again") == 0
        assert daemon.logged("all goes on without greylag_")
    found = "SELECT count(*) FROM greylisting_data WHERE mail_from NOT LIKE 'first-%'"
    assert database.rows(found) == ((STRANGERS * (2 + len(UNDER_A_DAEMON)),),)


def gone(file: Path) -> None:
    file.unlink()


def scribbled(file: Path) -> None:
    file.write_bytes(b"\xa5" * file.stat().st_size)


def emptied(file: Path) -> None:
    os.truncate(file, 0)


def of_another_kind(file: Path) -> None:
    scribbled(file.with_suffix(".frm"))


WAYS: list[Callable[[Path], None]] = [gone, scribbled, emptied, of_another_kind]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    with running(tmp_path_factory.mktemp("damaged")) as made:
        yield made


def test_a_store_goes_on_without_what_is_damaged_t34(server: MariaDb) -> None:
    """A server that was started on damaged files: each table, in the soak damaged in each way."""
    pairs = product(TABLES, WAYS) if SOAK else zip(TABLES, WAYS * 2, strict=False)
    damaged = [(server.database(LISTS, DATA), table, way) for table, way in pairs]
    for database, _table, _way in damaged:
        open_store(database.url, timeout=10).close()  # it makes the tables
    server.stop()
    for database, table, way in damaged:
        way(server.folder / "data" / database.name / f"{table}.ibd")
    server.start()
    parts = {"greylag_figures": FIGURES, "greylag_records": NAMES, "greylag_entries": KINDS}
    for database, table, _way in damaged:
        now = int(time.time())
        with closing(open_store(database.url, timeout=10)) as store:
            with store.transaction(lambda: None):
                born = [Created(key, now, now + 300, now + 900) for key in (NETWORK, POOL)]
                store.apply(born, {"defer:new": 1}, now)
            assert NETWORK in store.load([NETWORK, POOL])
            for look in (store.glance, store.generation, store.entries, store.warning):
                look()
            store.check()
            assert table in str(store.lacks(parts.get(table, HISTORY)))
            assert table in str(store.warning())
