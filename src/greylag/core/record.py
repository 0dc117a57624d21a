"""What is remembered of a triplet, and the changes that an attempt makes to it.

A change says what happened, not what the record becomes, and every store applies it under the same
guards (`applied` is their reference). So two attempts at once never lose each other's counts, and
no store has to read a record before it counts.
"""

from __future__ import annotations

from greylag.core.triplet import Triplet
from greylag.core.value import replace, value

# A first contact further ahead than this was written by a clock that was wrong. The record is
# ignored: else the sender would be deferred until that time comes. Clocks of servers differ by a
# few seconds.
CLOCK_TOLERANCE = 5


@value
class Record:
    """What is remembered of one triplet. Times are whole Unix seconds."""

    first_seen: int
    defer_until: int  # from here on a retry passes (the old tables' block_expires)
    expires: int  # from here on it is expired (the old tables' record_expires)
    blocked: int = 0  # attempts that were deferred
    passed: int = 0  # attempts that were let in

    def live(self, now: int) -> bool:
        """Tell whether the record counts: it is not expired, and passed or not from the future."""
        return now < self.expires and (self.passed > 0 or self.first_seen <= now + CLOCK_TOLERANCE)


@value
class Created:
    """A first contact was deferred: make its record, unless there is one by now."""

    triplet: Triplet
    first_seen: int
    defer_until: int
    expires: int
    client: bytes = b""  # packed; for stores that keep it

    def record(self) -> Record:
        """Return the record that this first contact makes."""
        return Record(self.first_seen, self.defer_until, self.expires, blocked=1)


@value
class Blocked:
    """A retry came too early: count it, and change no time."""

    triplet: Triplet
    count: int = 1


@value
class Passed:
    """An attempt was let in: count it, and remember the triplet until `expires` at least."""

    triplet: Triplet
    expires: int
    count: int = 1


@value
class Noted:
    """Something was seen that speaks for, or against, a client: make its record, or count it.

    The record counts as passed. It is remembered until `expires` at least.
    """

    triplet: Triplet
    at: int  # Unix time
    expires: int
    count: int = 1

    def record(self) -> Record:
        """Return the record that this makes where there is none."""
        return Record(self.at, self.at, self.expires, passed=self.count)


@value
class Freed:
    """An admin let a record that waits in early: its next retry passes from `at` on.

    (`core.history.Released` tells the history of the same.)
    """

    triplet: Triplet
    at: int  # Unix time


Change = Created | Blocked | Passed | Noted | Freed


def applied(change: Change, record: Record | None, now: int) -> Record | None:
    """Return the record after a change.

    A `Created` or `Noted` replaces a record that is no longer live. A `Blocked` or `Passed` makes
    no record where it was deleted meanwhile. A `Freed` is about a live record that waits: the
    earliest moment holds, so it does not matter which of two comes first.
    """
    if isinstance(change, Noted):
        if record is None or not record.live(now):
            return change.record()
        return _counted(record, passed=change.count, expires=change.expires)
    if isinstance(change, Created):
        if record is None or not record.live(now):
            return change.record()
        return _counted(record, blocked=1)
    if record is None:
        return None
    if isinstance(change, Passed):
        return _counted(record, passed=change.count, expires=change.expires)
    if isinstance(change, Freed):
        waits = not record.passed and record.live(now)
        return replace(record, defer_until=min(record.defer_until, change.at)) if waits else record
    return _counted(record, blocked=change.count)


def joined(one: Record, other: Record) -> Record:
    """Merge two records of one triplet, from two stores.

    The first contact is the earlier one, the expiry the later one, each count the larger one.
    Counts are not added up, so merging again changes nothing. A record that had expired before the
    other began is dropped.
    """
    late, soon = (one, other) if one.expires >= other.expires else (other, one)
    if soon.expires <= late.first_seen:
        return late
    return Record(
        min(one.first_seen, other.first_seen),
        min(one.defer_until, other.defer_until),
        late.expires,
        max(one.blocked, other.blocked),
        max(one.passed, other.passed),
    )


def _counted(record: Record, *, blocked: int = 0, passed: int = 0, expires: int = 0) -> Record:
    return Record(
        record.first_seen,
        record.defer_until,
        max(record.expires, expires),
        record.blocked + blocked,
        record.passed + passed,
    )
