"""What can happen to a MariaDB under the daemon: each strikes, and returns what mends it."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pymysql

from tests.servers.mariadb import PASSWORD, USER, Database, MariaDb

Mend = Callable[[], None]
Fault = Callable[[MariaDb, Database], Mend]


def stopped(server: MariaDb, _database: Database) -> Mend:
    server.stop()
    return server.start


def killed(server: MariaDb, _database: Database) -> Mend:
    server.stop(signal.SIGKILL)
    return server.start


def frozen(server: MariaDb, _database: Database) -> Mend:
    server.send(signal.SIGSTOP)
    return lambda: server.send(signal.SIGCONT)


def as_root(server: MariaDb, statement: str, *parameters: object) -> None:
    with server.connect() as cursor:
        cursor.execute(statement, parameters)


def another_password(server: MariaDb, _database: Database) -> Mend:
    change = f"ALTER USER {USER}@localhost IDENTIFIED BY %s"
    as_root(server, change, "another")
    drop_sessions(server)
    return lambda: as_root(server, change, PASSWORD)


def drop_sessions(server: MariaDb) -> None:
    with server.connect() as cursor:
        cursor.execute("SELECT id FROM information_schema.processlist WHERE user = %s", (USER,))
        for (number,) in cursor.fetchall():
            cursor.execute("KILL %s", (number,))


def table_dropped(server: MariaDb, database: Database) -> Mend:
    as_root(server, f"RENAME TABLE {database.name}.greylisting_data TO {database.name}.gone")
    back = f"RENAME TABLE {database.name}.gone TO {database.name}.greylisting_data"
    return lambda: as_root(server, back)


def read_only(server: MariaDb, _database: Database) -> Mend:
    as_root(server, "SET GLOBAL read_only = 1")
    return lambda: as_root(server, "SET GLOBAL read_only = 0")


def held(server: MariaDb, database: Database, rights: str, *statements: str) -> Mend:
    """Hold locks by another account, which has these rights alone."""
    with server.connect() as cursor:
        cursor.execute("CREATE OR REPLACE USER reader@localhost")
        cursor.execute(f"GRANT {rights} ON {database.name}.* TO reader@localhost")
    session = pymysql.connect(unix_socket=str(server.socket), user="reader", database=database.name)
    with session.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    return session.close


def rows_held(server: MariaDb, database: Database) -> Mend:
    """MariaDB asks for no more than SELECT."""
    return held(server, database, "SELECT", "SELECT * FROM greylag_figures FOR UPDATE")


def rows_read(server: MariaDb, database: Database) -> Mend:
    """Nobody means any harm, as with a report that is to be consistent."""
    isolation = "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE"
    return held(server, database, "SELECT", isolation, "SELECT * FROM greylisting_data")


def tables_held(server: MariaDb, database: Database) -> Mend:
    """As mysqldump does it without --single-transaction."""
    tables = "LOCK TABLES greylag_figures READ, greylisting_data READ"
    return held(server, database, "SELECT, LOCK TABLES", tables)


HELD: list[Fault] = [rows_held, rows_read, tables_held]
ALL: list[Fault] = [stopped, killed, frozen, another_password, table_dropped, read_only]
