"""What an event makes of the deferral it speaks of, and what it adds to the figures of the day.

Every store of a history uses these, so all of them say the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from greylag.core.client import format_address
from greylag.core.history import (
    NEVER_CAME_BACK,
    Begun,
    By,
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
from greylag.core.triplet import CONNECTION, Triplet
from greylag.core.value import replace

DAY = 86400
# Seconds: what is further ahead of the clock was written by one that was wrong. Hosts of a shared
# store may differ by less, and what they wrote only stays so much longer.
AHEAD = DAY
NULL_SENDER = "<>"  # stands for the null sender's domain: "" is what a day has no room to name
MOST_NAMES = 10_000  # of one day and kind; what comes beyond is added up under ""
# No number of a day and name is higher, so the sums of all names and days have room in 64 bits.
HIGHEST = 1 << 40
NAMES_KEPT = 1000  # of a day that is over: those with most mail
_WAITING, _PASSED = Outcome.WAITING, Outcome.PASSED

Happening = Tried | Released | LetIn | Ended  # all but a deferral's begin


def day_of(now: int) -> int:
    """Return the Unix time at which the day of `now` began, in UTC."""
    return now - now % DAY


def speaks_of(event: Happening, deferral: Deferral) -> bool:
    """Tell whether an event may be of this deferral; of several, the newest that waits is meant."""
    key = event.triplet
    if deferral.sender_recipient != (key.sender, key.recipient):
        return False
    network = deferral.triplet.network if is_network(key.network) else deferral.pool
    if network != key.network:
        return False
    passed = isinstance(event, Ended) and event.outcome is _PASSED
    return deferral.outcome is _WAITING or (passed and deferral.outcome is not _PASSED)


def happened(event: Happening, deferral: Deferral) -> Deferral:
    """Return a deferral after an event that speaks of it."""
    if isinstance(event, Tried):
        return replace(
            deferral,
            tries=deferral.tries + event.count,
            first_try=deferral.first_try or event.at,
            last_try=max(deferral.last_try, event.at),
        )
    if isinstance(event, Released):
        until = min(deferral.defer_until, event.at)
        return replace(deferral, released=event.at, defer_until=until)
    if isinstance(event, LetIn):
        return replace(deferral, outcome=Outcome.OTHER_WAY, ended=event.at)
    return replace(deferral, outcome=event.outcome, ended=event.at)


def names_of(key: Triplet) -> Iterator[tuple[By, str]]:
    """Return what a day's figures count this mail under. Of a pool it is not known which network.

    A network is its first address, as the length of its prefix is not kept. Connections are no
    mail, and nothing of them is counted so.
    """
    if key.recipient == CONNECTION:
        return
    if is_network(key.network):
        yield By.NETWORK, format_address(key.network)
    yield By.SENDER_DOMAIN, key.sender.rpartition("@")[2] or NULL_SENDER
    yield By.RECIPIENT_DOMAIN, key.recipient.rpartition("@")[2]
    yield By.RECIPIENT, key.recipient


def tally_of(event: Event, deferral: Deferral | None) -> Tally | None:
    """Return what an event adds, and None for nothing. `deferral`: as it was before, if found."""
    if isinstance(event, Begun):
        return Tally(deferred=1)
    if not isinstance(event, Ended):
        return None
    if event.outcome is _PASSED:
        waited = 0 if deferral is None else max(0, event.at - deferral.first_seen)
        return Tally(passed=1, waited=waited)
    if event.outcome in NEVER_CAME_BACK:
        return Tally(never=1, likely_spam=int(event.outcome is Outcome.LIKELY_SPAM))
    return None


def plus(one: Tally, other: Tally) -> Tally:
    """Return the sums of two tallies."""
    return Tally(
        one.deferred + other.deferred,
        one.passed + other.passed,
        one.waited + other.waited,
        one.likely_spam + other.likely_spam,
        one.never + other.never,
    )


def bounded(tally: Tally) -> Tally:
    """Return a tally none of whose numbers is negative, or higher than any may be."""
    counts = (tally.deferred, tally.passed, tally.waited, tally.likely_spam, tally.never)
    return Tally(*(min(max(count, 0), HIGHEST) for count in counts))


def minus(one: Tally, other: Tally) -> Tally:
    """Return what is left of a tally without another."""
    return Tally(
        one.deferred - other.deferred,
        one.passed - other.passed,
        one.waited - other.waited,
        one.likely_spam - other.likely_spam,
        one.never - other.never,
    )


class Sums:
    """What some events add to a day, name by name."""

    def __init__(self) -> None:
        self._sums: dict[tuple[By, str], Tally] = {}

    def add(self, event: Event, deferral: Deferral | None) -> None:
        """Add what one event says; `deferral` is what it spoke of, as it was before."""
        tally = tally_of(event, deferral)
        if tally is None:
            return
        if isinstance(event, Begun):
            deferral = event.deferral
        key = deferral.triplet if deferral is not None else event.triplet  # type: ignore[union-attr]
        for named in names_of(key):
            before = self._sums.get(named)
            self._sums[named] = tally if before is None else plus(before, tally)

    def items(self) -> Iterator[tuple[By, str, Tally]]:
        """Return kind, name and sums, in an order that two writers share."""
        for by, name in sorted(self._sums, key=lambda key: (key[0].value, key[1])):
            yield by, name, self._sums[by, name]
