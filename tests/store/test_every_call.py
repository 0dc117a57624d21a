"""P7: every call to the database fails once, in every way: before or after is left, never half.

A call is a statement. On MySQL several go in one trip to the server, which ends where one fails.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pymysql
import pytest

from greylag.core.accesslist import NEVER, Entry, Purpose, Seen
from greylag.core.history import (
    Action,
    Begun,
    By,
    Deferral,
    Ended,
    Event,
    LetIn,
    Outcome,
    Released,
    Sought,
    Tried,
)
from greylag.core.identity import Pool, PoolKind
from greylag.core.policy import Greylist, Kept
from greylag.core.record import Blocked, Created, Freed, Noted, Passed, Record
from greylag.core.subject import RecipientMailbox, parse_subject
from greylag.core.switch import Switch
from greylag.core.triplet import Triplet, sent_of, trust_of
from greylag.core.value import replace
from greylag.store import open_store
from greylag.store.base import HISTORY, Filter, Store, StoreConflict, StoreError
from greylag.store.mysql import sql as mysql_sql
from greylag.store.mysql.schema import TABLES, TRIGGERS

NOW = 1_700_000_000
ERRORS = {  # SQLite's number and words, and MySQL's
    "EIO": (sqlite3.SQLITE_IOERR, "disk I/O error", 1026, "Error writing file"),
    "ENOSPC": (sqlite3.SQLITE_FULL, "database or disk is full", 1114, "The table is full"),
    "locked": (sqlite3.SQLITE_BUSY, "database is locked", 1205, "Lock wait timeout exceeded"),
    "time-out": (sqlite3.SQLITE_INTERRUPT, "interrupted", 2013, "Lost connection (timed out)"),
    "gone away": (sqlite3.SQLITE_CANTOPEN, "unable to open database file", 2006, "has gone away"),
    "no memory": (0, "", 0, ""),
}
# The call never reaches the database; is done, but its answer is lost; fails as the first of all.
UNSEEN, UNANSWERED, FOR_GOOD = MOMENTS = ("unseen", "unanswered", "for good")
LEAST = 30  # calls that can fail: 18 times that are 540 faults of each store

POOL = Pool(PoolKind.SPF, "pool.example.org").packed
NAMED = [trust_of(POOL, "c.example"), Triplet(POOL, "s1", "b@c.example"), sent_of("x@c", "y@c")]
KEYS = [Triplet(bytes((10, 0, n // 5, 0)), f"s{n}" * (n % 9 > 0), "b@c.example") for n in range(14)]
BOUNCE, A, PASSED, STOPPED, DELAYED, *CROWD = KEYS[:8]  # the others are new
OWN = [  # that the old lists cannot express
    Entry(parse_subject("192.0.2.7"), 0, spoofable=True),
    Entry(RecipientMailbox("b@c.example"), 0, purpose=Purpose.TRAP),
]
ENTRIES = [Entry(parse_subject(text), 0) for text in ("192.0.2.7", "example.net", "2001:db8::/32")]

EVENTS: list[Event] = [
    *(Begun(Deferral(key, NOW - 400, NOW - 100)) for key in KEYS[:5]),
    Tried(A, NOW, 2),
    Released(BOUNCE, NOW),
    LetIn(BOUNCE, NOW),
    Ended(PASSED, NOW, Outcome.PASSED),
]


def born(*triplets: Triplet, at: int = NOW) -> list[Created]:
    return [Created(triplet, at, at + 300, at + 1000) for triplet in triplets]


def first_contacts(store: Store) -> None:
    """What the daemon does with a batch, after a look at the lists."""
    store.check()
    store.generation()
    store.glance()
    with store.transaction():
        store.matching(Seen(bytes((192, 0, 2, 7)), "example.net"))
        store.load([*KEYS, *NAMED])
        store.apply(
            [*born(*KEYS[8:], NAMED[1]), Blocked(A), Noted(NAMED[0], NOW, NOW + 9)],
            {"defer:new": 6, "defer:early": 1},
            NOW,
        )


Step = Callable[[Store], object]
STEPS: list[Step] = [
    first_contacts,
    lambda s: s.apply([Blocked(A), Blocked(BOUNCE, 3)], {"defer:early": 4}, NOW),
    lambda s: s.apply([Passed(A, NOW + 9000)], {"pass:retried": 1, "waited:seconds": 400}, NOW),
    lambda s: s.apply(born(STOPPED, DELAYED, A), {"defer:new": 2, "defer:early": 1}, NOW),
    lambda s: s.merge({A: Record(NOW - 500, NOW, NOW + 2000, 5), KEYS[8]: Record(NOW, NOW, NOW)}),
    lambda s: s.put_entries([replace(one, comment="new") for one in ENTRIES[:2]]),
    lambda s: s.remove_entries([one.subject for one in ENTRIES[:2]]),
    lambda s: s.put_entries([*OWN, ENTRIES[1]]),
    lambda s: s.remove_entries([OWN[1].subject], Purpose.TRAP),
    lambda s: s.apply([Freed(key, NOW - 300) for key in (A, BOUNCE)], {"released": 2}, NOW - 200),
    lambda s: s.expire(NOW, 99),
    lambda s: s.thin(CROWD[0].network, passed=False, look=9, part=1, now=NOW, after=None),
    lambda s: s.thin(PASSED.network, passed=True, look=9, part=1, now=NOW, after=None),
    lambda s: s.apply([Noted(key, NOW, NOW + 50) for key in NAMED], {}, NOW),
    lambda s: s.forget([A, BOUNCE, PASSED, NAMED[2]], NOW),
    lambda s: s.set_switch(Switch(Greylist.OBSERVE, NOW + 9, NOW, "bob")),
    lambda s: s.set_switch(None),
]
HISTORY_STEPS: list[Step] = [
    lambda s: s.remember(EVENTS, NOW),
    lambda s: s.note_action(Action(NOW, "admin", "allow", "192.0.2.7")),
    lambda s: s.forget_history(Kept(1, 9), NOW + 1, 3),
]


class World:
    """Where a store is, which of its calls fails, and how all is put back to what it was."""

    error, moment, fault, calls = "", UNSEEN, 0, 0
    opened: Callable[[], closing[Store]]
    put_back: Callable[[], object]

    def __init__(self, url: str, timeout: float) -> None:
        self.opened = lambda: closing(open_store(url, timeout=timeout))
        with self.opened() as store:
            store.apply(born(STOPPED, DELAYED, at=NOW - 1000), {"defer:new": 8}, NOW - 1000)
            store.apply(born(A, BOUNCE, PASSED, *CROWD, at=NOW - 400), {}, NOW - 400)
            store.apply([Passed(DELAYED, NOW), Passed(PASSED, NOW + 500, 2)], {}, NOW - 1)
            store.apply([Noted(NAMED[2], NOW - 9, NOW - 1)], {}, NOW - 9)
            store.put_entries([*ENTRIES, OWN[1]])
            store.set_switch(Switch(Greylist.OFF, since=NOW - 1, who="alice"))
            self.keeps_history = store.lacks(HISTORY) is None
            if self.keeps_history:
                store.remember(EVENTS, NOW)

    def fails(self) -> bool:
        """Count a call, and tell whether it fails."""
        self.calls += 1
        return self.calls == self.fault or (self.moment == FOR_GOOD and self.calls > self.fault > 0)

    def state(self) -> object:
        """Return all that is kept, as somebody else sees it."""
        with self.opened() as store:
            entries = [replace(entry, number=0) for entry in store.entries()]
            kept = list(store.search(Filter(), 99)), entries, store.figures(0, NEVER)
            history = [  # `forget` goes by the clock
                replace(d, number=0, ended=0 if d.outcome is Outcome.FORGOTTEN else d.ended)
                for d in store.deferrals(Sought(), 99).deferrals
            ]
            tallies = [store.tallies(0, NEVER, by, 99) for by in By]
            return kept, history, tallies, store.actions(99), store.switch()


def sqlite(request: Any, patch: pytest.MonkeyPatch) -> Iterator[World]:
    class Connection(sqlite3.Connection):
        def execute(self, *arguments: Any) -> sqlite3.Cursor:
            if not world.fails():
                return super().execute(*arguments)
            if world.moment == UNANSWERED:
                with suppress(sqlite3.IntegrityError):  # an answer too
                    super().execute(*arguments)
            if world.error in ("EIO", "ENOSPC") and self.in_transaction:
                super().execute("ROLLBACK")  # SQLite does so by itself, at times
            error = sqlite3.OperationalError(ERRORS[world.error][1])
            error.sqlite_errorcode = ERRORS[world.error][0]
            raise error if error.sqlite_errorcode else MemoryError

        def executemany(self, statement: str, rows: Any) -> Any:
            for row in rows:
                self.execute(statement, row)

    path = request.getfixturevalue("tmp_path_factory").mktemp("calls") / "greylag.db"
    world, kept, connect = World(f"sqlite://{path}", 0.01), path.read_bytes(), sqlite3.connect
    world.put_back = lambda: path.write_bytes(kept)
    patch.setattr(sqlite3, "connect", lambda *a, **b: connect(*a, **b, factory=Connection))
    yield world


def mysql(request: Any, patch: pytest.MonkeyPatch) -> Iterator[World]:
    def execute(cursor: Any, trip: str, arguments: Any = None) -> int:
        statements = [trip] if world.moment == UNANSWERED else trip.split(";\n")
        for n in range(len(statements)):
            if world.fails():
                fail(cursor, trip if world.moment == UNANSWERED else ";\n".join(statements[:n]))
        return run(cursor, trip, arguments)

    def fail(cursor: Any, done: str) -> None:
        run(cursor, done or "DO 0")
        while cursor.nextset():
            pass
        if world.error == "time-out":
            cursor.connection._force_close()  # as the driver does
        if world.error == "gone away":
            with suppress(pymysql.OperationalError):
                run(cursor, "KILL CONNECTION_ID()")
            run(cursor, "DO 0")
        error = pymysql.OperationalError(*ERRORS[world.error][2:])
        raise error if error.args[0] else MemoryError

    database = request.getfixturevalue("mariadb").database(*TABLES.values(), *TRIGGERS.values())
    world, run = World(database.url, 10), pymysql.cursors.Cursor.execute
    with database.server.connect(database.name) as root:
        for table in TABLES:
            root.execute(f"CREATE TABLE old_{table} AS SELECT * FROM {table}")
        back = (f"DELETE FROM {t}; INSERT INTO {t} SELECT * FROM old_{t};" for t in TABLES)
        root.execute(f"CREATE PROCEDURE put_back() BEGIN {' '.join(back)} END")
        world.put_back = lambda: root.execute("CALL put_back()")
        patch.setattr(mysql_sql, "MOST", 2)  # rows at a time: a step is many statements
        patch.setattr(pymysql.cursors.Cursor, "execute", execute)
        yield world


@pytest.fixture(name="world", scope="module", params=[sqlite, mysql])
def made(request: Any) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        yield from request.param(request, patch)


def outcome(world: World, step: Step, number: int) -> tuple[Exception | None, int, object, object]:
    """Do a step of which a call fails, and again: the error, the calls, what is left, the end."""
    raised: Exception | None = None
    world.put_back()
    with world.opened() as store:
        world.fault, world.calls = number, 0
        try:
            step(store)
        except (StoreError, MemoryError) as error:
            raised = error
        calls, world.fault = world.calls, 0
        left = world.state()
        # As the daemon does: a session goes on after a conflict, and after no other failure.
        goes_on = isinstance(raised, StoreConflict) and world.moment != FOR_GOOD
        step(store) if goes_on else store.close()
        with world.opened() as anew:  # and whoever comes next is not locked out
            anew.remove_entries([]) if goes_on else step(anew)
    return raised, calls, left, world.state()


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("error", ERRORS)
def test_every_call_that_fails_p7(world: World, error: str, moment: str) -> None:
    world.error, world.moment, world.fault, faults = error, moment, 0, 0
    for step in [*STEPS, *(HISTORY_STEPS if world.keeps_history else ())]:
        world.put_back()
        before = world.state()
        nothing, calls, after, twice = outcome(world, step, 0)
        assert (nothing, before == after) == (None, False)
        for number in range(1, calls + 1):
            raised, reached, left, end = outcome(world, step, number)
            assert reached >= number
            assert left == after or (raised and left == before)
            assert end == (after if left == before else twice)
        faults += calls
    assert faults >= LEAST
