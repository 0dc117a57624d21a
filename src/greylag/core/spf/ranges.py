"""All addresses that a domain's SPF record passes, as far as they can be listed.

`ranges_of` is a generator like `check`: it yields queries, and is sent their answers. It walks
`ip4`, `ip6`, `a`, `mx`, `include` and `redirect`. Nobody is to be let in whom the record does not
pass, so what cannot be listed is left out, and told:

- `exists` and `ptr`, and whatever has a macro: they depend on the client;
- `all`; ranges wider than /12 (IPv4) or /24 (IPv6), see `core.spf`; and addresses that no host on
  the internet has, or that stand for an address of the other family;
- what the record refuses before (`-ip4:192.0.2.1 ip4:192.0.2.0/24`). Where nobody can list whom a
  term refuses, the rest of that record is left out.

A record that has a fault, or of which a part could not be asked for, has no ranges at all: a part
of them would look like a change. The bounds are those of `core.spf`, and `MOST_RANGES`.
"""

from __future__ import annotations

from greylag.core.client import IPV4_BYTES, network, on_the_internet
from greylag.core.names import host_name
from greylag.core.spf import MOST_TERMS, MOST_TEXT, WIDEST_IN_ALL
from greylag.core.spf.macro import RecordError, Spec, fill
from greylag.core.spf.questions import MOST_ADDRESSES, MOST_HOSTS, Ended, Questions, names_of
from greylag.core.spf.record import (
    LOOKS_UP,
    WIDEST_IPV4,
    WIDEST_IPV6,
    Record,
    Term,
    is_record,
    parse_record,
)
from greylag.core.subject import Network
from greylag.core.value import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from greylag.core.spf.questions import Steps

MOST_RANGES = 4000  # of one domain; the longest records of big senders have some hundred
_MOST_REFUSED = 64  # ranges of one record: each is compared with all that follow
_MOST_TOLD, _LONGEST_TOLD = 20, 80  # terms that are left out; characters of each


@value
class Ranges:
    """What a domain's record passes: ranges that do not overlap, in their order."""

    networks: tuple[Network, ...] = ()
    left_out: tuple[str, ...] = ()  # terms, and why
    error: str = ""  # why there are no ranges
    is_unanswered: bool = False  # because DNS gave no answer: it may later


def ranges_of(domain: str) -> Steps[Ranges]:
    """Return the ranges that the SPF record of a domain passes."""
    name = host_name(domain.encode("utf-8", "replace"))
    if name is None:
        return Ranges(error=f"{domain[:_LONGEST_TOLD]!r} is no domain")
    walk = _Walk()
    try:
        yield from walk.record(name, ())
        networks = joined(walk.found)
        walk.check_width(networks)
    except _Fault as fault:
        return Ranges((), walk.told(), str(fault), isinstance(fault, _NoAnswer))
    except Ended:  # of all that ends a check, only its bounds can end this
        return Ranges((), walk.told(), "the record needs too many look-ups")
    error = "" if networks else f"the record of {name} has no ranges"
    return Ranges(networks, walk.told(), error)


def joined(networks: Iterable[Network]) -> tuple[Network, ...]:
    """Return ranges in their order, without those that lie inside of another."""
    kept: list[Network] = []
    for found in sorted(set(networks), key=lambda n: (len(n.packed), n.packed, n.prefix)):
        if not kept or not _holds(kept[-1], found):
            kept.append(found)
    return tuple(kept)


def addresses_in(networks: Iterable[Network], size: int) -> int:
    """Return how many addresses of one family (packed in so many bytes) are in joined ranges."""
    return sum(1 << (8 * size - n.prefix) for n in networks if len(n.packed) == size)


def _holds(outer: Network, inner: Network) -> bool:
    same = len(outer.packed) == len(inner.packed) and outer.prefix <= inner.prefix
    return same and network(inner.packed, outer.prefix) == outer.packed


class _Fault(Exception):
    """The walk ends: there are no ranges."""


class _NoAnswer(_Fault):
    """A question was not answered."""


