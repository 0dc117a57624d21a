"""Names of hosts: what is one, and what a client says in HELO."""

from __future__ import annotations

from enum import Enum
from functools import lru_cache

from greylag.core.address import canonical_domain
from greylag.core.client import IPV4_BYTES, format_address, parse_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

_KEPT = 2048  # names that were asked for last: one attempt asks for the same several times
LONGEST_NAME, LONGEST_LABEL = 253, 63  # RFC 1035, 2.3.4: 255 octets with their lengths
# RFC 1123, 2.1; and the underscore, which no host may have and many do.
_HOST_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_.")
# Nobody on the internet can have these (RFC 6761, RFC 6762, RFC 8375, and habits of private nets).
_PRIVATE: tuple[str, ...] = (
    "local",
    "localhost",
    "localdomain",
    "lan",
    "home",
    "corp",
    "private",
    "internal",
)
_PRIVATE += ("intranet", "invalid", "arpa")


def name_of(text: str) -> str | None:
    """Return a domain in lower case, or None for what is no name of several labels."""
    name = text.lower()
    labels = name.split(".")
    if len(name) > LONGEST_NAME or len(labels) == 1:
        return None
    return name if all(0 < len(label) <= LONGEST_LABEL for label in labels) else None


def host_name(raw: bytes) -> str | None:
    """Return the canonical name of a host or of a mail domain, or None if it is none in DNS."""
    return _kept(raw) if len(raw) <= LONGEST_NAME else _host_name(raw)


def _host_name(raw: bytes) -> str | None:
    name = name_of(canonical_domain(raw).removesuffix("."))
    if name is None or not _HOST_NAME.issuperset(name) or name.rpartition(".")[2].isdigit():
        return None
    return name


_kept = lru_cache(_KEPT)(_host_name)


def is_below(name: str, domain: str) -> bool:
    """Tell whether a name is a domain or below it."""
    return name == domain or name.endswith(f".{domain}")


def address_labels(client: bytes) -> list[str]:
    """Return the numbers of an IPv4 address, or the hexadecimal digits of an IPv6 address."""
    return [str(byte) for byte in client] if len(client) == IPV4_BYTES else list(client.hex())


def reverse_zone(client: bytes) -> str:
    """Return the name of the zone below `arpa` that has the names of a client's family."""
    return "in-addr" if len(client) == IPV4_BYTES else "ip6"


def below_zone(client: bytes, zone: str) -> str:
    """Return the name of an address in a zone that lists addresses (RFC 5782, 2.1 and 2.4)."""
    return f"{'.'.join(reversed(address_labels(client)))}.{zone}"


def reverse_name(client: bytes) -> str:
    """Return the name that has a client's PTR records (RFC 1035, 3.5; RFC 3596, 2.5)."""
    return below_zone(client, f"{reverse_zone(client)}.arpa")


class Helo(Enum):
    """What a client says that it is called (RFC 5321, 4.1.1.1)."""

    NAME = "name"  # a name that a host may have
    NO_NAME = "no-name"
    LITERAL = "literal"  # its address in brackets: allowed, but no mail server needs it
    OURS = "ours"  # a name or an address of ourselves


def helo_of(raw: bytes, ours: Container[str]) -> Helo:
    """Tell what a HELO is. `ours` has names in lower case and addresses in their usual form."""
    text = raw.strip()
    bare = text[1:-1] if text[:1] == b"[" and text[-1:] == b"]" else text
    prefix, tag = bare[:5].lower(), b"ipv6:"
    address = parse_address(bare[len(tag) :] if prefix == tag else bare)
    if address is not None:
        if format_address(address) in ours:
            return Helo.OURS
        return Helo.NO_NAME if bare is text else Helo.LITERAL
    name = host_name(text)
    if name is None:
        return Helo.OURS if text.decode("latin-1").lower() in ours else Helo.NO_NAME
    if name in ours:
        return Helo.OURS
    labels = name.split(".")
    odd = any(label[0] == "-" or label[-1] == "-" for label in labels)
    return Helo.NO_NAME if odd or labels[-1] in _PRIVATE else Helo.NAME
