"""Bringing a database to the newest schema, and refusing one that is not ours, or newer than we."""

from __future__ import annotations

import sqlite3
from time import monotonic

from greylag.store.base import StoreError
from greylag.store.sqlite.file import Migrations, application, begin, switch_to_wal, version
from greylag.store.sqlite.schema import APPLICATION_ID


def migrate(db: sqlite3.Connection, path: str, migrations: Migrations, timeout: float) -> None:
    """Run the migrations that the file has not seen; many processes may try at once."""
    refuse_foreign(db, path, len(migrations))
    switch_to_wal(db, monotonic() + timeout)
    for number, statements in enumerate(migrations, 1):
        begin(db, timeout)
        try:
            refuse_foreign(db, path, len(migrations))  # it may have changed while we waited
            if version(db) < number:
                for statement in statements:
                    db.execute(statement)
                _stamp(db, number)
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")


def refuse_foreign(db: sqlite3.Connection, path: str, newest: int) -> int:
    """Return the number of the schema of a database that is ours, or empty. Raises StoreError."""
    tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and application(db) != APPLICATION_ID:
        raise StoreError(f"{path}: is a database, but not one of greylag's")
    if not 0 <= version(db) <= newest:
        raise StoreError(
            f"{path}: has schema {version(db)}, but this greylag knows only up to {newest}"
        )
    return version(db)


def refuse_older(db: sqlite3.Connection, path: str, newest: int) -> None:
    """Raise StoreError: the database is of an older schema, and nobody may convert it now."""
    refuse_foreign(db, path, newest)
    raise StoreError(
        f"{path}: has schema {version(db)}: `greylag db init`, or the daemon, makes it {newest}"
    )


def _stamp(db: sqlite3.Connection, number: int) -> None:
    # A PRAGMA takes no parameters; both are our own numbers.
    db.execute("PRAGMA application_id = " + str(int(APPLICATION_ID)))
    db.execute("PRAGMA user_version = " + str(int(number)))
