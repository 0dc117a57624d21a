"""Rows of SQLite, and what they mean: nothing is believed to have the type that the schema says.

Damaged pages and foreign hands put anything into any column. What is no record, entry or figure is
an error of the database, which the store's guard translates (T46): of data, as one such row must
not stand for the whole file (T34).
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress

from greylag.core.accesslist import Entry, Purpose
from greylag.core.record import Record
from greylag.core.subject import NETWORK, Network, Subject, named
from greylag.core.triplet import Triplet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KEY = (bytes, str, str)
_RECORD = (*_KEY, int, int, int, int, int)
_SCANNED = (*_KEY, int, int)
_ENTRY = (str, str, int, int, int, str, int, int)  # behind the subject
_FIGURE = (int, str, int)
_PURPOSES = {purpose.value: purpose for purpose in Purpose}


def check_row(row: tuple[Any, ...], types: tuple[type, ...], what: str) -> None:
    """Raise sqlite3.DataError where a row has not these types."""
    if tuple(map(type, row)) != types:
        raise sqlite3.DataError(f"a row is no {what} of greylag's (greylag db check)")


def read_record(row: tuple[Any, ...]) -> tuple[Triplet, Record]:
    """Return a record and its key. Raises sqlite3.DataError."""
    network, sender, recipient, first_seen, defer_until, expires, blocked, passed = row
    # One comparison after the other costs half of what `check_row` does; each RCPT reads a record.
    if not (
        type(network) is bytes
        and type(sender) is str is type(recipient)
        and type(first_seen) is int is type(defer_until)
        and type(expires) is int is type(blocked)
        and type(passed) is int
    ):
        check_row(row, _RECORD, "record")
    record = Record(first_seen, defer_until, expires, blocked, passed)
    return Triplet(network, sender, recipient), record


def read_scanned(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return rows of a scan: a key, whether it is dead, whether it has passed."""
    for row in rows:
        check_row(row, _SCANNED, "record")
    return rows


def read_ended(row: tuple[Any, ...]) -> Record:
    """Return the record that a row without a key was; it is gone, so what is no number is 0."""
    return Record(*(number if type(number) is int else 0 for number in row))


def read_entry(row: tuple[Any, ...]) -> Entry:
    """Return an entry of the lists. Raises sqlite3.DataError."""
    kind, packed, prefix, name, purpose, origin, spoofable, *facts, number = row
    denied_until, expires, comment, created = facts
    # One comparison after the other, as for a record: lists may be long.
    if not (
        type(purpose) is str is type(origin) is type(comment)
        and type(spoofable) is int is type(denied_until)
        and type(expires) is int is type(created)
        and type(number) is int
    ):
        check_row(row[4:], _ENTRY, "list entry")
    subject: Subject
    if kind == NETWORK and type(packed) is bytes and type(prefix) is int:
        subject = Network(packed, prefix)
    else:
        check_row((kind, name), (str, str), "list entry")
        subject = _named(kind, name)
    for_what = _PURPOSES.get(purpose)
    if for_what is None:
        raise _unknown()
    fields = (subject, denied_until, expires, comment, created, number)
    return Entry(*fields, None, for_what, origin, bool(spoofable))


def _named(kind: str, name: str) -> Subject:
    try:
        return named(kind, name)
    except KeyError:
        raise _unknown() from None


def _unknown() -> sqlite3.DataError:
    """Return the error of a row of a version to come, or of nobody's."""
    return sqlite3.DataError("a list entry is of no kind or purpose that is known")


def sound_entries(rows: list[tuple[Any, ...]]) -> list[Entry]:
    """Return the entries among rows of the lists; a row that is none of greylag's decides nothing.

    It must not keep all others from being read.
    """
    found = []
    for row in rows:
        with suppress(sqlite3.DataError):
            found.append(read_entry(row))
    return found


def read_figure(row: tuple[Any, ...]) -> tuple[int, str, int]:
    """Return an hour, a figure's name and its number. Raises sqlite3.DataError."""
    check_row(row, _FIGURE, "figure")
    return row[0], row[1], row[2]


def read_number(row: tuple[Any, ...] | None) -> int:
    """Return the number of the lists' state. Raises sqlite3.DataError."""
    if row is None:
        raise sqlite3.DataError("the state of the lists is not there")
    check_row(row, (int,), "state")
    return int(row[0])


def facts_of(record: Record) -> tuple[int, ...]:
    """Return what a row of a record has behind its key."""
    times = (record.first_seen, record.defer_until, record.expires)
    return (*times, record.blocked, record.passed)


def entry_row(entry: Entry) -> tuple[object, ...]:
    """Return what is inserted for an entry of the lists."""
    subject = entry.subject
    if isinstance(subject, Network):
        where: tuple[object, ...] = (subject.kind, subject.packed, subject.prefix, None)
    else:
        where = (subject.kind, None, None, subject.name)
    what = (entry.purpose.value, entry.origin, int(entry.spoofable))
    return (*where, *what, entry.denied_until, entry.expires, entry.comment, entry.created)
