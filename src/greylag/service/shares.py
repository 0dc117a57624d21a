"""The share of one client network: who made how many records, and making them fewer.

See `service.quota` for what this is good for. What is kept here is bounded, whoever floods.
"""

from __future__ import annotations

from collections.abc import Callable

from greylag.store.base import Position, Store

MAX_NETWORKS = 100_000  # networks whose records are counted at once; some 15 MB
MAX_WATCHED = 1000  # crowded networks whose addresses are counted; some 25 MB
MAX_ADDRESSES = 256  # addresses counted in one of them: all of a /24
WATCHED_FROM = 20  # a network is watched from a twentieth of its share on
LOOK = 5000  # records looked at in one transaction: some 3 ms in SQLite, 20 in MySQL
STEP = 500  # records forgotten in one transaction: some 10 ms
ROOM = 20  # a twentieth of the share is to be free, and three are made free where it is cut
# A quarter of the share is for addresses that hold little, each a part of it: all of a /24 find
# room, in whatever order they come. Else each would halve what the one before left free (T41).
KEPT = 4
REST = 60.0  # seconds until a network is counted again
# Seconds until one that has its share, and no more, is cut again. Each cut costs neighbours some of
# theirs; but where nothing is free, all wait for it.
CUT_AGAIN, CUT_FULL_AGAIN = 3600.0, 600.0
_LEAST_PART = 1e-9  # of a stretch: one of its records goes
TRICKLE = 36_000.0  # seconds until, whatever an address holds, a share's worth would be recorded


class Watched:
    """What is known of a network that has much of its share."""

    __slots__ = ("addresses", "counted_at", "cut_at", "next_trickle")

    def __init__(self, now: float) -> None:
        self.addresses: dict[bytes, int] = {}
        self.counted_at = self.cut_at = now
        self.next_trickle = 0.0


