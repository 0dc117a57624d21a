"""Zones that list addresses: DNSBL and DNSWL (RFC 5782), and which of their answers count.

A zone answers with addresses in 127.0.0.0/8, whose last numbers say why. Which of them count is
written as in Postfix: `127.0.0.[2..11;14]`, several patterns separated by commas or blanks.

Some answers are errors, and an error is no answer: it neither lists nor clears anybody. Zones
answer 127.255.255.0/24 to who asks too much, asks by a public resolver, or misspells the zone, and
127.0.0.1 is by RFC 5782 never a listing. An address outside 127.0.0.0/8 comes from a resolver
that redirects names, or from whoever bought the domain of a zone that has ended.
"""

from __future__ import annotations

from enum import Enum

from greylag.core.client import IPV4_BYTES
from greylag.core.names import host_name
from greylag.core.value import value

_LOCAL = 127
_BLOCKED = bytes((_LOCAL, 255, 255))  # and any last number
_NEVER_LISTED = bytes((_LOCAL, 0, 0, 1))
_OVER_QUOTA = bytes((_LOCAL, 0, 0, 255))  # how a large DNSWL refuses to answer

# What counts unless a setting says otherwise. DNSBL: all that is no error. DNSWL: the third number
# is a category, the last is trust: 0 says only that an address should not be blocked.
DNSBL_CODES, DNSWL_CODES = "127.0.[0..254].[2..254]", "127.0.[0..254].[1..3]"

Octets = frozenset[int]
Pattern = tuple[Octets, Octets, Octets, Octets]


@value
class Zone:
    """A zone, and which of its answers count."""

    name: str
    codes: tuple[Pattern, ...]


class Listing(Enum):
    """What a zone says about an address."""

    LISTED = "listed"
    NOT_LISTED = "not-listed"
    UNKNOWN = "unknown"


def parse_zone(text: str, codes: str) -> Zone:
    """Parse `zone`, whose answers count by these codes, or `zone=codes`. Raises ValueError."""
    name, equals, own = text.partition("=")
    zone = host_name(name.strip().encode("utf-8", "replace"))
    try:
        if zone is not None:
            return Zone(zone, parse_codes(own if equals else codes))
        wrong = f"{name} is no name of a zone"
    except ValueError as error:
        wrong = str(error)
    raise ValueError(f'expected zones such as "list.example.org=127.0.0.[2..11]": {wrong}')


def parse_codes(text: str) -> tuple[Pattern, ...]:
    """Parse patterns such as `127.0.0.[2..11;14]`; a ValueError says what is wrong."""
    patterns = tuple(_pattern(word) for word in text.replace(",", " ").split())
    if not patterns:
        raise ValueError("no answer of the zone would count")
    return patterns


def _pattern(word: str) -> Pattern:
    parts, inside, start = [], False, 0
    for at, sign in enumerate(word):
        inside = sign == "[" or (inside and sign != "]")
        if sign == "." and not inside:
            parts.append(word[start:at])
            start = at + 1
    parts.append(word[start:])
    if len(parts) != IPV4_BYTES:
        raise ValueError(f"{word} is not a pattern such as 127.0.0.[2..11]")
    one, two, three, four = (_octets(part, word) for part in parts)
    if one != {_LOCAL}:
        raise ValueError(f"{word}: zones answer with addresses that begin with 127")
    return one, two, three, four


def _octets(part: str, word: str) -> Octets:
    ranges = part[1:-1].split(";") if part[:1] == "[" and part[-1:] == "]" else [part]
    found: set[int] = set()
    for text in ranges:
        first, dots, last = text.partition("..")
        low, high = _octet(first, word), _octet(last if dots else first, word)
        if low > high:
            raise ValueError(f"{word}: {text} is no range")
        found.update(range(low, high + 1))
    return frozenset(found)


def _octet(text: str, word: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 3 or int(text) > 255:
        raise ValueError(f"{word} is not a pattern such as 127.0.0.[2..11]")
    return int(text)


def listing_of(answer: tuple[bytes, ...] | None, codes: tuple[Pattern, ...]) -> Listing:
    """Judge the A records of a zone's answer: () if there are none, None after an error."""
    if answer is None or any(map(_is_error, answer)):
        return Listing.UNKNOWN
    for code in answer:
        if any(all(map(frozenset.__contains__, pattern, code)) for pattern in codes):
            return Listing.LISTED
    return Listing.NOT_LISTED


def _is_error(code: bytes) -> bool:
    return (
        len(code) != IPV4_BYTES
        or code[0] != _LOCAL
        or code.startswith(_BLOCKED)
        or code in (_NEVER_LISTED, _OVER_QUOTA)
    )
