"""What an entry of the lists may name: an address range or a recipient domain."""

from __future__ import annotations

from greylag.core.address import canonical_domain
from greylag.core.client import IPV4_BYTES, format_address, network, parse_address
from greylag.core.value import value

EXPECTED = 'an address, a range such as "192.0.2.0/24" or "2001:db8::/32", or a recipient domain'
_MAPPED_PREFIX = 96  # bits before the IPv4 address in ::ffff:192.0.2.1
_HOST_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
_SHOWN = 80  # characters of a wrong value that an error quotes


@value
class Network:
    """An address range: packed bytes with host bits cleared, and the prefix in bits."""

    packed: bytes
    prefix: int

    @property
    def sound(self) -> bool:
        """Tell whether it is a range at all: a database may hold anything."""
        bits = 8 * len(self.packed)
        fits = len(self.packed) in (IPV4_BYTES, 16) and 0 <= self.prefix <= bits
        return fits and network(self.packed, self.prefix) == self.packed

    def __str__(self) -> str:
        full = self.prefix == 8 * len(self.packed)
        address = format_address(self.packed)
        return address if full else f"{address}/{self.prefix}"


@value
class Domain:
    """A recipient domain in canonical form (all of the recipient, where it has no `@`)."""

    name: str

    def __str__(self) -> str:
        return self.name


Subject = Network | Domain


def parse_subject(text: str, *, domain: bool = False, mask: bool = False) -> Subject:
    """Read what an admin typed: an address, a CIDR range or a recipient domain.

    With `domain`, any name is a domain, also one without a dot. With `mask`, the host bits of a
    range are cleared; else a range that has some is an error. Raises ValueError with what was
    expected. The old plugin stored wrong values as rows that never match (its fault 6 in
    docs/properties.md).
    """
    text = text.strip()
    if not text:
        raise ValueError(f"expected {EXPECTED}, got an empty text")
    numeric = "/" in text or ":" in text or text.rpartition(".")[2].isdigit()
    if numeric and not domain:
        return _network(text, mask=mask)
    return _domain(text, dotted=not domain)


def _network(text: str, *, mask: bool) -> Network:
    address, slash, bits = text.partition("/")
    shown = repr(text[:_SHOWN])
    packed = parse_address(address.encode("utf-8", "replace"))
    if packed is None or "%" in address:
        raise ValueError(f"expected {EXPECTED}; {shown} holds no complete IPv4 or IPv6 address")
    written = 8 * len(packed)
    mapped = len(packed) == IPV4_BYTES and ":" in address
    longest = written + _MAPPED_PREFIX if mapped else written
    lowest = _MAPPED_PREFIX if mapped else 0
    if not slash:
        return Network(packed, written)
    decimal = bits.isascii() and bits.isdigit() and len(bits) <= len("128")
    if not decimal or not lowest <= int(bits) <= longest:
        raise ValueError(f"expected a prefix from {lowest} to {longest} after the slash of {shown}")
    found = Network(packed, int(bits) - lowest)
    whole = Network(network(packed, found.prefix), found.prefix)
    if mask:
        return whole
    if whole != found:
        raise ValueError(
            f"expected a range without host bits: {shown} is either the range {whole} "
            f"or the address {format_address(packed)}"
        )
    return found


def _domain(text: str, *, dotted: bool) -> Domain:
    shown = repr(text[:_SHOWN])
    if "@" in text:
        raise ValueError(f"expected {EXPECTED}; {shown} is a mailbox, which no entry can name")
    if dotted and "." not in text.strip("."):
        raise ValueError(f"expected {EXPECTED}, got {shown}")
    name = canonical_domain(text.encode("utf-8", "replace"))
    labels = name.split(".")
    if not all(label and set(label) <= _HOST_NAME for label in labels):
        raise ValueError(
            f"expected a recipient domain (letters, digits and hyphens; "
            f"in any script; no wildcards), got {shown}"
        )
    return Domain(name)
