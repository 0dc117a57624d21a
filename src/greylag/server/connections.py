"""The connections of each listener: how many there may be, and how many of one peer.

Each listener has a share of its own, so that idle connections at one shut nobody out at another
(T42). Where it is used up, who asks nothing gives way to who comes; a mail server opens another
connection when it needs one. The shares are cut to what the system lets the process open.
"""

from __future__ import annotations

import resource
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from time import monotonic

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
_LOOKS = 32  # connections that are looked at for one that gives way: a flood must cost little
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


class _Queue:
    """Connections, of which some are looked at each time that one has to give way."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[Session, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sessions)

    def add(self, session: Session) -> None:
        self._sessions[session] = None

    def discard(self, session: Session) -> None:
        self._sessions.pop(session, None)

    def idle(self, now: float) -> Session | None:
        """Of some, return the one that has asked nothing for longest, if any gives way."""
        oldest: Session | None = None
        for _ in range(min(_LOOKS, len(self._sessions))):
            session = next(iter(self._sessions))
            self._sessions.move_to_end(session)
            if session.gives_way(now) and (oldest is None or session.asked < oldest.asked):
                oldest = session
        return oldest


class Connections:
    """The connections of one listener."""

    def __init__(self, place: str, journal: Journal) -> None:
        self._place = place
        self._journal = journal
        self._peers: dict[Session, bytes] = {}
        self._all = _Queue()
        self._of_peer: defaultdict[bytes, _Queue] = defaultdict(_Queue)
        self.taken = 0  # connections that the loop has taken in, let in or not

    def use(self, limits: Limits, most: int) -> None:
        """Keep these limits from now on; `most` connections fit into the share."""
        self.limits = limits
        self._most = most
        self._most_of_peer = limits.per_peer or max(1, most // 2)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._peers)

    def admit(self, session: Session, peer: object) -> bool:
        """Take a connection in, unless there are too many; `peer` is its address and port.

        Of too many, an idle one is closed instead: of the same peer, where that has too many.
        """
        self.taken += 1
        address = str(peer[0]) if isinstance(peer, tuple) else ""  # none on a unix socket
        key = _key(address)
        same = self._of_peer.get(key) if key else None
        if same is not None and len(same) >= self._most_of_peer:
            if not self._make_room(same, {"limit": self._most_of_peer, "peer": address}):
                return False
        elif len(self._peers) >= self._most and not self._make_room(
            self._all, {"limit": self._most}
        ):
            return False
        self._peers[session] = key
        self._all.add(session)
        self._of_peer[key].add(session)
        return True

    def _make_room(self, queue: _Queue, why: Mapping[str, str | int]) -> bool:
        """Close one that is idle, if there is any; `why` is what is told."""
        event: dict[str, bytes | str | int] = {"event": "too-many-connections"}
        self._journal.rarely(WARN, {**event, "place": self._place, **why})
        session = queue.idle(monotonic())
        if session is None:
            return False
        session.abort()
        self.leave(session)
        return True

    def leave(self, session: Session) -> None:
        """Forget a connection that has ended, or was not let in."""
        key = self._peers.pop(session, None)
        if key is not None:
            self._all.discard(session)
            self._of_peer[key].discard(session)
            if not self._of_peer[key]:
                del self._of_peer[key]


def _key(address: str) -> bytes:
    """Return what the connections of a TCP peer are counted by; empty where there is none."""
    packed = parse_address(address.encode()) or b""
    return packed if len(packed) == IPV4_BYTES else packed[:_PEER_BYTES]
