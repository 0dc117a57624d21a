"""The store on MySQL and MariaDB: the old plugin's tables, found and used as they are.

The old program may go on using them beside us. Its tables have no unique key: writers of ours take
turns at a row (`session.Transaction`), and where several rows of a triplet are
there all the same, readers see the one record that they mean (`rows.merged`). What it has no place
for is in tables of our own (`named`, `figures`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import ceil

from greylag.core.figures import DELAYED, EVICTED, STOPPED, pools_of
from greylag.core.history import Outcome
from greylag.core.identity import is_network
from greylag.core.record import Change, Freed, Record
from greylag.core.triplet import Triplet
from greylag.core.value import replace
from greylag.store.base import (
    FIGURES,
    HISTORY,
    KINDS,
    NAMES,
    SWITCH,
    Filter,
    Glance,
    Page,
    Position,
    Some,
    Stretch,
)
from greylag.store.mysql import room, sql
from greylag.store.mysql.counting import Counting
from greylag.store.mysql.entries import NO_ENTRIES
from greylag.store.mysql.figures import NO_FIGURES, NO_SWITCH, Figures
from greylag.store.mysql.history import MysqlHistory
from greylag.store.mysql.link import Guard
from greylag.store.mysql.named import NO_NAMES, NamedPlace, named_records, read_named
from greylag.store.mysql.names import Names
from greylag.store.mysql.options import Place
from greylag.store.mysql.records import MysqlRecords
from greylag.store.mysql.remembering import NO_HISTORY
from greylag.store.mysql.rows import (
    addresses_of,
    conditions,
    keys_of,
    read_rows,
    until_enough_stopped,
)
from greylag.store.mysql.session import MysqlSession, Transaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from greylag.core.switch import Switch

    Rows = Sequence[tuple[Any, ...]]

STEP = 10_000  # rows of one answer to a search: of the longest names 25 MB
# Records that never came back cost most of what a step of the expiry takes, as it tells what became
# of each: so only these many, and a share of the step, go in one. All who ask wait for it.
_FEW, _SHARE = 50, 5


class MysqlStore(MysqlHistory):
    """A store in a MySQL database; `timeout` in seconds is for each answer of the server."""

    def __init__(self, place: Place, *, timeout: float) -> None:
        guard = Guard(place)
        session = MysqlSession(place, guard, timeout)
        self._records = MysqlRecords(session, names := Names(session))
        transaction = Transaction(session, guard, self._records.let_go)
        super().__init__(session, guard, transaction, names)
        self._figures = Figures(session)
        with guard:
            self._make_own()
        self._counting = Counting(session, self._figures)

    def _make_own(self) -> None:
        """Make those of our own tables that are missing; see which of them can be used."""
        self._session.broken.clear()
        seen = self._figures.make()
        self._records.named.make(seen=self._records.named.name in seen)
        self._own.make(seen=self._own.name in seen)
        self._history.make(seen, self._figures.node)
        self._own.kept &= self._figures.kept  # where its changes are counted
        self._session.is_suspect = False

    def load(self, triplets: Sequence[Triplet]) -> dict[Triplet, Record]:
        with self._guard:
            if self._transaction.active:  # what is to be changed is read, and locked, but once
                known = self._records.hold(triplets)
            else:
                known = self._records.known(triplets)
        return {t: known[t].now for t in triplets if known[t].now is not None}  # type: ignore[misc]

    def apply(self, changes: Sequence[Change], figures: Mapping[str, int], now: int) -> None:
        counts = Counter(figures)
        with self.transaction(), self._guard:
            self._records.hold(change.triplet for change in changes)
            replaced = [(change.triplet, self._records.change(change, now)) for change in changes]
            dead = [((key,), record) for key, record in replaced if record is not None]
            counts.update(self._history.end(dead, now))
            self._records.write()
            self._figures.add(counts, now)
            if any(isinstance(change, Freed) for change in changes):
                self._figures.count_removal()

    def merge(self, records: Mapping[Triplet, Record]) -> None:
        with self.transaction(), self._guard:
            self._records.hold(records)
            for triplet, record in records.items():
                self._records.join(triplet, record)
            self._records.write()

    def removals(self) -> int | None:
        with self._guard:
            return self._figures.removals()

    def switch(self) -> Switch | None:
        with self._guard:
            return self._figures.switch()

    def set_switch(self, switch: Switch | None) -> None:
        if not self._figures.kept:
            raise self._guard.refused(NO_SWITCH)
        with self.transaction(), self._guard:
            self._figures.set_switch(switch)

    def glance(self) -> Glance:
        with self._guard:
            return self._figures.glance()

    def figures(self, since: int, until: int) -> dict[int, dict[str, int]]:
        with self._guard:
            return self._figures.by_hour(since, until)

    def lacks(self, part: str) -> str | None:
        own = {
            FIGURES: (self._figures.kept, NO_FIGURES),
            KINDS: (self._own.kept, NO_ENTRIES),
            NAMES: (self._records.named.kept, NO_NAMES),
            HISTORY: (self._history.kept, NO_HISTORY),
            SWITCH: (self._figures.kept, NO_SWITCH),
        }
        kept, why = own.get(part, (True, ""))
        return None if kept else self._session.why_without(why)

    def warning(self) -> str | None:
        return self._session.warning() or self._records.named.take_warning()

    def _at_once(self) -> Transaction:
        """Return a transaction that waits for no row: the daemon's questions wait for this one."""
        return self._transaction.for_who_is(hurried=True)

    def count(self, now: int) -> tuple[int, int]:
        with self._guard:
            return self._counting.count(now)

    def count_in_time(self, now: int) -> tuple[int, int, int]:
        with self._guard:
            return self._counting.count_in_time(now)

    def expire(self, now: int, limit: int, after: Position | None = None) -> Page:
        """Walk over the old table by its ids, and then over ours."""
        with self._at_once(), self._guard:
            rows, named, next_one = self._next_rows(after, limit)
            seen, seen_named = read_rows(rows), read_named(named)
            part = until_enough_stopped(seen, now, max(_FEW, limit // _SHARE))
            if len(part) < len(seen):  # the next step goes on there
                seen, seen_named, next_one = part, [], part[-1].number
            dead = [row for row in seen if not row.record.live(now)]
            ended = [row.number for row in seen_named if not row.record.live(now)]
            self._records.remove([row.number for row in dead], ended)
            self._records.let_go()
            fates = self._history.end([(keys_of(row), row.record) for row in dead], now)
            self._figures.add(fates, now)
            passed = sum(row.record.live(now) and row.record.passed > 0 for row in seen)
            live = [row for row in (*seen, *seen_named) if row.record.live(now)]
            waiting = [row.triplet for row in live if not row.record.passed]
            size, pools = sum(one.size for one in waiting), pools_of(waiting)
            over = fates[STOPPED], fates[DELAYED]
            page = Page(*over, next_one, len(waiting), passed, size, pools)
            found = self._counting.with_step(page, now, begins=after is None)
        self._counting.walked = found
        return page

    def _next_rows(self, after: Position | None, limit: int) -> tuple[Rows, Rows, Position | None]:
        """Return rows of both tables, `limit` in all, and where the next step goes on."""
        found: Rows = ()
        if not isinstance(after, NamedPlace):
            start = after if isinstance(after, int) else 0
            found = self._session.read(sql.WALK, (start, limit + 1))
            if len(found) > limit:
                return found[:limit], (), int(found[limit - 1][0])
        start, rest = after.number if isinstance(after, NamedPlace) else 0, limit - len(found)
        named = self._records.named.walk(start, rest + 1)
        if len(named) <= rest:
            return found, named, None
        return found, named[:rest], NamedPlace(int(named[rest - 1][0]) if rest else start)

    def trim(self, number: int, now: int) -> int:
        with self._at_once(), self._guard:
            named = self._records.named.kept
            return self._evict(room.somewhere(self._session, number, named=named), EVICTED, now)

    def _evict(self, chosen: tuple[list[int], list[int]], fate: str, now: int) -> int:
        rows = self._records.rows_of(chosen[0]) if fate == EVICTED and self._history.kept else []
        gone = self._records.remove(*chosen)
        self._records.let_go()
        self._history.end_all(map(keys_of, rows), Outcome.EVICTED, now)
        self._figures.add({fate: gone}, now)
        return gone

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
        with self._at_once(), self._guard:
            seen = self._look_along(stretch, passed=passed)
            wanted = (*stretch, int(passed), ceil(seen.found * part))
            rows = self._session.read(sql.SOME_OF_STRETCH, wanted)
            gone = self._evict(
                ([int(row[0]) for row in rows], []), DELAYED if passed else EVICTED, now
            )
        return Stretch(seen.found, gone, seen.after)

    def _look_along(self, stretch: tuple[Any, ...], *, passed: bool) -> Stretch:
        seen, found, last = self._session.read(sql.COUNT_STRETCH, (int(passed), *stretch))[0]
        look = stretch[-1]
        place = (last[:-16], int(last[-16:], 16)) if int(seen) >= look else None
        return Stretch(int(found), 0, place)

    def search(self, wanted: Filter, limit: int) -> Iterator[tuple[Triplet, Record]]:
        def records(number: int, step: int) -> tuple[Rows, list[tuple[Triplet, Record]]]:
            found = self._session.read(sql.SEARCH, (number, *conditions(wanted), step))
            return found, [(row.triplet, row.record) for row in read_rows(found)]

        def named(number: int, step: int) -> tuple[Rows, list[tuple[Triplet, Record]]]:
            found = self._records.named.search(wanted, number, step)
            return found, named_records(read_named(found))

        of_a_name = wanted.first_network is not None and not is_network(wanted.first_network)
        for read in (named,) if of_a_name else (records, named):
            number = 0
            while limit > 0:
                step = min(limit, STEP)
                with self._guard:
                    found, rows = read(number, step)
                number = int(found[-1][0]) if found else 0
                yield from rows
                limit -= len(found)
                if len(found) < step:
                    break

    def waiting(self, wanted: Filter, look: int) -> Some:
        given = (look, *conditions(replace(wanted, passed=False)))
        with self._guard:
            rows = read_rows(self._session.read(sql.WAITING, given))
            older = self._session.read(sql.HAS_OLDER, (look,))
        return Some([(row.triplet, row.record) for row in rows], not older)

    def forget(self, triplets: Iterable[Triplet], now: int) -> int:
        with self.transaction(), self._guard:
            gone = self._records.forget(triplets)
            self._records.let_go()
            self._history.end_all([(key,) for key in gone], Outcome.FORGOTTEN, now)
            self._figures.count_removal()
        return len(gone)

    def check(self) -> None:
        """A table that was dropped is noticed at once; where it has gone, nobody knows."""
        with self._guard:
            self._session.read(sql.PROBE)
            if self._session.is_suspect:
                self._make_own()

    def prove(self) -> None:
        with self._guard:
            self._session.prove()

    def close(self) -> None:
        with self._guard:
            self._session.close()