class Share:
    """How many records of one kind (that wait, or have passed) each client network has."""

    def __init__(self, limit: int, stopwatch: Callable[[], float], *, passed: bool = False) -> None:
        self.limit = limit
        self.passed = passed
        self.due: dict[bytes, None] = {}  # networks that the store is to count, the first first
        self._stopwatch = stopwatch
        self._numbers: dict[bytes, int] = {}
        self._watched: dict[bytes, Watched] = {}

    def add(self, network: bytes, client: bytes | None, by: int) -> None:
        """Note records that were made, or are no longer of this kind."""
        if len(self._numbers) >= MAX_NETWORKS and network not in self._numbers:
            # The small ones go, the big ones stay: a flood from ever new networks hides nobody.
            self._numbers = {n: c // 2 for n, c in self._numbers.items() if c > 1}
        number = max(0, self._numbers.get(network, 0) + by)
        self._numbers[network] = number
        if number * WATCHED_FROM < self.limit:
            return
        watched = self._watch(network)
        if client is not None:
            _count(watched.addresses, client, by)
        if number > self.limit:
            self._doubt(network, watched)

    def _watch(self, network: bytes) -> Watched:
        watched = self._watched.get(network)
        if watched is None:
            if len(self._watched) >= MAX_WATCHED:
                self._watched.pop(next(iter(self._watched)))
            watched = self._watched[network] = Watched(self._stopwatch())
            self.due[network] = None  # what was there before the daemon began
        return watched

    def _doubt(self, network: bytes, watched: Watched) -> None:
        """Have the store count a network: what is known of it may be out of date."""
        now = self._stopwatch()
        if now >= watched.counted_at + REST:
            watched.counted_at = now
            self.due[network] = None

    @property
    def kept(self) -> int:
        """Return how many records only addresses that hold little may have."""
        return 0 if self.passed else self.limit // KEPT

    @property
    def little(self) -> int:
        """Return how many records an address may hold of those."""
        return max(1, self.kept // MAX_ADDRESSES)

    def is_calm(self, network: bytes, more: int) -> bool:
        """Tell whether a network is far below its share, even if `more` records are all its own."""
        return (self._numbers.get(network, 0) + more) * WATCHED_FROM < self.limit

    def admits(self, network: bytes, client: bytes | None, made: tuple[int, int]) -> bool:
        """Tell whether one more is to be recorded; `made` were just now, of network and client.

        Without a client's address, as where each is a network of its own, there is nobody else to
        be kept room for.
        """
        if self.is_calm(network, made[0]):
            return True
        free = self.limit - self._numbers.get(network, 0) - made[0]
        watched = self._watch(network)
        held = watched.addresses.get(client, 0) + made[1] if client is not None else 0
        kept = self.kept if client is not None and held >= self.little else 0
        if held < free - kept:
            return True
        now = self._stopwatch()
        if free - kept > self.limit // ROOM and now >= watched.next_trickle:
            watched.next_trickle = now + TRICKLE / self.limit
            return True
        self._doubt(network, watched)
        return False

    def next_to_count(self) -> Thinning | None:
        """Return a walk over the network that was first to be counted, or None."""
        network = next(iter(self.due), None)
        if network is None:
            return None
        del self.due[network]
        return Thinning(self, network)

    def to_go(self, network: bytes, number: int) -> int:
        """Return how many of so many records a network is to lose, as the store has counted."""
        watched = self._watched.get(network)
        past = self._stopwatch() - watched.cut_at if watched is not None else 0.0
        most = self.limit - self.kept
        full = number >= self.limit and past >= CUT_FULL_AGAIN
        nearly = number > most - self.limit // ROOM and past >= CUT_AGAIN
        if number <= self.limit and (self.passed or not (full or nearly)):
            return 0
        if watched is not None:
            watched.cut_at = self._stopwatch()
        return number - most + 3 * self.limit // ROOM

    def counted(self, network: bytes, number: int) -> None:
        """Note what the store has counted; the addresses have as much less of it as all have."""
        before = self._numbers.get(network, 0)
        self._numbers[network] = number
        watched = self._watched.get(network)
        if watched is not None and number < before:
            shares = {a: n * number // before for a, n in watched.addresses.items()}
            watched.addresses = {a: n for a, n in shares.items() if n}


class Thinning:
    """A walk over one network: it counts, and where that is too much a second one forgets some.

    In steps that look at a bounded number of records, however many there are (T36).
    """

    def __init__(self, share: Share, network: bytes) -> None:
        self.share = share
        self.done = False
        self._network = network
        self._after: Position | None = None
        self._number = 0
        self._gone = 0
        self._part = 0.0  # of the records that are to go; 0 while they are counted
        self._owed = 0.0  # records: by how much rounding made too few of them go

    def step(self, store: Store, now: int) -> int:
        """Take a step; return how many records it forgot."""
        look = min(LOOK, int(STEP / self._part)) if self._part else LOOK
        page = store.thin(
            self._network,
            passed=self.share.passed,
            look=look,
            part=self._part and min(max(self._part + self._owed / look, _LEAST_PART), 1.0),
            now=now,
            after=self._after,
        )
        self._after = page.after
        self._number += 0 if self._part else page.found
        self._gone += page.gone
        self._owed += page.found * self._part - page.gone
        if page.after is None:
            self._walked()
        return page.gone

    def _walked(self) -> None:
        if not self._part:
            self._part = self.share.to_go(self._network, self._number) / max(1, self._number)
            if self._part:
                return
        self.share.counted(self._network, self._number - self._gone)
        self.done = True


def _count(addresses: dict[bytes, int], client: bytes, by: int) -> None:
    number = addresses.get(client, 0) + by
    if number <= 0:
        addresses.pop(client, None)
        return
    if len(addresses) >= MAX_ADDRESSES and client not in addresses:
        halves = {a: n // 2 for a, n in addresses.items() if n > 1}
        addresses.clear()
        addresses.update(halves)
    addresses[client] = number