class _Walk(Questions):
    """What was found so far."""

    def __init__(self) -> None:
        super().__init__(bytes(IPV4_BYTES))  # nobody's: no question is about a client
        self.found: list[Network] = []
        self.left_out: dict[str, None] = {}
        self.more = 0
        self.terms = self.text = 0

    def told(self) -> tuple[str, ...]:
        """Return the terms that were left out."""
        more = (f"and {self.more} more",) if self.more else ()
        return (*self.left_out, *more)

    def leave_out(self, text: str, why: str) -> None:
        """Tell that a term is left out. There may be thousands."""
        told = f"{text[:_LONGEST_TOLD]} ({why})"
        if len(self.left_out) < _MOST_TOLD:
            self.left_out[told] = None
        elif told not in self.left_out:
            self.more += 1

    def ask(self, name: str, kind: str) -> Steps[tuple[bytes, ...]]:
        """Ask DNS; without an answer there are no ranges."""
        answer = yield self.query(name, kind)
        if answer is None:
            raise _NoAnswer(f"DNS gives no answer about {name}")
        return answer

    def check_width(self, networks: tuple[Network, ...]) -> None:
        """Refuse many ranges that are together far wider than one may be."""
        for size, widest in ((IPV4_BYTES, WIDEST_IPV4), (16, WIDEST_IPV6)):
            if addresses_in(networks, size) > WIDEST_IN_ALL << (8 * size - widest):
                raise _Fault(f"its ranges are together wider than {WIDEST_IN_ALL} /{widest}")

    def record(self, domain: str, refused: tuple[Network, ...]) -> Steps[None]:
        """Walk the record of a domain. What lies in `refused` was refused before."""
        record = yield from self.ask_record(domain)
        for term in record.terms:
            known = yield from self.term(term, domain, refused)
            if known is None:
                return
            refused = known
        if record.redirect is None:
            return
        self.looks_up()
        if _has_macros(record.redirect):
            self.leave_out("redirect", "it has a macro")
            return
        yield from self.record(_target(record.redirect), refused)

    def term(
        self, term: Term, domain: str, refused: tuple[Network, ...]
    ) -> Steps[tuple[Network, ...] | None]:
        """Walk a term; return what is refused after it, or None if nothing after it counts."""
        if term.name in LOOKS_UP:
            self.looks_up()
        why = _not_listable(term)
        if term.name == "all":
            if term.qualifier == "+":
                self.leave_out(term.text, "it passes everybody")
            return None
        if term.qualifier != "+":
            if why or len(refused) >= _MOST_REFUSED:
                self.leave_out(term.text, "it refuses some, and what is after it is left out")
                return None
            return refused + (yield from self.networks(term, domain))
        if why:
            self.leave_out(term.text, why)
        elif term.name == "include":
            yield from self.record(_target(term.spec), refused)
        else:
            self.add(term, (yield from self.networks(term, domain)), refused)
        return refused

    def ask_record(self, domain: str) -> Steps[Record]:
        """Return the record of a domain: without one, there is a fault in what led to it."""
        answer = yield from self.ask(domain, "TXT")
        texts = [text for text in answer if is_record(text)]
        if len(texts) != 1:
            raise _Fault(f"{domain} has {'several SPF records' if texts else 'no SPF record'}")
        self.text += len(texts[0])
        try:
            if self.text > MOST_TEXT:
                raise RecordError
            record = parse_record(texts[0])
        except RecordError:
            raise _Fault(f"the SPF record of {domain} is faulty, or too long") from None
        self.terms += len(record.terms)
        if self.terms > MOST_TERMS:
            raise _Fault("the record has too many terms")
        return record

    def networks(self, term: Term, domain: str) -> Steps[tuple[Network, ...]]:
        """Return the ranges of a term of `ip4`, `ip6`, `a` or `mx`."""
        if term.network:
            addresses: tuple[bytes, ...] = (term.network,)
        else:
            target = domain if term.spec is None else _target(term.spec)
            hosts = (target,) if term.name == "a" else (yield from self.hosts(target))
            addresses = ()
            for host in hosts:
                addresses += yield from self.addresses(host)
        found: dict[Network, None] = {}
        for address in addresses:
            prefix = term.prefix_for(address)
            found[Network(network(address, prefix), prefix)] = None
        return tuple(found)

    def hosts(self, domain: str) -> Steps[tuple[str, ...]]:
        """Return the hosts of a domain's MX."""
        hosts = yield from self.term_query(domain, "MX")
        if len(hosts) > MOST_HOSTS:
            raise _Fault(f"{domain} has too many MX")
        return tuple(names_of(hosts))

    def addresses(self, host: str) -> Steps[tuple[bytes, ...]]:
        """Return the addresses of a host, of both families. To have those of one is enough."""
        six = (yield from self.ask(host, "AAAA"))[:MOST_ADDRESSES]
        four = yield from (self.ask(host, "A") if six else self.term_query(host, "A"))
        return (*(one for one in six if len(one) == 16), *_ipv4(four[:MOST_ADDRESSES]))

    def add(self, term: Term, networks: tuple[Network, ...], refused: tuple[Network, ...]) -> None:
        """Take ranges over that may be let in."""
        for found in networks:
            widest = WIDEST_IPV4 if len(found.packed) == IPV4_BYTES else WIDEST_IPV6
            if found.prefix < widest:
                self.leave_out(term.text, f"wider than /{widest}")
            elif not on_the_internet(found.packed, found.prefix):
                self.leave_out(term.text, "not on the internet")
            elif any(_holds(one, found) or _holds(found, one) for one in refused):
                self.leave_out(term.text, "some of it was refused before")
            else:
                self.found.append(found)
        if len(self.found) > MOST_RANGES:
            raise _Fault("the record has too many ranges")


def _not_listable(term: Term) -> str:
    """Return why nobody can list whom a term passes; "" if it can be done."""
    if term.name in ("exists", "ptr"):
        return "it depends on the client"
    if term.spec is not None and _has_macros(term.spec):
        return "it has a macro"
    if term.name == "include" and term.qualifier != "+":
        return "it refuses"
    return ""


def _ipv4(addresses: tuple[bytes, ...]) -> Iterator[bytes]:
    return (address for address in addresses if len(address) == IPV4_BYTES)


def _has_macros(spec: Spec) -> bool:
    return any(not isinstance(part, str) for part in spec)


def _target(spec: Spec | None) -> str:
    name = fill(spec or (), {})
    if name is None:
        raise _Fault("the record names a domain that cannot be")
    return name
