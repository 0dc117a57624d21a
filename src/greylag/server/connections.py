"""The connections of each listener: how many there may be, and how many of one peer.

Each listener has a share of its own, so that idle connections at one shut nobody out at another
(T42). The shares are cut to what the system lets the process open.
"""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Iterator, Sequence

from greylag.core.client import IPV4_BYTES, parse_address
from greylag.core.value import value
from greylag.core.verdict import WARN
from greylag.server.journal import Journal
from greylag.server.listeners import BACKLOG
from greylag.service.dns.resolver import AT_ONCE
from greylag.service.dns.servers import MOST_SERVERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.server.session import Limits, Session

# Descriptors: store, log, listeners, metrics, what is being closed; and for queries to DNS.
OWN = 128 + AT_ONCE * MOST_SERVERS
HANDING_OVER = 1024  # connections of those who hand a client over, and have not said anything
_PEER_BYTES = 8  # of an IPv6 address: whoever has one of a /64 has all


@value
class Shares:
    """How many descriptors there are for what."""

    limit: int  # for the whole process
    connections: int  # of each listener
    backlog: int  # of each: they are accepted before they are counted
    handing_over: int
    dialogues: int


def shares(limits: Limits, listeners: int, dialogues: int) -> Shares:
    """Raise the process's limit of descriptors, and share them out."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return share_out(hard, limits.connections, listeners, dialogues)


def share_out(limit: int, connections: int, listeners: int, dialogues: int) -> Shares:
    """Cut the largest numbers back to the same size, until all fit."""
    wanted = [connections + BACKLOG] * listeners + [HANDING_OVER, dialogues]
    most = _level(max(limit - OWN, limit // 2), wanted)
    listener = min(connections + BACKLOG, most)
    backlog = BACKLOG if listener == connections + BACKLOG else min(BACKLOG, listener // 4)
    fit = max(1, min(connections, listener - backlog))
    return Shares(limit, fit, max(1, backlog), min(HANDING_OVER, most), min(dialogues, most))


def _level(room: int, wanted: Sequence[int]) -> int:
    left = sorted(wanted)
    for number, one in enumerate(left):
        share = room // (len(left) - number)
        if one > share:
            return share
        room -= one
    return left[-1]


class Connections:
    """The connections of one listener."""

    def __init__(self, place: str, journal: Journal) -> None:
        self._place = place
        self._journal = journal
        self._peers: dict[Session, bytes] = {}
        self._numbers: Counter[bytes] = Counter()
        self.taken = 0  # connections that the loop has taken in, let in or not

    def use(self, limits: Limits, most: int) -> None:
        """Keep these limits from now on; `most` connections fit into the share."""
        self.limits = limits
        self._most = most
        self._most_of_peer = limits.per_peer or max(1, most // 2)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._peers)

    def admit(self, session: Session, peer: object) -> bool:
        """Take a connection in, unless there are too many; `peer` is its address and port."""
        self.taken += 1
        address = str(peer[0]) if isinstance(peer, tuple) else ""  # none on a unix socket
        key = _key(address)
        if len(self._peers) >= self._most:
            self._refuse({"limit": self._most})
            return False
        if key and self._numbers[key] >= self._most_of_peer:
            self._refuse({"limit": self._most_of_peer, "peer": address})
            return False
        self._peers[session] = key
        self._numbers[key] += 1
        return True

    def leave(self, session: Session) -> None:
        """Forget a connection that has ended, or was not let in."""
        key = self._peers.pop(session, None)
        if key is not None:
            self._numbers[key] -= 1
            if not self._numbers[key]:
                del self._numbers[key]

    def _refuse(self, why: dict[str, bytes | str | int]) -> None:
        event: dict[str, bytes | str | int] = {"event": "too-many-connections"}
        self._journal.rarely(WARN, {**event, "place": self._place, **why})


def _key(address: str) -> bytes:
    """Return what the connections of a TCP peer are counted by; empty where there is none."""
    packed = parse_address(address.encode()) or b""
    return packed if len(packed) == IPV4_BYTES else packed[:_PEER_BYTES]
