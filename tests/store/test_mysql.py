"""What a batch and a look at the lists cost on MySQL: statements and rows, as the server counts."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime

import pymysql
import pytest

from greylag.core.record import Blocked, Change, Created, Freed, Passed, Record
from greylag.core.triplet import Triplet
from greylag.service.conflict import Tries
from greylag.store import open_store
from greylag.store.base import FIGURES, Store, StoreConflict, StoreUnavailable
from greylag.store.mysql import lists as mysql_lists
from greylag.store.mysql.lists import _LOOK as LOOK
from greylag.store.mysql.session import MysqlSession
from tests.servers.mariadb import Database, MariaDb

NOW = 1_750_000_000
NETWORKS, EACH = 200, 40  # clients, and records of each
WRITERS, ROUNDS = 4, 50
MANY_ROWS = 10_001  # list rows


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    with closing(open_store(database.url, timeout=4)) as opened:
        yield opened


def status(database: Database, pattern: str) -> dict[str, int]:
    """Return counters of the whole server: nobody else uses it meanwhile."""
    rows = database.rows(f"SHOW GLOBAL STATUS LIKE '{pattern}'")
    return {str(name): int(str(number)) for name, number in rows}


def triplet(net: int, number: int) -> Triplet:
    return Triplet(bytes((10, 0, net, 0)), f"s{number}@example.org", f"r{number}@example.net")


def keep(store: Store, triplets: list[Triplet]) -> None:
    """Do as the daemon does with a batch of first contacts."""
    with store.transaction():
        store.load(triplets)
        changes = [Created(one, NOW, NOW + 300, NOW + 9000) for one in triplets]
        store.apply(changes, {"deferred": len(triplets)}, NOW)


def test_a_batch_is_a_few_statements_whatever_its_size(store: Store, database: Database) -> None:
    before = status(database, "Questions")["Questions"]
    keep(store, [triplet(net, net) for net in range(50)])
    asked = status(database, "Questions")["Questions"] - before
    # Begin, our turn, look up, insert, figures, commit; and connecting to ask for this number.
    assert asked <= 6 + 3
    assert len(database.rows("SELECT 1 FROM greylisting_data")) == 50


def rows_read(database: Database) -> int:
    return sum(status(database, "Handler_read%").values())


def test_a_look_up_reads_rows_of_the_client_alone(store: Store, database: Database) -> None:
    for net in range(NETWORKS):
        keep(store, [triplet(net, net * EACH + number) for number in range(EACH)])
    database.rows("ANALYZE TABLE greylisting_data")
    wanted = [triplet(net, net * EACH) for net in range(0, NETWORKS, 20)]
    before = rows_read(database)
    assert len(store.load(wanted)) == len(wanted)
    assert rows_read(database) - before < NETWORKS * EACH / 4


def test_a_step_of_the_expiry_reads_little_more_than_it_looks_at(
    store: Store, database: Database
) -> None:
    for net in range(NETWORKS):
        keep(store, [triplet(net, net * EACH + number) for number in range(EACH)])
    database.rows("ANALYZE TABLE greylisting_data")
    after = store.expire(NOW, 100).after
    before = rows_read(database)
    store.expire(NOW, 100, after)
    assert rows_read(database) - before < 100 * EACH / 4


def test_first_contacts_of_a_big_provider_do_not_read_all_its_rows(
    store: Store, database: Database
) -> None:
    """Nor all of the recipient whom everybody writes to, nor, for a bounce, of the null sender."""
    provider, everybody = bytes((10, 1, 1, 0)), "info@example.net"
    keep(store, [Triplet(provider, f"s{n}@example.org", everybody) for n in range(EACH * 10)])
    keep(store, [Triplet(bytes((10, 2, n, 0)), "", f"r{n}@example.net") for n in range(NETWORKS)])
    database.rows("ANALYZE TABLE greylisting_data")
    new = [Triplet(provider, f"new{n}@example.org", everybody) for n in range(20)]
    before = rows_read(database)
    keep(store, [*new, Triplet(bytes((10, 2, 7, 0)), "", "r9@example.net")])
    assert rows_read(database) - before < EACH * 10 / 2


def test_all_rows_of_a_record_are_freed_so_that_the_old_program_lets_it_in_too(
    store: Store, database: Database
) -> None:
    """The old tables have no unique key; the old program reads any of several rows."""
    key = triplet(1, 1)
    keep(store, [key])
    row = "relay_ip, mail_from, rcpt_to, block_expires, record_expires, create_time"
    database.rows(f"INSERT INTO greylisting_data ({row}) SELECT {row} FROM greylisting_data")
    store.apply([Freed(key, NOW + 60), Blocked(key)], {}, NOW + 60)
    freed = database.rows(
        "SELECT block_expires, SUM(blocked_count) FROM greylisting_data GROUP BY 1"
    )
    when = datetime.fromtimestamp(NOW + 60, UTC).replace(tzinfo=None)
    assert [tuple(row) for row in freed] == [(when, 2)]
    assert store.load([key])[key].defer_until == NOW + 60


def test_what_one_trip_cannot_hold_takes_several(database: Database) -> None:
    """Servers take 1 MiB at a time, at least; a full batch of the longest names is more."""
    most = int(str(database.rows("SELECT @@GLOBAL.max_allowed_packet")[0][0]))
    with database.server.connect() as root:
        root.execute("SET GLOBAL max_allowed_packet = 1048576")
    try:
        with closing(open_store(database.url, timeout=4)) as small:
            name = "\U0001f600" * 200  # 800 bytes
            net = bytes((10, 0, 0, 0))
            long = [Triplet(net, f"{n}{name}@x", f"{n}{name}@y") for n in range(512)]
            long += [Triplet(net, "", f"null{one.recipient}") for one in long]
            keep(small, long)
            assert len(small.load(long)) == len(long)
    finally:
        with database.server.connect() as root:
            root.execute(f"SET GLOBAL max_allowed_packet = {most}")


def test_a_long_list_is_not_read_through_at_every_look(store: Store, database: Database) -> None:
    row = "VALUES (NULL, '{}.example.com', '2000-01-01', '2037-01-01')"
    add = "INSERT INTO greylisting_lists (ipaddr, rcpt_to, block_expires, record_expires) "
    database.rows(
        add
        + row.format("one")
        + ", (NULL, 'x.example.com', '2000-01-01', '2037-01-01')" * MANY_ROWS
    )
    first, steps = looked_through(store)
    assert steps > 2
    before = rows_read(database)
    for _ in range(10):
        assert store.generation() == first
    assert rows_read(database) - before < MANY_ROWS
    database.rows(add + row.format("new"))
    before = rows_read(database)
    assert store.generation() is None
    assert rows_read(database) - before < 100  # this one may be called inside of a batch
    for _ in range(2):
        before = rows_read(database)
        assert store.generation() is None
        assert rows_read(database) - before < 3 * LOOK
    assert looked_through(store)[0] != first


def test_a_change_behind_the_look_at_a_long_list_is_seen_by_the_next_one(
    store: Store, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is of the same second as one that was seen, and the look ended seconds later."""
    database.rows(
        "INSERT INTO greylisting_lists (ipaddr, rcpt_to, block_expires, record_expires,"
        " last_update) VALUES (NULL, 'x.example.com', '2000-01-01', '2037-01-01', '2020-01-01')"
        + ", (NULL, 'x.example.com', '2000-01-01', '2037-01-01', '2020-01-01')"
        * MANY_ROWS
    )
    monkeypatch.setattr(mysql_lists, "_REST", 0)
    change = "UPDATE greylisting_lists SET comment = 'new', last_update = '{}' WHERE id = {}"
    first, _steps = looked_through(store)
    assert looked_through(store)[0] == first
    now = str(database.rows("SELECT NOW()")[0][0])
    assert store.generation() is None
    assert store.generation() is None
    database.rows(change.format(now, MANY_ROWS))
    time.sleep(3)
    second, _steps = looked_through(store)
    database.rows(change.format(now, 1))
    assert len({first, second, looked_through(store)[0]}) == 3


