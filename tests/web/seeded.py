"""A store with mail of every outcome, as the daemon would have left it."""

from __future__ import annotations

import tomllib
from contextlib import closing
from pathlib import Path

from greylag.core.figures import delay_figures
from greylag.core.history import Begun, Deferral, Ended, Event, Outcome, Tried
from greylag.core.record import Created, Passed
from greylag.core.triplet import Triplet
from greylag.store import open_store
from greylag.store.base import Store

HOUR = 3600
DAY = 24 * HOUR
DELAY = 300
_ENDS = (
    Outcome.PASSED,
    Outcome.LIKELY_SPAM,
    Outcome.PASSED,
    Outcome.UNKNOWN,
    Outcome.OTHER_WAY,
    Outcome.LIKELY_SPAM,
    Outcome.VARYING,
    Outcome.PASSED,
)


_WAITED = (320, 330, 420, 610, 660, 840, 910, 1220, 1830, 2410, 3700, 5430, 9100)


def opened(folder: Path) -> Store:
    settings = tomllib.loads((folder / "greylag.toml").read_text())
    return open_store(settings["store"]["url"], timeout=4)


def deferral_at(number: int, first_seen: int, sender: str = "", recipient: str = "") -> Deferral:
    """Return a deferral of its own."""
    network = bytes((198, 51, number % 250, 0))
    key = Triplet(
        network,
        sender or f"sender{number}@partner{number % 7}.example.org",
        recipient or f"user{number % 5}@example.net",
    )
    good = number % 8 in (0, 2, 3, 7)
    return Deferral(
        key,
        first_seen,
        first_seen + DELAY,
        client=network[:3] + bytes((17,)),
        name=f"mail{number}.example.org" if good else "",
        signs=() if good else ("no-name", "helo"),
    )


def seed(folder: Path, now: int, number: int = 160) -> None:
    """Put a week of mail into the store of a folder; the newest of it waits."""
    with closing(opened(folder)) as store:
        for n in range(number):
            ago = 7 * DAY * (number - n) // number
            one = deferral_at(n, now - ago)
            waits = ago < 2 * HOUR
            remember(store, one, Outcome.WAITING if waits else _ENDS[n % len(_ENDS)], now)
        for n, seconds in enumerate((20, 70, 140)):  # what is surely waiting still
            one = deferral_at(1000 + n, now - seconds, f"alice{n}@partner.example.org")
            remember(store, one, Outcome.WAITING, now)


def remember(store: Store, one: Deferral, outcome: Outcome, now: int) -> None:
    """Write a deferral, its record, and the figures of the hour."""
    key, began = one.triplet, one.first_seen
    events: list[Event] = [Begun(one)]
    store.apply([Created(key, began, one.defer_until, began + 2 * DAY)], {"defer:new": 1}, began)
    if outcome is Outcome.PASSED:
        waited = _WAITED[began % len(_WAITED)]
        events += [Tried(key, began + 60), Ended(key, began + waited, outcome)]
        figures = {"pass:retried": 1, "pass:known": 3, "defer:early": 1}
        figures |= delay_figures(waited)
        store.apply([Passed(key, began + 36 * DAY)], figures, began + waited)
    elif outcome is not Outcome.WAITING:
        ended = min(began + 2 * DAY, now)
        events.append(Ended(key, ended, outcome))
        never = {f"never:{outcome.value}": 1, "fate:stopped": 1}
        store.apply([], never, ended)
        store.forget([key], ended)
    store.remember(events, now)
