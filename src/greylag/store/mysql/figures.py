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

    def make(self, *beside: str) -> tuple[bool, ...]:
        """Make the table if it is missing, with the row at which writers take turns.

        Return whether two tables beside it were seen on the way, which costs nothing then.
        """
        from pymysql import MySQLError

        for made in (False, True):
            try:
                if made:
                    self._session.read(FIGURES)
                mark, locks, *seen = self._session.read(sql.MARK, beside)[0]
                if not locks:
                    self._session.make_lock()
            except MySQLError as error:
                if error.args[0] not in NO_TABLE:
                    raise
            else:
                self._mark = str(mark)
                return tuple(map(bool, seen))
        self._session.take_turns_at_old_table()
        return (False,) * len(beside)

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
