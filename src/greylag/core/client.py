"""Client addresses: text to 4 or 16 packed bytes, to their network, and back to text.

Packed bytes in network order are what the old tables hold. The length tells the family apart, so
families never match each other; IPv4-mapped IPv6 is IPv4 in any spelling; zones are dropped.
"""

from __future__ import annotations

IPV4_BYTES = 4  # of a packed address; IPv6 has 16
_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291, 2.5.5.2
# No leading zeros: some readers take them for octal.
_OCTETS = {b"%d" % octet: octet for octet in range(256)}
_ZEROS = [bytes(size) for size in range(17)]
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
        return ".".join(str(byte) for byte in packed)
    from ipaddress import IPv6Address

    return str(IPv6Address(packed))
