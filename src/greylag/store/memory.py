"""The memory store: real, for tests and trials; all is lost with the process.

It is also the reference of the contract: `core.record.applied` is used as it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count, islice
from math import ceil
from operator import attrgetter
from random import sample

from greylag.core.accesslist import NAMES_OF, Entry, Purpose, addresses_of, networks_around
from greylag.core.figures import (
    DELAYED,
    EVICTED,
    MOST_OF_FIGURE,
    STOPPED,
    has_fate,
    hour_of,
    pools_of,
)
from greylag.core.history import Outcome
from greylag.core.record import Change, Created, Freed, Noted, Record, applied, joined
from greylag.core.subject import ClientName, Subject, named
from greylag.core.triplet import Triplet
from greylag.core.value import replace
from greylag.store import Backend, expected
from greylag.store.base import TABLES, EntryPage, Filter, Page, Position, Some, Stretch
from greylag.store.memoryhistory import MemoryHistory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

    from greylag.core.accesslist import Asked
    from greylag.core.switch import Switch

_GENERATIONS = count(1)  # of the lists of all stores: no two have the same


class MemoryStore(MemoryHistory):
    """Records, lists and figures in dicts, behind one lock."""

    def __init__(self) -> None:
        super().__init__()
        self._records: dict[Triplet, Record] = {}
        self._entries: dict[tuple[Purpose, Subject], Entry] = {}
        self._figures: defaultdict[int, defaultdict[str, int]] = defaultdict(_no_figures)
        self._generation = 0
        self._number = 0
        self._removals = 0
        self._switch: Switch | None = None

    @contextmanager
    def transaction(
        self, waiting: Callable[[], None] | None = None, *, lazy: bool = False
    ) -> Iterator[None]:
        with self._lock:
            yield

    def load(self, triplets: Sequence[Triplet]) -> dict[Triplet, Record]:
        with self._lock:
            return {t: self._records[t] for t in triplets if t in self._records}

    def apply(self, changes: Sequence[Change], figures: Mapping[str, int], now: int) -> None:
        with self._lock:
            hour = self._figures[hour_of(now)]
            for change in changes:
                self._apply_one(change, hour, now)
            for name, number in figures.items():
                hour[name] = min(hour[name] + number, MOST_OF_FIGURE)

    def _apply_one(self, change: Change, hour: defaultdict[str, int], now: int) -> None:
        key = change.triplet
        before = self._records.get(key)
        renewed = isinstance(change, Created | Noted) and has_fate(key.network)
        if renewed and before is not None and not before.live(now):
            fate = {DELAYED: 1} if before.passed else self._end_stopped([(key, before)], now)
            for name, number in fate.items():
                hour[name] += number
        self._removals += isinstance(change, Freed)
        after = applied(change, before, now)
        if after is not None:
            self._records[key] = after

    def merge(self, records: Mapping[Triplet, Record]) -> None:
        with self._lock:
            for triplet, record in records.items():
                self._records[triplet] = joined(self._records.get(triplet, record), record)

    def matching(self, asked: Asked) -> list[Entry]:
        subjects: set[Subject] = {n for a in addresses_of(asked) for n in networks_around(a)}
        subjects.update(named(kind, n) for kind, of in NAMES_OF.items() for n in of(asked))
        with self._lock:
            found = [e for p in Purpose for s in subjects if (e := self._entries.get((p, s)))]
            if asked.names is None:
                names = (e for e in self._entries.values() if isinstance(e.subject, ClientName))
                found += islice(names, 1)
        return found

    def entries(self) -> list[Entry]:
        with self._lock:
            return sorted(self._entries.values(), key=lambda entry: entry.number)

    def entries_after(self, number: int, limit: int) -> EntryPage:
        found = [entry for entry in self.entries() if entry.number > number]
        return EntryPage(found[:limit], found[limit - 1].number if len(found) > limit else None)

    def put_entries(self, entries: Iterable[Entry]) -> None:
        given = list(entries)  # all or none, also where the iterable fails
        with self._lock:
            for entry in given:
                self._number += 1
                self._entries[entry.key] = replace(entry, number=self._number)
            self._generation = next(_GENERATIONS)

    def remove_entries(self, subjects: Iterable[Subject], purpose: Purpose = Purpose.ACCESS) -> int:
        given = list(subjects)
        with self._lock:
            removed = [self._entries.pop((purpose, s), None) for s in given]
            self._generation = next(_GENERATIONS)
            return sum(entry is not None for entry in removed)

    def generation(self) -> int:
        with self._lock:
            return self._generation

    def switch(self) -> Switch | None:
        with self._lock:
            return self._switch

    def set_switch(self, switch: Switch | None) -> None:
        with self._lock:
            self._switch = switch

    def removals(self) -> int | None:
        with self._lock:
            return self._removals

    def figures(self, since: int, until: int) -> dict[int, dict[str, int]]:
        with self._lock:
            hours = sorted(h for h in self._figures if since <= h < until and self._figures[h])
            return {hour: dict(self._figures[hour]) for hour in hours}

    def count(self, now: int) -> tuple[int, int]:
        with self._lock:
            live = [r for t, r in self._records.items() if has_fate(t.network) and r.live(now)]
        passed = sum(1 for record in live if record.passed)
        return len(live) - passed, passed

    def expire(self, now: int, limit: int, after: Position | None = None) -> Page:
        with self._lock:
            keys = sorted(self._records, key=attrgetter("key"))
            if isinstance(after, Triplet):
                keys = [key for key in keys if key.key > after.key]
            seen, more = keys[:limit], len(keys) > limit
            gone = [key for key in seen if not self._records[key].live(now)]
            dead = {key: self._records.pop(key) for key in gone}
            fates = self._end_stopped([(k, r) for k, r in dead.items() if not r.passed], now)
            fates[DELAYED] = sum(r.passed > 0 and has_fate(k.network) for k, r in dead.items())
            for name, number in (+fates).items():  # those that are not 0
                self._figures[hour_of(now)][name] += number
            kept = [key for key in seen if key in self._records]
            waiting = [key for key in kept if not self._records[key].passed]
            passed = sum(self._records[key].passed > 0 and has_fate(key.network) for key in kept)
        last = seen[-1] if more else None
        size = sum(key.size for key in waiting)
        ended = fates[STOPPED], fates[DELAYED]
        return Page(*ended, last, len(waiting), passed, size, pools_of(waiting))

    def trim(self, number: int, now: int) -> int:
        with self._lock:
            waiting = [t for t, r in self._records.items() if not r.passed]
            chosen = sample(waiting, min(number, len(waiting)))
            for triplet in chosen:
                del self._records[triplet]
            self._end_all(chosen, Outcome.EVICTED, now)
            self._figures[hour_of(now)][EVICTED] += len(chosen)
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
        with self._lock:
            keys = [t for t, r in self._records.items() if t.network == network]
            keys = [t for t in keys if (self._records[t].passed > 0) is passed]
            if isinstance(after, Triplet):
                keys = [key for key in keys if key.key > after.key]
            seen = sorted(keys, key=attrgetter("key"))[:look]
            seen_by_chance = sample(seen, len(seen))
            seen_by_chance.sort(key=lambda key: self._records[key].passed > 1)
            chosen = seen_by_chance[: ceil(len(seen) * part)]
            for triplet in chosen:
                del self._records[triplet]
            if not passed:
                self._end_all(chosen, Outcome.EVICTED, now)
            self._figures[hour_of(now)][DELAYED if passed else EVICTED] += len(chosen)
        return Stretch(len(seen), len(chosen), seen[-1] if len(keys) > look else None)

    def search(self, wanted: Filter, limit: int) -> Iterator[tuple[Triplet, Record]]:
        with self._lock:
            keys = sorted(self._records, key=attrgetter("key"))
            found = [(k, self._records[k]) for k in keys if wanted.fits(k, self._records[k])]
        return iter(found[:limit])

    def waiting(self, wanted: Filter, look: int) -> Some:
        with self._lock:
            found = [(k, r) for k, r in self._records.items() if has_fate(k.network)]
        found = [(key, record) for key, record in found if not record.passed]
        seen = found[-look:]
        return Some([one for one in seen if wanted.fits(*one)], len(seen) == len(found))

    def forget(self, triplets: Iterable[Triplet], now: int) -> int:
        given = list(triplets)
        with self._lock:
            self._removals += 1
            gone = [t for t in given if self._records.pop(t, None) is not None]
            self._end_all(gone, Outcome.FORGOTTEN, now)
            return len(gone)

    def check(self) -> None:
        """Memory is always what it is."""

    def close(self) -> None:
        """Nothing to let go of."""


def _no_figures() -> defaultdict[str, int]:
    return defaultdict(int)


class Memory(Backend):
    """`memory:`."""

    example = "memory:"
    lasts = False
    lacks: ClassVar = {TABLES: "memory ends with the process, and is no database with tables"}

    def check(self) -> None:
        if self.url != "memory:":
            raise ValueError(expected())

    @property
    def backed_up_by(self) -> str:
        return "memory ends with the process, so there is nothing to back up"

    def open(self, *, timeout: float, create: bool) -> MemoryStore:
        return MemoryStore()


BACKEND = Memory
