"""No step of making room or of the expiry grows with what is there (T36)."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from greylag.core.record import Created, Passed
from greylag.core.triplet import Triplet
from greylag.service.shares import LOOK, STEP
from greylag.store import open_store
from greylag.store.base import Store
from greylag.store.mysql.schema import DATA, LISTS, TRIGGERS
from greylag.store.mysql.store import MysqlStore
from greylag.store.sqlite.store import SqliteStore

SOAK = os.environ.get("GREYLAG_SOAK") == "1"
RECORDS = 10_000_000 if SOAK else 100_000  # of one network that have passed
WAITING = 2000  # beside them, of the same
NOW = 1_700_000_000
LONGEST = 0.05  # seconds for a step
INSTRUCTIONS = 100  # of SQLite's machine, between two counts
MOST_INSTRUCTIONS = 60 * LOOK
NET = bytes((198, 51, 100, 0))


@dataclass
class Full:
    """A store with one network that is far over its share."""

    store: Store

    def fastest(self, step: Callable[[], Any], times: int = 5) -> float:
        """Return the least time that a step took: others use this machine as well."""
        took = []
        for _ in range(times):
            began = monotonic()
            step()
            took.append(monotonic() - began)
        return min(took)


def _in_sqlite(path: Path) -> str:
    url = f"sqlite://{path}/greylag.db"
    open_store(url, timeout=4).close()
    with closing(sqlite3.connect(f"{path}/greylag.db")) as db, db:
        db.execute("PRAGMA synchronous = OFF")
        for settled, number in ((0, WAITING), (1, RECORDS)):
            db.execute(
                """WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?)
                INSERT INTO records (settled, network, sender, recipient, first_seen, defer_until,
                    expires, blocked, passed)
                SELECT ?, ?, printf('s%09d@example.org', 2 * n + ?), 'b@example.net', ?, ?, ?, 1, ?
                FROM n""",
                (number, settled, NET, settled, NOW, NOW, NOW + 9000, settled),
            )
    return url


def _in_mysql(database: Any) -> str:
    """All of one address, which is the worst that the index on relay_ip can meet."""
    with database.server.connect(database.name) as root:
        for passed, number in ((0, WAITING // 2), (1, RECORDS), (0, WAITING // 2)):
            root.execute(
                """INSERT INTO greylisting_data (relay_ip, mail_from, rcpt_to, block_expires,
                    record_expires, create_time, passed_count)
                SELECT UNHEX('C6336407'), CONCAT('s', seq, %s, '@example.org'), 'b@example.net',
                    FROM_UNIXTIME(%s), FROM_UNIXTIME(%s), FROM_UNIXTIME(%s), %s
                FROM seq_1_to_"""
                + str(number),
                (passed, NOW, NOW + 9000, NOW, passed),
            )
    return str(database.url)


@pytest.fixture(params=["sqlite", "mysql"])
def full(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Full]:
    if request.param == "sqlite":
        with closing(open_store(_in_sqlite(tmp_path), timeout=4)) as store:
            yield Full(store)
        return
    database = request.getfixturevalue("mariadb").database(LISTS, DATA, *TRIGGERS.values())
    with closing(open_store(_in_mysql(database), timeout=10)) as store:
        yield Full(store)
    database.drop()


def walk(full: Full, *, passed: bool, part: float, look: int) -> Callable[[], object]:
    """Return what takes the next step along the network, and begins again at its end."""
    place: object = None

    def step() -> None:
        nonlocal place
        stretch = full.store.thin(NET, passed=passed, look=look, part=part, now=NOW, after=place)
        place = stretch.after

    return step


def steps_of(full: Full) -> dict[str, Callable[[], object]]:
    """Return every step of maintenance; each call takes the next one."""
    place: object = None

    def expire() -> None:
        nonlocal place
        place = full.store.expire(NOW, STEP, place).after

    return {
        "counting what waits": walk(full, passed=False, part=0, look=LOOK),
        "counting what has passed": walk(full, passed=True, part=0, look=LOOK),
        "thinning what has passed": walk(full, passed=True, part=0.9, look=int(STEP / 0.9)),
        "thinning a little": walk(full, passed=True, part=0.01, look=LOOK),
        "thinning what waits": walk(full, passed=False, part=0.1, look=LOOK),
        "the expiry": expire,
        "making room anywhere": lambda: full.store.trim(STEP, NOW),
    }


@pytest.mark.skipif(not SOAK, reason="a time, which others on the machine make longer")
def test_no_step_of_maintenance_takes_long_whatever_one_network_holds_t36(full: Full) -> None:
    took = {name: full.fastest(step) for name, step in steps_of(full).items()}
    print(took)
    assert {name: seconds for name, seconds in took.items() if seconds > LONGEST} == {}
    assert not full.store.load([Triplet(NET, "nobody@example.org", "b@example.net")])


def more_than(most: int, work: Callable[[], int], steps: Mapping[str, Callable[[], object]]) -> Any:
    """Return the steps that do more work than this."""
    took = {}
    for name, step in steps.items():
        before = work()
        step()
        took[name] = work() - before
    print(took)
    return {name: number for name, number in took.items() if number > most}


def test_no_step_does_more_work_in_sqlite_the_more_records_there_are_t36(tmp_path: Path) -> None:
    """As SQLite counts the instructions of its machine."""
    with closing(open_store(_in_sqlite(tmp_path), timeout=4)) as store:
        assert isinstance(store, SqliteStore)
        done = 0

        def count() -> None:
            nonlocal done
            done += 1

        store._db.set_progress_handler(count, INSTRUCTIONS)
        assert (
            more_than(MOST_INSTRUCTIONS, lambda: done * INSTRUCTIONS, steps_of(Full(store))) == {}
        )


def test_no_step_reads_more_rows_of_mysql_the_more_there_are_t36(mariadb: Any) -> None:
    """As the server counts them, so that it shows with few rows already."""
    database = mariadb.database(LISTS, DATA, *TRIGGERS.values())
    with closing(open_store(_in_mysql(database), timeout=10)) as store:
        assert isinstance(store, MysqlStore)

        def read() -> int:
            rows = store._session.read("SHOW SESSION STATUS LIKE 'Handler_read%%'")
            return sum(int(number) for _name, number in rows)

        key = Triplet(NET, "new@example.org", "b@example.net")
        steps = steps_of(Full(store)) | {
            "a look-up": lambda: store.load([key]),
            "a first contact": lambda: store.apply([Created(key, NOW, NOW, NOW)], {"x": 1}, NOW),
            "a pass": lambda: store.apply([Passed(key, NOW + 9)], {"x": 1}, NOW),
        }
        assert more_than(6 * LOOK, read, steps) == {}
    database.drop()
