"""The history of the memory store: the reference of that part of the contract."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from heapq import nlargest
from itertools import islice
from threading import RLock

from greylag.core.ends import Work, outcome_of, own_of
from greylag.core.figures import NEVER, STOPPED, has_fate
from greylag.core.history import Action, Begun, By, Deferral, Ended, Event, Outcome, Sought, Tally
from greylag.core.identity import is_network
from greylag.core.record import Record
from greylag.core.shortid import pair_id, pair_of
from greylag.core.tallies import (
    AHEAD,
    MOST_NAMES,
    NAMES_KEPT,
    Sums,
    bounded,
    day_of,
    happened,
    plus,
    speaks_of,
)
from greylag.core.triplet import Triplet
from greylag.core.value import replace
from greylag.store.base import Store
from greylag.store.history import DeferralPage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.core.policy import Kept

NONE = Tally()


class MemoryHistory(Store):
    """The part `History`, behind the lock of the whole store."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._deferrals: dict[int, Deferral] = {}  # by their numbers, the oldest first
        self._of_pair: defaultdict[int, set[int]] = defaultdict(set)  # their numbers
        self._last_number = 0
        self._tallies: defaultdict[tuple[int, By], dict[str, Tally]] = defaultdict(dict)
        self._actions: list[Action] = []

    def remember(self, events: Sequence[Event], now: int) -> None:
        sums = Sums()
        with self._lock:
            for event in events:
                sums.add(event, self._happen(event))
            for by, name, tally in sums.items():
                self._tally(self._tallies[day_of(now), by], name, tally)

    def _happen(self, event: Event) -> Deferral | None:
        """Write what an event says; return the deferral as it was before."""
        if isinstance(event, Begun):
            self._last_number = number = self._last_number + 1
            self._deferrals[number] = replace(event.deferral, number=number)
            self._of_pair[pair_of(event.deferral.id)].add(number)
            return None
        found = [one for one in self._near(event.triplet) if speaks_of(event, one)]
        waiting = [one for one in found if one.outcome is one.outcome.WAITING]
        deferral = max(waiting or found, key=lambda one: one.number, default=None)
        if deferral is not None:
            self._deferrals[deferral.number] = happened(event, deferral)
        return deferral

    def _near(self, triplet: Triplet) -> list[Deferral]:
        """Return the deferrals of a triplet's pair."""
        numbers = self._of_pair.get(pair_id(triplet.sender, triplet.recipient), ())
        return [self._deferrals[number] for number in numbers]

    def _end_all(self, gone: Iterable[Triplet], outcome: Outcome, now: int) -> None:
        """End the deferrals of records that were removed while they waited."""
        for triplet in gone:
            if is_network(triplet.network):  # the end of a pool's record is none of the network's
                self._happen(Ended(triplet, now, outcome))

    def _end_stopped(self, gone: Iterable[tuple[Triplet, Record]], now: int) -> Counter[str]:
        """End what never came back; return the figures for it."""
        figures: Counter[str] = Counter()
        work = Work()
        for triplet, record in gone:
            if has_fate(triplet.network):
                near = self._near(triplet)
                own = own_of(triplet, record, near)
                outcome = outcome_of(triplet, record, own, work.compare(near))
                # Else it has no name, or is counted.
                if own is not None and own.outcome is not Outcome.PASSED:
                    self.remember([Ended(triplet, now, outcome)], now)
                figures[STOPPED] += 1
                figures[NEVER[outcome]] += 1
        return figures

    @staticmethod
    def _tally(names: dict[str, Tally], name: str, tally: Tally) -> None:
        if name not in names and len(names) - ("" in names) >= MOST_NAMES:
            name = ""
        names[name] = bounded(plus(names.get(name, NONE), tally))

    def deferrals(self, wanted: Sought, limit: int, before: int | None = None) -> DeferralPage:
        with self._lock:
            numbers = sorted(self._deferrals, reverse=True)
            numbers = [n for n in numbers if before is None or n < before]
            seen = [self._deferrals[number] for number in numbers[:limit]]
        found = [one for one in seen if wanted.fits(one)]
        more = len(numbers) > limit
        reached = seen[-1].first_seen if seen else 0
        return DeferralPage(found, seen[-1].number if more else None, reached)

    def tallies(self, since: int, until: int, by: By, limit: int) -> dict[str, Tally]:
        sums: defaultdict[str, Tally] = defaultdict(Tally)
        with self._lock:
            for (day, kind), names in self._tallies.items():
                if since <= day < until and kind is by:
                    for name, tally in names.items():
                        sums[name] = plus(sums[name], tally)
        named = sorted((-tally.deferred, name) for name, tally in sums.items() if name)
        found = {name: sums[name] for _deferred, name in named[:limit]}
        for name in sums.keys() - found.keys():
            found[""] = plus(found.get("", NONE), sums[name])
        return found

    def forget_history(self, kept: Kept, now: int, limit: int) -> int:
        low, high = kept.since(now), now + AHEAD
        last = self._last_number - kept.most
        with self._lock:
            first = list(islice(self._deferrals.values(), limit))
            stays = [one.number > last and low <= one.first_seen <= high for one in first]
            gone = [one.number for one, stays in zip(first, stays, strict=True) if not stays]
            for number in gone:
                pair = pair_of(self._deferrals.pop(number).id)
                self._of_pair[pair].discard(number)
                if not self._of_pair[pair]:
                    del self._of_pair[pair]
            return len(gone) or self._forget_days(kept, now)

    def _forget_days(self, kept: Kept, now: int) -> int:
        low, high = kept.actions_since(now), now + AHEAD
        actions = [action for action in self._actions if low <= action.at <= high]
        gone, self._actions = len(self._actions) - len(actions), actions
        for (day, by), names in list(self._tallies.items()):
            if not day_of(kept.since(now)) <= day <= high:
                gone += len(self._tallies.pop((day, by)))
            elif day < day_of(now) and len(names) > NAMES_KEPT + 1:
                gone += self._cut(names)
        return gone

    @staticmethod
    def _cut(names: dict[str, Tally]) -> int:
        named = [name for name in names if name]
        kept = nlargest(NAMES_KEPT, named, key=lambda name: names[name].mail)
        cut = set(named) - set(kept)
        for name in cut:
            names[""] = plus(names.get("", NONE), names.pop(name))
        return len(cut)

    def note_action(self, action: Action) -> None:
        with self._lock:
            self._actions.append(action)

    def actions(self, limit: int) -> list[Action]:
        with self._lock:
            return self._actions[::-1][:limit]
