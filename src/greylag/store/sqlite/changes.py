"""Changes of records, made in SQLite: a few statements for all of one kind."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import groupby

from greylag.core.figures import DELAYED, STOPPED, has_fate, hour_of
from greylag.core.record import CLOCK_TOLERANCE, Blocked, Change, Created, Noted, Passed
from greylag.core.triplet import Triplet
from greylag.store.sqlite import sql
from greylag.store.sqlite.rows import facts_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def make(db: sqlite3.Connection, changes: Iterable[Change], now: int) -> None:
    """Make changes in their order, as `core.record.applied` does. Raises sqlite3.Error."""
    for kind, run in groupby(changes, type):
        _make_run(db, kind, list(run), now)


def _make_run(db: sqlite3.Connection, kind: type[Change], run: list[Any], now: int) -> None:
    if kind is Blocked:
        db.executemany(sql.BLOCKED, ((*c.triplet.key, c.count) for c in run))
    elif kind is Passed:
        db.executemany(sql.PASSED, ((*c.triplet.key, c.expires, c.count) for c in run))
    elif kind is Noted:
        for change in run:
            _note(db, change, now)
    else:
        for part in sql.parts(run):
            _create_all(db, part, now)


def _create_all(db: sqlite3.Connection, part: Sequence[Created], now: int) -> None:
    rows = [x for c in part for x in (*c.triplet.key, c.first_seen, c.defer_until, c.expires)]
    try:
        db.execute(sql.CREATE[len(part)], rows)
    except sqlite3.IntegrityError:  # one of them is there: none was made
        for change in part:
            _create(db, change, now)


def _create(db: sqlite3.Connection, change: Created, now: int) -> None:
    key = change.triplet.key
    row = (*key, change.first_seen, change.defer_until, change.expires)
    if db.execute(sql.CREATE_IF_ABSENT, row).rowcount:
        return
    if _remove_dead(db, change.triplet, now):
        db.execute(sql.CREATE[1], row)
    else:
        db.execute(sql.BLOCKED, (*key, 1))


def _note(db: sqlite3.Connection, change: Noted, now: int) -> None:
    key = change.triplet.key
    _remove_dead(db, change.triplet, now)
    if not db.execute(sql.PASSED, (*key, change.expires, change.count)).rowcount:
        db.execute(sql.PUT, (1, *key, *facts_of(change.record())))


def _remove_dead(db: sqlite3.Connection, triplet: Triplet, now: int) -> bool:
    """Remove a record that is no longer live, and count its fate; tell whether it was there."""
    dead = db.execute(sql.REMOVE_DEAD, (*triplet.key, now, CLOCK_TOLERANCE)).fetchone()
    if dead is not None and has_fate(triplet.network):
        db.execute(sql.FIGURE, (hour_of(now), DELAYED if dead[0] else STOPPED, 1))
    return dead is not None
