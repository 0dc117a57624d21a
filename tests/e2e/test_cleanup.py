"""greylisting_cleanup, as the old plugin's cron line runs it: no argument, the old files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.e2e.plugin import BIN, TIMEOUT
from tests.servers.mariadb import Database

COLUMNS = (
    "(relay_ip, mail_from, rcpt_to, block_expires, record_expires, blocked_count, passed_count)"
)


@pytest.fixture
def home(tmp_path: Path, database: Database) -> Path:
    """A qmail home of the old plugin, and an empty greylag.toml."""
    (tmp_path / "control").mkdir()
    (tmp_path / "control" / "mysql.cnf").write_text(database.option_file.read_text())
    (tmp_path / "control" / "greylisting").write_text("mysql_default_file=control/mysql.cnf\n")
    (tmp_path / "greylag.toml").write_text("")
    return tmp_path


def cleanup(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "greylisting_cleanup", *arguments],
        cwd=home,
        env={"PATH": "/usr/bin:/bin", "GREYLAG_CONFIG": str(home / "greylag.toml")},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def add(database: Database, name: str, count: int, first: int, ends: int, passed: int = 0) -> None:
    """Insert rows first seen and expiring so many hours from now."""
    rows = ", ".join(
        f"(INET6_ATON('192.0.2.0'), '{name}{n}@example.org', 'b@example.net',"
        f" UTC_TIMESTAMP() + INTERVAL {first} HOUR, UTC_TIMESTAMP() + INTERVAL {ends} HOUR,"
        f" 1, {passed})"
        for n in range(count)
    )
    database.rows(f"INSERT INTO greylisting_data {COLUMNS} VALUES {rows}")
    database.rows(
        f"UPDATE greylisting_data SET create_time = NOW() + INTERVAL {first} HOUR"
        f" WHERE mail_from LIKE '{name}%'"
    )


def left(database: Database) -> list[str]:
    return [
        str(name) for (name,) in database.rows("SELECT mail_from FROM greylisting_data ORDER BY 1")
    ]


@pytest.fixture
def filled(database: Database) -> Database:
    add(database, "stopped", 3, -60, -12)
    add(database, "done", 2, -900, -1, passed=1)
    add(database, "waits", 1, -1, 47)
    return database


def test_deletes_what_is_past_and_counts_it_first(home: Path, filled: Database) -> None:
    done = cleanup(home)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "deleted            5\n  never came back  3\n  had passed       2\n"
        "kept               1 (1 waiting, 0 passed)\n"
    )
    assert left(filled) == ["waits0@example.org"]
    again = cleanup(home, "--json")
    assert json.loads(again.stdout)["never_came_back"] == 0


def test_dry_run_deletes_nothing(home: Path, filled: Database) -> None:
    before = left(filled)
    done = json.loads(cleanup(home, "--dry-run", "--json").stdout)
    assert (done["dry_run"], done["never_came_back"], done["delayed"]) == (True, 3, 2)
    assert left(filled) == before


def test_where_most_has_expired_it_cleans_as_the_old_script_does(
    home: Path, database: Database
) -> None:
    """On a quiet server that is every night; `greylag expire` itself asks for --yes."""
    add(database, "old", 100, -90, -42)
    done = cleanup(home)
    assert done.returncode == 0, done.stderr
    assert left(database) == []


def test_a_database_that_is_not_there_is_told(home: Path, tmp_path: Path) -> None:
    (home / "control" / "mysql.cnf").write_text(
        f"[client]\nsocket={tmp_path}/none\nuser=x\ndatabase=y\n"
    )
    done = cleanup(home)
    assert (done.returncode, done.stdout) == (75, "")
    assert f"{tmp_path}/none" in done.stderr
