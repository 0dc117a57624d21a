"""What a check of SPF may ask of DNS, and how much of it (RFC 7208, 4.6.4)."""

from __future__ import annotations

from collections import namedtuple
from enum import Enum

from greylag.core.client import IPV4_BYTES
from greylag.core.names import is_below, name_of, reverse_name
from greylag.core.spf.macro import printable

Answer = tuple[bytes, ...] | None  # records; () for none or no such name; None for an error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from typing import TypeVar

    T = TypeVar("T")
    Steps = Generator["Query", Answer, T]

MOST_LOOKUPS, MOST_VOID, MOST_HOSTS, MOST_POINTERS = 10, 2, 10, 10  # RFC 7208, 4.6.4
MOST_QUERIES = 64  # the RFC's limits allow 121; real records need 20
MOST_ADDRESSES = 256  # of one name; a DNS answer may have thousands


class Result(Enum):
    """The results of RFC 7208, 2.6."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


# `typing.NamedTuple` would import typing, which takes some milliseconds.
class Query(namedtuple("Query", ("name", "kind"))):  # noqa: PYI024
    """A question to DNS: a name in lower case without its last dot, and a type."""

    __slots__ = ()
    name: str  # visible ASCII and spaces; split at the dots, each part is a label
    kind: str  # TXT, A, AAAA, MX, PTR


class Ended(Exception):
    """The whole check ends here, however deep."""

    def __init__(self, result: Result) -> None:
        super().__init__(result)
        self.result = result


class Questions:
    """What was asked in one check, and what is known of the client."""

    def __init__(self, client: bytes) -> None:
        self.client = client
        self.kind = "A" if len(client) == IPV4_BYTES else "AAAA"
        self.queries = self.lookups = self.void = 0
        self.term_is_void = False  # the term that is being looked up found nothing somewhere
        self.pointers: tuple[str, ...] | None = None
        self.confirmed: dict[str, bool] = {}

    def has_name_below(self, target: str) -> Steps[bool]:
        """Tell whether a confirmed name of the client is the target or below it (5.5)."""
        for name in (yield from self.client_names()):
            if is_below(name, target) and (yield from self.is_confirmed(name)):
                return True
        return False

    def client_name(self, domain: str) -> Steps[str]:
        """Return what the macro `p` stands for (7.3)."""
        names = yield from self.client_names()
        for name in sorted(names, key=lambda name: (name != domain, not is_below(name, domain))):
            if (yield from self.is_confirmed(name)):
                return name
        return "unknown"

    def client_names(self) -> Steps[tuple[str, ...]]:
        """Return the first names of the client, asked for once."""
        if self.pointers is None:
            answer = yield self.query(reverse_name(self.client), "PTR")
            self.pointers = tuple(names_of((answer or ())[:MOST_POINTERS]))
        return self.pointers

    def is_confirmed(self, name: str) -> Steps[bool]:
        """Tell whether a name of the client leads back to it. An error means no (5.5)."""
        if name not in self.confirmed:
            answer = yield self.query(name, self.kind)
            self.confirmed[name] = self.client in (answer or ())
        return self.confirmed[name]

    def looks_up(self) -> None:
        """Count a term that asks DNS (4.6.4)."""
        self.lookups += 1
        self.term_is_void = False
        if self.lookups > MOST_LOOKUPS:
            raise Ended(Result.PERMERROR)

    def term_query(self, name: str, kind: str) -> Steps[tuple[bytes, ...]]:
        """Ask for a term: few terms may be without an answer (4.6.4).

        That of `mx` counts once, however many of its hosts have no address of the client's family.
        """
        answer = yield from self.ask(name, kind)
        if not answer and not self.term_is_void:
            self.term_is_void = True
            self.void += 1
            if self.void > MOST_VOID:
                raise Ended(Result.PERMERROR)
        return answer[:MOST_ADDRESSES]

    def ask(self, name: str, kind: str) -> Steps[tuple[bytes, ...]]:
        """Ask what the result depends on: an error ends the check."""
        answer = yield self.query(name, kind)
        if answer is None:
            raise Ended(Result.TEMPERROR)
        return answer

    def query(self, name: str, kind: str) -> Query:
        """Return what DNS is to be asked, and count it."""
        self.queries += 1
        if self.queries > MOST_QUERIES:
            raise Ended(Result.PERMERROR)
        return Query(name, kind)


def names_of(raw: tuple[bytes, ...]) -> Iterator[str]:
    """Return the records of an answer that are names."""
    for record in raw:
        text = printable(record.removesuffix(b"."))
        name = name_of(text) if text is not None else None
        if name is not None:
            yield name
