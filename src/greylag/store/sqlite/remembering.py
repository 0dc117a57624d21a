"""What is written into the history of a SQLite file: events, and ends where records are removed.

Damage of the history alone must not cost an answer, nor keep records from being removed: what
ends is then of the outcome `unknown`, so that the figures still add up.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from math import inf
from time import monotonic

from greylag.core.figures import NEVER, STOPPED, has_fate
from greylag.core.history import (
    Begun,
    Deferral,
    Ended,
    Event,
    LetIn,
    Outcome,
    Released,
    Tally,
    Tried,
)
from greylag.core.identity import is_network
from greylag.core.record import Record
from greylag.core.shortid import last_of_pair, pair_id, pair_of, short_id
from greylag.core.tallies import MOST_NAMES, Sums, day_of, happened
from greylag.core.triplet import Triplet
from greylag.store.sqlite import historysql as sql
from greylag.store.sqlite.file import is_about_one
from greylag.store.sqlite.historyrows import (
    deferral_row,
    read_deferral,
    sound_deferrals,
    tally_row,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from greylag.core.ends import Work
_WITHOUT = 60  # seconds that a damaged history is left alone
_MOST_TRIES = 1 << 61  # that are added at once: their sum has to fit into a column
# Seconds for the ends of deferrals in a step that can end early: all who ask wait for it, and for
# the figures and the commit after it. On a busy machine it ends fewer, but never fewer than these.
STEP_SECONDS = 0.015
FEWEST = 25


class Damage:
    """Whether the history was found damaged: for a while, changes then go without it.

    After SQLite met a damaged page, all that the same transaction writes may fail, too. So that
    one is rolled back, and made again without the history.
    """

    def __init__(self) -> None:
        self._until = -inf
        self.times = 0  # that it was found anew

    @property
    def found(self) -> bool:
        return monotonic() < self._until

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Go on where a row is damaged or no table is there. Raises sqlite3.Error otherwise."""
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
            if code & 0xFF == sqlite3.SQLITE_CORRUPT:
                self._until = monotonic() + _WITHOUT
                self.times += 1
                raise
            if not (code == sqlite3.SQLITE_ERROR or is_about_one(error)):
                raise


def remember(db: sqlite3.Connection, events: Sequence[Event], now: int) -> None:
    """Write events in their order. Raises sqlite3.Error."""
    sums = Sums()
    for kind, run in groupby(events, type):
        if kind is Begun:
            begun: list[Begun] = list(run)  # type: ignore[arg-type]
            db.executemany(sql.INSERT, [deferral_row(one.deferral) for one in begun])
            for event in begun:
                sums.add(event, None)
        elif kind is Tried:  # no figure of the day counts these, so no deferral has to be read
            for tried in run:
                _try(db, tried)  # type: ignore[arg-type]
        else:
            for event in run:  # type: ignore[assignment]
                sums.add(event, _happen(db, event))  # type: ignore[arg-type]
    _add_tallies(db, sums, now)


def _try(db: sqlite3.Connection, event: Tried) -> None:
    statement = sql.TRIED if is_network(event.triplet.network) else sql.TRIED_OF_POOL
    count = min(event.count, _MOST_TRIES)
    db.execute(statement, (*_range_of(event.triplet), *event.triplet.key, count, event.at))


def _range_of(key: Triplet) -> tuple[int, int]:
    """Return the ids of deferrals that an event for this key may speak of."""
    if is_network(key.network):
        number = short_id(key)
        return number, number
    first = pair_id(key.sender, key.recipient)
    return first, last_of_pair(first)


def _happen(db: sqlite3.Connection, event: Released | LetIn | Ended) -> Deferral | None:
    """Write what an event says; return the deferral that it speaks of as it was before."""
    found = _meant(db, event)
    if found is not None:
        _update(db, event, found)
    return found


def _update(db: sqlite3.Connection, event: Released | LetIn | Ended, found: Deferral) -> Deferral:
    after = happened(event, found)
    facts = (after.defer_until, after.tries, after.first_try, after.last_try)
    end = (after.outcome.value, after.ended, after.released)
    db.execute(sql.UPDATE, (*facts, *end, found.number))
    return after


def _meant(db: sqlite3.Connection, event: Released | LetIn | Ended) -> Deferral | None:
    key = event.triplet
    also_ended = isinstance(event, Ended) and event.outcome is Outcome.PASSED
    statement = sql.FIND if is_network(key.network) else sql.FIND_OF_POOL
    row = db.execute(statement, (*_range_of(key), *key.key, also_ended)).fetchone()
    if row is not None:
        with suppress(sqlite3.DataError):  # then it is no deferral: others are to be written
            return read_deferral(row)
    return None


