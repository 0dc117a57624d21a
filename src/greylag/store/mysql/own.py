"""A table of our own beside the old plugin's. All else works where it may not be made."""

from __future__ import annotations

from greylag.store.mysql import sql
from greylag.store.mysql.link import NO_TABLE
from greylag.store.mysql.schema import TABLES
from greylag.store.mysql.session import MysqlSession


class OwnTable:
    """The table in a store's session."""

    name: str

    def __init__(self, session: MysqlSession) -> None:
        self._session = session
        self.kept = False  # whether it is there

    def make(self, *, seen: bool) -> None:
        """Make the table if it is missing, unless it was seen. Callers translate errors."""
        self.kept = seen or bool(self._session.read(sql.IS_THERE, (self.name,))[0][0])
        if not self.kept:
            self._create(TABLES[self.name])

    def _create(self, statement: str) -> None:
        from pymysql import MySQLError

        try:
            self._session.read(statement)
        except MySQLError as error:
            if error.args[0] not in NO_TABLE:
                raise
        else:
            self.kept = True
