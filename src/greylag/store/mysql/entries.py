"""The table greylag_entries: list entries that greylisting_lists cannot express.

What that can express stays there, so that the old program sees it. Nobody but greylag writes here;
what is read is looked at again all the same. Callers translate errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from greylag.core.accesslist import (
    NAMES_OF,
    NEVER,
    Entry,
    Purpose,
    addresses_of,
    networks_around,
)
from greylag.core.subject import NETWORK, Network, Subject, named
from greylag.store.mysql import sql
from greylag.store.mysql.own import OwnTable
from greylag.store.mysql.rows import whole
from greylag.store.mysql.session import parts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from greylag.core.accesslist import Asked

    Rows = Sequence[tuple[Any, ...]]
    Key = tuple[Purpose, Subject]

NO_ENTRIES = (
    "the old plugin's lists have no place for such an entry: there is no table greylag_entries,"
    " and we may not make it (greylag db init --print)"
)


class OwnEntries(OwnTable):
    """The table in a store's session."""

    name = "greylag_entries"

    def ask(self, asked: Asked) -> int:
        """Put the questions about what speaks for an attempt; return how many they are."""
        if not self.kept:
            return 0
        names = list({name for of in NAMES_OF.values() for name in of(asked) if name})
        number = 0
        for part in parts(names):
            self._session.ask(sql.OWN_ENTRIES_BY_NAME[len(part)], part)
            number += 1
        for client in addresses_of(asked):
            starts = [net.packed for net in networks_around(client)]
            self._session.ask(sql.OWN_ENTRIES_BY_NETWORK[len(client)], starts)
            number += 1
        if asked.names is None:
            self._session.ask(sql.SOME_CLIENT_NAME)
            number += 1
        return number

    def after(self, number: int, limit: int) -> Rows:
        """Return the next rows; for `read_own`."""
        return self._session.read(sql.OWN_ENTRIES_AFTER, (number, limit)) if self.kept else ()

    def generation(self) -> tuple[int, ...]:
        """Return numbers that change with the table; no others while it never had an entry."""
        found = self._session.read(sql.OWN_GENERATION)[0] if self.kept else ()
        return tuple(map(int, found)) if any(found) else ()

    def put(self, entries: Iterable[Entry]) -> None:
        """Write entries in the place of those that have their keys."""
        self._session.write(sql.PUT_OWN_ENTRY, [_row(entry) for entry in entries])

    def remove(self, keys: Iterable[Key]) -> set[Subject]:
        """Remove the entries of these keys; return the subjects of which there were any."""
        if not self.kept:
            return set()
        for part in parts([_key(*key) for key in keys]):
            self._session.ask(sql.OWN_ENTRIES_OF[len(part)], [item for one in part for item in one])
        rows = [row for found in self._session.answers() for row in found]
        self._session.write(sql.REMOVE_OWN_ENTRIES, [row[:1] for row in rows])
        return {entry.subject for entry in read_own(rows)}

    def count_change(self) -> None:
        """Change the number that tells of changes."""
        if self.kept:
            self._session.read(sql.NEXT_OWN_GENERATION)


def read_own(rows: Iterable[tuple[Any, ...]]) -> list[Entry]:
    """Return the entries among rows: one that is none of greylag's decides nothing."""
    return [entry for entry in map(_read, rows) if entry is not None]


def _read(row: tuple[Any, ...]) -> Entry | None:
    try:
        number, purpose, kind, packed, prefix, name, *facts, comment, origin, spoofable = row
        denied_until, expires, created = map(whole, facts)
        return Entry(
            _subject(kind.decode("ascii"), packed, int(prefix), name.decode("ascii")),
            denied_until,
            min(expires, NEVER),
            str(comment),
            created,
            int(number),
            None,
            Purpose(purpose.decode("ascii")),
            str(origin),
            bool(int(spoofable)),
        )
    except (
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        OverflowError,
    ):  # of a version to come, or nobody's
        return None


def _subject(kind: str, packed: bytes, prefix: int, name: str) -> Subject:
    if kind == NETWORK:
        net = Network(packed, prefix)
        if net.sound:
            return net
    elif name:
        return named(kind, name)
    raise ValueError("it names nothing")


def _key(purpose: Purpose, subject: Subject) -> tuple[object, ...]:
    kind, what = subject.kind.encode(), purpose.value.encode()
    if isinstance(subject, Network):
        return b"", subject.packed, subject.prefix, kind, what
    return subject.name.encode(), b"", 0, kind, what


def _row(entry: Entry) -> tuple[object, ...]:
    times = (entry.denied_until, entry.expires, entry.created)
    key = _key(entry.purpose, entry.subject)
    return (*key, *times, entry.comment, entry.origin, int(entry.spoofable))