def looked_through(store: Store) -> tuple[int, int]:
    """Return the generation of a long list, and how many steps that took."""
    for steps in range(1, 100):
        found = store.generation()
        if found is not None:
            return found, steps
    raise AssertionError("the look has no end")


OLD_TABLES = ["greylisting_data", "greylisting_lists"]


@pytest.mark.parametrize("tables", [["*"], OLD_TABLES])
def test_writers_take_turns_p9_fault_7(
    mariadb: MariaDb, database: Database, tables: list[str]
) -> None:
    """Nothing but a row's lock keeps two from both finding nothing, and both inserting.

    With the isolation that MariaDB has by default, locks of gaps between rows do it too, at the
    price of deadlocks; admins may have chosen another. Without a table of ours that is the way.
    """
    database.grant_only("ALL" if tables == ["*"] else "SELECT, INSERT, UPDATE, DELETE", tables)
    with isolation(mariadb, "READ-COMMITTED"), ExitStack() as stack:
        stores = [
            stack.enter_context(closing(open_store(database.url, timeout=4)))
            for _ in range(WRITERS)
        ]
        together = threading.Barrier(WRITERS)

        def write(store: Store) -> None:
            for number in range(ROUNDS):
                together.wait(20)
                tries = Tries()
                while True:
                    try:
                        keep(store, [triplet(1, number)])
                        break
                    except StoreConflict as conflict:
                        tries.lost(conflict)

        with ThreadPoolExecutor(WRITERS) as pool:
            for done in [pool.submit(write, store) for store in stores]:
                done.result()
    rows = database.rows("SELECT COUNT(*), SUM(blocked_count) FROM greylisting_data")
    assert [int(str(number)) for number in rows[0]] == [ROUNDS, ROUNDS * WRITERS]


