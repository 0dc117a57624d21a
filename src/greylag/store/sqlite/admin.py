"""What an admin does with a SQLite file: make it, and look it over."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from greylag.core.subject import Network
from greylag.store.admin import Finding
from greylag.store.base import StoreError
from greylag.store.sqlite.file import refuse_planted
from greylag.store.sqlite.rows import sound_entries
from greylag.store.sqlite.schema import MIGRATIONS
from greylag.store.sqlite.snapshots import strangers
from greylag.store.sqlite.sql import ENTRIES
from greylag.store.sqlite.store import SqliteStore

_OTHERS = 0o007  # nobody else reads who mails whom


class SqliteAdmin:
    """The file at a path, which need not be there."""

    def __init__(self, path: str, *, timeout: float) -> None:
        self._path = Path(path)
        self._timeout = timeout

    def init(self) -> list[str]:
        before, newest = self._schema(), len(MIGRATIONS)
        SqliteStore(str(self._path), timeout=self._timeout).close()
        if not before:  # no file, or an empty one
            return [str(self._path)]
        return [] if before == newest else [f"schema {newest} (it was {before})"]

    def _schema(self) -> int:
        """Return the schema of what is there, or 0 where it has none."""
        if not self._path.is_file():
            return 0
        try:
            refuse_planted(str(self._path))
            with closing(sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True)) as db:
                return int(db.execute("PRAGMA user_version").fetchone()[0])
        except (sqlite3.Error, StoreError, OSError):
            return 0  # opening it tells why

    def structure(self) -> list[Finding]:
        return []  # the number of the schema tells all

    def schema(self) -> tuple[int, int] | None:
        return self._schema(), len(MIGRATIONS)

    def clock(self) -> int | None:
        return None  # it is a file

    def check(self) -> list[Finding]:
        if not self._path.exists():
            return []
        try:
            found = self._damage()
        except (sqlite3.Error, UnicodeDecodeError) as error:  # it may quote damaged bytes
            raise StoreError(f"{self._path}: {error}") from error
        if self._path.stat().st_mode & _OTHERS:
            found.append(Finding(f"{self._path}: is open to all", f"chmod o= {self._path}*"))
        return found

    def _damage(self) -> list[Finding]:
        found = []
        with closing(sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True)) as connection:
            for (line,) in connection.execute("PRAGMA integrity_check"):
                if line != "ok":
                    found.append(Finding(str(line), "stop greylag, and restore a copy"))
            schema = int(connection.execute("PRAGMA user_version").fetchone()[0])
            for name in strangers(connection, schema):
                what = f"{name} is not as greylag makes it"
                found.append(Finding(what, "remove what is not greylag's, or restore a backup"))
            connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
            for row in connection.execute(ENTRIES):
                subject = [entry.subject for entry in sound_entries([row])]
                if not subject or (isinstance(subject[0], Network) and not subject[0].sound):
                    what = f"list entry {row[-1]} names nothing, and is ignored"
                    found.append(Finding(what, "remove that row of the table `entries`"))
        return found

    def add_indexes(self, _found: list[Finding]) -> int:
        return 0  # it needs none beside its keys

    def close(self) -> None:
        """Nothing is held open."""
