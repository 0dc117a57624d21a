"""The tree store: jgreylist's directory of files, for the records of connections alone.

What the files hold decides what a record can say. A record counts for as long as its file is
there, as the old program has it, and `expire` removes by the old cleaner's two ages. When a client
may come back is not written anywhere: it is the first contact and the hold time of whoever asks. A
record has passed if its last contact was after that. Counts, figures and lists are not kept.
See docs/start/jgreylist.md, "The record tree", and docs/reference/jgreylist-clean.md.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from heapq import merge
from itertools import islice
from random import sample

from greylag.core.accesslist import NEVER, Entry
from greylag.core.connection import HOLD
from greylag.core.identity import is_network
from greylag.core.record import Change, Created, Freed, Record
from greylag.core.triplet import Triplet, connection_of
from greylag.store.base import (
    COUNTS,
    LISTS,
    RECIPIENTS,
    Filter,
    Page,
    Position,
    Some,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    Stretch,
)
from greylag.store.contacts import Times
from greylag.store.lacking import NoFigures, NoHistory, NoLists
from greylag.store.tree import Tree
from greylag.store.tree.files import (
    DEPTH,
    KEPT,
    SIXTH,
    Root,
    Strange,
    names_of,
    network_of,
    walk,
    why_gone,
)
from greylag.store.tree.places import Places

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

# A file where a folder should be, or a link: the ways to other records do not lead through it.
_IN_THE_WAY = (errno.ENOTDIR, errno.EISDIR, errno.ELOOP)
_NO_RIGHTS = (errno.EACCES, errno.EPERM)
_TRIES = 3  # where a cleaner takes the folder away that was just made


class TreeStore(NoLists, NoFigures, NoHistory):
    """Connections in files; see `open_tree`."""

    def __init__(self, path: str, *, hold: int = HOLD, cleaned: bool = False) -> None:
        self._path = path
        self._hold = hold
        self._cleaned = cleaned
        try:
            self._root = Root(path)
        except OSError as error:
            raise StoreUnavailable(f"{path}: {error.strerror}") from error
        self._places = Places(self._root)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            at = f"{error.filename}: " if isinstance(error.filename, str) else ""
            kind = StoreRefused if self._is_of_one_key(error) else StoreUnavailable
            raise kind(f"{self._path}: {at}{error.strerror}") from error

    def _is_of_one_key(self, error: OSError) -> bool:
        """Tell what is in the way to one record from what is wrong with the tree (T34)."""
        if isinstance(error, Strange) or error.errno in _IN_THE_WAY:
            return True
        return error.errno in _NO_RIGHTS and self._root.is_usable()

    def transaction(
        self, waiting: Callable[[], None] | None = None, *, lazy: bool = False
    ) -> AbstractContextManager[None]:
        return nullcontext()  # what is written are facts that merge, whoever comes first

    def load(self, triplets: Sequence[Triplet]) -> dict[Triplet, Record]:
        found = {}
        with self._translated():
            for triplet in triplets:
                if not is_network(triplet.network):
                    continue  # a name has no place here (NAMES)
                times = self._places.find(self._way(triplet))
                if times is not None:
                    found[triplet] = self._record(times)
        return found

    def _way(self, triplet: Triplet) -> tuple[str, ...]:
        if triplet != connection_of(triplet.network, 8 * len(triplet.network)):
            raise StoreRefused(f"{self._path}: {self.lacks(RECIPIENTS)}")
        return names_of(triplet.network)

    def _record(self, times: Times) -> Record:
        may_pass = times.first + self._hold
        passed = int(times.last > times.first and times.last >= may_pass)
        return Record(times.first, may_pass, NEVER, blocked=1, passed=passed)

    def apply(self, changes: Sequence[Change], figures: Mapping[str, int], now: int) -> None:
        made = False
        if any(isinstance(change, Freed) for change in changes):
            raise StoreRefused(f"{self._path}: {self.lacks(COUNTS)}")
        with self._translated():
            for change in changes:
                if is_network(change.triplet.network):
                    made |= self._apply_one(change, now)
            if made:
                self._root.sync()

    def _apply_one(self, change: Change, now: int) -> bool:
        """Make one change; return whether a file was made."""
        way = self._way(change.triplet)
        for _ in range(_TRIES - 1):
            try:
                return self._write(way, change, now)
            except (FileNotFoundError, FileExistsError):
                continue  # another program was at the same place
        return self._write(way, change, now)

    def _write(self, way: tuple[str, ...], change: Change, now: int) -> bool:
        known = self._places.find(way)
        after: Times
        if known is None:
            if not isinstance(change, Created):
                return False  # it was removed meanwhile
            after = Times(change.first_seen, change.first_seen)
        elif isinstance(change, Created) and not self._record(known).live(now):
            after = Times(change.first_seen, change.first_seen)
        else:
            after = Times(known.first, max(known.last, now))
        return self._places.put(way, after)

    def merge(self, records: Mapping[Triplet, Record]) -> None:
        raise StoreError(f"{self._path}: {self.lacks(COUNTS)}")  # `put_times` takes what it can

    def put_entries(self, entries: Iterable[Entry]) -> None:
        raise StoreError(f"{self._path}: {self.lacks(LISTS)}")

    def removals(self) -> int | None:
        return None  # anybody may remove a file

    def lacks(self, part: str) -> str | None:
        return Tree.lacks.get(part)

    def count(self, now: int) -> tuple[int, int]:
        with self._translated():
            live = [r for _, r, _ in self._all() if r.live(now)]
        passed = sum(1 for record in live if record.passed)
        return len(live) - passed, passed

    def _all(self) -> Iterator[tuple[Triplet, Record, tuple[str, ...]]]:
        """Yield what the tree holds in the order of keys."""
        tops = [name for name in sorted(os.listdir(self._root.handle)) if name != SIXTH]
        fourth = (item for top in tops for item in self._below((top,)))
        return merge(fourth, self._below((SIXTH,)), key=lambda found: found[0].key)

    def _below(self, top: tuple[str, ...]) -> Iterator[tuple[Triplet, Record, tuple[str, ...]]]:
        for way, times in walk(self._root, top):
            found = network_of(way)
            if found is not None:
                yield connection_of(found, 8 * len(found)), self._record(times), way

    def expire(self, now: int, limit: int, after: Position | None = None) -> Page:
        if self._cleaned:
            return Page(0, 0, None)
        stopped = delayed = waiting = passed = 0
        last = after if isinstance(after, tuple) else ()
        with self._translated():
            for seen, (way, times) in enumerate(walk(self._root, (), last)):
                if seen == limit:
                    return Page(stopped, delayed, last, waiting, passed)
                last = way
                if network_of(way) is None:
                    continue
                record = self._record(times)
                gone = self._root.remove(way, lambda times: why_gone(times, now) is not None)
                stopped += gone and not record.passed
                delayed += gone and record.passed > 0
                waiting += not gone and not record.passed
                passed += not gone and record.passed > 0
        return Page(stopped, delayed, None, waiting, passed)

    def trim(self, number: int, now: int) -> int:
        if self._cleaned:
            return 0
        with self._translated():
            waiting = [way for _, record, way in self._all() if not record.passed]
            chosen = sample(waiting, min(number, len(waiting)))
            return sum(self._root.remove(w, lambda t: not self._record(t).passed) for w in chosen)

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
        return Stretch(0, 0, None)  # a network has one record here: it is never over its share

    def search(self, wanted: Filter, limit: int) -> Iterator[tuple[Triplet, Record]]:
        with self._translated():
            found = ((t, r) for t, r, _ in self._all() if wanted.fits(t, r))
            yield from islice(found, limit)

    def waiting(self, wanted: Filter, look: int) -> Some:
        return Some([], whole=True)  # it is asked about mail, and no mail is kept here

    def forget(self, triplets: Iterable[Triplet], now: int) -> int:
        ways = [self._way(triplet) for triplet in triplets]
        with self._translated():
            return sum(self._forget(way) for way in ways)

    def _forget(self, way: tuple[str, ...]) -> bool:
        beside = len(way) < DEPTH and self._root.remove((*way, "000"), _any)
        return self._root.remove(way, _any) or beside

    def contacts(self) -> TreeStore:
        return self

    def times(self, triplets: Iterable[Triplet]) -> dict[Triplet, Times]:
        with self._translated():
            found = {triplet: self._places.own(self._way(triplet)) for triplet in triplets}
        return {triplet: times for triplet, times in found.items() if times is not None}

    def all_times(self) -> Iterator[tuple[Triplet, Times]]:
        for way, times in self.walk():
            network = network_of(way)
            if network is not None:  # else a name that the old program never looks for
                yield connection_of(network, 8 * len(network)), times

    def put_times(self, connections: Iterable[tuple[Triplet, Times]]) -> None:
        with self._translated():
            for triplet, times in connections:
                way = self._way(triplet)
                known = self._places.own(way) or times
                both = Times(min(known.first, times.first), max(known.last, times.last))
                self._places.put_beside(way, both)
            self._root.sync()

    def walk(self) -> Iterator[tuple[tuple[str, ...], Times]]:
        """Yield every record as the names that lead to it and its times."""
        with self._translated():
            yield from walk(self._root)

    def clean(self, now: int) -> Iterator[tuple[tuple[str, ...], Times, str]]:
        """Remove what is past, as the old cleaner does, then the folders left empty.

        Yields each record: the names that lead to it, and whether it went (`once`, `old`) or is
        `kept`.
        """
        with self._translated():
            for way, times in walk(self._root):
                reason = why_gone(times, now)
                gone = reason and self._root.remove(way, lambda t: why_gone(t, now) is not None)
                yield way, times, reason if gone and reason else KEPT
            self._root.remove_empty()

    def check(self) -> None:
        with self._translated():
            if not self._root.is_there():
                raise StoreUnavailable(f"{self._path}: is another folder than it was")

    def prove(self) -> None:
        with self._translated():
            self._root.prove()

    def close(self) -> None:
        self._root.close()


def _any(_times: Times) -> bool:
    return True
