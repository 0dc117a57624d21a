"""What is written into the history: events in bulk, in a handful of statements.

What they speak of is read first, then they happen in memory (`book`), and what came of it is
written. Whoever calls has a transaction, and his turn in it, so nobody else writes meanwhile. Of
two nodes of a cluster the one that commits later begins anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from heapq import nlargest
from itertools import groupby
from operator import itemgetter

from greylag.core.figures import DELAYED, NEVER, STOPPED, has_fate
from greylag.core.history import Begun, Deferral, Ended, Event, Outcome
from greylag.core.identity import is_network
from greylag.core.record import Record
from greylag.core.shortid import last_of_pair, pair_id, pair_of, short_id
from greylag.core.tallies import MOST_NAMES, Sums, day_of
from greylag.core.triplet import Triplet
from greylag.store.base import StoreError
from greylag.store.mysql import historysql as sql
from greylag.store.mysql.book import Book
from greylag.store.mysql.historyrows import (
    changed_row,
    deferral_row,
    number_of,
    read_deferrals,
    tally_row,
)
from greylag.store.mysql.link import BROKEN_TABLE, is_about_one
from greylag.store.mysql.own import is_made
from greylag.store.mysql.session import MysqlSession, parts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from greylag.core.ends import Work

    Range = tuple[int, int]  # of short ids, the last one, too
    Rows = Sequence[tuple[Any, ...]]

NO_HISTORY = (
    "no history of deferred mail is kept: its tables (greylag_deferrals, greylag_tallies,"
    " greylag_days, greylag_actions) are not there, or not ours to write (greylag db init --print)"
)
_TABLES = ("greylag_deferrals", "greylag_tallies", "greylag_days", "greylag_actions")
# The table, or no such column or index in it; or no right to that.
_BROKEN = (*BROKEN_TABLE, 1143, 1054, 1176, 1136, 1364)
_MOST_CROWDED = 32  # ids that are looked at by themselves, as too many have them


class Remembering:
    """The tables of the history in a store's session."""

    def __init__(self, session: MysqlSession) -> None:
        self._session = session
        self.kept = False  # whether they are there
        self._node = 1  # whose rows are added to: nodes would be in each other's way

    def make(self, seen: Collection[str], node: int) -> None:
        """Make the tables that are missing, but for those seen. Callers translate errors."""
        self._node = node
        self.kept = all(is_made(self._session, name, seen=name in seen) for name in _TABLES)

    @contextmanager
    def broken(self) -> Iterator[None]:
        """Where a table is gone, or not ours to write, go without a history from now on.

        What raised is told once, and no more where `kept` is asked.
        """
        from pymysql import MySQLError

        try:
            yield
        except MySQLError as error:
            if error.args[0] in _BROKEN:
                self.kept = False
                raise StoreError(f"{NO_HISTORY}: {error.args[1]}") from error
            raise

    def remember(self, events: Sequence[Event], now: int) -> None:
        """Write events in their order."""
        spoken_of = {event.triplet for event in events if not isinstance(event, Begun)}
        found = self._open(spoken_of) if spoken_of else ()
        book, sums = Book(found, twins=self._session.clustered), Sums()
        for event in events:
            sums.add(event, book.happen(event))
        self._write(book)
        self._add_tallies(sums, now)
        self._session.flush()  # whoever goes on without a history has to hear of an error here

    def end_all(self, gone: Iterable[Sequence[Triplet]], outcome: Outcome, now: int) -> None:
        """End the deferrals of records that were removed while they waited.

        Each may have one of several keys. The end of a pool's record is none of the network's.
        """
        ended = [keys for keys in gone if is_network(keys[0].network)]
        if not (ended and self.kept):
            return
        with self._apart():
            found = self._open(key for keys in ended for key in keys)
            book = Book(found, twins=self._session.clustered)
            for keys in ended:
                any(book.happen(Ended(key, now, outcome)) for key in keys)  # the first that has one
            self._write(book)
            self._session.flush()

    def end(self, dead: Iterable[tuple[Sequence[Triplet], Record]], now: int) -> Counter[str]:
        """End the deferrals of records whose time is over; return the figures for it."""
        have_fate = [(keys, record) for keys, record in dead if has_fate(keys[0].network)]
        stopped = [(keys, record) for keys, record in have_fate if not record.passed]
        figures: Counter[str] = Counter()
        if len(stopped) < len(have_fate):
            figures[DELAYED] = len(have_fate) - len(stopped)
        if stopped:
            from greylag.core.ends import MOST_OF_STEP, Work  # a first contact does without

            book, sums = self._around([keys for keys, _record in stopped]), Sums()
            work = Work(MOST_OF_STEP)
            for keys, record in stopped:
                outcome = _end_one(book, keys, record, work, now, sums)
                figures.update((STOPPED, NEVER[outcome]))
            if self.kept:
                with self._apart():
                    self._write(book)
                    self._add_tallies(sums, now)
                    self._session.flush()
        return figures

    def _around(self, several: Iterable[Sequence[Triplet]]) -> Book:
        """Return the deferrals of these keys, of each the one or the other, and of their pairs."""
        from greylag.core.ends import OTHERS

        found: list[Deferral] = []
        if self.kept:
            ranges: list[Range] = []
            for keys in several:
                first = pair_id(keys[0].sender, keys[0].recipient)
                ranges += [(first, last_of_pair(first)), *map(_range_of, keys)]
            with self._apart():
                found = self._near(ranges, sql.ROWS, OTHERS, sql.MOST_ROWS)
        return Book(found, twins=self._session.clustered)

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """Leave it at that where the history alone is damaged; the transaction goes on."""
        from pymysql import MySQLError

        try:
            with self._session.at_once(), self.broken():
                yield
        except StoreError:
            pass
        except MySQLError as error:
            if not is_about_one(error):
                raise

    def _open(self, keys: Iterable[Triplet]) -> list[Deferral]:
        """Return deferrals that an event for one of these keys may speak of."""
        return self._near(map(_range_of, keys), sql.OPEN_ROWS, sql.SAME_ID)

    def _near(
        self, ranges: Iterable[Range], rows: Mapping[int, str], most: int, in_all: int = 1 << 30
    ) -> list[Deferral]:
        """Return deferrals in these ranges of ids: of each the newest, about so many in all."""
        wanted = list(dict.fromkeys(ranges))
        for part in parts(wanted):
            self._session.ask(sql.NUMBERS[len(part)], [item for one in part for item in one])
        found: list[tuple[object, ...]] = []
        crowded: list[Range] = []
        for part, numbers in zip(parts(wanted), self._session.answers(), strict=True):
            if len(numbers) < sql.MOST_NUMBERS:
                found += numbers
            else:
                crowded += part
        found += self._numbers_of_crowds(crowded[:_MOST_CROWDED])
        newest = _newest(found, wanted, most, in_all)
        for some in parts(newest):
            self._session.ask(rows[len(some)], some)
        return read_deferrals(row for answer in self._session.answers() for row in answer)

    def _numbers_of_crowds(self, crowded: Sequence[Range]) -> list[tuple[object, ...]]:
        for first, last in crowded:
            if first == last:
                self._session.ask(sql.NUMBERS_OF_ID, (first,))
            else:
                self._session.ask(sql.NUMBERS_OF_PAIR, (first, last))
        return [row for answer in self._session.answers() for row in answer]

    def _write(self, book: Book) -> None:
        self._session.write(sql.INSERT, [deferral_row(one) for one in book.begun])
        self._session.write(sql.UPDATE, [changed_row(one) for one in book.changed])

    def _add_tallies(self, sums: Sums, now: int) -> None:
        """Add to the figures of the day: what it has no room to name goes to the rest."""
        day = day_of(now)
        given = [(by.value.encode(), name.encode(), tally) for by, name, tally in sums.items()]
        if not given:
            return
        for kind, of_kind in groupby(given, key=itemgetter(0)):
            for part in parts([name for _kind, name, _tally in of_kind]):
                self._session.ask(sql.KNOWN_NAMES[len(part)], (kind, day, self._node, *part))
        self._session.ask(sql.NAMES_OF_DAY, (day, self._node))
        *answers, of_day = self._session.answers()
        known = {(kind, name) for answer in answers for kind, name in answer}
        names = Counter({kind: number_of(number) for kind, number in of_day})
        new: Counter[bytes] = Counter()
        rows = []
        for kind, name, tally in given:
            has_room = (kind, name) in known or names[kind] + new[kind] < MOST_NAMES
            new[kind] += has_room and (kind, name) not in known
            rows.append((kind, day, self._node, name if has_room else b"", *tally_row(tally)))
        self._session.write(sql.ADD_TALLY, rows)
        days = [(kind, day, self._node, number) for kind, number in new.items() if number]
        self._session.write(sql.MORE_NAMES, days)


