"""The daemon on MariaDB: its failures are answered in time, told once, and recovered from (P1)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pymysql
import pytest

from greylag.store.mysql.schema import DATA, LISTS, TABLES
from tests.server.daemon import Connection, Daemon, serving, write_config
from tests.server.test_failure import DEFERRED, LET_IN, until_deferred
from tests.servers import faults
from tests.servers.mariadb import PASSWORD, Database, MariaDb, running

ROUNDS = 1000 if os.environ.get("GREYLAG_SOAK") == "1" else 5  # of 64 clients


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    with running(tmp_path_factory.mktemp("mariadb")) as one:
        yield one


@pytest.fixture
def database(server: MariaDb) -> Iterator[Database]:
    made = server.database(LISTS, DATA)
    yield made
    made.drop()


@contextmanager
def on(database: Database, folder: Path, text: str = "", server: str = "") -> Iterator[Daemon]:
    """Run a daemon on a database."""
    folder.mkdir(exist_ok=True)
    config = write_config(folder, text, server, url=database.url)
    with serving(folder, config=config) as running_one:
        yield running_one


def known(database: Database, sender: str) -> bool:
    return bool(
        database.rows(f"SELECT 1 FROM greylisting_data WHERE mail_from = '{sender}@example.org'")
    )


def test_the_life_of_a_triplet(database: Database, tmp_path: Path) -> None:
    with on(database, tmp_path, '[policy]\ndelay = "1s"') as daemon, daemon.connect() as client:
        assert client.ask().startswith(DEFERRED)
        time.sleep(2.1)
        for _ in range(3):
            assert client.ask() == LET_IN
        assert daemon.logged("reason=known")
    counts = "SELECT blocked_count, passed_count FROM greylisting_data"
    assert database.rows(counts) == ((1, 3),)
    found = database.rows("SELECT name, number FROM greylag_figures")
    figures = {str(name): number for name, number in found}
    assert (figures["defer:new"], figures["pass:known"]) == (1, 2)


def test_why_there_are_no_figures_is_told(database: Database, tmp_path: Path) -> None:
    database.grant_only("SELECT, INSERT, UPDATE, DELETE", ["greylisting_data", "greylisting_lists"])
    with on(database, tmp_path) as daemon, daemon.connect() as client:
        assert client.ask().startswith(DEFERRED)
        assert daemon.logged("event=no-figures")
        assert daemon.log.read_text().count("greylag db init --print") == 1


def test_why_there_is_no_history_is_told_once(database: Database, tmp_path: Path) -> None:
    """An account that may not make its tables; those of an older version are there."""
    old = ["greylag_figures", "greylag_records", "greylag_entries"]
    with database.server.connect(database.name) as root:
        for table in old:
            root.execute(TABLES[table])
    tables = ["greylisting_data", "greylisting_lists", *old]
    database.grant_only("SELECT, INSERT, UPDATE, DELETE", tables)
    with on(database, tmp_path) as daemon, daemon.connect() as client:
        assert client.ask().startswith(DEFERRED)
        assert daemon.logged("no history of deferred mail is kept")
        time.sleep(2.2)
        assert client.ask().startswith(DEFERRED)
        assert daemon.log.read_text().count("greylag db init --print") == 1
        assert "event=history-failed" not in daemon.log.read_text()


def test_why_nothing_is_kept_under_a_name_is_told_once_it_would_be(
    database: Database, tmp_path: Path
) -> None:
    """An account that may not make greylag_records; who needs none of it hears of nothing."""
    database.grant_only("SELECT, INSERT, UPDATE, DELETE", ["greylisting_data", "greylisting_lists"])
    off = "trust_after = 0\ntrust_all_after = 0\ncorrespondents = 'off'\ntrapped_for = 'off'\n"
    for name, settings, told in (("a", f"{off}identity = 'none'\n", 0), ("b", "", 1)):
        text = f"[policy]\n{settings}"
        with on(database, tmp_path / name, text) as daemon, daemon.connect() as client:
            assert client.ask(sender=f"{name}@example.org").startswith(DEFERRED)
            assert daemon.logged("event=no-figures")
            if told:
                assert daemon.logged("event=store-warning")
            time.sleep(2.2)
            log = daemon.log.read_text()
            assert log.count("no table greylag_records") == told
            assert "event=store-failed" not in log


def test_seen_first_on_one_server_passes_on_the_other_r7(
    database: Database, tmp_path: Path
) -> None:
    """RFC 6647 5.4: two MXs share one database."""
    text = '[policy]\ndelay = "3s"'
    with (
        on(database, tmp_path / "a", text) as first,
        on(database, tmp_path / "b", text) as second,
        first.connect() as one,
        second.connect() as other,
    ):
        assert one.ask().startswith(DEFERRED)
        assert other.ask().startswith(DEFERRED)
        time.sleep(4.1)
        assert other.ask() == LET_IN
        assert one.ask() == LET_IN
    assert database.rows("SELECT COUNT(*), SUM(blocked_count) FROM greylisting_data") == ((1, 2),)


def test_64_clients_ask_about_one_triplet_at_once_p9(database: Database, tmp_path: Path) -> None:
    answers: list[bytes] = []

    def ask(daemon: Daemon, number: int) -> None:
        with daemon.connect() as client:
            answers.extend(client.ask(recipient=f"r{n}@example.net") for n in range(ROUNDS))

    with on(database, tmp_path / "a") as first, on(database, tmp_path / "b") as second:
        threads = [
            threading.Thread(target=ask, args=((first, second)[number % 2], number))
            for number in range(64)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(answers) == 64 * ROUNDS
    assert all(answer.startswith(DEFERRED) for answer in answers)
    found = database.rows("SELECT rcpt_to, blocked_count FROM greylisting_data")
    assert sorted(found) == sorted((f"r{number}@example.net", 64) for number in range(ROUNDS))


def test_rows_that_an_admin_inserts_are_seen_within_seconds(
    database: Database, tmp_path: Path
) -> None:
    columns = "(ipaddr, ipaddr_start, ipaddr_end, ipaddr_prefixsize, block_expires, record_expires)"
    place = "('192.0.2.0/24', INET6_ATON('192.0.2.0'), INET6_ATON('192.0.2.255'), 24"
    ends = "'1970-01-01 00:00:01', '9999-12-31 23:59:59')"
    with on(database, tmp_path) as daemon, daemon.connect() as client:
        assert client.ask().startswith(DEFERRED)
        database.rows(f"INSERT INTO greylisting_lists {columns} VALUES {place}, {ends}")
        time.sleep(2.5)
        assert client.ask() == LET_IN
        database.rows("DELETE FROM greylisting_lists")
        time.sleep(2.5)
        assert client.ask().startswith(DEFERRED)


@pytest.mark.parametrize("fault", faults.ALL)
def test_a_fault_of_the_database_p1(
    server: MariaDb,
    database: Database,
    tmp_path: Path,
    fault: faults.Fault,
) -> None:
    """Within the deadline, told once with its cause, recovered from without a restart of ours."""
    quick = 'deadline = "1s"'
    with on(database, tmp_path, server=quick) as daemon, daemon.connect() as client:
        assert client.ask().startswith(DEFERRED)
        mend = fault(server, database)
        try:
            time.sleep(0.2)
            began = time.monotonic()
            during = [ask(client, number) for number in range(20)]
            assert time.monotonic() - began < 6
            assert during[-1] == LET_IN
        finally:
            mend()
        until_deferred(client, "after@example.org")
        assert daemon.logged("event=store-recovered")
        log = daemon.log.read_text()
    assert log.count("event=store-failed") == 1
    assert PASSWORD not in log
    assert "Traceback" not in log
    for number, answer in enumerate(during):  # no deferral of what was not stored
        assert answer == LET_IN or known(database, f"d{number}"), number


@pytest.mark.parametrize("held", faults.HELD)
def test_locks_of_another_account_are_told_as_such_t35(
    server: MariaDb, database: Database, tmp_path: Path, held: faults.Fault
) -> None:
    """Who may read our tables may lock them: answers come in time, and the log has the cause."""
    quick = 'deadline = "1s"'
    with on(database, tmp_path, server=quick) as daemon, daemon.connect() as client:
        assert client.ask().startswith(DEFERRED)
        mend = held(server, database)
        try:
            during = [ask(client, number) for number in range(20)]
            assert during[-1] == LET_IN
            assert daemon.logged("Lock wait timeout exceeded", seconds=20), daemon.log.read_text()
        finally:
            mend()
        until_deferred(client, "after@example.org")
        log = daemon.log.read_text()
    assert log.count("event=store-failed") == 1
    causes = [line for line in log.splitlines() if "Lock wait timeout exceeded" in line]
    assert len(causes) == 1  # with the failure, or, where it took longer, after it
    assert "event=store-failed" in causes[0] or "event=store-cause" in causes[0]
    for number, answer in enumerate(during):  # no deferral of what was not stored
        assert answer == LET_IN or known(database, f"d{number}"), number


HISTORY = ["greylag_deferrals", "greylag_tallies", "greylag_days"]


@pytest.mark.parametrize("table", HISTORY)
def test_a_locked_history_costs_no_answer_t35(
    server: MariaDb, database: Database, tmp_path: Path, table: str
) -> None:
    """As by an account for reports, or by a table that is altered; it is written afterwards."""
    lock = f"LOCK TABLES {table} READ"
    with on(database, tmp_path, server='deadline = "1s"') as daemon, daemon.connect() as client:
        assert client.ask().startswith(DEFERRED)
        mend = faults.held(server, database, "SELECT, LOCK TABLES", lock)
        try:
            for number in range(40):
                assert ask(client, number).startswith(DEFERRED), number
                time.sleep(0.1)
        finally:
            mend()
        end = time.monotonic() + 20
        while len(database.rows("SELECT 1 FROM greylag_deferrals")) < 41:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert "event=store-failed" not in daemon.log.read_text()


SMALL = ("--innodb-file-per-table=OFF", "--innodb-data-file-path=ibdata1:12M:autoextend:max:24M")


@pytest.fixture
def small_server(tmp_path: Path) -> Iterator[MariaDb]:
    """A server whose one file may not grow for long."""
    (tmp_path / "db").mkdir()
    with running(tmp_path / "db", *SMALL) as one:
        yield one


def fill(server: MariaDb, name: str) -> None:
    """Fill the server's file, first in big steps."""
    with server.connect(name) as cursor:
        cursor.execute("CREATE TABLE ballast (b LONGBLOB) ENGINE=InnoDB")
        for size in (1 << 12, 1 << 10):
            with suppress(pymysql.MySQLError):
                while True:
                    cursor.execute("INSERT INTO ballast VALUES (REPEAT('x', %s))", (size,))


