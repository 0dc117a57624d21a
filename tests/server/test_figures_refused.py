"""Figures that the store refuses cost no record: every first contact is still deferred (T34)."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from greylag.core.figures import hour_of
from tests.server.daemon import Daemon, serving
from tests.server.test_failure import DEFERRED
from tests.server.test_mysql import on
from tests.servers.mariadb import Database

STRANGERS = 30
LARGEST = 2**63 - 1
NAMES = ("defer:new", "pass:known", "defer:early")


def let_in(daemon: Daemon) -> int:
    """Ask about strangers, one at a time; return how many were let in."""
    with daemon.connect() as client:
        answers = [
            client.ask(client_address=f"203.0.{n}.7", sender=f"new{n}@example.org")
            for n in range(STRANGERS)
        ]
    return sum(not answer.startswith(DEFERRED) for answer in answers)


def told_once(daemon: Daemon, cause: str) -> None:
    """It is told, once, and as what it is."""
    assert daemon.logged("event=store-warning")
    log = daemon.log.read_text()
    (line,) = [line for line in log.splitlines() if "event=store-warning" in line]
    assert "no figures are counted" in line
    assert cause in line
    assert "event=store-failed" not in log
    assert "event=store-refused" not in log


def spoil_the_page(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db:
        page = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'figures'").fetchone()[0]
        size = db.execute("PRAGMA page_size").fetchone()[0]
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with file.open("r+b") as raw:
        raw.seek((page - 1) * size)
        raw.write(b"\xa5" * size)


def refuse(what: str) -> Callable[[Path], None]:
    def spoil(file: Path) -> None:
        with closing(sqlite3.connect(file)) as db, db:
            db.execute(
                "CREATE TRIGGER bad BEFORE INSERT ON figures"
                f" BEGIN SELECT raise({what}, 'of a trigger'); END"
            )

    return spoil


def no_table(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("DROP TABLE figures")


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        pytest.param(spoil_the_page, "malformed", id="page"),
        pytest.param(refuse("ABORT"), "of a trigger", id="abort"),
        pytest.param(refuse("FAIL"), "of a trigger", id="fail"),
        pytest.param(refuse("ROLLBACK"), "of a trigger", id="rollback"),
        pytest.param(no_table, "no such table", id="no table"),
    ],
)
def test_figures_that_sqlite_refuses_let_nobody_in_t34(
    tmp_path: Path, spoil: Callable[[Path], None], cause: str
) -> None:
    with serving(tmp_path):
        pass
    spoil(tmp_path / "greylag.db")
    with serving(tmp_path) as daemon:
        assert let_in(daemon) == 0
        told_once(daemon, cause)
    with closing(sqlite3.connect(tmp_path / "greylag.db")) as db:
        found = "SELECT count(*) FROM records WHERE sender LIKE 'new%'"
        assert db.execute(found).fetchone() == (STRANGERS,)


def hours() -> Iterator[int]:
    """This hour, and the next, which may begin while the test runs."""
    hour = hour_of(int(time.time()))
    yield hour
    yield hour + 3600


def test_figures_of_sqlite_at_their_largest_let_nobody_in_t34(tmp_path: Path) -> None:
    with serving(tmp_path):
        pass
    rows = [(hour, name, LARGEST) for hour in hours() for name in NAMES]
    with closing(sqlite3.connect(tmp_path / "greylag.db")) as db, db:
        db.executemany("INSERT OR REPLACE INTO figures VALUES (?, ?, ?)", rows)
    with serving(tmp_path) as daemon:
        assert let_in(daemon) == 0
        time.sleep(1.2)  # repeats are counted later
        assert let_in(daemon) == 0
        assert "event=store-" not in daemon.log.read_text()


@pytest.mark.parametrize("smaller", [False, True], ids=["largest", "limit"])
def test_figures_that_mariadb_cannot_hold_let_nobody_in_t34(
    database: Database, tmp_path: Path, *, smaller: bool
) -> None:
    """At their largest they stay as they are; a table with a limit of its own refuses them."""
    with on(database, tmp_path):
        pass  # it makes the table
    most = 99 if smaller else LARGEST
    with database.server.connect(database.name) as cursor:
        cursor.execute("DELETE FROM greylag_figures WHERE hour > 0")
        if smaller:
            cursor.execute(
                "ALTER TABLE greylag_figures ADD CONSTRAINT small"
                f" CHECK (hour < 0 OR number <= {most})"
            )
        for hour in hours():
            for name in NAMES:
                row = (hour, name, most)
                cursor.execute("INSERT INTO greylag_figures VALUES (%s, %s, %s)", row)
    with on(database, tmp_path) as daemon:
        assert let_in(daemon) == 0
        if smaller:
            told_once(daemon, "small")
        assert "event=store-refused" not in daemon.log.read_text()
    found = "SELECT COUNT(*) FROM greylisting_data WHERE mail_from LIKE 'new%'"
    assert database.rows(found) == ((STRANGERS,),)


def test_figures_that_another_account_holds_let_nobody_in_t35(
    database: Database, tmp_path: Path
) -> None:
    """As one that shows them, and reads them in a transaction that locks what it has read."""
    with on(database, tmp_path) as daemon:
        with database.server.connect(database.name) as holder:
            for hour in hours():
                for name in NAMES:
                    row = (hour, name)
                    holder.execute("INSERT IGNORE INTO greylag_figures VALUES (%s, %s, 1)", row)
            holder.execute("START TRANSACTION")
            holder.execute("SELECT * FROM greylag_figures WHERE hour > 0 LOCK IN SHARE MODE")
            assert let_in(daemon) == 0
            told_once(daemon, "no figures are counted")
        assert "event=store-failed" not in daemon.log.read_text()
