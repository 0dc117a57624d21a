"""Which name servers are asked, and how often: the same in the daemon and in a process for one."""

from __future__ import annotations

import os
from _socket import AF_INET, AF_INET6, inet_pton

from greylag.wire.dns import Asked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from greylag.core.spf.questions import Query

Server = tuple[str, int]  # an IPv4 or IPv6 address, and a port

PATIENCE = 0.8  # seconds for a query
_TRIES = 2  # a datagram may be lost
MOST_SERVERS = 3  # as in the C library
_PORT = 53
_LOOPBACK = "127.0.0.1"
RESOLV_CONF = "/etc/resolv.conf"


def is_address(text: str) -> bool:
    """Tell whether a text is an IP address, with a zone as in `fe80::1%eth0` or without.

    A name would have to be looked up before it can be asked: that would block.
    """
    bare, percent, zone = text.partition("%")
    family = family_of(bare)
    try:
        inet_pton(family, bare)
    except (OSError, ValueError):  # ValueError: a NUL in it
        return False
    return not percent or (family == AF_INET6 and bool(zone) and "%" not in zone)


def family_of(address: str) -> int:
    """Return the family of an IP address."""
    return AF_INET6 if ":" in address else AF_INET


def system_servers(path: str = RESOLV_CONF) -> tuple[Server, ...]:
    """Return the name servers of this machine: itself, if it names none."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            words = [line.split()[:2] for line in file]
    except OSError:
        words = []
    named = [two[1] for two in words if len(two) == 2 and two[0] == "nameserver"]
    servers = [(name, _PORT) for name in named if is_address(name)]
    return tuple(servers[:MOST_SERVERS]) or ((_LOOPBACK, _PORT),)


def in_turn(servers: Sequence[Server]) -> list[Server]:
    """Return the servers for the tries of one query: each of them, and one alone twice."""
    tries = max(_TRIES, len(servers)) if servers else 0
    return [servers[number % len(servers)] for number in range(tries)]


def asked_now(query: Query) -> Asked:
    """Return a query with an id that nobody can guess. Raises ValueError, as `Asked` does."""
    return Asked(query, int.from_bytes(os.urandom(2), "big"))