def _end_one(
    book: Book, keys: Sequence[Triplet], record: Record, work: Work, now: int, sums: Sums
) -> Outcome:
    """End what never came back, and tell what became of it."""
    from greylag.core.ends import OTHERS, outcome_of, own_of

    own, key = None, keys[-1]
    for key in keys:
        own = own_of(key, record, book.of(key))
        if own is not None:
            break
    outcome = outcome_of(key, record, own, work.compare(book.near(keys[0], OTHERS)))
    event = Ended(key, now, outcome)
    if own is not None and own.outcome is not Outcome.PASSED:  # else it has no name, or is counted
        sums.add(event, own)
        book.happen(event)
    return outcome


def _newest(
    found: Iterable[tuple[object, ...]], ranges: Iterable[Range], most: int, in_all: int
) -> list[int]:
    """Return the newest numbers of each range, in their order: those of single ids go first."""
    numbers: dict[Range, list[int]] = {one: [] for one in ranges}
    for row in found:
        short, number = map(number_of, row)
        for one in ((short, short), _pair_around(short)):
            if one in numbers:
                numbers[one].append(number)
    kept: set[int] = set()
    for one in sorted(numbers, key=lambda one: one[1] - one[0]):
        kept.update(nlargest(most, numbers[one])[: max(1, in_all - len(kept))])
    return sorted(kept)


def _pair_around(short: int) -> Range:
    first = pair_of(short)
    return first, last_of_pair(first)


def _range_of(key: Triplet) -> Range:
    """Return the ids of deferrals that an event for this key may speak of."""
    if is_network(key.network):
        number = short_id(key)
        return number, number
    first = pair_id(key.sender, key.recipient)
    return first, last_of_pair(first)