@pytest.mark.parametrize("tables", [["*"], OLD_TABLES])
def test_an_account_without_rights_is_not_in_the_way_t35(
    mariadb: MariaDb, database: Database, tables: list[str]
) -> None:
    """It may take any name of GET_LOCK: not one is ours."""
    database.grant_only("ALL" if tables == ["*"] else "SELECT, INSERT, UPDATE, DELETE", tables)
    with mariadb.connect() as root:
        root.execute("CREATE OR REPLACE USER nobody@localhost")
    with closing(open_store(database.url, timeout=1)) as store:
        keep(store, [triplet(1, 1)])
        stranger = pymysql.connect(unix_socket=str(mariadb.socket), user="nobody")
        with closing(stranger), stranger.cursor() as cursor:
            for name in (f"greylag:{database.name}", database.name, "greylag", "lock"):
                cursor.execute("SELECT GET_LOCK(%s, 0)", (name,))
            keep(store, [triplet(1, 2)])
        assert store.count(NOW) == (2, 0)


def test_the_row_for_turns_is_made_again_where_it_is_gone(store: Store, database: Database) -> None:
    keep(store, [triplet(1, 1)])
    database.rows("DELETE FROM greylag_figures")
    with pytest.raises(StoreConflict):
        keep(store, [triplet(1, 2)])
    keep(store, [triplet(1, 2)])
    assert store.count(NOW) == (2, 0)
    assert database.rows("SELECT COUNT(*) FROM greylag_figures WHERE hour < 0") == ((1,),)


def test_a_count_at_its_columns_end_stays_there_t34(store: Store, database: Database) -> None:
    """The old program has counted for years: one row at the end must not fail a whole batch."""
    one, other = triplet(1, 1), triplet(1, 2)
    keep(store, [one, other])
    most = 2**32 - 1
    database.rows(f"UPDATE greylisting_data SET passed_count = {most}, blocked_count = {most}")
    changes: list[Change] = [
        Passed(one, NOW + 9000, 3),
        Blocked(other, 5),
        Passed(other, NOW + 9000),
    ]
    store.apply(changes, {}, NOW + 400)
    store.merge({triplet(1, 3): Record(NOW, NOW, NOW + 9000, most + 7, most + 7)})
    counts = "SELECT DISTINCT blocked_count, passed_count FROM greylisting_data"
    assert database.rows(counts) == ((most, most),)
    assert store.load([one])[one].passed == most


@contextmanager
def isolation(server: MariaDb, level: str) -> Iterator[None]:
    """Have new sessions use an isolation level."""
    with server.connect() as cursor:
        cursor.execute("SET GLOBAL tx_isolation = %s", (level,))
    try:
        yield
    finally:
        with server.connect() as cursor:
            cursor.execute("SET GLOBAL tx_isolation = 'REPEATABLE-READ'")


@pytest.mark.parametrize("tables", [["*"], ["greylisting_data", "greylisting_lists"]])
def test_rights_to_the_old_tables_are_enough_t10(database: Database, tables: list[str]) -> None:
    database.grant_only("SELECT, INSERT, UPDATE, DELETE", tables)
    with closing(open_store(database.url, timeout=4)) as store:
        store.apply([], {"defer:new": 1}, 1_700_000_000)
        assert store.figures(0, 2_000_000_000) == {}
        assert "greylag db init --print" in (store.lacks(FIGURES) or "")
        assert store.count(1_700_000_000) == (0, 0)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (IndexError("bytes index out of range"), "not what a MySQL server says"),
        (MemoryError(), "no memory for what the server says"),
    ],
)
def test_nonsense_or_no_memory_while_it_is_opened_is_a_store_error_t26(
    database: Database, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    def stumbles(*_arguments: object) -> None:
        raise error

    monkeypatch.setattr(MysqlSession, "read", stumbles)
    with pytest.raises(StoreUnavailable, match=told):
        open_store(database.url, timeout=4)


PAUSED = """
import os, signal, sys
from greylag.store import open_store
from greylag.store.mysql.driver import Bounded

store, write = open_store(sys.argv[1], timeout=1), Bounded._write_bytes

def write_and_stop(self, data):
    write(self, data)
    print("asked", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)

Bounded._write_bytes = write_and_stop
print(store._session.read(sys.argv[2]), flush=True)
"""


@pytest.mark.parametrize(
    ("statement", "found"),
    [("SELECT 7", "((7,),)"), ("SELECT SLEEP(9)", ""), ("SELECT 7; SELECT SLEEP(9)", "")],
)
def test_an_answer_that_came_while_we_were_paused_is_taken_p1(
    database: Database, statement: str, found: str
) -> None:
    """As on a machine that slept for a while. What has not come by then is not waited for."""
    command = [sys.executable, "-c", PAUSED, database.url, statement]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as asks:
        assert asks.stdout is not None
        assert asks.stdout.readline() == b"asked\n"
        time.sleep(1.5)
        asks.send_signal(signal.SIGCONT)
        began = time.monotonic()
        said, errors = asks.communicate(timeout=10)
    assert time.monotonic() - began < 8
    assert said.decode().strip() == found
    assert (b"timed out" in errors) is not bool(found)
