"""What was answered and is written with a later batch: counts of repeats alone.

Losing them costs a count, never a deferral or a pass.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from greylag.core.figures import figures_of
from greylag.core.record import Blocked, Change, Created, Noted, Passed
from greylag.core.triplet import Triplet
from greylag.core.verdict import Decision, Reason


def only_counts(decision: Decision) -> bool:
    """Tell whether a decision about a record changes nothing but its counts, and when it expires.

    Then it can be answered before it is written. A first contact and a first pass cannot.
    """
    return decision.reason is Reason.EARLY or decision.reason is Reason.KNOWN


class Tally:
    """What is to be added to one record."""

    __slots__ = ("at", "blocked", "expires", "noted", "passed")

    def __init__(self) -> None:
        self.blocked = 0
        self.passed = 0
        self.noted = 0
        self.at = 0  # when something was noted first
        self.expires = 0  # the latest that a pass said

    def add(self, change: Change) -> None:
        """Add what one change says, or what another tally has."""
        if isinstance(change, Blocked):
            self.blocked += change.count
        elif isinstance(change, Passed):
            self.passed += change.count
            self.expires = max(self.expires, change.expires)
        elif isinstance(change, Noted):
            self.at = min(self.at or change.at, change.at)
            self.noted += change.count
            self.expires = max(self.expires, change.expires)


class Later:
    """Tallies by triplet, and the figures of the hour that go with them."""

    def __init__(self) -> None:
        self._tallies: dict[Triplet, Tally] = {}
        self.figures: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return bool(self._tallies or self.figures)

    def __len__(self) -> int:
        return len(self._tallies)

    def add(self, decision: Decision) -> None:
        """Note a decision that was answered."""
        for change in decision.changes:
            if not isinstance(change, Created):
                self.note(change)
        for name, number in figures_of(decision).items():
            self.figures[name] += number

    def note(self, change: Change) -> None:
        """Note a change that nobody waits for."""
        self._tally(change.triplet).add(change)

    def _tally(self, triplet: Triplet) -> Tally:
        tally = self._tallies.get(triplet)
        if tally is None:
            tally = self._tallies[triplet] = Tally()
        return tally

    def take(self, most: int) -> Later:
        """Take out what is to be added to up to so many records, and all figures."""
        taken = Later()
        self.figures, taken.figures = taken.figures, self.figures
        while self._tallies and len(taken) < most:
            triplet, tally = self._tallies.popitem()
            taken._tallies[triplet] = tally
        return taken

    def drop(self, triplet: Triplet) -> None:
        """Let go of what is to be added to this record."""
        self._tallies.pop(triplet, None)

    def triplets(self) -> list[Triplet]:
        """Return the keys of the records that something is to be added to."""
        return list(self._tallies)

    def blocked(self) -> Iterator[tuple[Triplet, int]]:
        """Return which retries came too early, and how many."""
        return (
            (triplet, tally.blocked) for triplet, tally in self._tallies.items() if tally.blocked
        )

    def merge(self, other: Later) -> None:
        """Take back what could not be written."""
        for change in other.changes():
            self.note(change)
        self.figures.update(other.figures)

    def changes(self) -> list[Change]:
        """Return one change for each triplet and kind."""
        tallies = self._tallies.items()
        blocked = [Blocked(triplet, t.blocked) for triplet, t in tallies if t.blocked]
        passed = [Passed(triplet, t.expires, t.passed) for triplet, t in tallies if t.passed]
        noted = [Noted(key, t.at, t.expires, t.noted) for key, t in tallies if t.noted]
        return [*blocked, *passed, *noted]
