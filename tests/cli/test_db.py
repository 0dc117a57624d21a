"""`greylag db` and the old cron script's name, on a real MariaDB and on SQLite."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pymysql
import pytest

from tests.e2e.plugin import BIN
from tests.servers.mariadb import Database, MariaDb

FIXTURES = Path(__file__).parent.parent / "fixtures"
PAST = "UTC_TIMESTAMP() - INTERVAL 1 DAY"
FUTURE = "UTC_TIMESTAMP() + INTERVAL 1 DAY"


@pytest.fixture
def database(mariadb: MariaDb) -> Iterator[Database]:
    made = mariadb.database()
    yield made
    made.drop()


def run(home: Path, url: str, *words: str, program: str = "greylag") -> tuple[int, str, str]:
    (home / "greylag.toml").write_text(f'[store]\nurl = "{url}"\n')
    done = subprocess.run(
        [BIN / program, *words],
        env={"PATH": os.defpath, "GREYLAG_CONFIG": str(home / "greylag.toml")},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = done.stderr.splitlines(keepends=True)  # run as root, on files that are root's
    return done.returncode, done.stdout, "".join(x for x in said if "is for root alone" not in x)


def test_init_makes_what_is_missing_and_nothing_twice(database: Database, tmp_path: Path) -> None:
    code, found, _said = run(tmp_path, database.url, "db", "check", "--json")
    assert code == 1
    assert "table greylisting_data is missing" in found
    code, _out, said = run(tmp_path, database.url, "db", "init")
    made = "greylisting_lists, greylisting_data, greylag_figures, greylag_records, greylag_entries"
    made += ", greylag_deferrals, greylag_tallies, greylag_days, greylag_actions"
    assert (code, said) == (0, f"greylag: made: {made}\n")
    assert run(tmp_path, database.url, "db", "init")[2] == "greylag: all was there already\n"
    assert run(tmp_path, database.url, "db", "check") == (0, "", "greylag: all is well\n")


def test_the_printed_sql_is_what_init_does(database: Database, tmp_path: Path) -> None:
    code, text, _said = run(tmp_path, database.url, "db", "init", "--print")
    assert code == 0
    code, printed, _said = run(tmp_path, database.url, "db", "init", "--print", "--json")
    statements = json.loads(printed)["statements"]
    assert all(statement in text for statement in statements)
    client = ["mariadb", "--no-defaults", "-uroot", "-S", str(database.server.socket)]
    subprocess.run([*client, database.name], input=text, text=True, check=True, timeout=30)
    assert run(tmp_path, database.url, "db", "check")[0] == 0


@pytest.mark.parametrize(
    ("text", "start", "end", "prefix"),
    [
        ("192.0.2.77", "192.0.2.77", "192.0.2.77", 32),
        ("192.168.1.77/24", "192.168.1.0", "192.168.1.255", 24),
        ("10.1.2.3/13", "10.0.0.0", "10.7.255.255", 13),
        ("0.0.0.0/0", "0.0.0.0", "255.255.255.255", 0),
        ("2001:db8::1/33", "2001:db8::", "2001:db8:7fff:ffff:ffff:ffff:ffff:ffff", 33),
        ("2001:db8::1", "2001:db8::1", "2001:db8::1", 128),
    ],
)
def test_fault_6_triggers_mask_host_bits(
    database: Database, tmp_path: Path, text: str, start: str, end: str, prefix: int
) -> None:
    run(tmp_path, database.url, "db", "init")
    insert(database, text)
    assert database.rows(
        "SELECT INET6_NTOA(ipaddr_start), INET6_NTOA(ipaddr_end), ipaddr_prefixsize"
        " FROM greylisting_lists"
    ) == ((start, end, prefix),)


def insert(database: Database, text: str | None, domain: str | None = None) -> None:
    with database.server.connect(database.name) as cursor:
        cursor.execute(
            "INSERT INTO greylisting_lists (ipaddr, rcpt_to, block_expires, record_expires)"
            " VALUES (%s, %s, '1970-01-01 00:00:01', '9999-12-31 23:59:59')",
            (text, domain),
        )


@pytest.mark.parametrize("text", ["foo", "", "10.1.2/24", "192.0.2.1/33", "::1/129", "1.2.3.4/"])
def test_fault_6_triggers_refuse_nonsense(database: Database, tmp_path: Path, text: str) -> None:
    run(tmp_path, database.url, "db", "init")
    with pytest.raises(pymysql.MySQLError, match="ipaddr: "):
        insert(database, text)
    assert database.rows("SELECT 1 FROM greylisting_lists") == ()


def test_check_tells_what_is_wrong_and_adds_indexes(database: Database, tmp_path: Path) -> None:
    run(tmp_path, database.url, "db", "init")
    for statement in (
        "DROP TRIGGER greylisting_lists_bi",
        (
            "INSERT INTO greylisting_lists (ipaddr, block_expires, record_expires)"
            " VALUES ('foo', '1970-01-01 00:00:01', '9999-12-31 23:59:59')"
        ),
        (
            "INSERT INTO greylisting_lists (ipaddr, ipaddr_start, ipaddr_end, ipaddr_prefixsize,"
            " rcpt_to, block_expires, record_expires) VALUES ('192.0.2.77/24',"
            " INET6_ATON('192.0.2.77'), INET6_ATON('192.0.2.255'), 24, 'example.net',"
            " '1970-01-01 00:00:01', '9999-12-31 23:59:59')"
        ),
        (
            "INSERT INTO greylisting_lists (rcpt_to, block_expires, record_expires)"
            " VALUES ('example.NET ', '9999-12-31 23:59:59', '9999-12-31 23:59:59')"
        ),
        "ALTER TABLE greylisting_data DROP INDEX relay_ip",
        "ALTER TABLE greylag_records DROP INDEX identity",
        "ALTER TABLE greylag_entries DROP INDEX name",
    ):
        database.rows(statement)
    code, out, _said = run(tmp_path, database.url, "db", "check", "--json")
    assert code == 1
    whats = " | ".join(one["what"] for one in json.loads(out)["findings"])
    for part in (
        "greylisting_data has no index on relay_ip",
        "greylag_records has no index on identity",
        "greylag_entries has no index on name",
        "list entry 1 is no address: 'foo': it never matches",
        "list entry 2 has an address and a domain",
        "list entry 2 has host bits: '192.0.2.77/24' means 192.0.2.0/24",
        "list entries 2 and 3 name example.net: the first of them decides",
    ):
        assert part in whats
    code, _out, said = run(tmp_path, database.url, "db", "check", "--add-indexes")
    assert "3 added" in said
    assert "index" not in run(tmp_path, database.url, "db", "check")[1]


def test_the_old_cron_line_deletes_what_is_past_and_counts_it(
    database: Database, tmp_path: Path
) -> None:
    run(tmp_path, database.url, "db", "init")
    columns = "(relay_ip, mail_from, rcpt_to, block_expires, record_expires, passed_count)"
    for number, (expires, passed) in enumerate([(PAST, 0), (PAST, 3), (FUTURE, 0)]):
        database.rows(
            f"INSERT INTO greylisting_data {columns} VALUES (INET6_ATON('192.0.2.{number}'),"
            f" 'a@example.org', 'b@example.net', {PAST}, {expires}, {passed})"
        )
    (tmp_path / "control").mkdir()
    (tmp_path / "control" / "greylisting").write_text(
        f"mysql_default_file={database.option_file}\nblock_expire=2\nrecord_expire=2000\n"
    )
    code, out, said = run(tmp_path, f"sqlite://{tmp_path}/other.db", program="greylisting_cleanup")
    assert code == 0, said
    assert "never came back  1\n" in out
    assert "had passed       1\n" in out
    assert database.rows("SELECT COUNT(*) FROM greylisting_data") == ((1,),)
    found = database.rows(
        "SELECT name, number FROM greylag_figures WHERE name <> 'lock'"
        " AND name NOT LIKE 'counted:%' ORDER BY name"
    )
    assert found == (("fate:delayed", 1), ("fate:stopped", 1), ("never:unknown", 1))


def test_sqlite_too(tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/greylag.db"
    assert f"made the database {tmp_path}/greylag.db" in run(tmp_path, url, "db", "init")[2]
    assert run(tmp_path, url, "db", "init")[2] == "greylag: all was there already\n"
    assert run(tmp_path, url, "db", "check") == (0, "", "greylag: all is well\n")
    (tmp_path / "greylag.db").chmod(0o666)
    code, out, _said = run(tmp_path, url, "db", "check")
    path = f"{tmp_path}/greylag.db"
    assert (code, out) == (1, f"{path}: is open to all\n    chmod o= {path}*\n")
    (tmp_path / "greylag.db").write_bytes(b"junk" * 4096)
    code, _out, said = run(tmp_path, url, "db", "check")
    assert code == 74
    assert "Traceback" not in said


def test_a_path_with_any_letters_is_the_file_that_is_checked(tmp_path: Path) -> None:
    """`#` and `?` mean something in the URI that SQLite reads; `%41` is no `A`."""
    for name in ("a#b.db", "a?mode=rw.db", "%41.db", "a b.db"):
        url = f"sqlite://{tmp_path}/{name}"
        assert run(tmp_path, url, "db", "init")[0] == 0
        assert run(tmp_path, url, "db", "check") == (0, "", "greylag: all is well\n")
    assert not (tmp_path / "a").exists()
    with closing(sqlite3.connect(tmp_path / "a#b.db")) as db, db:
        row = "(7, 'access', 'network', x'c0000207', 33, NULL, 0, 9, 0, '', '', 0)"
        db.execute(f"INSERT INTO entries VALUES {row}")
    assert run(tmp_path, f"sqlite://{tmp_path}/a#b.db", "db", "check")[0] == 1


WRITERS = (("db", "init"), ("allow", "add", "192.0.2.7"))
READERS = (
    ("db", "check"),
    ("stats",),
    ("top",),
    ("whatif", "--delay", "15m"),
    ("report",),
    ("search",),
    ("expire",),
    ("allow", "list"),
    ("check", "192.0.2.1", "a@b.c", "d@e.f"),
)


@pytest.mark.parametrize("words", [*READERS, *WRITERS])
def test_a_command_makes_nothing_of_an_empty_file_t46(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Root can write to any file that a wrong path names."""
    path = tmp_path / "x.db"
    path.touch()
    assert run(tmp_path, f"sqlite://{path}", *words)[0] != 0
    assert path.read_bytes() == b""
    assert sorted(p.name for p in tmp_path.iterdir()) == ["greylag.toml", "x.db"]


