"""The figures of a store in MySQL, and what else our own table holds: greylag_figures.

All else works where it may not be made. Callers translate errors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from greylag.core.figures import hour_of
from greylag.store.base import Glance
from greylag.store.mysql import sql
from greylag.store.mysql.link import NO_TABLE, is_about_table
from greylag.store.mysql.rows import whole
from greylag.store.mysql.schema import FIGURES
from greylag.store.mysql.session import MysqlSession

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from greylag.core.switch import Switch

NO_SWITCH = (
    "the switch has no place: there is no table greylag_figures, and we may not make it"
    " (greylag db init --print)"
)
NO_FIGURES = (
    "no figures are kept: there is no table greylag_figures, and we may not make it"
    " (greylag db init --print)"
)


class Figures:
    """The table in a store's session."""

    def __init__(self, session: MysqlSession) -> None:
        self._session = session
        self._mark: str | None = None  # of this node's rows (`sql.MARK`); None: no table

    @property
    def kept(self) -> bool:
        """Tell whether the table is there."""
        return self._mark is not None

    @property
    def node(self) -> int:
        """Return the number of this node among those of a cluster: 1 for a server alone."""
        return int((self._mark or "")[1:] or 1)

    def make(self) -> frozenset[str]:
        """Make the table if it is missing, with the row at which writers take turns.

        Return which other tables of ours can be read: all or none, as one question tells.
        """
        from pymysql import MySQLError

        self._mark = None
        for look, seen in (
            (self._look_at_all, sql.OWN_TABLES),
            (self._look, ()),
            (self._make_and_look, ()),
        ):
            try:
                mark, locks = look()
                if not locks:
                    self._session.make_lock()
            except MySQLError as error:
                if not is_about_table(error):
                    raise
                if error.args[0] not in NO_TABLE and not seen:
                    self._session.note_broken("greylag_figures", error)
            else:
                self._mark = str(mark)
                self._session.take_turns_at_own_table()
                return frozenset(seen)
        self._session.take_turns_at_old_table()
        return frozenset()

    def _look_at_all(self) -> tuple[Any, ...]:
        """Look where all tables can be read, as they mostly can: to ask each costs more."""
        return self._session.read(sql.MARK_OF_ALL)[0]

    def _look(self) -> tuple[Any, ...]:
        return self._session.read(sql.MARK)[0]

    def _make_and_look(self) -> tuple[Any, ...]:
        self._session.read(FIGURES)
        return self._look()

    def add(self, counts: Mapping[str, int], now: int) -> None:
        """Add to the figures of this hour."""
        if self._mark is not None:
            hour = hour_of(now)
            rows = [(hour, name + self._mark, n) for name, n in counts.items() if n]
            self._session.count(sql.FIGURE, rows)

    def by_hour(self, since: int, until: int) -> dict[int, dict[str, int]]:
        """Return the figures of all nodes."""
        if self._mark is None:
            return {}
        return figures_by_hour(self._session.read(sql.FIGURES, (since, until)))

    def removals(self) -> int | None:
        """Return a number that changes with each removal by hand; None where it cannot be kept."""
        return int(self._session.read(sql.REMOVALS)[0][0]) if self._mark is not None else None

    def glance(self) -> Glance:
        """Return that number and the switch."""
        if self._mark is None:
            return Glance(None, None)
        rows = {str(name): number for name, number in self._session.read(sql.GLANCE)}
        return Glance(int(rows.pop("removals", 0)), _switch_of(rows.items()))

    def switch(self) -> Switch | None:
        """Return the switch."""
        return None if self._mark is None else _switch_of(self._session.read(sql.SWITCH))

    def set_switch(self, switch: Switch | None) -> None:
        """Put it in the place of any other."""
        from greylag.core.switch import row_of

        self._session.read(sql.NO_SWITCH)
        if switch is not None:
            self._session.read(sql.SET_SWITCH, row_of(switch))

    def note_count(self, waiting: int, passed: int, now: int) -> None:
        """Keep what a walk over all records has found."""
        if self._mark is not None:
            self._session.read(sql.NOTE_COUNT, (now, passed, waiting))

    def noted_count(self) -> tuple[int, int, int] | None:
        """Return what the last walk has found, and when; None where that is not known."""
        found = self._session.read(sql.NOTED_COUNT) if self._mark is not None else ()
        if len(found) != len(("at", "passed", "waiting")):
            return None
        (at,), (passed,), (waiting,) = found
        return max(0, int(waiting)), max(0, int(passed)), int(at)

    def count_removal(self) -> None:
        """Change that number."""
        if self._mark is not None:
            self._session.read(sql.NEXT_REMOVAL)


def _switch_of(rows: Iterable[tuple[Any, ...]]) -> Switch | None:
    if not rows:
        return None
    from greylag.core.switch import read_rows  # a process for one recipient mostly does without

    return read_rows((row[0], row[1]) for row in rows)


def figures_by_hour(rows: Iterable[tuple[Any, ...]]) -> dict[int, dict[str, int]]:
    """Return the figures of each hour; a name has the mark of a node behind it: `pass:known@2`."""
    hours: dict[int, dict[str, int]] = {}
    for hour, name, number in rows:
        figure, _at, mark = str(name).rpartition("@")
        figure = figure if figure and mark.isdecimal() else str(name)
        hours.setdefault(int(hour), Counter())[figure] += whole(number)
    return hours
