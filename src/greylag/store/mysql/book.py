"""The deferrals that some events are about, and what becomes of them.

That happens in memory before it is written, so many events are a few statements.
"""

from __future__ import annotations

from collections.abc import Iterable

from greylag.core.history import Begun, Deferral, Event, Outcome
from greylag.core.tallies import Happening, happened, speaks_of
from greylag.core.triplet import Triplet

# Seconds: two nodes of a cluster that see the same first contact at once make a deferral each, and
# what happens later happens to both.
TWINS = 60


class Book:
    """Deferrals as they were found, with what happened since."""

    def __init__(self, found: Iterable[Deferral], *, twins: bool) -> None:
        self._twins = twins
        self._all = sorted(found, key=lambda one: one.number)
        self._found = len(self._all)  # the others are new
        self._changed: set[int] = set()
        self._places: dict[tuple[bytes, str, str], list[int]] = {}
        self._pairs: dict[tuple[str, str], list[int]] = {}
        for place, deferral in enumerate(self._all):
            self._put(place, deferral)

    def _put(self, place: int, deferral: Deferral) -> None:
        key = deferral.triplet
        for network in {key.network, deferral.pool}:
            of_key = (network, key.sender, key.recipient)
            self._places.setdefault(of_key, []).append(place)
        self._pairs.setdefault(_pair_of(key), []).append(place)

    def near(self, key: Triplet, most: int) -> list[Deferral]:
        """Return the newest deferrals between the same two as they are now, the newest last."""
        return [self._all[place] for place in self._pairs.get(_pair_of(key), [])[-most:]]

    def of(self, key: Triplet) -> list[Deferral]:
        """Return the deferrals of a triplet as they are now."""
        return [self._all[place] for place in self._places.get(key.key, ())]

    @property
    def begun(self) -> list[Deferral]:
        """Return those that are new."""
        return self._all[self._found :]

    @property
    def changed(self) -> list[Deferral]:
        """Return those that were found, and are no longer what they were."""
        return [self._all[place] for place in sorted(self._changed) if place < self._found]

    def happen(self, event: Event) -> Deferral | None:
        """Note what an event says; return the deferral that it speaks of as it was before."""
        if isinstance(event, Begun):
            self._all.append(event.deferral)
            self._put(len(self._all) - 1, event.deferral)
            return None
        places = [
            p for p in self._places.get(event.triplet.key, ()) if speaks_of(event, self._all[p])
        ]
        waiting = [place for place in places if self._all[place].outcome is Outcome.WAITING]
        if not places:
            return None
        newest = max(waiting or places)
        before = self._all[newest]
        for place in self._alike(newest, waiting):
            self._change(place, event)
        return before

    def _alike(self, newest: int, waiting: list[int]) -> list[int]:
        """Return the place of a deferral and those of its twins."""
        one = self._all[newest]
        twins = [
            place
            for place in waiting
            if place != newest
            and self._all[place].triplet == one.triplet
            and abs(self._all[place].first_seen - one.first_seen) <= TWINS
        ]
        return [newest, *(twins if self._twins else ())]

    def _change(self, place: int, event: Happening) -> None:
        self._all[place] = happened(event, self._all[place])
        self._changed.add(place)


def _pair_of(key: Triplet) -> tuple[str, str]:
    return key.sender.rpartition("@")[2], key.recipient
