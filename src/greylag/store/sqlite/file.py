"""A SQLite file: its mode, its schema, transactions, and the translation of its errors."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable, Sequence
from time import monotonic, sleep

from greylag.store.base import StoreError, StoreRefused, StoreUnavailable
from greylag.store.sqlite.schema import APPLICATION_ID, MIGRATIONS

MODE = 0o660  # the daemon's and the mail server's user share it; nobody else reads who mails whom
# Beside a long reader the write-ahead log grows; it shrinks to these bytes when that has ended.
WAL_LIMIT = "PRAGMA journal_size_limit = 16777216"
_DURABLE, _LAZY = "PRAGMA synchronous = FULL", "PRAGMA synchronous = NORMAL"
_LARGE_LOG = 64 << 20  # bytes of it that are told of
Migrations = Sequence[Sequence[str]]
_HEADER = 100  # bytes: a database has more, and SQLite takes a file of one byte for an empty one
_LOOKS = 5  # at an empty file that another process of root's may be about to make
_ROUND = 0.008  # seconds that SQLite waits by itself: it tries after 1, 2 and 5 ms of pause
_PAUSE = 0.01  # seconds between tries to switch a new file to WAL


class Guard:
    """Translate what SQLite raises into StoreError with the path, once, at this edge."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None:
        """Nothing to set up: one guard serves all calls of a store."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.OperationalError):  # locked, full, I/O error, read-only
            raise StoreUnavailable(f"{self.path}: {error}") from error
        # SQLite's message on a damaged page may quote bytes that are no text.
        if isinstance(error, UnicodeDecodeError) or is_about_one(error):
            raise StoreRefused(f"{self.path}: {error}") from error
        if isinstance(error, sqlite3.Error | OSError):
            cause = error.strerror if isinstance(error, OSError) else error
            raise StoreError(f"{self.path}: {cause}") from error


def connect(
    path: str,
    guard: Guard,
    *,
    timeout: float,
    create: bool,
    migrations: Migrations = MIGRATIONS,
    read_only: bool = False,
) -> sqlite3.Connection:
    """Return a connection to a database at the newest schema. Raises StoreError."""
    try:
        return _connect(path, guard, timeout, create and not read_only, migrations, read_only)
    except StoreRefused as error:  # not of one record: the file is of no use
        raise StoreError(str(error)) from error


def _connect(
    path: str, guard: Guard, timeout: float, create: bool, migrations: Migrations, read_only: bool
) -> sqlite3.Connection:
    with guard:
        if os.geteuid() == 0 and os.path.realpath(path) != path:  # there are links
            from greylag.store.folders import place_of  # who made them? (T44)

            with place_of(path):
                pass
        if create:
            _create_file(path)
        _refuse_foreign_file(path, create=create)
        refuse_planted(path)
        db = sqlite3.connect(reading(path) if read_only else path, timeout=timeout, uri=read_only)
        db.isolation_level = None
        db.text_factory = _text
        try:
            db.execute(_DURABLE)
            db.execute(WAL_LIMIT)
            if version(db) != len(migrations):
                from greylag.store.sqlite import migrating  # hardly ever, so no mail waits for it

                if not create:  # whoever only reads converts nothing
                    migrating.refuse_older(db, path, len(migrations))
                migrating.migrate(db, path, migrations, timeout)
            elif application(db) != APPLICATION_ID:
                raise StoreError(f"{path}: is a database, but not one of greylag's")
            elif not read_only and db.execute("PRAGMA journal_mode").fetchone() != ("wal",):
                switch_to_wal(db, monotonic() + timeout)  # a copy, as VACUUM INTO makes them
        except BaseException:
            db.close()
            raise
        return db


def reading(path: str) -> str:
    """Return the URI by which SQLite opens a file without the right to write."""
    return "file:" + path.replace("%", "%25").replace("?", "%3f").replace("#", "%23") + "?mode=ro"


def grown_log(path: str) -> str | None:
    """Return what is to be done about a write-ahead log that has grown large, or None."""
    try:
        size = os.stat(f"{path}-wal").st_size
    except OSError:
        return None
    if size < _LARGE_LOG:
        return None
    return (
        f"{path}-wal: has {size >> 20} MB: a program has been reading the database for long, and"
        f" it grows until that ends (`fuser -v {path}` names who has it open)"
    )


def begin(
    db: sqlite3.Connection, timeout: float, waiting: Callable[[], None] | None = None
) -> None:
    """Begin a write transaction; wait up to so many seconds for other writers.

    SQLite's own waiting grows to a tenth of a second between two tries: who came last would win,
    and one of many could be left out for seconds. Short rounds of it give all the same chance.
    """
    deadline = monotonic() + timeout
    _wait_at_most(db, _ROUND)
    try:
        while True:
            try:
                db.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or monotonic() > deadline:
                    raise
            if waiting is not None:
                waiting()
                waiting = None
    finally:
        _wait_at_most(db, timeout)


class Transaction:
    """A write transaction; a second one inside the first is part of it.

    A `lazy` one does not wait for the disk: with the next commit that does, it is there too.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        guard: Guard,
        timeout: float,
        waiting: Callable[[], None] | None,
        *,
        lazy: bool = False,
    ) -> None:
        self._waiting = waiting
        self._lazy = lazy
        self._connection = connection
        self._guard = guard
        self._timeout = timeout
        self._outer = False

    def __enter__(self) -> None:
        self._outer = self._connection.in_transaction
        if not self._outer:
            with self._guard:
                try:
                    # Each sets it: the one before may have failed to set it back.
                    if self._lazy:
                        self._connection.execute(_LAZY)
                    else:
                        self._connection.execute(_DURABLE)
                    begin(self._connection, self._timeout, self._waiting)
                except BaseException:  # begun, and yet no memory: nobody else would end it
                    self._end()
                    raise

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._outer:
            return
        with self._guard:
            try:
                if kind is None:
                    self._connection.execute("COMMIT")
            finally:
                self._end()

    def _end(self) -> None:
        """Roll back what was not committed; whoever writes next waits for the disk again."""
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        finally:
            if self._lazy:
                self._connection.execute(_DURABLE)


