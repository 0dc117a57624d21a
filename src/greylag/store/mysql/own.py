"""A table of our own beside the old plugin's. All else works without it.

It may be one that we may not make, or that is damaged.
"""

from __future__ import annotations

from greylag.store.mysql import sql
from greylag.store.mysql.link import NO_TABLE, is_broken_table
from greylag.store.mysql.schema import TABLES
from greylag.store.mysql.session import MysqlSession


def is_made(session: MysqlSession, name: str, *, seen: bool = False) -> bool:
    """Tell whether a table can be used: it is there, or was made now. Callers translate errors."""
    from pymysql import MySQLError

    if seen:
        return True
    for statement in (sql.READ_ONE.format(name), TABLES[name]):
        try:
            session.read(statement)
        except MySQLError as error:
            if not is_broken_table(error):
                raise
            if error.args[0] not in NO_TABLE:
                session.note_broken(name, error)
                return False
        else:
            return True
    return False


class OwnTable:
    """The table in a store's session."""

    name: str

    def __init__(self, session: MysqlSession) -> None:
        self._session = session
        self.kept = False  # whether it can be used

    def make(self, *, seen: bool) -> None:
        """Make the table if it is missing, unless it was read. Callers translate errors."""
        self.kept = is_made(self._session, self.name, seen=seen)
