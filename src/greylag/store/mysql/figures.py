"""The figures of a store in MySQL, and what else our own table holds: greylag_figures.

All else works where it may not be made. Callers translate errors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from greylag.core.figures import hour_of
from greylag.store.mysql import sql
from greylag.store.mysql.link import NO_TABLE
from greylag.store.mysql.rows import whole
from greylag.store.mysql.schema import FIGURES
from greylag.store.mysql.session import MysqlSession

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

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

    def make(self) -> tuple[bool, ...]:
        """Make the table if it is missing, with the row at which writers take turns.

        Return whether the other tables of ours were seen on the way, which costs nothing then.
        """
        from pymysql import MySQLError

        for look in (self._look_at_all, self._look, self._make_and_look):
            try:
                mark, locks, *seen = look()
                if not locks:
                    self._session.make_lock()
            except MySQLError as error:
                if error.args[0] not in NO_TABLE:
                    raise
            else:
                self._mark = str(mark)
                return tuple(map(bool, seen))
        self._session.take_turns_at_old_table()
        return False, False

    def _look_at_all(self) -> tuple[Any, ...]:
        """Look where all tables are there, as they mostly are: to ask which are costs more."""
        return (*self._session.read(sql.MARK_OF_ALL)[0], True, True)

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
            self._session.write(sql.FIGURE, rows)

    def by_hour(self, since: int, until: int) -> dict[int, dict[str, int]]:
        """Return the figures of all nodes."""
        if self._mark is None:
            return {}
        return figures_by_hour(self._session.read(sql.FIGURES, (since, until)))

    def removals(self) -> int | None:
        """Return a number that changes with each removal by hand; None where it cannot be kept."""
        return int(self._session.read(sql.REMOVALS)[0][0]) if self._mark is not None else None

    def count_removal(self) -> None:
        """Change that number."""
        if self._mark is not None:
            self._session.read(sql.NEXT_REMOVAL)


def figures_by_hour(rows: Iterable[tuple[Any, ...]]) -> dict[int, dict[str, int]]:
    """Return the figures of each hour; a name has the mark of a node behind it: `pass:known@2`."""
    hours: dict[int, dict[str, int]] = {}
    for hour, name, number in rows:
        figure, _at, mark = str(name).rpartition("@")
        figure = figure if figure and mark.isdigit() else str(name)
        hours.setdefault(int(hour), Counter())[figure] += whole(number)
    return hours
