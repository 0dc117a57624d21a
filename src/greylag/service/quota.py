"""How many triplets may wait for their retry: in all, and for one client network.

Whoever floods us with new senders and recipients must not fill the disk (RFC 6647 8.2), nor push
out those who have passed, nor the waiting triplets of others. So a network that is over its share
loses waiting records of its own, and beyond the total any waiting record may go; which one,
chance decides. Nobody is let in for it: at the worst a sender is deferred once more.
"""

from __future__ import annotations

from greylag.core.policy import Room
from greylag.core.triplet import Triplet
from greylag.core.verdict import Reason
from greylag.service.batch import Answered, Asked
from greylag.store.base import Page, Store

MAX_NETWORKS = 100_000  # networks whose triplets are counted at once; some 15 MB
STEP = 1000  # records forgotten in one transaction: some 10 ms
ROOM = 10  # a network is cut back to a tenth below its share, so that not each new one cuts


class Quota:
    """Counts what is created, and makes room in a store.

    The counts are estimates: passes and expiries of a network are not taken off. So they only
    tell when it is worth to ask the store, and the store's own count decides.
    """

    def __init__(self, room: Room) -> None:
        self.room = room
        self.waiting = 0  # records, by what is known: exact after a walk over all of them
        self._seen = 0  # waiting records up to where this walk is
        self._walked_to: Triplet | None = None
        self._evicted = False  # during this walk
        self._networks: dict[bytes, int] = {}
        self._crowded: set[bytes] = set()

    @property
    def exceeded(self) -> bool:
        """Tell whether there may be something to do."""
        return bool(self._crowded) or self.waiting > self.room.total

    def answered(self, asked: Asked, answered: Answered) -> None:
        """Note an answer that the store has given."""
        reason, triplet = answered.decision.reason, asked.question.triplet
        if reason is Reason.NEW:
            self._moved(triplet, 1)
            self._created(triplet.network)
        elif reason is Reason.RETRIED:
            self._moved(triplet, -1)

    def _moved(self, triplet: Triplet, by: int) -> None:
        self.waiting += by
        if self._walked_to is not None and triplet.key <= self._walked_to.key:
            self._seen += by  # the walk has been there, and would not know

    def _created(self, network: bytes) -> None:
        if len(self._networks) >= MAX_NETWORKS and network not in self._networks:
            # The small ones go, the big ones stay: a flood from ever new networks hides nobody.
            self._networks = {n: c // 2 for n, c in self._networks.items() if c > 1}
        count = self._networks.get(network, 0) + 1
        self._networks[network] = count
        if count > self.room.per_network:
            self._crowded.add(network)

    def walked(self, page: Page) -> None:
        """Note a step of the expiry; at the end of its walk the count is known anew."""
        self.waiting -= page.stopped
        self._seen += page.waiting
        self._walked_to = page.after
        if page.after is None:
            if not self._evicted:  # where those were that went, nobody knows
                self.waiting = self._seen
            self._seen, self._evicted = 0, False

    def make_room(self, store: Store, now: int) -> int:
        """Take one step towards what is allowed; return how many records it forgot."""
        if self._crowded:
            return self._cut_back(store, self._crowded.pop(), now)
        excess = self.waiting - self.room.total
        gone = store.trim(min(excess, STEP), now) if excess > 0 else 0
        self._note(gone)
        return gone

    def _cut_back(self, store: Store, network: bytes, now: int) -> int:
        waiting, _passed = store.count(now, network)
        gone = 0
        if waiting > self.room.per_network:
            keep = self.room.per_network - self.room.per_network // ROOM
            gone = store.trim(waiting - keep, now, network)
            self._note(gone)
        self._networks[network] = waiting - gone
        return gone

    def _note(self, gone: int) -> None:
        self.waiting -= gone
        self._evicted = self._evicted or gone > 0
