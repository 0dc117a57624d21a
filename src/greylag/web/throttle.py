"""How often somebody may try to sign in. Asked before a password is looked at: hashing is dear.

Tries are counted by source, by user and all together. Who is guessed at is not shut out by it:
where his password was right from a source lately, only that source's own tries count there.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from hashlib import blake2b
from ipaddress import IPv6Address, ip_address
from math import ceil
from secrets import token_bytes

MINUTE = 60.0
PER_SOURCE, PER_USER, TOGETHER = 10, 10, 60  # tries a minute
MOST_SOURCES = 10_000  # that are remembered; of more, the one that came longest ago is not
_PLACES = 4096  # for names: a fixed number, so that nobody pushes another one's count out
_KNOWN = 1000  # pairs of source and user


class _Allowance:
    """So many a minute, and as many at once."""

    __slots__ = ("_at", "_left", "_most")

    def __init__(self, most: int, now: float) -> None:
        self._most, self._left, self._at = most, float(most), now

    def wait(self, now: float) -> float:
        """Return the seconds until there is one more."""
        gained = max(now - self._at, 0.0) * self._most / MINUTE
        self._left, self._at = min(self._left + gained, float(self._most)), now
        return max(1.0 - self._left, 0.0) * MINUTE / self._most

    def take(self, number: float = 1.0) -> None:
        self._left = min(self._left - number, float(self._most))


class Throttle:
    """Counts the tries."""

    def __init__(self) -> None:
        self._key = token_bytes(16)
        self._sources: OrderedDict[str, _Allowance] = OrderedDict()
        self._users: dict[int, _Allowance] = {}
        self._all = _Allowance(TOGETHER, 0.0)
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def admit(self, source: str, user: str, now: float) -> int:
        """Return 0 where this try may be made, and it is counted; else how long to wait."""
        asked = [self._of_source(network_of(source), now)]
        if (network_of(source), user) not in self._known:
            asked += [self._of_user(user, now), self._all]
        wait = max(one.wait(now) for one in asked)
        if wait > 0:
            return ceil(wait)
        for one in asked:
            one.take()
        return 0

    def succeeded(self, source: str, user: str, now: float) -> None:
        """Remember that the password was right: the try counts no longer."""
        network = network_of(source)
        self._of_source(network, now).take(-1.0)
        self._known[network, user] = None
        self._known.move_to_end((network, user))
        while len(self._known) > _KNOWN:
            self._known.popitem(last=False)

    def _of_source(self, network: str, now: float) -> _Allowance:
        found = self._sources.get(network)
        if found is None:
            while len(self._sources) >= MOST_SOURCES:
                self._sources.popitem(last=False)
            found = self._sources[network] = _Allowance(PER_SOURCE, now)
        self._sources.move_to_end(network)
        return found

    def _of_user(self, user: str, now: float) -> _Allowance:
        digest = blake2b(user.encode("utf-8", "replace"), key=self._key, digest_size=4).digest()
        place = int.from_bytes(digest, "big") % _PLACES
        return self._users.setdefault(place, _Allowance(PER_USER, now))


def network_of(source: str) -> str:
    """Return what counts as one source: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        address = ip_address(source)
    except ValueError:
        return source[:64]
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        return str(mapped) if mapped else address.packed[:8].hex()
    return str(address)


def same(one: str, other: str) -> bool:
    """Compare two secrets in a time that does not tell where they differ."""
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))
