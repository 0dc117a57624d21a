"""Client addresses: text to 4 or 16 packed bytes, to their network, and back to text.

Packed bytes in network order are what the old tables hold. The length tells the family apart, so
families never match each other; IPv4-mapped IPv6 is IPv4 in any spelling; zones are dropped.

Other IPv6 addresses hold an IPv4 address, too (`host_of`): those of translators and tunnels.
"""

from __future__ import annotations

IPV4_BYTES, IPV6_BYTES = 4, 16  # of a packed address
_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291, 2.5.5.2
# No leading zeros: some readers take them for octal.
_OCTETS = {b"%d" % octet: octet for octet in range(256)}
_ZEROS = [bytes(size) for size in range(17)]
_NAT64 = b"\0\x64\xff\x9b" + bytes(8)  # 64:ff9b::/96 (RFC 6052): a translator of our own
_6TO4 = b"\x20\x02"  # 2002::/16 (RFC 3056)
_TEREDO = b"\x20\x01\0\0"  # 2001::/32 (RFC 4380); its last 32 bits are inverted
# IPv4 addresses that no host on the internet has: RFC 1918, 6598, 3927, multicast, reserved.
_NOT_OUTSIDE = (
    (b"\0\0\0\0", 8),
    (b"\x0a\0\0\0", 8),
    (b"\x64\x40\0\0", 10),
    (b"\x7f\0\0\0", 8),
    (b"\xa9\xfe\0\0", 16),
    (b"\xac\x10\0\0", 12),
    (b"\xc0\xa8\0\0", 16),
    (b"\xe0\0\0\0", 3),
)
_GLOBAL = (b"\x20" + bytes(15), 3)  # 2000::/3: all that is given out of IPv6 (RFC 4291)
_LONGEST = 128  # bytes: the longest address text is 45, and a zone may follow it


def parse_address(raw: bytes) -> bytes | None:
    """Return the packed address of a text such as `192.0.2.1` or `2001:db8::1%eth0`, or None."""
    if len(raw) > _LONGEST:
        return None
    if b":" not in raw:
        try:
            one, two, three, four = raw.split(b".")
            return bytes((_OCTETS[one], _OCTETS[two], _OCTETS[three], _OCTETS[four]))
        except (ValueError, KeyError):
            return None
    from ipaddress import AddressValueError, IPv6Address  # only IPv6 clients pay for it

    try:
        packed = IPv6Address(raw.decode("ascii").partition("%")[0]).packed
    except (AddressValueError, UnicodeDecodeError):
        return None
    return packed.removeprefix(_MAPPED)


def host_of(packed: bytes) -> tuple[bytes, bytes]:
    """Return the host behind an address, and the IPv6 address that its IPv4 address is embedded in.

    A host may retry from any of its IPv6 addresses: a 6to4 host has 2**80 of them. Behind NAT64 the
    whole IPv4 internet is in one /64. An embedded address such as 10.0.0.1 is no host on the
    internet. Such an IPv6 address stays as it is: else it would match entries for our own networks.
    """
    if len(packed) == IPV4_BYTES:
        return packed, b""
    if packed.startswith(_6TO4):
        found = packed[2:6]
    elif packed.startswith(_NAT64):
        found = packed[12:]
    elif packed.startswith(_TEREDO):
        found = bytes([byte ^ 0xFF for byte in packed[12:]])
    else:
        return packed, b""
    inside = any(network(found, bits) == start for start, bits in _NOT_OUTSIDE)
    return (packed, b"") if inside else (found, packed)


def translated(packed: bytes) -> bool:
    """Tell whether an IPv6 address comes from NAT64, which is a translator of our own."""
    return packed.startswith(_NAT64)


def on_the_internet(packed: bytes, prefix: int) -> bool:
    """Tell whether all of a network are addresses that hosts on the internet have as their own."""
    if len(packed) == IPV4_BYTES:
        return not any(_overlap(packed, prefix, start, bits) for start, bits in _NOT_OUTSIDE)
    if prefix < _GLOBAL[1] or network(packed, _GLOBAL[1]) != _GLOBAL[0]:
        return False
    embedding = ((_6TO4 + bytes(14), 16), (_TEREDO + bytes(12), 32))
    return not any(_overlap(packed, prefix, start, bits) for start, bits in embedding)


def _overlap(packed: bytes, prefix: int, start: bytes, bits: int) -> bool:
    shorter = min(prefix, bits)
    return network(packed, shorter) == network(start, shorter)


def is_packed(address: bytes) -> bool:
    """Tell whether bytes, such as those of a database, can be a packed address."""
    return len(address) in (IPV4_BYTES, IPV6_BYTES)


def network(packed: bytes, prefix: int) -> bytes:
    """Return the packed address with all bits after the first `prefix` cleared."""
    whole, rest = prefix >> 3, prefix & 7
    if not rest:
        return packed[:whole] + _ZEROS[len(packed) - whole]
    head = packed[whole] & (0xFF00 >> rest) & 0xFF
    return packed[:whole] + bytes((head,)) + _ZEROS[len(packed) - whole - 1]


def last_address(packed: bytes, prefix: int) -> bytes:
    """Return the highest address of the network that `packed` and `prefix` name."""
    size = len(packed)
    host_bits = (1 << (8 * size - prefix)) - 1
    return (int.from_bytes(packed, "big") | host_bits).to_bytes(size, "big")


def format_address(packed: bytes) -> str:
    """Return the usual text of a packed address (RFC 5952 for IPv6)."""
    if len(packed) == IPV4_BYTES:
        one, two, three, four = packed
        return f"{one}.{two}.{three}.{four}"
    from ipaddress import IPv6Address

    return str(IPv6Address(packed))
