"""The embedded store: one SQLite file, right with a daemon and many one-shot processes at once.

WAL, so that readers never wait for writers; synchronous=FULL, so that what was answered is on the
disk; every write transaction begins IMMEDIATE, so that two writers wait for each other in the
busy handler and never meet a lock that waiting cannot resolve.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from math import ceil

from greylag.core.figures import DELAYED, EVICTED, STOPPED, has_fate, pools_of
from greylag.core.history import Outcome
from greylag.core.record import CLOCK_TOLERANCE, Change, Record, joined
from greylag.core.triplet import Triplet
from greylag.store.base import (
    Filter,
    Page,
    Position,
    Some,
    StoreConflict,
    StoreRefused,
    StoreUnavailable,
    Stretch,
)
from greylag.store.sqlite import sql
from greylag.store.sqlite.changes import Counting, make
from greylag.store.sqlite.file import Guard, Transaction, connect, grown_log
from greylag.store.sqlite.history import SqliteHistory
from greylag.store.sqlite.remembering import Damage, Pairs, end_all, end_stopped
from greylag.store.sqlite.rows import (
    facts_of,
    read_ended,
    read_figure,
    read_number,
    read_record,
    read_scanned,
)

TIMEOUT = 4.0  # seconds to wait for another writer: inside the 5 s that a plugin may take

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    Written = TypeVar("Written")

_LOWEST = (b"", "", "")  # below every key
STEP = 10_000  # records that a search reads at a time
_LOOK_AT = 2  # records looked at for each that is to go
_HIGHEST = b"\xff" * 17  # above every key


class SqliteStore(SqliteHistory):
    """A store in the SQLite file at an absolute path, made if missing and `create` is set."""

    def __init__(
        self, path: str, *, timeout: float = TIMEOUT, create: bool = True, read_only: bool = False
    ) -> None:
        guard = Guard(path)
        db = connect(path, guard, timeout=timeout, create=create, read_only=read_only)
        with guard:
            super().__init__(db, guard, _identity(path))
        self._path, self._timeout = path, timeout
        self._damage, self._counting = Damage(), Counting(db, path)
        self._walked_to = (os.urandom(1), "", "")  # of `trim`

    def transaction(
        self, waiting: Callable[[], None] | None = None, *, lazy: bool = False
    ) -> Transaction:
        return Transaction(self._db, self._guard, self._timeout, waiting, lazy=lazy)

    def load(self, triplets: Sequence[Triplet]) -> dict[Triplet, Record]:
        found = {}
        with self._guard:
            for part in sql.parts(triplets):
                keys = tuple(chain.from_iterable(part))
                for row in self._db.execute(sql.LOAD[len(part)], keys):
                    triplet, record = read_record(row)
                    found[triplet] = record
        return found

    def apply(self, changes: Sequence[Change], figures: Mapping[str, int], now: int) -> None:
        def write() -> None:
            fates = make(self._db, changes, now, self._damage)
            self._counting.add([*figures.items(), *fates.items()], now)

        self._write(write)

    def _write(self, step: Callable[[], Written]) -> Written:
        """Make a step in a transaction; where history or figures are damaged, again without."""
        before, inside = self._damage.times, self._db.in_transaction
        try:
            with self.transaction(), self._guard:
                return step()
        except (StoreRefused, StoreConflict) as error:
            refused = isinstance(error, StoreRefused)
            if inside or (refused and self._damage.times == before):
                raise
        with self.transaction(), self._guard:
            return step()

    def merge(self, records: Mapping[Triplet, Record]) -> None:
        with self.transaction():
            found = self.load(list(records))
            after = {t: joined(found.get(t, record), record) for t, record in records.items()}
            rows = [
                (r.passed > 0, *t.key, *facts_of(r)) for t, r in after.items() if r != found.get(t)
            ]
            with self._guard:
                self._db.executemany(sql.FORGET, [row[1:4] for row in rows])
                self._db.executemany(sql.PUT, rows)

    def removals(self) -> int | None:
        with self._guard:
            return read_number(self._db.execute(sql.REMOVALS).fetchone())

    def figures(self, since: int, until: int) -> dict[int, dict[str, int]]:
        hours: dict[int, dict[str, int]] = {}
        with self._guard:
            rows = self._db.execute(sql.FIGURES, (since, until))
            for hour, name, number in map(read_figure, rows):
                hours.setdefault(hour, {})[name] = number
        return hours

    def warning(self) -> str | None:
        if self._damage.found:
            return f"{self._path}: the history of deferred mail is damaged, and is not written to"
        return self._counting.warning() or grown_log(self._path)

    def count(self, now: int) -> tuple[int, int]:
        with self._guard:
            row = self._db.execute(sql.COUNT, (now, CLOCK_TOLERANCE)).fetchone()
        return row[0], row[1]

    def expire(self, now: int, limit: int, after: Position | None = None) -> Page:
        start = after.key if isinstance(after, Triplet) else _LOWEST
        # One more than wanted tells whether there is a next page.
        wanted = (*start, now, CLOCK_TOLERANCE, limit + 1)
        seen, more, figures = self._write(lambda: self._expire(wanted, limit, now))
        last = Triplet(*seen[-1][:3]) if more else None
        passed = sum(row[4] for row in seen if not row[3] and has_fate(row[0]))
        waiting = [Triplet(*row[:3]) for row in seen if not (row[3] or row[4])]
        size, pools = sum(one.size for one in waiting), pools_of(waiting)
        ended = figures[STOPPED], figures[DELAYED]
        return Page(*ended, last, len(waiting), passed, size, pools)

    def _expire(
        self, wanted: tuple[object, ...], limit: int, now: int
    ) -> tuple[list[tuple[Any, ...]], bool, Counter[str]]:
        """Return what was looked at, whether there is more, and the figures for it."""
        rows = read_scanned(self._db.execute(sql.SCAN, wanted).fetchall())
        ended, figures = self._end([row for row in rows[:limit] if row[3]], now)
        self.apply((), figures, now)
        seen = rows[:limit]
        left = (n for n, row in enumerate(seen) if row[3] and row[:3] not in ended)
        end = next(left, len(seen))
        return seen[:end], end < len(rows), figures

    def _end(
        self, dead: Sequence[tuple[Any, ...]], now: int
    ) -> tuple[set[tuple[bytes, str, str]], Counter[str]]:
        """Remove records whose time is over, or some of them; return which, and the figures."""
        have_passed = [row[:3] for row in dead if row[4]]
        self._db.executemany(sql.FORGET, have_passed)
        pairs = Pairs(self._damage, may_end_early=True)
        ended = set(have_passed)

        def stopped() -> Iterator[tuple[Triplet, Record]]:
            for row in dead:
                if pairs.done:  # the next step goes on with it
                    return
                if not row[4]:
                    ended.add(row[:3])
                    found = self._db.execute(sql.END, row[:3]).fetchone()
                    if found is not None:  # else its text is none, and no key finds it
                        yield Triplet(*row[:3]), read_ended(found)

        figures = end_stopped(self._db, stopped(), now, pairs)
        delayed = sum(has_fate(key[0]) for key in have_passed)
        return ended, figures + Counter({DELAYED: delayed})  # without those that are 0

    def trim(self, number: int, now: int) -> int:
        return self._write(lambda: self._evict(self._somewhere(number), EVICTED, now))

    def _evict(self, chosen: Sequence[tuple[bytes, str, str]], fate: str, now: int) -> int:
        self._db.executemany(sql.FORGET, chosen)
        if fate == EVICTED:
            end_all(self._db, (Triplet(*key) for key in chosen), Outcome.EVICTED, now, self._damage)
        self.apply((), {fate: len(chosen)} if chosen else {}, now)
        return len(chosen)

    def thin(
        self,
        network: bytes,
        *,
        passed: bool,
        look: int,
        part: float,
        now: int,
        after: Position | None,
    ) -> Stretch:
        start = after if isinstance(after, tuple) else ("", "")
        stretch = (passed, network, *start)
        if not part:
            with self._guard:
                return self._look_along(stretch, look)

        def remove() -> Stretch:
            seen = self._look_along(stretch, look)
            wanted = (*stretch, look, ceil(seen.found * part))
            chosen = self._db.execute(sql.SOME_OF_STRETCH, wanted).fetchall()
            gone = self._evict(chosen, DELAYED if passed else EVICTED, now)
            return Stretch(seen.found, gone, seen.after)

        return self._write(remove)

    def _look_along(self, stretch: tuple[object, ...], look: int) -> Stretch:
        following = self._db.execute(sql.END_OF_STRETCH, (*stretch, 1, look)).fetchone()
        if following is not None:
            return Stretch(look, 0, following)
        return Stretch(self._db.execute(sql.COUNT_STRETCH, (*stretch, look)).fetchone()[0], 0, None)

    def _somewhere(self, number: int) -> list[tuple[bytes, str, str]]:
        """Return up to so many waiting records: about every second one on a walk round all.

        The walk goes on where it ended, so over time each has the same chance, whatever the gaps
        between the keys; and it costs the same, however many records there are.
        """
        chosen: set[tuple[bytes, str, str]] = set()
        for _ in range(2):  # it may come to the end and begin anew
            left = _LOOK_AT * number - len(chosen)
            rows = self._db.execute(sql.LOOK, (*self._walked_to, left)).fetchall()
            chosen.update(row[:3] for row in rows if row[3])
            self._walked_to = rows[-1][:3] if len(rows) == left else _LOWEST
            if len(rows) == left:
                break
        return list(chosen)[:number]

    def search(self, wanted: Filter, limit: int) -> Iterator[tuple[Triplet, Record]]:
        low, high = wanted.first_network or b"", wanted.last_network or _HIGHEST
        given = (high, len(low), wanted.sender, wanted.recipient, wanted.null_sender, wanted.passed)
        last = _LOWEST
        while limit > 0:
            step = min(limit, STEP)
            with self._guard:
                rows = self._db.execute(sql.SEARCH, (low, *given, *last, step)).fetchall()
                found = [read_record(row) for row in rows]
            yield from found
            if len(rows) < step:
                return
            last, limit = rows[-1][:3], limit - step
            low = last[0]

    def waiting(self, wanted: Filter, look: int) -> Some:
        low, high = wanted.first_network or b"", wanted.last_network or _HIGHEST
        texts = (wanted.sender, wanted.recipient, wanted.null_sender)
        with self._guard:
            seen = self._db.execute(sql.COUNT_SOME, (low, high, look + 1)).fetchone()[0]
            rows = self._db.execute(sql.WAITING, (low, high, len(low), *texts, look))
            return Some([read_record(row) for row in rows], seen <= look)

    def forget(self, triplets: Iterable[Triplet], now: int) -> int:
        keys = list(triplets)

        def remove() -> int:
            self._db.execute(sql.NEXT_REMOVAL)
            gone = [t for t in keys if self._db.execute(sql.FORGET, t.key).rowcount]
            end_all(self._db, gone, Outcome.FORGOTTEN, now, self._damage)
            return len(gone)

        return self._write(remove)

    def check(self) -> None:
        """A file that was deleted or replaced can still be written to, and nobody would find it."""
        with self._guard:
            found = _identity(self._path)
        if found != self._file:
            raise StoreUnavailable(f"{self._path}: was replaced by another file")

    def prove(self) -> None:
        """The disk has it when this returns; what is written is what was there."""
        with self.transaction(), self._guard:
            self._db.execute(sql.INSERT_NOBODY)
            self._db.execute(sql.REMOVE_NOBODY)

    def close(self) -> None:
        with self._guard:
            self._db.close()


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino
