"""P17: what an installation of 0.1 has kept comes up in this version, and goes on in use.

0.1 was never one schema: its SQLite databases are all those of tests/fixtures. On MySQL the first
0.1 had the old plugin's tables and one for the figures, which are here as they were then.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from greylag.store.sqlite.schema import MIGRATIONS
from tests.e2e.plugin import Plugin
from tests.server.daemon import serving
from tests.server.test_switch import greylag
from tests.servers.mariadb import MariaDb

FIXTURES = Path(__file__).parents[1] / "fixtures"
WRITTEN = 1_790_000_000  # the time in the fixtures
AGO = 7200  # seconds since then, for the test
KNOWN, WAITING, LISTED, DENIED = "203.0.113.9", "198.51.100.9", "192.0.2.9", "2001:db8::9"
NEW = "203.0.113.77"
# The rows are of two hours ago, and no list names who has passed.
SHIFT = """
UPDATE records SET network = X'CB007100' WHERE passed > 0;
UPDATE records SET first_seen = first_seen + :by, defer_until = defer_until + :by,
    expires = expires + :by;
UPDATE figures SET hour = hour + :by / 3600 * 3600;
DELETE FROM entries WHERE number = 4;
"""
# As `greylag db init` of the first 0.1 made them.
MYSQL = (FIXTURES / "mysql-first-0.1.sql").read_text()
DATABASES = [*(f"sqlite-{number + 1}" for number in range(len(MIGRATIONS))), "mysql", "old-plugin"]


def sqlite_of_0_1(path: Path, number: int) -> str:
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript((FIXTURES / f"sqlite-schema-{number}.sql").read_text())
        for statement in SHIFT.strip().split(";")[:-1]:
            db.execute(statement, {"by": int(time.time()) - AGO - WRITTEN})
    return f"sqlite://{path}"


@pytest.fixture
def of_0_1(request: pytest.FixtureRequest, home: Path) -> Iterator[Plugin]:
    """A qmail home with one of these databases in it."""
    kind: str = request.param
    database = None
    if kind.startswith("sqlite"):
        url = sqlite_of_0_1(home / "greylag.db", int(kind[-1]))
    else:
        mariadb: MariaDb = request.getfixturevalue("mariadb")
        statements = [text for text in MYSQL.split(";\n\n") if text.strip()]
        if kind == "old-plugin":
            statements = [text for text in statements if "greylag_figures" not in text]
        database = mariadb.database(*statements)
        url = database.url
    config = home / "greylag.toml"
    plugin = home / "plugins" / "greylisting"
    made = Plugin(home, home / "greylag.db", plugin, {"GREYLAG_CONFIG": str(config)}, url)
    made.write_toml(f'[server]\nsocket = "{home}/s"\n')
    yield made
    if database is not None:
        database.drop()


def commands_work(home: Path) -> None:
    """Run what an admin would, on what is now this version's."""
    config = home / "greylag.toml"
    assert "never came back" in greylag(config, "stats")
    assert "203.0.113.0/24" in greylag(config, "search", "--sender", "a@example.org")
    assert "partner" in greylag(config, "allow", "list")
    assert "sender          a@example.org" in greylag(
        config, "why", "a@example.org", "b@example.net"
    )


@pytest.mark.parametrize("of_0_1", DATABASES, indirect=True)
def test_a_daemon_goes_on_with_what_0_1_knew_p17(of_0_1: Plugin) -> None:
    home = of_0_1.home
    with serving(home, config=home / "greylag.toml") as daemon:
        with daemon.connect() as client:
            for address, answer, reason in (
                (KNOWN, b"action=DUNNO", "known"),
                (WAITING, b"action=", "retried"),
                (LISTED, b"action=DUNNO", "allowlist"),
                (DENIED, b"action=5", "denylist"),
                (NEW, b"action=DEFER_IF_PERMIT", "new"),
            ):
                changes = {"recipient": "new@example.net"} if address == NEW else {}
                given = client.ask(client_address=address, **changes)
                assert given.startswith(answer), (address, given)
                assert daemon.logged(f"reason={reason}"), (address, daemon.log.read_text())
        commands_work(home)
    commands_work(home)
    asked = of_0_1.run(TCPREMOTEIP=KNOWN)
    assert (asked.output, "reason=known" in asked.log) == (b"", True), asked.log


@pytest.mark.parametrize("of_0_1", ["sqlite-1", "old-plugin"], indirect=True)
def test_the_one_shot_goes_on_with_what_0_1_knew_p17(of_0_1: Plugin) -> None:
    for address, reason in ((KNOWN, "known"), (WAITING, "retried")):
        asked = of_0_1.run(TCPREMOTEIP=address)
        assert (asked.output, f"reason={reason}" in asked.log) == (b"", True), asked.log
    assert of_0_1.run(TCPREMOTEIP=NEW, SMTPRCPTTO="new@example.net").deferred
    commands_work(of_0_1.home)


@pytest.mark.parametrize("of_0_1", ["sqlite-1"], indirect=True)
def test_the_way_back_to_0_1_is_a_backup_p17(of_0_1: Plugin) -> None:
    """As docs/everyday/upgrade.md has it: the backup is a database of the old schema."""
    backup = of_0_1.home / "greylag-0.1.backup"
    greylag(of_0_1.home / "greylag.toml", "db", "backup", str(backup))
    assert of_0_1.run(TCPREMOTEIP=KNOWN).output == b""  # and this one has the new schema now
    with closing(sqlite3.connect(of_0_1.home / "greylag.db")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    with closing(sqlite3.connect(backup)) as db, db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        assert db.execute("SELECT count(*) FROM records").fetchone() == (4,)
        rows = [(b"abcd", f"{number}@example.org") for number in range(5000)]
        db.executemany("INSERT INTO records VALUES (?, ?, 'b@example.net', 1, 2, 3, 1, 0)", rows)
    with closing(sqlite3.connect(backup)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT count(*) FROM records").fetchone() == (5004,)
