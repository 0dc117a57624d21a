"""How many records there may be: of those that wait in all, and of one client network.

Whoever floods us with new senders and recipients must not fill the disk (RFC 6647 8.2), nor push
out those who have passed, nor the waiting triplets of others. Nobody is let in for it: at the worst
a sender is deferred once more.

A network may not have more than its share of records that wait, nor of those that have passed: what
is too much is forgotten, and chance decides which. But chance alone would let an address that
floods push out its neighbours in the /24 faster than they retry (T41). So once a network has used a
twentieth of its share, the daemon counts who makes how many: an address may hold as many as are
still free beyond a quarter of the share, and what it tries further is deferred and not recorded.
The quarter is kept for addresses that hold little (9 records each, with the default), because each
of several that flood one after the other takes half of what it finds. However many flood, in
whatever order, there is room for the others in a /24. A slow trickle is recorded all the same, and
once an hour a network that is nearly full, but for the quarter, is cut back by chance: so an
address that flooded once is not shut out until its records expire, which is what its
honest users would pay for.

Only the daemon knows addresses; the store knows networks. After a restart, or beside one-shot
processes and other hosts, there are records whose address nobody knows. They count for the network,
so less is free, and what is beyond its share goes by chance. With a share below 1024 not all of a
/24 find room at once: a sender there may be deferred until such a flood ends. Who has all of an
IPv6 /64 can come from ever new addresses, which costs those within the same /64 the same, and
nobody else: one customer has all of it (RFC 6177).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from time import monotonic

from greylag.core.figures import DELAYED, EVICTED, STOPPED, fate_of
from greylag.core.policy import Room
from greylag.core.question import Question
from greylag.core.triplet import Triplet
from greylag.core.verdict import Reason
from greylag.service.batch import Answered
from greylag.service.shares import STEP, Share, Thinning
from greylag.store.base import Page, Store

_NETWORK = b""  # among the addresses of a batch, the network as a whole


class Quota:
    """Counts what is created, says what is recorded, and makes room in a store.

    The counts are estimates: what expires is not taken off. So they only tell when it is worth to
    ask the store, and the store's own count decides.
    """

    def __init__(self, room: Room, *, stopwatch: Callable[[], float] = monotonic) -> None:
        self.room = room
        self.waiting = 0  # records, by what is known: exact after a walk over all of them
        self.size = 0  # bytes that these take, about
        self._seen = self._seen_size = 0  # of these, up to where this walk is
        self._walked_to: Triplet | None = None
        self._evicted = False  # during this walk
        self.fates: Counter[str] = Counter()  # of triplets, by the names of the figures
        self._waiting = Share(room.per_network, stopwatch)
        self._passed = Share(room.passed_per_network, stopwatch, passed=True)
        self._thinning: Thinning | None = None

    def use(self, room: Room) -> None:
        """Go by other numbers from now on; may be called in another thread."""
        self.room = room
        self._waiting.limit = room.per_network
        self._passed.limit = room.passed_per_network

    @property
    def exceeded(self) -> bool:
        """Tell whether there may be something to do."""
        return bool(
            self._thinning or self._waiting.due or self._passed.due or self._beyond_total() > 0
        )

    def _beyond_total(self) -> int:
        """Return how many records too many wait; long addresses count for more (T36)."""
        beyond = self.size - self.room.total_size
        in_size = -(-beyond * self.waiting // self.size) if beyond > 0 else 0
        return max(self.waiting - self.room.total, in_size)

    def admission(self) -> Callable[[Question], bool]:
        """Return what tells of a batch's first contacts, one after the other, which to record."""
        admitted: list[Question] = []
        made: Counter[tuple[bytes, bytes]] = Counter()  # of these, as far as `counted`
        counted = 0

        def admits(question: Question) -> bool:
            nonlocal counted
            network = question.triplet.network
            if not self._waiting.is_calm(
                network, len(admitted)
            ):  # only then it matters who they are
                for one in admitted[counted:]:
                    made[one.triplet.network, _NETWORK] += 1
                    made[one.triplet.network, one.client] += 1
                counted = len(admitted)
                client = question.client
                alone = question.policy.prefix_of(client) == 8 * len(client)
                fellows = made[network, _NETWORK], 0 if alone else made[network, client]
                if not self._waiting.admits(network, None if alone else client, fellows):
                    return False
            admitted.append(question)
            return True

        return admits

    def answered(self, question: Question, answered: Answered) -> None:
        """Note an answer that the store has given."""
        decision = answered.decision
        reason = decision.reason
        if reason is Reason.NEW and decision.changes:
            for change in decision.changes:  # that of its pool takes room, too
                self._moved(change.triplet, 1)
            self._waiting.add(question.triplet.network, question.client, 1)
            if decision.record is not None:  # it was not live, and starts anew
                self.fates[fate_of(decision.record)] += 1
        elif reason is Reason.NEW:
            self.fates[EVICTED] += 1
        elif reason is Reason.RETRIED and decision.pool is not None and question.pooled is not None:
            self._moved(question.pooled, -1)  # those of the networks before wait until they expire
        elif reason is Reason.RETRIED:
            self._moved(question.triplet, -1)
            self._waiting.add(question.triplet.network, question.client, -1)
            self._passed.add(question.triplet.network, None, 1)

    def _moved(self, triplet: Triplet, by: int) -> None:
        self.waiting += by
        self.size = max(0, self.size + by * triplet.size)
        if self._walked_to is not None and triplet.key <= self._walked_to.key:
            self._seen += by  # the walk has been there, and would not know
            self._seen_size += by * triplet.size

    def walked(self, page: Page) -> None:
        """Note a step of the expiry; at the end of its walk the count is known anew."""
        self.fates[STOPPED] += page.stopped
        self.fates[DELAYED] += page.delayed
        self.waiting -= page.stopped
        self._seen += page.waiting
        self._seen_size += page.size
        self._walked_to = page.after if isinstance(page.after, Triplet) else None
        if page.after is None:
            if not self._evicted:  # where those were that went, nobody knows
                self.waiting, self.size = self._seen, max(0, self._seen_size)
            self._seen, self._seen_size, self._evicted = 0, 0, False

    def make_room(self, store: Store, now: int) -> int:
        """Take one step towards what is allowed; return how many records it forgot."""
        if self._thinning is None:
            self._thinning = self._waiting.next_to_count() or self._passed.next_to_count()
        if self._thinning is not None:
            gone = self._thinning.step(store, now)
            if self._thinning.share.passed:
                self.fates[DELAYED] += gone
            else:
                self._note(gone)
            if self._thinning.done:
                self._thinning = None
            return gone
        excess = self._beyond_total()
        gone = store.trim(min(excess, STEP), now) if excess > 0 else 0
        self._note(gone)
        return gone

    def _note(self, gone: int) -> None:
        if gone:
            self.fates[EVICTED] += gone
            self.size -= self.size * gone // max(self.waiting, gone)
            self.waiting -= gone
            self._evicted = True
