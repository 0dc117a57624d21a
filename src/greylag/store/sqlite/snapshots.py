"""A SQLite database as a file for a backup, and such a file in the place of the database.

The copy is read in one transaction, so it is what was there at one moment. In WAL mode a reader is
in nobody's way; the write-ahead log grows until the copy is done.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing, suppress

from greylag.store.base import StoreError, StoreUnavailable
from greylag.store.folders import Place, move, place_of
from greylag.store.sqlite import sql
from greylag.store.sqlite.file import MODE, Guard, connect, reading, refuse_planted
from greylag.store.sqlite.migrating import refuse_foreign
from greylag.store.sqlite.schema import MIGRATIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.store.snapshots import Step

_AT_ONCE = 256  # pages: a megabyte
# Who has the file open holds a shared lock on these bytes of it (sqlite.org/lockingv3.html).
_SHARED_BYTES, _SHARED_SIZE = 0x40000002, 510
_BESIDE = ("-wal", "-shm")
_AS_IT_IS = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OF_SQLITE = {("table", f"sqlite_stat{number}") for number in range(1, 5)}  # of ANALYZE


class SqliteSnapshots:
    """Backups of the file at a path, which need not be there."""

    def __init__(self, path: str, *, timeout: float) -> None:
        self.name = path
        # SQLite keeps its other files beside the real one; what is refused, is when it is used
        with suppress(OSError), place_of(path) as place:
            self.name = place.path
        self._timeout = timeout

    def look(self) -> None:
        self._opened(Guard(self.name)).close()

    def write(self, file: str, step: Step) -> None:
        guard = Guard(self.name)

        def progress(_status: int, left: int, total: int) -> None:
            step(total - left, total)

        with closing(self._opened(guard)) as source:
            with guard:
                source.execute("BEGIN")
                source.execute("SELECT count(*) FROM sqlite_master").fetchone()
            with Guard(file), closing(sqlite3.connect(file, isolation_level=None)) as target:
                target.execute("PRAGMA journal_mode = OFF")
                target.execute("PRAGMA synchronous = OFF")  # whoever asked syncs it
                source.backup(target, pages=_AT_ONCE, progress=progress)

    def _opened(self, guard: Guard) -> sqlite3.Connection:
        """Open the database as it is, of an older schema too: before an upgrade it is copied."""
        with guard:
            refuse_planted(self.name)
            with closing(sqlite3.connect(reading(self.name), uri=True)) as db:
                known = MIGRATIONS[: refuse_foreign(db, self.name, len(MIGRATIONS))]
        return connect(
            *(self.name, guard),
            timeout=self._timeout,
            create=False,
            migrations=known,
            read_only=True,
        )

    def check(self, file: str) -> int:
        # Immutable: nothing is made beside it, and nothing that lies there is read.
        uri = f"{reading(os.path.realpath(file))}&immutable=1"
        with Guard(file), closing(sqlite3.connect(uri, uri=True)) as db:
            db.execute("PRAGMA trusted_schema = OFF")
            schema = refuse_foreign(db, file, len(MIGRATIONS))
            wrong = strangers(db, schema) if schema > 0 else ["schema"]
            if wrong:
                told = f"{file}: has not the tables of greylag's schema {schema}"
                raise StoreError(f"{told}: {wrong[0]}")
            (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise StoreError(f"{file}: is damaged: {str(found)[:200]}")
            return schema

    def in_use(self) -> bool:
        with Guard(self.name), place_of(self.name) as place:
            try:
                handle = os.open(place.name, _AS_IT_IS, dir_fd=place.folder)
            except FileNotFoundError:
                return False
            try:
                return not _locked(handle)
            finally:
                os.close(handle)

    def owns(self, file: str) -> bool:
        beside = (self.name + end for end in ("", *_BESIDE, "-journal"))
        return os.path.realpath(file) in beside

    def put(self, file: str, aside: str, *, sure: bool) -> str | None:
        self._convert(file)
        with suppress(StoreError):  # who closes last folds the log in; a damaged one stays as it is
            connect(self.name, Guard(self.name), timeout=0, create=False).close()
        with Guard(self.name), place_of(self.name) as place:
            try:
                handle = os.open(place.name, _AS_IT_IS, dir_fd=place.folder)
            except FileNotFoundError:
                _beside(place, aside)
                if os.geteuid() == 0:
                    _give(file, os.fstat(place.folder))
                move(file, place, over=False)  # never over one that was made meanwhile
                return None
            try:
                if not (_locked(handle) or sure):  # nobody opens it while we hold this
                    raise StoreUnavailable(f"{self.name}: another process has it open")
                _swap(file, place, aside, os.fstat(handle))
            finally:
                os.close(handle)
        return self.name + aside

    def _convert(self, file: str) -> None:
        """Bring a copy to the newest schema; daemons that knew the old one drop their memory."""
        guard = Guard(file)
        db = connect(file, guard, timeout=self._timeout, create=True)
        with guard, closing(db):
            db.execute(sql.NEXT_REMOVAL)
        with guard:
            handle = os.open(file, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fchmod(handle, MODE)
                os.fsync(handle)
            finally:
                os.close(handle)


def _swap(file: str, place: Place, aside: str, old: os.stat_result) -> None:
    _give(file, old)
    here = {"src_dir_fd": place.folder, "dst_dir_fd": place.folder}
    os.link(place.name, place.name + aside, **here, follow_symlinks=False)
    _beside(place, aside)  # else it would be taken for the new one's
    move(file, place, over=True)


def _beside(place: Place, aside: str) -> None:
    here = {"src_dir_fd": place.folder, "dst_dir_fd": place.folder}
    for end in _BESIDE:
        with suppress(FileNotFoundError):
            os.rename(place.name + end, place.name + aside + end, **here)


def strangers(db: sqlite3.Connection, schema: int) -> list[str]:
    """Return what differs from the tables, indexes and triggers of our schema, as we made them.

    A file may come from anywhere: a trigger, or a view in a table's place, would be run later, and
    an index that allows a value once makes writes fail.
    """
    with closing(sqlite3.connect(":memory:")) as ours:
        for statements in MIGRATIONS[: max(0, schema)]:
            for statement in statements:
                ours.execute(statement)
        wanted, found = _made(ours), _made(db)
    return sorted(
        {f"{kind} {name}" for kind, name, text in wanted ^ found if (kind, name) not in _OF_SQLITE}
    )


def _made(db: sqlite3.Connection) -> set[tuple[str, str, str]]:
    rows = db.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    return {(str(kind), str(name), str(text)) for kind, name, text in rows}


def _locked(handle: int) -> bool:
    """Take the lock of one who is alone with a database, until its file is closed."""
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, _SHARED_SIZE, _SHARED_BYTES)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _give(file: str, like: os.stat_result) -> None:
    """Give a file to the owner of another, as far as we may.

    Who may write in its folder may put a link in its place at any moment (T44).
    """
    for user, group in ((-1, like.st_gid), (like.st_uid, -1)):
        with suppress(PermissionError):
            os.chown(file, user, group, follow_symlinks=False)
