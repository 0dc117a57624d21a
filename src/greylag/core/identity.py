"""What stands in the network's place of a triplet: a client network, or a pool of servers.

A pool is many servers of one sender, wherever they stand: who retries from another of them meets
the record of the first attempt. Both kinds are plain bytes, so that keys, caches and stores take
them alike, and the length tells which it is:

    4, 16        a network, packed (`core.client`)
    17 to 255    a pool: a byte for its kind, then its name in ASCII, with NULs up to 17 bytes

So no pool is ever taken for a network, by us or by the old plugin, whose tables have room for 16
bytes. ARCHITECTURE.md, "Decisions", says where stores keep pools.
"""

from __future__ import annotations

from enum import Enum

from greylag.core.client import is_packed
from greylag.core.value import value

_SHORTEST, _LONGEST = 17, 255  # bytes


class PoolKind(Enum):
    """What a pool is named after."""

    SPF = 1  # the domain whose SPF record names the client

    __hash__ = object.__hash__


@value
class Pool:
    """The servers that one name stands for. The name is a canonical domain."""

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
