"""The lists of a SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from greylag.core.accesslist import Entry, networks_around
from greylag.core.subject import Network, Subject
from greylag.store.base import EntryPage, Store
from greylag.store.sqlite import sql
from greylag.store.sqlite.file import Guard
from greylag.store.sqlite.rows import entry_row, read_entry, read_number, sound_entries


class SqliteLists(Store):
    """The part `Lists`; `SqliteStore` has the file and its transactions."""

    def __init__(self, db: sqlite3.Connection, guard: Guard, file: tuple[int, int]) -> None:
        self._db = db
        self._guard = guard
        self._file = file  # its device and inode

    def matching(self, client: bytes, domain: str) -> list[Entry]:
        keys = [part for net in networks_around(client) for part in (net.packed, net.prefix)]
        with self._guard:
            rows = self._db.execute(sql.ENTRIES_BY_NETWORK[len(client)], keys).fetchall()
            rows += self._db.execute(sql.ENTRIES_BY_DOMAIN, (domain,)).fetchall()
            return sound_entries(rows)

    def entries(self) -> list[Entry]:
        with self._guard:
            return [read_entry(row) for row in self._db.execute(sql.ENTRIES)]

    def entries_after(self, number: int, limit: int) -> EntryPage:
        with self._guard:
            rows = self._db.execute(sql.ENTRIES_AFTER, (number, limit)).fetchall()
            found = sound_entries(rows)
        after = rows[-1][-1] if len(rows) == limit else None
        return EntryPage(found, after, len(rows) - len(found))

    def put_entries(self, entries: Iterable[Entry]) -> None:
        with self.transaction(), self._guard:
            self._db.executemany(sql.PUT_ENTRY, (entry_row(entry) for entry in entries))
            self._db.execute(sql.NEXT_GENERATION)

    def remove_entries(self, subjects: Iterable[Subject]) -> int:
        removed = 0
        with self.transaction(), self._guard:
            for subject in subjects:
                if isinstance(subject, Network):
                    where: tuple[object, ...] = (subject.packed, subject.prefix)
                    removed += self._db.execute(sql.REMOVE_NETWORK, where).rowcount
                else:
                    removed += self._db.execute(sql.REMOVE_DOMAIN, (subject.name,)).rowcount
            self._db.execute(sql.NEXT_GENERATION)
        return removed

    def generation(self) -> int:
        with self._guard:
            number = read_number(self._db.execute(sql.GENERATION).fetchone())
        return hash((number, *self._file)) if number else 0  # 0: never had any entry