def _add_tallies(db: sqlite3.Connection, sums: Sums, now: int) -> None:
    """Add to the figures of the day: all names of a kind at once, where it has room for them."""
    day = day_of(now)
    for by, run in groupby(sums.items(), lambda item: item[0]):
        rows = [(*tally_row(tally), by.value, day, name) for _by, name, tally in run]
        found = db.execute(sql.NAMES_OF_DAY, (by.value, day)).fetchone()
        names = 0 if found is None else found[0]
        if not isinstance(names, int) or names + len(rows) > MOST_NAMES:
            _add_one_by_one(db, rows)
            continue
        before = db.total_changes
        db.executemany(sql.NEW_TALLY, [row[5:] for row in rows])
        new = db.total_changes - before
        db.executemany(sql.ADD_TALLY, rows)
        if new:
            db.execute(sql.MORE_NAMES, (by.value, day, new))


def _add_one_by_one(db: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """Add to those names that the day has, or has room for; of the others, to the rest."""
    for row in rows:
        kind, day = row[5:7]
        if db.execute(sql.ADD_TALLY, row).rowcount:
            continue
        if db.execute(sql.ONE_MORE_NAME, (kind, day, MOST_NAMES)).rowcount:
            db.execute(sql.INSERT_TALLY, row)
        else:
            add_unnamed(db, kind, day, Tally(*row[:5]))


def add_unnamed(db: sqlite3.Connection, kind: str, day: int, tally: Tally) -> None:
    """Add to what a day has no names for. Raises sqlite3.Error."""
    values = (*tally_row(tally), kind, day, "")
    if not db.execute(sql.ADD_TALLY, values).rowcount:
        db.execute(sql.INSERT_TALLY, values)


def end_all(
    db: sqlite3.Connection, gone: Iterable[Triplet], outcome: Outcome, now: int, damage: Damage
) -> None:
    """End the deferrals of records that were removed while they waited. Raises sqlite3.Error."""
    if damage.found:
        return
    with damage.apart():
        for triplet in gone:
            if is_network(triplet.network):  # the end of a pool's record is none of the network's
                _happen(db, Ended(triplet, now, outcome))


class Pairs:
    """The deferrals of pairs, as one transaction sees them: each pair is read once."""

    def __init__(
        self, damage: Damage, *, may_end_early: bool = False, fates: Counter[str] | None = None
    ) -> None:
        self.damage = damage
        self.fates = Counter[str]() if fates is None else fates  # figures of what ended
        self._work: Work | None = None
        self._may_end_early = may_end_early
        self._until, self._number = inf, 0  # of those that end
        self._read: dict[int, dict[int, Deferral]] = {}  # by pair and number, the oldest first

    @property
    def done(self) -> bool:
        """Tell whether a step that may end early has done enough."""
        if not self._may_end_early or self._work is None:
            return False
        return self._work.done or (self._number >= FEWEST and monotonic() >= self._until)

    def near(self, db: sqlite3.Connection, triplet: Triplet) -> Sequence[Deferral]:
        """Return deferrals of a triplet's pair to compare with. Raises sqlite3.Error."""
        from greylag.core.ends import MOST_OF_STEP, OTHERS, Work  # a first contact does without

        if self._work is None:
            self._work = Work(MOST_OF_STEP) if self._may_end_early else Work()
            self._until = monotonic() + STEP_SECONDS
        work = self._work
        self._number += 1
        first = pair_id(triplet.sender, triplet.recipient)
        if first not in self._read and not work.done:
            found = sound_deferrals(db.execute(sql.NEAR, (first, last_of_pair(first), OTHERS)))
            self._read[first] = {one.number: one for one in found}
            work.read(len(self._read[first]))
        return work.compare(list(self._read.get(first, {}).values()))

    def replace(self, deferral: Deferral) -> None:
        """Note what a deferral has become."""
        pair = self._read.get(pair_of(deferral.id), {})
        if deferral.number in pair:
            pair[deferral.number] = deferral


def end_stopped(
    db: sqlite3.Connection, gone: Iterable[tuple[Triplet, Record]], now: int, pairs: Pairs
) -> Counter[str]:
    """End what never came back; return the figures for it. Raises sqlite3.Error."""
    figures: Counter[str] = Counter()
    sums = Sums()
    for triplet, record in gone:
        if has_fate(triplet.network):
            outcome = Outcome.UNKNOWN
            if not pairs.damage.found:
                with pairs.damage.apart():
                    outcome = _class_one(db, triplet, record, pairs, now, sums)
            figures[STOPPED] += 1
            figures[NEVER[outcome]] += 1
    if not pairs.damage.found:
        with pairs.damage.apart():
            _add_tallies(db, sums, now)
    return figures


def _class_one(
    db: sqlite3.Connection, triplet: Triplet, record: Record, pairs: Pairs, now: int, sums: Sums
) -> Outcome:
    from greylag.core.ends import outcome_of, own_of

    wanted = (short_id(triplet), *triplet.key, record.first_seen)
    own = own_of(triplet, record, list(sound_deferrals(db.execute(sql.OWN, wanted))))
    outcome = outcome_of(triplet, record, own, pairs.near(db, triplet))
    event = Ended(triplet, now, outcome)
    if own is not None and own.outcome is not Outcome.PASSED:  # else it has no name, or is counted
        sums.add(event, own)
        if own.outcome is Outcome.WAITING:
            pairs.replace(_update(db, event, own))
    return outcome