def _wait_at_most(db: sqlite3.Connection, seconds: float) -> None:
    # A PRAGMA takes no parameters; this is our own number.
    db.execute("PRAGMA busy_timeout = " + str(int(seconds * 1000)))


def is_about_one(error: BaseException | None) -> bool:
    """Tell whether a row, or the page it is on, is to blame, and not the file as a whole."""
    if isinstance(error, sqlite3.IntegrityError | sqlite3.DataError):
        return True
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
    return code & 0xFF == sqlite3.SQLITE_CORRUPT


def _text(raw: bytes) -> str:
    """Read a text that somebody else may have put there: one bad byte must not stop a look-up."""
    return raw.decode("utf-8", "replace")


def _create_file(path: str) -> None:
    """Make the file ourselves: SQLite would leave its mode, and that of -wal, to the umask."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
    except FileExistsError:
        os.stat(path)  # a link that leads nowhere: SQLite would make its target, with another mode
        return
    try:
        os.fchmod(handle, MODE)
        if os.geteuid() == 0:
            # An admin who comes before the mail server must not lock it out.
            folder = os.stat(os.path.dirname(path))
            os.fchown(handle, folder.st_uid, folder.st_gid)
    finally:
        os.close(handle)


def _refuse_foreign_file(path: str, *, create: bool) -> None:
    """Refuse what is there and cannot be a database, before SQLite writes into it.

    An empty file is filled where it may be one that a process made, and then died: by the daemon's
    and the mail server's user; by root only if it has the mode that we give to ours, for root can
    write to any file that a wrong path names.
    """
    found = os.stat(path)  # also tells "no such file" from a folder that may not be entered
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise StoreError(f"{path}: is no plain file")
    if 0 < found.st_size < _HEADER:
        raise StoreError(f"{path}: is no database")
    for _ in range(_LOOKS if create else 1):
        ours = create and (os.geteuid() != 0 or stat.S_IMODE(found.st_mode) == MODE)
        if found.st_size or ours:
            return
        sleep(_PAUSE)
        found = os.stat(path)
    raise StoreError(
        f"{path}: is empty, and no database of greylag's: remove it, and a new one is made"
    )


def refuse_planted(path: str) -> None:
    """Refuse a link or a pipe where SQLite keeps its other files: root would write through it."""
    for name in (f"{path}-wal", f"{path}-shm", f"{path}-journal"):
        try:
            found = os.lstat(name)
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            raise StoreError(f"{name}: expected a plain file with one name, as SQLite makes it")


def version(db: sqlite3.Connection) -> int:
    """Return the number of the last migration that ran; 0: none."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def application(db: sqlite3.Connection) -> int:
    """Return whose database it says that it is."""
    return int(db.execute("PRAGMA application_id").fetchone()[0])


def switch_to_wal(db: sqlite3.Connection, deadline: float) -> None:
    """Switch the journal mode; SQLite does not wait in its busy handler for this, so we do."""
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL").fetchone()
            return
        except sqlite3.OperationalError:
            if monotonic() > deadline:
                raise
            sleep(_PAUSE)
