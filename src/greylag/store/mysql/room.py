"""Which records go where room has to be made: some that wait, by chance, of both tables.

A look costs the same whatever a table holds. So nobody counts what waits in each: a stretch from a
place by chance tells how close together those lie, and that tells how many there are, about.
"""

from __future__ import annotations

from random import random

from greylag.store.mysql import sql
from greylag.store.mysql.session import MysqlSession

_OLD, _NAMED = 0, 1  # among the statements


def somewhere(session: MysqlSession, number: int, *, named: bool) -> tuple[list[int], list[int]]:
    """Return the ids of up to so many rows that wait: of the old table, and of what is named."""
    start, highest = _place(session, _OLD)
    start_named, highest_named = _place(session, _NAMED) if named else (0, 0)
    of_named = 0
    if highest_named:
        there = _about(session, _OLD, start, highest)
        there_named = _about(session, _NAMED, start_named, highest_named)
        share = number * there_named / ((there + there_named) or 1)
        of_named = int(share + random())  # noqa: S311 - where it has a half, every second time
    return (
        _waiting(session, _OLD, start, number - of_named),
        _waiting(session, _NAMED, start_named, of_named) if of_named else [],
    )


def _place(session: MysqlSession, table: int) -> tuple[int, int]:
    """Return an id by chance, and the highest."""
    start, highest = session.read(sql.SOMEWHERE[table])[0]
    return int(start), int(highest)


def _waiting(session: MysqlSession, table: int, start: int, number: int) -> list[int]:
    rows = session.read(sql.WAITING_FROM[table], (start, number))
    rows = rows or session.read(sql.WAITING_FROM[table], (0, number))
    return [int(row[0]) for row in rows]


def _about(session: MysqlSession, table: int, start: int, highest: int) -> float:
    """Return how many records wait in a table, as a stretch of it lets one think."""
    for first in (start, 0):
        rows, last, waiting = map(int, session.read(sql.WAITING_IN[table], (first,))[0])
        if waiting:
            return waiting * (highest + 1) / (1 + (last if rows == sql.LOOK else highest) - first)
    return 0.0
