"""The table greylag_records: what stands under a name, and is no client network's.

Nothing of it gets into the old plugin's tables: its program would take it for a client. The table
is ours alone, so it has a unique key, bytes where names are, and times in Unix seconds. All else
works where it may not be made: what is under a name is then not there. Callers translate errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from greylag.core.identity import is_network
from greylag.core.record import Record
from greylag.core.triplet import Triplet
from greylag.core.value import value
from greylag.store.base import Filter
from greylag.store.mysql import sql
from greylag.store.mysql.own import OwnTable
from greylag.store.mysql.rows import Known, Row, whole
from greylag.store.mysql.session import MysqlSession, parts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NO_NAMES = (
    "nothing is kept of pools, trust, traps and correspondents: there is no table greylag_records,"
    " and we may not make it (greylag db init --print)"
)
_MOST = 2**63 - 1  # that a column holds


@value
class NamedPlace:
    """A place in the walk over this table, which comes after that over the old one."""

    number: int


class Named(OwnTable):
    """The table in a store's session."""

    name = "greylag_records"

    def __init__(self, session: MysqlSession) -> None:
        super().__init__(session)
        self._missed = False  # whether something would have been in it
        self._told = False

    def take_warning(self) -> str | None:
        """Return once why something was not kept that would have been."""
        if not self._missed or self._told:
            return None
        self._told = True
        return NO_NAMES

    def ask(self, triplets: Sequence[Triplet], *, locked: bool) -> None:
        """Put the questions about these keys."""
        if not self.kept:
            self._missed |= bool(triplets)
            return
        for part in parts(triplets):
            keys = [given for triplet in part for given in _key(triplet)]
            self._session.ask(sql.LOAD_NAMED[locked][len(part)], keys)

    def assigned(
        self, answers: Iterable[Sequence[tuple[Any, ...]]], triplets: Iterable[Triplet]
    ) -> dict[Triplet, Known]:
        """Return what the answers mean for each of the keys."""
        rows = {_triplet(row): row for found in answers for row in read_named(found)}
        return {t: Known([rows[t]] if t in rows else []) for t in triplets}

    def put(self, records: Mapping[Triplet, Record]) -> None:
        """Write records that are locked, or whose key is."""
        if self.kept:
            rows = [(*_key(triplet), *_facts(record)) for triplet, record in records.items()]
            self._session.write(sql.PUT_NAMED, rows)

    def remove(self, numbers: Sequence[int]) -> None:
        """Remove rows by their numbers."""
        for part in parts(numbers):
            self._session.read(sql.REMOVE_NAMED[len(part)], part)

    def walk(self, after: int, limit: int) -> Sequence[tuple[Any, ...]]:
        """Return the next rows; for `read_named`."""
        return self._session.read(sql.WALK_NAMED, (after, limit)) if self.kept else ()

    def search(self, wanted: Filter, after: int, limit: int) -> Sequence[tuple[Any, ...]]:
        """Return the next rows that fit; for `read_named`. A name is in no range of addresses."""
        low, high = wanted.first_network or b"", wanted.last_network or b""
        if not self.kept or is_network(low):
            return ()
        passed = None if wanted.passed is None else int(wanted.passed)
        texts = (wanted.sender.encode(), wanted.recipient.encode())
        of_name = (len(low), len(low), low, high)
        given = (after, *of_name, *texts, int(wanted.null_sender), passed, passed, limit)
        return self._session.read(sql.SEARCH_NAMED, given)


def read_named(found: Iterable[tuple[Any, ...]]) -> list[Row]:
    """Return those rows that mean something: anybody with rights to the table can write there."""
    return [row for row in map(_read, found) if row is not None]


def _read(found: tuple[Any, ...]) -> Row | None:
    number, identity, sender, recipient, *facts = found
    try:
        if not isinstance(identity, bytes) or is_network(identity):
            return None  # one of the other table, which has its own rows, or of a column of text
        names = sender.decode("ascii"), recipient.decode("ascii")
        return Row(int(number), identity, *names, Record(*map(whole, facts)))
    except (ValueError, TypeError, AttributeError, OverflowError):
        return None


def named_records(rows: Iterable[Row]) -> list[tuple[Triplet, Record]]:
    """Return the records that rows are of."""
    return [(_triplet(row), row.record) for row in rows]


def _triplet(row: Row) -> Triplet:
    return Triplet(row.relay, row.sender, row.recipient)


def _key(triplet: Triplet) -> tuple[bytes, bytes, bytes]:
    return triplet.network, triplet.sender.encode(), triplet.recipient.encode()


def _facts(record: Record) -> tuple[int, ...]:
    times = (record.first_seen, record.defer_until, record.expires)
    return (*times, min(record.blocked, _MOST), min(record.passed, _MOST))
