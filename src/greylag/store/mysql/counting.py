"""How many records there are in MySQL: of millions, a count takes seconds.

So the walk of the expiry, which reads them all anyway, notes at its end how many it has found.
Callers translate errors.
"""

from __future__ import annotations

from greylag.core.record import CLOCK_TOLERANCE
from greylag.store.base import Page
from greylag.store.mysql import sql
from greylag.store.mysql.figures import Figures
from greylag.store.mysql.rows import date
from greylag.store.mysql.session import MysqlSession


class Counting:
    """The counts of a store's session."""

    def __init__(self, session: MysqlSession, figures: Figures) -> None:
        self._session = session
        self._figures = figures
        self.walked: tuple[int, int] | None = None  # waiting, passed: in a walk from its begin on

    def count(self, now: int) -> tuple[int, int]:
        """Count all."""
        return self._counted(sql.COUNT, now)

    def count_in_time(self, now: int) -> tuple[int, int, int]:
        """Count all; where that takes long, return what the last walk has found, and when."""
        from pymysql import MySQLError

        try:
            return (*self._counted(sql.COUNT_IN_TIME, now), now)
        except MySQLError as error:
            if error.args[0] not in sql.TOOK_TOO_LONG:
                raise
        return self._figures.noted_count() or (*self.count(now), now)

    def _counted(self, statement: str, now: int) -> tuple[int, int]:
        waiting, passed = self._session.read(statement, (date(now), date(now + CLOCK_TOLERANCE)))[0]
        return int(waiting), int(passed)

    def with_step(self, page: Page, now: int, *, begins: bool) -> tuple[int, int] | None:
        """Return what a walk has found with one step more; note it where that was the last.

        It is `walked` from then on, when the step is committed.
        """
        before = (0, 0) if begins else self.walked
        if before is None:  # its begin was in another session
            return None
        found = before[0] + page.waiting - page.pools, before[1] + page.passed
        if page.after is None:
            self._figures.note_count(*found, now)
        return found
