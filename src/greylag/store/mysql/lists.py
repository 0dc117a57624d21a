"""The lists of a store in MySQL: greylisting_lists, as the old plugin and admins write it too.

What that cannot express is in a table of our own beside it (`entries`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from time import monotonic

from greylag.core.accesslist import (
    Entry,
    Purpose,
    addresses_of,
    networks_around,
)
from greylag.core.address import canonical_domain
from greylag.core.client import last_address, network
from greylag.core.oldlists import in_old_lists
from greylag.core.subject import Domain, Network, Subject
from greylag.store.base import EntryPage, Store
from greylag.store.mysql import sql
from greylag.store.mysql.entries import NO_ENTRIES, OwnEntries, read_own
from greylag.store.mysql.link import Guard
from greylag.store.mysql.names import Names
from greylag.store.mysql.rows import comment_of, date, read_entries
from greylag.store.mysql.session import MysqlSession, Transaction, parts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from greylag.core.accesslist import Asked

# No index tells when the table last changed, so all rows are looked through: so many in a step,
# which takes some 3 ms. Where that is not all of them it is done again after so many seconds.
_LOOK, _REST = 5000, 5
_PAGE = 20_000  # rows of one answer
_QUIET = 2  # seconds without a change before the generation stands still
# Last bits of an address. The old triggers left host bits in the first address of a range: such a
# one is found by a single look-up if it is a /24 or longer, and always in the list as a whole.
_NEARBY = 8
_OWN = 1 << 62  # places in the walk from here on are those of our own table


class _Walk:
    """A look through the table, and what was seen so far."""

    def __init__(self) -> None:
        self.rows = 0
        self.highest = 0
        self.changed = 0  # when a row did so last
        self.began = 0  # by the server's clock


class MysqlLists(Store):
    """The part `Lists`; `MysqlStore` has the session."""

    def __init__(
        self, session: MysqlSession, guard: Guard, transaction: Transaction, names: Names
    ) -> None:
        self._session = session
        self._guard = guard
        self._transaction = transaction
        self._names = names
        self._own = OwnEntries(session)
        self._changes = 0  # by this store
        # When the last look began: our changes, the highest number, and what is in our own table.
        self._mark: tuple[int, int, tuple[int, ...]] = (0, -1, ())
        self._walk: _Walk | None = None
        self._generation = 0
        self._next_look = 0.0
        self._is_long = False

    def transaction(
        self, waiting: Callable[[], None] | None = None, *, lazy: bool = False
    ) -> Transaction:
        return self._transaction.for_who_is(hurried=waiting is not None)

    def matching(self, asked: Asked) -> list[Entry]:
        with self._guard:
            spellings = (asked.domain, self._names.of_domain(asked.domain))
            self._session.ask(sql.ENTRIES_BY_DOMAIN, spellings)
            for client in addresses_of(asked):
                starts = [net.packed for net in networks_around(client)]
                prefix = 8 * len(client) - _NEARBY
                nearby = (network(client, prefix), last_address(client, prefix))
                self._session.ask(sql.ENTRIES_BY_NETWORK[len(client)], (*starts, *nearby))
            own = self._own.ask(asked)
            answers = self._session.answers()
            rows, of_own = (
                {row[0]: row for found in some for row in found}.values()
                for some in (answers[: len(answers) - own], answers[len(answers) - own :])
            )
            return _entries(rows) + read_own(of_own)

    def entries(self) -> list[Entry]:
        """Return all, read in steps: one answer is bounded (see driver.py)."""
        found: list[Entry] = []
        page = EntryPage([], 0)
        while page.after is not None:
            page = self.entries_after(page.after, _PAGE)
            found += page.entries
        return found

    def entries_after(self, number: int, limit: int) -> EntryPage:
        """Return the entries of the next rows; a row may be several entries, or none.

        Those of the old lists come first, and then our own.
        """
        rows: Sequence[tuple[Any, ...]] = ()
        with self._guard:
            if number < _OWN:
                rows = self._session.read(sql.ENTRIES_AFTER, (number, limit))
            if len(rows) == limit:
                after: int | None = int(rows[-1][0])
                own: Sequence[tuple[Any, ...]] = ()
            else:
                rest = limit - len(rows)
                own = self._own.after(max(0, number - _OWN), rest)
                after = _OWN + int(own[-1][0]) if len(own) == rest else None
            found = read_own(own)
            ignored = sum(not read_entries(row) for row in rows) + len(own) - len(found)
            return EntryPage(_entries(rows) + found, after, ignored)

    def put_entries(self, entries: Iterable[Entry]) -> None:
        given = {entry.key: entry for entry in entries}  # the last of a key stays
        old = [entry for entry in given.values() if in_old_lists(entry)]
        own = [entry for entry in given.values() if not in_old_lists(entry)]
        if own and not self._own.kept:
            raise self._guard.refused(NO_ENTRIES)
        with self.transaction(), self._guard:
            self._remove_old({s for purpose, s in given if purpose is Purpose.ACCESS})
            self._own.remove([entry.key for entry in old])
            self._session.write(sql.PUT_ENTRY, [_entry_row(entry) for entry in old])
            self._own.put(own)
            self._own.count_change()

    def remove_entries(self, subjects: Iterable[Subject], purpose: Purpose = Purpose.ACCESS) -> int:
        given = set(subjects)
        with self.transaction(), self._guard:
            removed = self._remove_old(given) if purpose is Purpose.ACCESS else set()
            removed |= self._own.remove([(purpose, subject) for subject in given])
            self._own.count_change()
        return len(removed)

    def _remove_old(self, subjects: set[Subject]) -> set[Subject]:
        """Remove what the old lists have of these subjects; return those that there were."""
        subjects = {subject for subject in subjects if in_old_lists(Entry(subject, 0))}
        self._changes += 1
        if not subjects:
            return set()
        wanted = subjects | set(map(_folded, subjects))
        removed: set[Subject] = set()
        gone = []
        for row in self._rows_naming(wanted):
            named = {entry.subject for entry in read_entries(row)}
            going = named & wanted
            removed |= going
            if going and going == named:
                gone.append((row[0],))
            elif going:
                address = any(isinstance(subject, Network) for subject in going)
                self._session.read(sql.REMOVE_ADDRESS if address else sql.REMOVE_DOMAIN, (row[0],))
        self._session.write(sql.REMOVE_ENTRIES, gone)
        return removed

    def _rows_naming(self, subjects: set[Subject]) -> Iterable[tuple[Any, ...]]:
        """Return the rows that may name one of these: all others wait for us meanwhile."""
        ranges = [
            (subject.prefix, subject.packed, last_address(subject.packed, subject.prefix))
            for subject in subjects
            if isinstance(subject, Network)
        ]
        for part in parts(ranges):
            texts = [item for one in part for item in one]
            self._session.ask(sql.ENTRIES_OF_RANGES[len(part)], texts)
        names = {subject.name for subject in subjects if isinstance(subject, Domain)}
        spelt = [*names | set(map(self._names.of_domain, names))]
        for some in parts(spelt):
            self._session.ask(sql.ENTRIES_OF_DOMAINS[len(some)], some)
        self._session.ask(sql.ODD_ENTRIES)
        return {row[0]: row for rows in self._session.answers() for row in rows}.values()

    def generation(self) -> int | None:
        """Return a number that changes with the table, also by rows that an admin writes by hand.

        Of a long table None is returned again and again, until all was looked through. New rows
        are seen at once, other changes at the next look.
        """
        with self._guard:
            if self._walk is None:
                highest = int(self._session.read(sql.HIGHEST_ENTRY, ())[0][0])
                mark = (self._changes, highest, self._own.generation())
                if mark == self._mark and monotonic() < self._next_look:
                    return self._generation
                self._mark, self._walk = mark, _Walk()
                if self._is_long:
                    return None
            return self._look_on(self._walk)

    def _look_on(self, walk: _Walk) -> int | None:
        found = self._session.read(sql.GENERATION, (walk.highest, _LOOK))[0]
        number, highest, changed, now = map(int, found)
        walk.began = walk.began or now
        walk.rows += number
        walk.highest = max(walk.highest, highest)
        walk.changed = max(walk.changed, changed)
        self._is_long = walk.rows >= _LOOK
        if number == _LOOK:
            return None
        self._walk = None
        self._next_look = monotonic() + (_REST if self._is_long else 0)
        self._generation = self._number(walk, now)
        return self._generation

    def _number(self, walk: _Walk, now: int) -> int:
        """Return the number of what was seen.

        Time stamps are of a second: where the last change is as fresh as the look, more may hide.
        """
        own = self._mark[2]
        if not (walk.rows or self._changes or own):
            return 0
        fresh = now if walk.rows and walk.began - walk.changed <= _QUIET else 0
        return hash((walk.rows, walk.highest, walk.changed, fresh, self._changes, own))


def _entries(rows: Iterable[tuple[Any, ...]]) -> list[Entry]:
    found = [entry for row in rows for entry in read_entries(row)]
    return sorted(found, key=lambda entry: -entry.number)  # the rows' order: see `read_entries`


def _folded(subject: Subject) -> Subject:
    """Return a subject as `read_entries` has it: the old tables compare without case."""
    if not isinstance(subject, Domain) or subject.below:
        return subject
    return Domain(canonical_domain(subject.name.encode()))


def _entry_row(entry: Entry) -> tuple[object, ...]:
    subject = entry.subject
    if isinstance(subject, Network):
        last = last_address(subject.packed, subject.prefix)
        where: tuple[object, ...] = (str(subject), subject.packed, last, subject.prefix, None)
    else:
        where = (None, b"0", b"0", 0, subject.name)
    dates = (date(entry.denied_until), date(entry.expires), date(entry.created))
    return (*where, *dates, comment_of(entry))
