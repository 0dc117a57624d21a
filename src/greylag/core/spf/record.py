"""SPF records: from the text of a TXT record to its terms (RFC 7208, 4.5 to 6, and 12)."""

from __future__ import annotations

from functools import lru_cache

from greylag.core.client import IPV4_BYTES, IPV6_BYTES, network, parse_address
from greylag.core.spf.macro import RecordError, Spec, check_macros, parse_spec
from greylag.core.value import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = b"v=spf1"
# RFC 7208, 3.4 asks for less than 512 bytes. The longest of big senders have some thousand.
MOST_BYTES = 16 * 1024
_KEPT, _LONGEST_KEPT = 512, 1024  # records, and bytes of one: hostile domains publish some, too
_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291, 2.5.5.2
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz")
_IN_NAMES = _LETTERS | frozenset("0123456789-_.")
_IPV4_BITS, _IPV6_BITS = 32, 128
LOOKS_UP = frozenset(("include", "a", "mx", "ptr", "exists"))  # 4.6.4
# A wider range makes no identity. Bits; big senders publish /14 and /32.
WIDEST_IPV4, WIDEST_IPV6 = 12, 24


@value
class Term:
    """A directive: a qualifier (`+`, `-`, `~`, `?`) and a mechanism."""

    text: str
    qualifier: str
    name: str
    spec: Spec | None = None  # None: the domain that the record is of
    network: bytes = b""  # of ip4 and ip6; host bits cleared
    ipv4_prefix: int = _IPV4_BITS
    ipv6_prefix: int = _IPV6_BITS

    def prefix_for(self, packed: bytes) -> int:
        """Return the bits of a packed address that are compared."""
        return self.ipv4_prefix if len(packed) == IPV4_BYTES else self.ipv6_prefix

    def width_for(self, packed: bytes) -> int:
        """Return how many addresses of a packed address's family a range of the term has.

        0 where it is too wide for an identity, or passes nobody.
        """
        widest = WIDEST_IPV4 if len(packed) == IPV4_BYTES else WIDEST_IPV6
        prefix = self.prefix_for(packed)
        return 1 << (8 * len(packed) - prefix) if self.qualifier == "+" and prefix >= widest else 0


@value
class Record:
    """The terms in their order, and what follows when none of them matches."""

    terms: tuple[Term, ...]
    redirect: Spec | None
    widths: Mapping[int, int]  # of its ip4 and ip6 together, by the bytes of an address


def is_record(text: bytes) -> bool:
    """Tell whether a TXT record is one of SPF (4.5)."""
    return text[: len(VERSION) + 1].lower().rstrip(b" ") == VERSION


def parse_record(raw: bytes) -> Record:
    """Return a parsed record (4.5, 12). Raises RecordError for what is no valid record.

    The short ones that were asked for last are kept: big senders' are needed again and again.
    """
    return _kept(raw) if len(raw) <= _LONGEST_KEPT else _parse(raw)


def _parse(raw: bytes) -> Record:
    """Parse a record whole: a fault anywhere is a fault of the record (4.6)."""
    if len(raw) > MOST_BYTES or not raw.isascii():
        raise RecordError("too long, or not ASCII")
    text = raw.decode("ascii")
    if not text.isprintable():
        raise RecordError("control characters")
    terms: list[Term] = []
    once: dict[str, Spec] = {}
    for word in text[len(VERSION) :].split(" "):
        if not word:
            continue
        name, equals, content = word.partition("=")
        if not equals or ":" in name or "/" in name:
            terms.append(_directive(word))
            continue
        name = name.lower()
        if name[:1] not in _LETTERS or not _IN_NAMES.issuperset(name):
            raise RecordError(word)
        if name not in ("redirect", "exp"):
            check_macros(content)
        elif name in once:
            raise RecordError(word)
        else:
            once[name] = parse_spec(content)
    return Record(tuple(terms), once.get("redirect"), _widths(terms))


def _widths(terms: list[Term]) -> dict[int, int]:
    widths = {IPV4_BYTES: 0, IPV6_BYTES: 0}
    for term in terms:
        if term.network:
            widths[len(term.network)] += term.width_for(term.network)
    return widths


_kept = lru_cache(_KEPT)(_parse)


def _directive(word: str) -> Term:
    qualifier = word[0] if word[0] in "+-~?" else "+"
    body = word.removeprefix(qualifier)
    end = min(at for at in (body.find(":"), body.find("/"), len(body)) if at >= 0)
    name, rest = body[:end].lower(), body[end:]
    if name in ("a", "mx"):
        rest, ipv4_prefix, ipv6_prefix = _without_prefixes(rest)
        spec = _after_colon(rest) if rest else None
        return Term(word, qualifier, name, spec, b"", ipv4_prefix, ipv6_prefix)
    if name in ("ip4", "ip6"):
        return _network(word, qualifier, name, rest)
    if name in ("include", "exists"):
        return Term(word, qualifier, name, _after_colon(rest))
    if name == "ptr":
        return Term(word, qualifier, name, _after_colon(rest) if rest else None)
    if name != "all" or rest:
        raise RecordError(word)
    return Term(word, qualifier, name)


def _after_colon(rest: str) -> Spec:
    if not rest.startswith(":"):
        raise RecordError(rest)
    return parse_spec(rest[1:])


def _without_prefixes(rest: str) -> tuple[str, int, int]:
    """Take `/24//64` off the end (5.6). A domain-spec may have slashes, too."""
    ipv4_prefix, ipv6_prefix = _IPV4_BITS, _IPV6_BITS
    head, slashes, digits = rest.rpartition("//")
    if slashes and digits.isdigit():
        rest, ipv6_prefix = head, _prefix(digits, _IPV6_BITS)
    head, slashes, digits = rest.rpartition("/")
    if slashes and digits.isdigit():
        rest, ipv4_prefix = head, _prefix(digits, _IPV4_BITS)
    return rest, ipv4_prefix, ipv6_prefix


def _prefix(digits: str, most: int) -> int:
    if (
        not (digits.isascii() and digits.isdecimal())
        or len(digits) > 3
        or (digits[0] == "0" and digits != "0")
    ):
        raise RecordError(digits)
    prefix = int(digits)
    if prefix > most:
        raise RecordError(digits)
    return prefix


def _network(word: str, qualifier: str, name: str, rest: str) -> Term:
    text, slash, digits = rest[1:].partition("/")
    of_ipv6 = name == "ip6"
    if rest[:1] != ":" or (":" in text) is not of_ipv6 or "%" in text:
        raise RecordError(word)
    packed = parse_address(text.encode("ascii"))
    if packed is None:
        raise RecordError(word)
    most = _IPV6_BITS if of_ipv6 else _IPV4_BITS
    prefix = _prefix(digits, most) if slash else most
    if of_ipv6 and len(packed) == IPV4_BYTES:
        packed = _MAPPED + packed  # such a client is an IPv4 client (5), so only a wide one matches
    return Term(word, qualifier, name, None, network(packed, prefix), prefix, prefix)
