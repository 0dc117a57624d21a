"""Deleting expired records, unless the clock seems to have jumped.

A clock that jumped ahead makes everything look old, and one that jumped back makes what waits
look as if it came from the future. So what would go is counted first, by reading alone, and where
that is too much to be ordinary nothing is deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from time import monotonic, sleep
from typing import TypeVar

from greylag.admin import PAUSE, Progress, unseen
from greylag.admin.moments import moment
from greylag.admin.records import EVERYTHING
from greylag.core.history import Sought
from greylag.core.identity import pool_of
from greylag.core.policy import Kept
from greylag.core.tallies import AHEAD
from greylag.core.value import value
from greylag.service.conflict import Tries
from greylag.store.base import Filter, Page, Store, StoreConflict
from greylag.store.contacts import Times
from greylag.store.tree.files import why_gone

PAGE = 1000  # records looked at in one transaction, of which a store lets some go
MANY = 100  # records; fewer may well expire on one day
SILENCE = 86400  # seconds without any contact after which the clock is to be doubted

T = TypeVar("T")


class ClockDoubted(Exception):
    """So much would go that the clock may have jumped; nothing was deleted. The text says why."""


@dataclass(slots=True)
class Count:
    """What a walk over all records found."""

    waiting: int = 0  # never passed, live or not
    passed: int = 0
    stopped: int = 0  # of the waiting: no longer live
    delayed: int = 0  # of the passed: no longer live
    future: int = 0  # of the stopped: first seen later than now
    newest: int = 0  # the last contact of all
    today: bool = False  # there was a contact within a day before now
    yesterday: bool = False  # and within the day before that

    def contact(self, at: int, now: int) -> None:
        """Note when a triplet was first seen, or passed last."""
        self.newest = max(self.newest, at)
        self.today |= 0 <= now - at < SILENCE
        self.yesterday |= SILENCE <= now - at < 2 * SILENCE

    def suspicious(self, now: int) -> str | None:
        """Tell what looks like a clock that jumped, or None."""
        if self.stopped + self.delayed >= MANY and now - self.newest > SILENCE:
            return f"nothing was seen since {moment(self.newest)}"
        if self.today and self.yesterday:
            return None  # a clock that jumped has been steady for a day since
        if self.delayed >= MANY and 2 * self.delayed > self.passed:
            return f"{self.delayed} of {self.passed} records that had passed would go"
        if self.future >= MANY and 2 * self.future > self.waiting:
            return f"{self.future} of {self.waiting} waiting records are from the future"
        return None


@value
class Expired:
    """How many records were deleted (or would be) and are kept."""

    stopped: int
    delayed: int
    waiting: int  # kept
    passed: int  # kept
    doubt: str | None  # why the clock seems to have jumped


def expire(
    store: Store,
    now: int,
    lifetime: int,
    *,
    dry_run: bool = False,
    sure: bool = False,
    progress: Progress = unseen,
) -> Expired:
    """Delete and count expired records. Raises ClockDoubted; not when `sure` that it is right."""
    found = count_all(store, now, lifetime, progress)
    doubt = found.suspicious(now)
    if dry_run:
        stopped, delayed = found.stopped, found.delayed
        waiting, passed = found.waiting - stopped, found.passed - delayed
        return Expired(stopped, delayed, waiting, passed, doubt)
    if doubt and not sure:
        raise ClockDoubted(doubt)
    gone = _forget(store, now, found.waiting + found.passed, progress)
    return Expired(*gone, *store.count(now), doubt)


def forget_history(store: Store, now: int, kept: Kept, *, sure: bool = False) -> int:
    """Delete what is too old in the history, or too much; return how many rows.

    Where all of it is too old, or even the newest is of a later day, the clock may have jumped:
    then it stays, if not `sure`. Where the history is off, all of it goes.
    """
    newest = store.deferrals(Sought(), 1).deferrals
    seems_right = not newest or kept.since(now) <= newest[0].first_seen <= now + AHEAD
    if kept.seconds and not (sure or seems_right):
        return 0
    total = 0
    while True:
        began = monotonic()
        gone = _tried(partial(store.forget_history, kept, now, PAGE))
        total += gone
        if not gone:
            return total
        sleep(max(PAUSE, monotonic() - began))  # let the plugins have their turn


def count_all(store: Store, now: int, lifetime: int, progress: Progress = unseen) -> Count:
    """Count what is there and what would go, by reading alone."""
    count = Count()
    for key, record in progress(store.search(Filter(), EVERYTHING), None, "counting"):
        if pool_of(key.network) is not None:
            continue  # no mail of its own, and some are kept for another time: no sign of a clock
        gone = not record.live(now)
        last_pass = record.expires - lifetime if record.passed else 0
        count.contact(record.first_seen, now)
        count.contact(last_pass, now)
        if record.passed:
            count.passed += 1
            count.delayed += gone
        else:
            count.waiting += 1
            count.stopped += gone
            count.future += gone and now < record.expires
    return count


def _forget(store: Store, now: int, total: int, progress: Progress) -> tuple[int, int]:
    stopped = delayed = 0
    for page in progress(_pages(store, now), total, "forgetting", step=PAGE):
        stopped += page.stopped
        delayed += page.delayed
    return stopped, delayed


def _pages(store: Store, now: int) -> Iterator[Page]:
    page = Page(0, 0, None)
    while True:
        began = monotonic()
        page = _tried(partial(store.expire, now, PAGE, page.after))
        yield page
        if page.after is None:
            return
        sleep(max(PAUSE, monotonic() - began))  # let the plugins have their turn


def _tried(step: Callable[[], T]) -> T:
    """Do one step; a row that another program holds for a moment is tried again."""
    tries = Tries()
    while True:
        try:
            return step()
        except StoreConflict as conflict:
            tries.lost(conflict)


def doubt_of_tree(
    records: Iterable[tuple[object, Times]], now: int, progress: Progress = unseen
) -> None:
    """Raise ClockDoubted where cleaning a tree now would remove what a jump made look old."""
    newest = gone = 0
    for _, times in progress(records, None, "looking"):
        newest = max(newest, times.last)
        gone += why_gone(times, now) is not None
    if gone >= MANY and now - newest > SILENCE:
        raise ClockDoubted(f"nothing was seen since {moment(newest)}")
