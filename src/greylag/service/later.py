"""What was answered from memory and is written with the next batch: counts of repeats alone.

Losing them costs a count, never a deferral or a pass.
"""

from __future__ import annotations

from collections import Counter

from greylag.core.figures import figures_of
from greylag.core.record import Blocked, Change, Passed
from greylag.core.triplet import Triplet
from greylag.core.verdict import Decision


class Tally:
    """What is to be added to one record."""

    __slots__ = ("blocked", "expires", "passed")

    def __init__(self) -> None:
        self.blocked = 0
        self.passed = 0
        self.expires = 0  # the latest that a pass said


class Later:
    """Tallies by triplet, and the figures of the hour that go with them."""

    def __init__(self) -> None:
        self._tallies: dict[Triplet, Tally] = {}
        self.figures: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return bool(self.figures)

    def __len__(self) -> int:
        return len(self._tallies)

    def add(self, decision: Decision) -> None:
        """Note a decision that was answered."""
        for change in decision.changes:
            if isinstance(change, Blocked):
                self._tally(change.triplet).blocked += change.count
            elif isinstance(change, Passed):
                tally = self._tally(change.triplet)
                tally.passed += change.count
                tally.expires = max(tally.expires, change.expires)
        for name, number in figures_of(decision).items():
            self.figures[name] += number

    def _tally(self, triplet: Triplet) -> Tally:
        tally = self._tallies.get(triplet)
        if tally is None:
            tally = self._tallies[triplet] = Tally()
        return tally

    def merge(self, other: Later) -> None:
        """Take back what could not be written."""
        for triplet, theirs in other._tallies.items():
            tally = self._tally(triplet)
            tally.blocked += theirs.blocked
            tally.passed += theirs.passed
            tally.expires = max(tally.expires, theirs.expires)
        self.figures.update(other.figures)

    def changes(self) -> list[Change]:
        """Return one change for each triplet and kind."""
        tallies = self._tallies.items()
        blocked = [Blocked(triplet, t.blocked) for triplet, t in tallies if t.blocked]
        passed = [Passed(triplet, t.expires, t.passed) for triplet, t in tallies if t.passed]
        return [*blocked, *passed]
