"""What can happen to a MariaDB under the daemon: each strikes, and returns what mends it."""

from __future__ import annotations

import signal
from collections.abc import Callable

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


ALL: list[Fault] = [stopped, killed, frozen, another_password, table_dropped, read_only]
