"""P17: an upgrade keeps the data, also one that is killed in the middle."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Sequence
from contextlib import closing, nullcontext
from pathlib import Path

import pytest

from greylag.core.accesslist import NEVER, Purpose
from greylag.store.base import Filter, StoreError
from greylag.store.sqlite import historysql
from greylag.store.sqlite import sql as sqlite_sql
from greylag.store.sqlite.file import Guard, connect
from greylag.store.sqlite.schema import APPLICATION_ID, MIGRATIONS
from greylag.store.sqlite.store import SqliteStore

FIXTURES = Path(__file__).parent.parent / "fixtures"
RELEASED = range(1, len(MIGRATIONS) + 1)
COUNTS = {"records": 4, "entries": 3, "figures": 5, "state": 1}
KINDS_SINCE, MORE_ENTRIES = 3, 3  # the schema that has all kinds of entries, and how many more


def load_fixture(number: int, path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Make the database that a release with this schema left; return its rows."""
    with closing(sqlite3.connect(path)) as db:
        db.executescript((FIXTURES / f"sqlite-schema-{number}.sql").read_text())
    return rows(path)


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(path)) as db:
        return {
            "records": db.execute("SELECT * FROM records").fetchall(),
            "entries": db.execute("SELECT * FROM entries").fetchall(),
            "figures": db.execute("SELECT * FROM figures").fetchall(),
            "state": db.execute("SELECT * FROM state").fetchall(),
        }


