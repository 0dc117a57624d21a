"""The link to a MySQL or MariaDB server: connecting, and its errors translated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from greylag.store.base import StoreConflict, StoreError, StoreRefused, StoreUnavailable
from greylag.store.mysql import sql
from greylag.store.mysql.options import Place
from greylag.store.mysql.tls import Tls, arguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pymysql.cursors import Cursor

    from greylag.store.mysql.driver import Bounded

# Lock wait time-out, deadlock (with Galera: certification failed), and a row that was changed since
# the transaction first read (`innodb_snapshot_isolation`, which newer servers of MariaDB have on).
_WAITED = 1205
_CONFLICTS = (_WAITED, 1213, 1020)
_DENIED = (1044, 1045, 1142, 1143, 1146, 1227, 1049)  # an admin has to do something
# No such table; or denied, which servers also say where a user may not make a missing table.
NO_TABLE = (1146, 1142)
_SAID = 300  # characters of what a server says
# A value or a row is refused, by its column, a CHECK or an admin's trigger. The driver calls some
# of these operational.
_REFUSED = (1264, 1292, 1365, 1366, 1406, 1411, 1644, 1690, 3819, 4025)
# It is damaged: its file is gone, or is none, or not all of it can be read.
_DAMAGED = (1030, 1033, 1034, 1035, 1194, 1195, 1712, 1812, 1814, 1877, 1932)
BROKEN_TABLE = (*NO_TABLE, *_DAMAGED)
_READ_ONLY = "the server is read-only"
_NOT_READY = "this node is not part of its cluster's majority, or not ready yet"


class Guard:
    """Translate whatever the driver raises into StoreError with the place, once, at this edge."""

    def __init__(self, place: Place) -> None:
        self._named = place
        self._place = str(place)

    def __enter__(self) -> None:
        """Nothing to set up: one guard serves all calls of a store."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _t: TracebackType | None,
    ) -> None:
        if error is None or isinstance(error, StoreError) or not isinstance(error, Exception):
            return
        raise self.translated(error) from error

    def refused(self, cause: str) -> StoreRefused:
        """Return the error that stands for a key which cannot be kept."""
        return StoreRefused(f"{self._place}: {cause}")

    def said(self, error: Exception) -> str:
        """Return what an error says, with the place and without a password."""
        return f"{self._place}: {self._named.without_urls(_said(error))}"

    def translated(self, error: Exception) -> StoreError:
        """Return the StoreError that stands for another exception."""
        import pymysql

        number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        text = self.said(error)
        if number in _CONFLICTS:
            return StoreConflict(text)
        if is_about_one(error):
            return StoreRefused(text)
        if isinstance(error, pymysql.OperationalError | pymysql.InterfaceError | OSError):
            return StoreError(text) if number in _DENIED else StoreUnavailable(text)
        if isinstance(error, pymysql.MySQLError):
            return StoreError(text)
        if isinstance(error, MemoryError):  # perhaps in the middle of an answer
            return StoreUnavailable(f"{self._place}: no memory for what the server says")
        # A server that talks nonsense makes the driver stumble in many ways.
        return StoreUnavailable(f"{text} (not what a MySQL server says)")


def is_about_one(error: Exception) -> bool:
    """Tell whether a value or a row was refused; others would not be."""
    import pymysql

    refused = isinstance(error, pymysql.DataError | pymysql.IntegrityError)
    return refused or (bool(error.args) and error.args[0] in _REFUSED)


def is_broken_table(error: Exception) -> bool:
    """Tell whether a table is not there, not ours to use, or damaged."""
    return bool(error.args) and error.args[0] in BROKEN_TABLE


def is_about_table(error: Exception) -> bool:
    """Tell whether a row, or the table it is in, refuses what is written; others would not."""
    return is_about_one(error) or is_broken_table(error)


def is_wait(error: Exception) -> bool:
    """Tell whether another program keeps locked what is to be written."""
    return bool(error.args) and error.args[0] == _WAITED


@contextmanager
def suppress_conflict() -> Iterator[None]:
    """Go on where another writer did the same at the same time."""
    import pymysql

    try:
        yield
    except pymysql.MySQLError as error:
        if error.args[0] not in _CONFLICTS:
            raise


def _said(error: Exception) -> str:
    if len(error.args) > 1 and isinstance(error.args[0], int):
        return f"{str(error.args[1])[:_SAID]} ({error.args[0]})"
    return str(error)[:_SAID] or type(error).__name__


def longest_wait(timeout: float) -> int:
    """Return the seconds after which the server gives up a lock: before we give up its answer.

    So it can say why.
    """
    return max(1, int(timeout) - 1)


def connect(place: Place, guard: Guard, timeout: float) -> Bounded:
    """Return a session with the first host that will have one. Raises StoreError.

    A host that cannot be reached, is not part of its cluster's majority or may only be read is
    passed over. `timeout` in seconds is for connecting, and for each answer.
    """
    errors: list[StoreError] = []
    for host in place.hosts or (None,):
        try:
            with guard:
                return _connect_one(place, host, timeout)
        except StoreError as error:
            errors.append(error)
    raise errors[0]


def _connect_one(place: Place, host: tuple[str, int] | None, timeout: float) -> Bounded:
    import pymysql
    from pymysql.constants import CLIENT

    from greylag.store.mysql.driver import Bounded

    where: dict[str, Any] = {"unix_socket": place.socket, "ssl_disabled": True}
    if host is not None:
        where = {"host": host[0], "port": host[1], **arguments(place.tls)}
    session = Bounded(
        place.tls if host is not None else Tls(),
        timeout,
        user=place.user,
        password=place.password.encode("utf-8", "surrogateescape"),  # as it stands in the file
        database=place.database,
        charset="utf8mb4",
        autocommit=True,
        connect_timeout=max(1, int(timeout)),
        local_infile=False,
        client_flag=CLIENT.MULTI_STATEMENTS,  # see session.py
        **where,
    )
    try:
        session.connect()
        with session.cursor() as cursor:
            longest = longest_wait(timeout)
            cursor.execute(sql.SESSION, (longest, longest))
            cursor.execute(sql.READ_ONLY)
            row = cursor.fetchone()
            if row is not None and row[0] not in (0, "OFF"):
                raise pymysql.OperationalError(1290, _READ_ONLY)
            if len(place.hosts) > 1:
                _refuse_the_cut_off(cursor)
        session.opened()
    except BaseException:
        session.close()
        raise
    return session


def _refuse_the_cut_off(cursor: Cursor) -> None:
    """Raise where a node without its cluster's majority answers: it does, until tables are named.

    With `wsrep_dirty_reads` it even reads them, and refuses to write alone: so it is asked.
    """
    import pymysql

    cursor.execute(sql.CLUSTER)
    status = {str(name): str(text) for name, text in cursor.fetchall()}
    if status.get("wsrep_provider_name") and status.get("wsrep_ready") != "ON":
        raise pymysql.OperationalError(1047, _NOT_READY)
