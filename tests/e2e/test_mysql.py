"""The old plugin's setup, taken over: control/greylisting, its option file, its tables."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from greylag.store.mysql.schema import DATA, LISTS
from tests.e2e.plugin import Plugin, at
from tests.servers.mariadb import Database, MariaDb, running

OLD = "block_expire=2\nrecord_expire=2000\nrecord_expire_good=36\nloglevel=4\n"
DEFERRED = b"E451 temporary failure (#4.3.0)\n"
# Plain tables, as the old program's own file makes them: latin1, and no trigger that masks.
OLD_TABLES = tuple(
    text.replace("utf8mb4 COLLATE=utf8mb4_general_ci", "latin1").replace("IF NOT EXISTS ", "")
    for text in (LISTS, DATA)
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    with running(tmp_path_factory.mktemp("mariadb")) as one:
        yield one


@pytest.fixture
def database(server: MariaDb) -> Iterator[Database]:
    made = server.database(*OLD_TABLES, options="CHARACTER SET latin1")
    yield made
    made.drop()


@pytest.fixture
def old(plugin: Plugin, database: Database) -> Plugin:
    """A qmail home of the old plugin: its files, and no greylag.toml."""
    (plugin.home / "control" / "mysql.cnf").write_text(database.option_file.read_text())
    plugin.write_old(f"mysql_default_file=control/mysql.cnf\n{OLD}")
    (plugin.home / "greylag.toml").write_text("")
    return plugin


def test_the_life_of_a_triplet_with_nothing_changed_but_the_program(
    old: Plugin, database: Database
) -> None:
    assert old.run().output == DEFERRED
    early = old.run(**at("+60s"))
    assert early.output == DEFERRED
    assert "reason=early" in early.log
    assert old.run(**at("+121s")).output == b""
    known = old.run(TCPREMOTEIP="192.0.2.99", **at("+1d"))
    assert (known.output, "reason=known" in known.log) == (b"", True)
    ((relay, sender, recipient, blocked, passed),) = database.rows(
        "SELECT HEX(relay_ip), mail_from, rcpt_to, blocked_count, passed_count"
        " FROM greylisting_data"
    )
    assert (relay, sender, recipient) == ("C0000211", "a@example.org", "b@example.net")
    assert (blocked, passed) == (2, 2)


def test_rows_of_the_old_program_are_right_for_us(old: Plugin, database: Database) -> None:
    """It writes whole addresses, dates in UTC, and case as it came."""
    columns = "(relay_ip, mail_from, rcpt_to, block_expires, record_expires, blocked_count)"
    for address, sender, minutes in (
        ("192.0.2.200", "Waits@Example.ORG", 1),
        ("192.0.2.201", "ready@example.org", -1),
    ):
        database.rows(
            f"INSERT INTO greylisting_data {columns} VALUES (INET6_ATON('{address}'), '{sender}',"
            f" 'b@example.net', UTC_TIMESTAMP() + INTERVAL {minutes} MINUTE,"
            " UTC_TIMESTAMP() + INTERVAL 1 DAY, 1)"
        )
    database.rows(
        f"INSERT INTO greylisting_data {columns} VALUES (INET6_ATON('192.0.2.202'), NULL,"
        " 'b@example.net', UTC_TIMESTAMP() - INTERVAL 1 MINUTE,"
        " UTC_TIMESTAMP() + INTERVAL 1 DAY, 1)"
    )
    assert "reason=early" in old.run(SMTPMAILFROM="waits@example.org").log
    assert "reason=retried" in old.run(SMTPMAILFROM="ready@example.org").log
    assert "reason=retried" in old.run(SMTPMAILFROM="").log
    assert len(database.rows("SELECT 1 FROM greylisting_data")) == 3


def test_what_we_write_is_what_the_old_program_would_find(old: Plugin, database: Database) -> None:
    old.run()
    found = database.rows(
        "SELECT block_expires > UTC_TIMESTAMP(), block_expires <= UTC_TIMESTAMP() + INTERVAL 2"
        " MINUTE, record_expires > UTC_TIMESTAMP() + INTERVAL 1999 MINUTE, blocked_count"
        " FROM greylisting_data WHERE relay_ip BETWEEN INET6_ATON('192.0.2.0') AND"
        " INET6_ATON('192.0.2.255') AND mail_from = 'A@example.org' AND rcpt_to = 'b@example.net'"
        " AND record_expires > UTC_TIMESTAMP()"
    )
    assert found == ((1, 1, 1, 1),)


def add_row(database: Database, columns: str, values: str) -> None:
    database.rows(
        f"INSERT INTO greylisting_lists ({columns}, block_expires, record_expires, comment)"
        f" VALUES ({values}, '9999-12-31 23:59:59', 'by hand')"
    )


def test_list_rows_that_admins_insert_by_hand(old: Plugin, database: Database) -> None:
    network = "ipaddr, ipaddr_start, ipaddr_end, ipaddr_prefixsize"
    blacklist, whitelist = "'9999-12-31 23:59:59'", "'1970-01-01 00:00:01'"
    place = "'192.0.2.77/24', INET6_ATON('192.0.2.77'), INET6_ATON('192.0.2.255'), 24"
    add_row(database, network, f"{place}, {blacklist}")
    add_row(database, "rcpt_to", f"'Spared.example.net', {whitelist}")
    assert old.run().output.startswith(b"E553 sorry, your envelope sender has been denied")
    spared = old.run(TCPREMOTEIP="198.51.100.1", SMTPRCPTTO="x@spared.EXAMPLE.net")
    assert "reason=allowlisted" in spared.log
    assert old.run(TCPREMOTEIP="198.51.100.1").output == DEFERRED


@pytest.mark.parametrize(
    "mode",
    [
        "STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO",
        "ANSI_QUOTES",
        "NO_AUTO_VALUE_ON_ZERO",
        "NO_BACKSLASH_ESCAPES",
        "",
    ],
)
def test_fault_12_no_sql_mode_of_the_server_matters(
    old: Plugin, server: MariaDb, database: Database, mode: str
) -> None:
    with server.connect() as cursor:
        cursor.execute("SET GLOBAL sql_mode = %s", (mode,))
        cursor.execute("SET GLOBAL time_zone = '+05:30'")
    try:
        backslash = {"SMTPMAILFROM": "a\\'b\"@example.org"}
        assert old.run(**backslash).output == DEFERRED
        assert old.run(**backslash).output == DEFERRED
        assert old.run(**backslash, **at("+121s")).output == b""
    finally:
        with server.connect() as cursor:
            cursor.execute("SET GLOBAL sql_mode = DEFAULT, GLOBAL time_zone = DEFAULT")
    assert database.rows("SELECT blocked_count FROM greylisting_data") == ((2,),)


def test_fault_7_first_contacts_at_the_same_moment_are_one_record(
    old: Plugin, database: Database
) -> None:
    def ask(number: int) -> bool:
        return old.run(SMTPRCPTTO=f"r{number % 25}@example.net").output == DEFERRED

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(100)))
    found = database.rows("SELECT rcpt_to, blocked_count FROM greylisting_data")
    assert sorted(found) == sorted((f"r{number}@example.net", 4) for number in range(25))


def test_a_database_that_is_not_there_lets_in_and_says_why(
    plugin: Plugin, server: MariaDb, tmp_path: Path
) -> None:
    plugin.write_old(f"mysql_default_file={tmp_path}/none.cnf\n{OLD}")
    answer = plugin.run()
    assert (answer.output, answer.code) == (b"", 0)
    assert f"{tmp_path}/none.cnf: No such file or directory" in answer.log
    (tmp_path / "my.cnf").write_text(f"[client]\nsocket={tmp_path}/none\nuser=u\ndatabase=d\n")
    plugin.write_old(f"mysql_default_file={tmp_path}/my.cnf\n{OLD}")
    answer = plugin.run()
    assert (answer.output, answer.code) == (b"", 0)
    assert f"mysql u@{tmp_path}/none/d: " in answer.log


def test_fault_3_a_database_that_never_answers_holds_nobody(old: Plugin, server: MariaDb) -> None:
    server.send(signal.SIGSTOP)
    try:
        began = time.monotonic()
        answer = old.run()
        assert time.monotonic() - began < 8
    finally:
        server.send(signal.SIGCONT)
    assert (answer.output, answer.code) == (b"", 0)
    assert "reason=store-unavailable" in answer.log