def test_a_database_that_is_full_p1(small_server: MariaDb, tmp_path: Path) -> None:
    """Error 1114: told once with its cause, nothing deferred that was not stored, recovered."""
    database = small_server.database(LISTS, DATA)
    with on(database, tmp_path / "d") as daemon, daemon.connect() as client:
        assert client.ask().startswith(DEFERRED)
        fill(small_server, database.name)
        answers: list[bytes] = []
        while "store-failed" not in daemon.log.read_text():  # its tables have pages to fill
            assert len(answers) < 5000
            answers.append(ask(client, len(answers)))
        answers += [ask(client, len(answers)) for _ in range(20)]
        assert "is full (1114)" in daemon.log.read_text()
        kept = {row[0] for row in database.rows("SELECT mail_from FROM greylisting_data")}
        small_server.stop()  # not even a table can be dropped there: an admin makes it bigger
        small_server.options = (SMALL[0], SMALL[1].replace("24M", "48M"))
        small_server.start()
        until_deferred(client, "after@example.org")
        assert daemon.logged("event=store-recovered")
        log = daemon.log.read_text()
    assert log.count("event=store-failed") == 1
    assert "Traceback" not in log
    deferred = {f"d{n}@example.org" for n, answer in enumerate(answers) if answer != LET_IN}
    assert deferred <= kept