@pytest.mark.parametrize("size", [1, 99, 100, 4096, 12_288])
@pytest.mark.parametrize("words", [*READERS, *WRITERS])
def test_a_truncated_database_is_told_and_left_as_it_is_t46(
    tmp_path: Path, words: tuple[str, ...], size: int
) -> None:
    path = tmp_path / "x.db"
    assert run(tmp_path, f"sqlite://{path}", "db", "init")[0] == 0
    with path.open("r+b") as file:
        file.truncate(size)
    before = path.read_bytes()
    code, _out, said = run(tmp_path, f"sqlite://{path}", *words)
    assert (code, said.count("\n")) == (74, 1)
    assert "Traceback" not in said
    assert path.read_bytes() == before


def test_who_only_reads_leaves_an_older_schema_as_it_is_p17(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript((FIXTURES / "sqlite-schema-1.sql").read_text())
    before = path.read_bytes()
    code, _out, said = run(tmp_path, f"sqlite://{path}", "stats")
    assert code == 74
    assert "has schema 1: `greylag db init`, or the daemon, makes it 4" in said
    assert path.read_bytes() == before
    made = (0, "", "greylag: made: schema 4 (it was 1)\n")
    assert run(tmp_path, f"sqlite://{path}", "db", "init") == made
    assert run(tmp_path, f"sqlite://{path}", "db", "init")[2] == "greylag: all was there already\n"
    assert run(tmp_path, f"sqlite://{path}", "stats")[0] == 0


def test_a_list_row_that_is_no_range_is_told_t46(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    url = f"sqlite://{path}"
    assert run(tmp_path, url, "allow", "add", "192.0.2.7")[0] == 0
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE entries SET prefix = 33")
    code, out, _said = run(tmp_path, url, "db", "check")
    assert (code, "list entry 1 names nothing, and is ignored" in out) == (1, True)


NO_PYMYSQL = """
import sys
sys.modules["pymysql"] = None
from greylag.cli.main import main
main()
"""
OPENING = ["db init", "db check", "stats", "search --client 192.0.2.1", "allow list", "expire"]


@pytest.mark.parametrize("words", [*OPENING, "check 192.0.2.1 a@example.org b@example.net"])
def test_what_is_to_be_installed_for_mysql_is_told(tmp_path: Path, words: str) -> None:
    (tmp_path / "greylag.toml").write_text('store.url = "mysql://u@127.0.0.1/d"')
    done = subprocess.run(
        [sys.executable, "-c", NO_PYMYSQL, "--config", tmp_path / "greylag.toml", *words.split()],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "needs PyMySQL (pip install 'greylag[mysql]';" in done.stderr
    assert "internal error" not in done.stderr
    assert done.returncode in (74, 75, 0)
