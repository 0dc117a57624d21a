"""The lists of a SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from greylag.core.accesslist import NAMES_OF, Entry, Purpose, addresses_of, networks_around
from greylag.core.subject import Network, Subject
from greylag.store.base import EntryPage, Store
from greylag.store.sqlite import sql
from greylag.store.sqlite.file import Guard
from greylag.store.sqlite.rows import entry_row, read_entry, read_number, sound_entries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.core.accesslist import Asked
    from greylag.core.switch import Switch


class SqliteLists(Store):
    """The part `Lists`; `SqliteStore` has the file and its transactions."""

    def __init__(self, db: sqlite3.Connection, guard: Guard, file: tuple[int, int]) -> None:
        self._db = db
        self._guard = guard
        self._file = file  # its device and inode

    def matching(self, asked: Asked) -> list[Entry]:
        # Padded with NULLs, which are no name: all statements are compiled once.
        names: list[str | None] = list(
            {name for of in NAMES_OF.values() for name in of(asked) if name}
        )
        names += [None] * (-len(names) % sql.NAMES)
        rows = []
        with self._guard:
            for client in addresses_of(asked):
                keys = [
                    part for net in networks_around(client) for part in (net.packed, net.prefix)
                ]
                rows += self._db.execute(sql.ENTRIES_BY_NETWORK[len(client)], keys).fetchall()
            for start in range(0, len(names), sql.NAMES):
                part = names[start : start + sql.NAMES]
                rows += self._db.execute(sql.ENTRIES_BY_NAME, part).fetchall()
            if asked.names is None:
                rows += self._db.execute(sql.SOME_CLIENT_NAME).fetchall()
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

    def remove_entries(self, subjects: Iterable[Subject], purpose: Purpose = Purpose.ACCESS) -> int:
        removed = 0
        with self.transaction(), self._guard:
            for subject in subjects:
                if isinstance(subject, Network):
                    where = (subject.packed, subject.prefix, purpose.value)
                    removed += self._db.execute(sql.REMOVE_NETWORK, where).rowcount
                else:
                    what = (subject.name, subject.kind, purpose.value)
                    removed += self._db.execute(sql.REMOVE_NAMED, what).rowcount
            self._db.execute(sql.NEXT_GENERATION)
        return removed

    def generation(self) -> int:
        with self._guard:
            number = read_number(self._db.execute(sql.GENERATION).fetchone())
        return hash((number, *self._file)) if number else 0  # 0: never had any entry

    def switch(self) -> Switch | None:
        with self._guard:
            rows = self._db.execute(sql.SWITCH).fetchall()
        if not rows:
            return None
        from greylag.core.switch import read_rows  # a process for one recipient mostly does without

        return read_rows(rows)

    def set_switch(self, switch: Switch | None) -> None:
        from greylag.core.switch import row_of

        with self.transaction(), self._guard:
            self._db.execute(sql.NO_SWITCH)
            if switch is not None:
                self._db.execute(sql.SET_SWITCH, row_of(switch))