def ask(client: Connection, number: int) -> bytes:
    return client.ask(sender=f"d{number}@example.org")


def test_a_server_that_talks_junk_lets_in_t26(server: MariaDb, tmp_path: Path) -> None:
    """A hostile or broken server: no crash, no deferral, the cause in the log."""
    import socket

    junk = socket.socket(socket.AF_UNIX)
    junk.bind(str(tmp_path / "junk"))
    junk.listen()
    stop = threading.Event()

    def talk() -> None:
        junk.settimeout(0.2)
        texts = [b"\xff" * 70, b"", b"\x05\0\0\0\x0aabcd", b"HTTP/1.0 200 OK\r\n\r\n", bytes(4096)]
        number = 0
        while not stop.is_set():
            try:
                peer, _name = junk.accept()
            except TimeoutError:
                continue
            with peer:
                peer.sendall(texts[number % len(texts)])
            number += 1

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        cnf = tmp_path / "my.cnf"
        cnf.write_text(f"[client]\nsocket={tmp_path}/junk\nuser=u\npassword=secret\ndatabase=d\n")
        config = tmp_path / "greylag.toml"
        config.write_text(
            f'[store]\nurl = "mysql:?default_file={cnf}"\n[server]\nsocket = "{tmp_path}/s"\n'
        )
        with serving(tmp_path, config=config) as daemon, daemon.connect() as client:
            end = time.monotonic() + 7
            while time.monotonic() < end:
                assert client.ask() == LET_IN
                time.sleep(0.3)
            log = daemon.log.read_text()
    finally:
        stop.set()
        thread.join()
        junk.close()
    assert "event=store-failed" in log
    assert "secret" not in log
    assert "Traceback" not in log