@pytest.mark.parametrize("number", RELEASED)
def test_every_released_schema_comes_up_with_all_its_rows_p17(number: int, tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    before = load_fixture(number, path)
    counts = COUNTS | {"entries": 3 + MORE_ENTRIES * (number >= KINDS_SINCE)}
    assert {table: len(found) for table, found in before.items()} == counts
    for _again in range(2):
        with closing(SqliteStore(str(path))) as store:
            assert len(list(store.search(Filter(), 99))) == COUNTS["records"]
            assert len(store.entries()) == counts["entries"]
            assert sum(len(hour) for hour in store.figures(0, NEVER).values()) == COUNTS["figures"]
    assert {table: len(found) for table, found in rows(path).items()} == counts


@pytest.mark.parametrize("number", range(1, KINDS_SINCE))
def test_old_list_entries_keep_their_meaning_p17(number: int, tmp_path: Path) -> None:
    before = load_fixture(number, tmp_path / "old.db")["entries"]
    with closing(SqliteStore(str(tmp_path / "old.db"))) as store:
        found = store.entries()
    for (n, _net, _prefix, _domain, denied, expires, created, comment), entry in zip(
        before, found, strict=True
    ):
        assert (entry.number, entry.denied_until, entry.expires) == (n, denied, expires)
        assert (entry.created, entry.comment) == (created, comment)
        assert (entry.purpose, entry.origin, entry.spoofable) == (Purpose.ACCESS, "", False)
    assert [str(entry.subject) for entry in found] == [
        "192.0.2.0/24",
        "2001:db8::/32",
        "example.net",
    ]
    assert [entry.subject.kind for entry in found] == ["network", "network", "domain"]


def test_where_an_import_wrote_its_file_into_comments_it_is_the_origin_p17(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    load_fixture(2, path)
    comments = {1: "[networks.txt] branch office", 2: "[networks.txt]", 3: "no [file] at all"}
    with closing(sqlite3.connect(path)) as db, db:
        for number, comment in comments.items():
            db.execute("UPDATE entries SET comment = ? WHERE number = ?", (comment, number))
    with closing(SqliteStore(str(path))) as store:
        found = [(entry.origin, entry.comment) for entry in store.entries()]
    assert found == [
        ("networks.txt", "branch office"),
        ("networks.txt", ""),
        ("", "no [file] at all"),
    ]


@pytest.mark.parametrize("before_statement", range(len(MIGRATIONS[2]) + 2))
def test_lists_get_their_kinds_or_stay_as_they_were_p17(
    before_statement: int, tmp_path: Path
) -> None:
    path = tmp_path / "old.db"
    before = load_fixture(2, path)
    upgrade_and_die(path, MIGRATIONS[:3], before_statement)
    assert rows(path) == before
    with closing(SqliteStore(str(path))) as store:
        assert len(store.entries()) == len(before["entries"])


def test_the_newest_fixture_is_the_newest_schema(tmp_path: Path) -> None:
    """A migration without a fixture of what it makes would leave the next one untested."""
    fixture, made = tmp_path / "fixture.db", tmp_path / "made.db"
    load_fixture(len(MIGRATIONS), fixture)
    SqliteStore(str(made)).close()

    def schema(path: Path) -> list[tuple[str, str]]:
        with closing(sqlite3.connect(path)) as db:
            found = db.execute("SELECT name, sql FROM sqlite_master WHERE sql NOT NULL")
            return sorted((name, " ".join(sql.split())) for name, sql in found)

    assert schema(fixture) == schema(made)


Migrations = Sequence[Sequence[str]]
NEXT = (
    *MIGRATIONS,
    (
        "ALTER TABLE records ADD COLUMN note TEXT NOT NULL DEFAULT ''",
        "UPDATE records SET note = 'seen by the next version'",
        "DELETE FROM state WHERE name = 'nothing'",
    ),
)


def upgrade_and_die(path: Path, migrations: Migrations, before_statement: int) -> None:
    """Run the last migration in a child that kills itself before a statement."""
    child = os.fork()
    if not child:  # pragma: no cover - not in this process
        real = sqlite3.connect

        def dying(*args: object, **options: object) -> sqlite3.Connection:
            db: sqlite3.Connection = real(*args, **options)  # type: ignore[call-overload]
            stamp = f"PRAGMA user_version = {len(migrations)}"
            doomed = [*migrations[-1], stamp, "COMMIT"][before_statement]

            def watch(statement: str) -> None:
                if statement == doomed:
                    os.kill(os.getpid(), signal.SIGKILL)

            db.set_trace_callback(watch)
            return db

        sqlite3.connect = dying  # type: ignore[assignment]
        try:
            connect(str(path), Guard(str(path)), timeout=4, create=True, migrations=migrations)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("before_statement", range(5))
def test_an_upgrade_killed_in_the_middle_is_done_by_the_next_start_p17(
    before_statement: int, tmp_path: Path
) -> None:
    path = tmp_path / "old.db"
    before = load_fixture(len(MIGRATIONS), path)
    upgrade_and_die(path, NEXT, before_statement)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert rows(path) == before
    connect(str(path), Guard(str(path)), timeout=4, create=True, migrations=NEXT).close()
    after = rows(path)
    assert [(*row, "seen by the next version") for row in before["records"]] == after["records"]
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with pytest.raises(StoreError, match="knows only up to"):  # and the old version says so
        SqliteStore(str(path))


@pytest.mark.parametrize("before_statement", range(len(MIGRATIONS[1]) + 2))
def test_passed_and_waiting_records_go_apart_or_stay_together_p17(
    before_statement: int, tmp_path: Path
) -> None:
    path = tmp_path / "old.db"
    before = load_fixture(1, path)
    upgrade_and_die(path, MIGRATIONS[:2], before_statement)
    assert rows(path) == before
    with closing(SqliteStore(str(path))) as store:
        found = {t.key: (r.first_seen, r.expires, r.passed) for t, r in store.search(Filter(), 99)}
    assert found == {row[:3]: (row[3], row[5], row[7]) for row in before["records"]}
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_the_file_says_whose_it_is(tmp_path: Path) -> None:
    SqliteStore(str(tmp_path / "x.db")).close()
    header = (tmp_path / "x.db").read_bytes()
    assert int.from_bytes(header[68:72], "big") == APPLICATION_ID


def statements() -> list[str]:
    """Return every statement of the store."""
    both = [*vars(sqlite_sql).items(), *vars(historysql).items()]
    named = [value for name, value in both if name.isupper() and name[0] != "_"]
    texts = [value for value in named if isinstance(value, str)]
    return [*texts, *(sql for value in named if isinstance(value, dict) for sql in value.values())]


@pytest.mark.parametrize("statement", statements())
def test_a_statement_works_where_another_process_upgrades_meanwhile_p17(
    statement: str, tmp_path: Path
) -> None:
    """SQLite keeps the schema it has read; it must find out by itself that there is a newer."""
    path = tmp_path / "old.db"
    load_fixture(1, path)
    with closing(sqlite3.connect(path)) as early:
        early.execute("SELECT * FROM records").fetchone()
        SqliteStore(str(path)).close()
        # It is compiled, and only then misses its parameters.
        compiled = pytest.raises(sqlite3.ProgrammingError, match="number of bindings")
        with compiled if "?" in statement else nullcontext():
            early.execute(statement)
