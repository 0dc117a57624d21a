"""What stands in the network's place of a triplet: a client network, or who is meant by a name.

A pool is many servers of one sender, wherever they stand: who retries from another of them meets
the record of the first attempt. What is known of one address alone, or of nobody's address, has a
name as well. All are plain bytes, so that keys, caches and stores take them alike, and the length
tells which it is:

    4, 16        a network, packed (`core.client`)
    17 to 255    a name: a byte for its kind, then the name in ASCII, with NULs up to 17 bytes

So no name is ever taken for a network, by us or by the old plugin, whose tables have room for 16
bytes. ARCHITECTURE.md, "Decisions", says where stores keep them.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache

from greylag.core.client import IPV4_BYTES, format_address, is_packed, network, parse_address
from greylag.core.value import value

_SHORTEST, _LONGEST = 17, 255  # bytes


class PoolKind(Enum):
    """What a name stands for."""

    SPF = 1  # the servers that the SPF record of this domain names
    NAME = 2  # the servers whose confirmed names lie below this domain
    ADDRESS = 3  # one client address, and not its network: an IPv6 address is its /64
    USERS = 4  # our own users: what they sent

    __hash__ = object.__hash__


@value
class Pool:
    """The servers that one name stands for: a canonical domain, or an address."""

    kind: PoolKind
    name: str

    @property
    def packed(self) -> bytes:
        """Return what stands in the triplet. Raises ValueError where the name is no domain."""
        name = self.name.encode("ascii")
        if not name or b"\0" in name or len(name) >= _LONGEST:
            raise ValueError(f"expected a domain of at most {_LONGEST - 1} bytes")
        return (bytes((self.kind.value,)) + name).ljust(_SHORTEST, b"\0")

    def __str__(self) -> str:
        return f"{self.kind.name.lower()}:{self.name}"


_OF_ADDRESS = bytes((PoolKind.ADDRESS.value,))
_IPV6_PREFIX = 64  # one customer has a /64 (RFC 6177)
USERS = Pool(PoolKind.USERS, "users").packed


def prefix_of_address(client: bytes) -> int:
    """Return the bits of a packed address that are one client's alone."""
    return 8 * IPV4_BYTES if len(client) == IPV4_BYTES else _IPV6_PREFIX


@lru_cache(1024)  # who mails once mails again, and each mail asks several times
def of_address(client: bytes) -> bytes:
    """Return what stands for a packed client address alone (IPv6: for its /64)."""
    address = client if len(client) == IPV4_BYTES else network(client, _IPV6_PREFIX)
    return (_OF_ADDRESS + format_address(address).encode()).ljust(_SHORTEST, b"\0")


def is_network(identity: bytes) -> bool:
    """Tell a client network from a pool, and from what is neither."""
    return is_packed(identity)


def pool_of(identity: bytes) -> Pool | None:
    """Return the pool that stands there, or None: it is a network, or a row that is broken."""
    if not _SHORTEST <= len(identity) <= _LONGEST:
        return None
    try:
        pool = Pool(PoolKind(identity[0]), identity[1:].rstrip(b"\0").decode("ascii"))
        return pool if pool.packed == identity else None
    except ValueError:
        return None


def address_of(identity: bytes) -> bytes | None:
    """Return the packed address that an identity stands for alone, or None: it is another."""
    pool = pool_of(identity)
    if pool is None or pool.kind is not PoolKind.ADDRESS:
        return None
    return parse_address(pool.name.encode("ascii"))
