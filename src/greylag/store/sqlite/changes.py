"""Changes of records and figures, made in SQLite: a few statements for all of one kind."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from itertools import groupby

from greylag.core.figures import DELAYED, MOST_OF_FIGURE, has_fate, hour_of
from greylag.core.record import CLOCK_TOLERANCE, Blocked, Change, Created, Freed, Noted, Passed
from greylag.core.triplet import Triplet
from greylag.store.sqlite import sql
from greylag.store.sqlite.file import is_about_one
from greylag.store.sqlite.remembering import Damage, Pairs, end_stopped
from greylag.store.sqlite.rows import facts_of, read_ended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from greylag.store.unkept import Unkept


def make(
    db: sqlite3.Connection, changes: Iterable[Change], now: int, damage: Damage
) -> Counter[str]:
    """Make changes in their order, as `core.record.applied` does. Raises sqlite3.Error.

    Return the figures of what ended by them.
    """
    fates: Counter[str] = Counter()
    pairs = cache(partial(Pairs, damage, fates=fates))  # most often nothing ends
    for kind, run in groupby(changes, type):
        _make_run(db, kind, list(run), now, pairs)
    return fates


def _make_run(
    db: sqlite3.Connection, kind: type[Change], run: list[Any], now: int, pairs: Callable[[], Pairs]
) -> None:
    if kind is Blocked:
        db.executemany(sql.BLOCKED, ((*c.triplet.key, c.count) for c in run))
    elif kind is Passed:
        db.executemany(sql.PASSED, ((*c.triplet.key, c.expires, c.count) for c in run))
    elif kind is Freed:
        db.executemany(sql.FREED, ((*c.triplet.key, c.at, now, CLOCK_TOLERANCE) for c in run))
        db.execute(sql.NEXT_REMOVAL)
    elif kind is Noted:
        for change in run:
            _note(db, change, now, pairs)
    else:
        for part in sql.parts(run):
            _create_all(db, part, now, pairs)


def _create_all(
    db: sqlite3.Connection, part: Sequence[Created], now: int, pairs: Callable[[], Pairs]
) -> None:
    rows = [x for c in part for x in (*c.triplet.key, c.first_seen, c.defer_until, c.expires)]
    try:
        db.execute(sql.CREATE[len(part)], rows)
    except sqlite3.IntegrityError:  # one of them is there: none was made
        for change in part:
            _create(db, change, now, pairs)


def _create(db: sqlite3.Connection, change: Created, now: int, pairs: Callable[[], Pairs]) -> None:
    key = change.triplet.key
    row = (*key, change.first_seen, change.defer_until, change.expires)
    if db.execute(sql.CREATE_IF_ABSENT, row).rowcount:
        return
    if _remove_dead(db, change.triplet, now, pairs):
        db.execute(sql.CREATE[1], row)
    else:
        db.execute(sql.BLOCKED, (*key, 1))


def _note(db: sqlite3.Connection, change: Noted, now: int, pairs: Callable[[], Pairs]) -> None:
    key = change.triplet.key
    _remove_dead(db, change.triplet, now, pairs)
    if not db.execute(sql.PASSED, (*key, change.expires, change.count)).rowcount:
        db.execute(sql.PUT, (1, *key, *facts_of(change.record())))


def _remove_dead(
    db: sqlite3.Connection, triplet: Triplet, now: int, pairs: Callable[[], Pairs]
) -> bool:
    """Remove a record that is no longer live, and count its fate; tell whether it was there."""
    row = db.execute(sql.REMOVE_DEAD, (*triplet.key, now, CLOCK_TOLERANCE)).fetchone()
    if row is None:
        return False
    if has_fate(triplet.network):
        dead = read_ended(row)
        seen = pairs()
        seen.fates.update(
            {DELAYED: 1} if dead.passed else end_stopped(db, [(triplet, dead)], now, seen)
        )
    return True


class Counting:
    """Adds to the figures of the hour. Where they are refused, all else is written."""

    def __init__(self, db: sqlite3.Connection, path: str) -> None:
        self._db, self._path = db, path
        self._unkept: Unkept | None = None  # hardly ever needed

    def warning(self) -> str | None:
        """Return what is to be told of figures that are not kept."""
        return None if self._unkept is None else self._unkept.warning()

    def add(self, figures: Iterable[tuple[str, int]], now: int) -> None:
        """Add to those of this hour. Raises StoreConflict where it is to be done without them."""
        if self._unkept is not None and self._unkept.now:
            return
        hour = hour_of(now)
        try:
            self._db.executemany(
                sql.FIGURE, [(hour, name, n, MOST_OF_FIGURE) for name, n in figures]
            )
        except (sqlite3.Error, UnicodeDecodeError) as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
            # SQLite's message may quote bytes that are no text; an error without more: no table.
            no_text = isinstance(error, UnicodeDecodeError)
            if no_text or code == sqlite3.SQLITE_ERROR or is_about_one(error):
                from greylag.store.unkept import Unkept

                self._unkept = self._unkept or Unkept()
                raise self._unkept.refused(f"{self._path}: {error}") from error
            raise
