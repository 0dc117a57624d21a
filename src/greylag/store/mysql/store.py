"""The store on MySQL and MariaDB: the old plugin's tables, found and used as they are.

The old program may go on using them beside us. Its tables have no unique key: writers of ours take
turns at a row (`session.Transaction`), and where several rows of a triplet are
there all the same, readers see the one record that they mean (`rows.merged`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import ceil

from greylag.core.figures import DELAYED, EVICTED, STOPPED, fate_of
from greylag.core.identity import is_network
from greylag.core.record import CLOCK_TOLERANCE, Change, Created, Noted, Record, applied, joined
from greylag.core.triplet import Triplet
from greylag.store.base import FIGURES, Filter, Page, Position, Stretch
from greylag.store.mysql import sql
from greylag.store.mysql.figures import NO_FIGURES, Figures
from greylag.store.mysql.link import Guard
from greylag.store.mysql.lists import MysqlLists
from greylag.store.mysql.options import Place
from greylag.store.mysql.rows import (
    Known,
    addresses_of,
    assigned,
    conditions,
    date,
    new_row,
    read_rows,
)
from greylag.store.mysql.session import MysqlSession, Transaction, parts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STEP = 10_000  # rows of one answer to a search: of the longest names 25 MB


class MysqlStore(MysqlLists):
    """A store in a MySQL database; `timeout` in seconds is for each answer of the server."""

    def __init__(self, place: Place, *, timeout: float) -> None:
        guard = Guard(place)
        session = MysqlSession(place, guard, timeout)
        self._held: dict[Triplet, Known] = {}
        super().__init__(session, guard, Transaction(session, guard, self._held.clear))
        self._figures = Figures(session)
        with guard:
            self._figures.make()

    def load(self, triplets: Sequence[Triplet]) -> dict[Triplet, Record]:
        with self._guard:
            if self._transaction.active:  # what is to be changed is read, and locked, but once
                known = self._hold(triplets)
            else:
                known = self._known(triplets, sql.LOAD)
        return {t: known[t].now for t in triplets if known[t].now is not None}  # type: ignore[misc]

    def _hold(self, triplets: Iterable[Triplet]) -> Mapping[Triplet, Known]:
        """Lock these triplets' rows until the transaction ends, and remember what they mean."""
        missing = [triplet for triplet in triplets if triplet not in self._held]
        self._held.update(self._known(missing, sql.LOAD_TO_CHANGE))
        return self._held

    def _known(
        self, triplets: Iterable[Triplet], statements: Mapping[bool, Mapping[int, str]]
    ) -> dict[Triplet, Known]:
        distinct = list(dict.fromkeys(triplets))
        if not all(is_network(triplet.network) for triplet in distinct):
            raise self._guard.refused("relay_ip has room for client networks alone")
        spelt = list(dict.fromkeys([*distinct, *map(self._names.stored, distinct)]))
        for null, sized in statements.items():
            for part in parts([t for t in spelt if (not t.sender) is null]):
                networks = [address for t in part for address in addresses_of(t.network)]
                senders = [] if null else [t.sender for t in part]
                names = (*networks, *(t.recipient for t in part), *senders)
                self._session.ask(sized[len(part)], names)
        rows = {row.number: row for found in self._session.answers() for row in read_rows(found)}
        return assigned(rows.values(), distinct)

    def apply(self, changes: Sequence[Change], figures: Mapping[str, int], now: int) -> None:
        counts = Counter(figures)
        with self.transaction(), self._guard:
            self._hold(change.triplet for change in changes)
            for change in changes:
                self._apply_one(change, counts, now)
            self._write()
            self._figures.add(counts, now)

    def _apply_one(self, change: Change, counts: Counter[str], now: int) -> None:
        known = self._held[change.triplet]
        renewed = isinstance(change, Created | Noted)
        if renewed and known.now is not None and not known.now.live(now):
            counts[fate_of(known.now)] += 1
            known.start_anew()
        if isinstance(change, Created) and known.now is None:
            known.client = change.client
        known.now = applied(change, known.now, now)

    def merge(self, records: Mapping[Triplet, Record]) -> None:
        with self.transaction(), self._guard:
            self._hold(records)
            for triplet, record in records.items():
                known = self._held[triplet]
                after = joined(known.now or record, record)
                if after != known.now:
                    known.start_anew()  # the one statement for changes moves no first contact
                    known.now = after
            self._write()

    def _write(self) -> None:
        """Write what the changes came to, in a few statements."""
        self._remove([number for known in self._held.values() for number in known.gone])
        created, changed = [], []
        for triplet, known in self._held.items():
            record, before = known.now, known.before
            if record is None or record == before:
                continue
            if known.row is None or before is None:
                created.append(new_row(self._names.stored(triplet), record, known.client))
            else:
                counts = (record.blocked - before.blocked, record.passed - before.passed)
                dates = (date(record.defer_until), date(record.expires))
                changed.append((known.row.number, known.row.relay, *dates, *counts))
        self._session.write(sql.CREATE, created)
        self._session.write(sql.CHANGE, changed)
        self._held.clear()

    def _remove(self, numbers: Sequence[int]) -> None:
        for part in parts(numbers):
            self._session.read(sql.FORGET[len(part)], part)

    def removals(self) -> int | None:
        with self._guard:
            return self._figures.removals()

    def figures(self, since: int, until: int) -> dict[int, dict[str, int]]:
        with self._guard:
            return self._figures.by_hour(since, until)

    def lacks(self, part: str) -> str | None:
        return NO_FIGURES if part == FIGURES and not self._figures.kept else None

    def count(self, now: int) -> tuple[int, int]:
        with self._guard:
            row = self._session.read(sql.COUNT, (date(now), date(now + CLOCK_TOLERANCE)))[0]
            return int(row[0]), int(row[1])

    def expire(self, now: int, limit: int, after: Position | None = None) -> Page:
        start = after if isinstance(after, int) else 0
        with self.transaction(), self._guard:
            found = self._session.read(sql.WALK, (start, limit + 1))
            next_one = int(found[limit - 1][0]) if len(found) > limit else None
            seen = read_rows(found[:limit])
            dead = [row for row in seen if not row.record.live(now)]
            self._remove([row.number for row in dead])
            self._held.clear()
            fates = Counter(fate_of(row.record) for row in dead)
            self._figures.add(fates, now)
        waiting = [row for row in seen if row.record.live(now) and not row.record.passed]
        passed = len(seen) - len(dead) - len(waiting)
        size = sum(row.triplet.size for row in waiting)
        return Page(fates[STOPPED], fates[DELAYED], next_one, len(waiting), passed, size)

    def trim(self, number: int, now: int) -> int:
        with self.transaction(), self._guard:
            start = self._session.read(sql.SOMEWHERE)[0][0]
            rows = self._session.read(sql.WAITING_FROM, (start, number))
            rows = rows or self._session.read(sql.WAITING_FROM, (0, number))
            return self._evict(rows, EVICTED, now)

    def _evict(self, rows: Sequence[tuple[Any, ...]], fate: str, now: int) -> int:
        self._remove([row[0] for row in rows])
        self._held.clear()
        self._figures.add({fate: len(rows)}, now)
        return len(rows)

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
        low, high = addresses_of(network)
        relay, number = after if isinstance(after, tuple) else (low, 0)
        stretch = (relay, number, relay, high, look)
        if not part:
            with self._guard:
                return self._look_along(stretch, passed=passed)
        with self.transaction(), self._guard:
            seen = self._look_along(stretch, passed=passed)
            wanted = (*stretch, int(passed), ceil(seen.found * part))
            rows = self._session.read(sql.SOME_OF_STRETCH, wanted)
            gone = self._evict(rows, DELAYED if passed else EVICTED, now)
        return Stretch(seen.found, gone, seen.after)

    def _look_along(self, stretch: tuple[Any, ...], *, passed: bool) -> Stretch:
        seen, found, last = self._session.read(sql.COUNT_STRETCH, (int(passed), *stretch))[0]
        look = stretch[-1]
        place = (last[:-16], int(last[-16:], 16)) if int(seen) >= look else None
        return Stretch(int(found), 0, place)

    def search(self, wanted: Filter, limit: int) -> Iterator[tuple[Triplet, Record]]:
        parameters, number = conditions(wanted), 0
        while limit > 0:
            step = min(limit, STEP)
            with self._guard:
                found = self._session.read(sql.SEARCH, (number, *parameters, step))
                number = int(found[-1][0]) if found else 0
                rows = [(row.triplet, row.record) for row in read_rows(found)]
            yield from rows
            if len(found) < step:
                return
            limit -= step

    def forget(self, triplets: Iterable[Triplet]) -> int:
        with self.transaction(), self._guard:
            known = self._known(triplets, sql.LOAD_TO_CHANGE)
            self._remove([row.number for one in known.values() for row in one.rows])
            self._held.clear()
            self._figures.count_removal()
        return sum(bool(one.rows) for one in known.values())

    def check(self) -> None:
        """A table that was dropped is noticed at once; where it has gone, nobody knows."""
        with self._guard:
            self._session.read(sql.PROBE)

    def prove(self) -> None:
        with self._guard:
            self._session.prove()

    def close(self) -> None:
        with self._guard:
            self._session.close()
