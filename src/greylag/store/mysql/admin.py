"""What an admin does once with a database: make the tables that are missing, and look it over."""

from __future__ import annotations

from collections.abc import Iterator

from greylag.core.subject import Network, Subject
from greylag.store.admin import Finding
from greylag.store.mysql.link import Guard, connect
from greylag.store.mysql.options import Place
from greylag.store.mysql.rows import read_entries
from greylag.store.mysql.schema import COLUMNS, INDEXES, TABLES, TRIGGERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_COLUMNS = """SELECT table_name, column_name FROM information_schema.columns
    WHERE table_schema = DATABASE()"""
_INDEXES = """SELECT table_name, column_name FROM information_schema.statistics
    WHERE table_schema = DATABASE() AND seq_in_index = 1"""
_ENGINES = """SELECT table_name, engine FROM information_schema.tables
    WHERE table_schema = DATABASE() AND engine <> 'InnoDB' ORDER BY table_name"""
_ENTRIES = """SELECT id, ipaddr, ipaddr_start, ipaddr_prefixsize, rcpt_to, 0, 0, 0, ''
    FROM greylisting_lists WHERE id > %s ORDER BY id LIMIT %s"""
_CLOCK = "SELECT UNIX_TIMESTAMP()"
_PAGE = 20_000  # rows of one answer, which is bounded (see driver.py)
_SHOWN = 40  # characters of a wrong value


def statements(missing: list[str] | None = None) -> list[str]:
    """Return the SQL that makes these tables, or all; the lists come with their triggers."""
    names = list(TABLES) if missing is None else missing
    made = [TABLES[name] for name in names]
    return made + (list(TRIGGERS.values()) if "greylisting_lists" in names else [])


class MysqlAdmin:
    """A session for these jobs."""

    def __init__(self, place: Place, *, timeout: float) -> None:
        self._guard = Guard(place)
        self._session = connect(place, self._guard, timeout)

    def close(self) -> None:
        self._session.close()

    def _all(self, statement: str, parameters: tuple[int, ...] = ()) -> tuple[Any, ...]:
        with self._guard, self._session.cursor() as cursor:
            cursor.execute(statement, parameters or None)
            return tuple(cursor.fetchall())

    def _entry_rows(self) -> Iterator[tuple[Any, ...]]:
        number = 0
        while rows := self._all(_ENTRIES, (number, _PAGE)):
            yield from rows
            number = int(rows[-1][0])

    def missing(self) -> list[str]:
        """Return the names of the tables that are not there."""
        there = {str(row[0]).lower() for row in self._all(_COLUMNS)}
        return [name for name in TABLES if name not in there]

    def init(self) -> list[str]:
        missing = self.missing()
        for statement in statements(missing):
            self._all(statement)
        return missing

    def schema(self) -> tuple[int, int] | None:
        return None

    def clock(self) -> int | None:
        return int(self._all(_CLOCK)[0][0])

    def structure(self) -> list[Finding]:
        missing = self.missing()
        found = [Finding(f"table {name} is missing", "greylag db init") for name in missing]
        found += self._columns(missing)
        found += [
            Finding(
                f"table {table} is of the engine {engine}: a crash can lose what was answered",
                f"ALTER TABLE {table} ENGINE=InnoDB",
            )
            for table, engine in self._all(_ENGINES)
        ]
        return found + self._indexes(missing)

    def check(self) -> list[Finding]:
        found = self.structure()
        return found if "greylisting_lists" in self.missing() else found + self._entries()

    def _columns(self, missing: list[str]) -> list[Finding]:
        there = {(str(t).lower(), str(c).lower()) for t, c in self._all(_COLUMNS)}
        return [
            Finding(f"{table} has no column {column}", "see docs/running/mysql.md")
            for table, columns in COLUMNS.items()
            for column in columns
            if table not in missing and (table, column) not in there
        ]

    def _indexes(self, missing: list[str]) -> list[Finding]:
        there = {(str(t).lower(), str(c).lower()) for t, c in self._all(_INDEXES)}
        return [
            Finding(f"{table} has no index on {column}: look-ups scan it", statement, statement)
            for (table, column), statement in INDEXES.items()
            if table not in missing and (table, column) not in there
        ]

    def _entries(self) -> list[Finding]:
        """Find the rows of the lists that never match, or match more or less than they say."""
        found = []
        first: dict[Subject, int] = {}
        for row in self._entry_rows():
            number, text, start, _prefix, domain = row[:5]
            if not read_entries(row):
                what = "names nothing" if text is None else f"is no address: {str(text)[:_SHOWN]!r}"
                found.append(Finding(f"list entry {number} {what}: it never matches", "remove it"))
                continue
            if text is not None and domain:
                what = f"list entry {number} has an address and a domain: either one matches"
                found.append(Finding(what, "make two of it"))
            subjects = [entry.subject for entry in read_entries(row)]
            for subject in subjects:
                if first.setdefault(subject, number) != number:
                    what = f"list entries {first[subject]} and {number} name {subject}"
                    found.append(Finding(f"{what}: the first of them decides", "remove one"))
            nets = [subject for subject in subjects if isinstance(subject, Network)]
            if nets and isinstance(start, bytes) and nets[0].packed != start:
                what = f"list entry {number} has host bits: {str(text)[:_SHOWN]!r} means {nets[0]}"
                found.append(Finding(what, f"write {nets[0]}"))
        return found

    def add_indexes(self, found: list[Finding]) -> int:
        wanted = [finding.index for finding in found if finding.index]
        for statement in wanted:
            self._all(statement)
        return len(wanted)
