"""SPF (RFC 7208): may a client send for a domain? Without I/O: whoever asks, asks DNS, too.

`check` is a generator. It yields a `Query` and is sent the answer; it returns an `Outcome`:

    steps = check(client, sender, helo)
    answer = None
    while True:
        try:
            query = steps.send(answer)
        except StopIteration as end:
            return end.value
        answer = ...  # the records as bytes; () for none or no such name; None for an error

Records are sent as bytes: the joined strings of a TXT record, packed addresses, the names of MX
(without their preference) and PTR records. Explanations (`exp`) are checked, but not asked for.

What a hostile record can cost is bounded: 10 terms that look up and 2 of them without a record
(4.6.4), 10 hosts of an MX, 10 names of a client (of which the rest is ignored), and, beyond the
RFC, `MOST_QUERIES` queries, `MOST_TERMS` terms and `MOST_TEXT` bytes of records. More than that is
a permerror.

A pass makes the sender's domain an identity only if it is narrow:

- `all` passes everybody, and so do ranges wider than /12 (IPv4) or /24 (IPv6), or many ranges
  that are together four times as wide: a bot's domain would make of every bot one sender.
- `exists` passes whom the domain's own name server wants to pass. It is asked with the client's
  address in the name, so nobody can see how many these are.
- The same is true of `include`, `redirect`, `a` and `mx` if their domain contains the client's
  address or name, its HELO name or the sender's mailbox.
- `ptr` passes all customers of an access provider that gives their addresses names of its own.
"""

from __future__ import annotations

from functools import cached_property

from greylag.core.client import network
from greylag.core.names import address_labels, host_name, reverse_zone
from greylag.core.spf.macro import RecordError, Spec, fill, is_fixed, needs, printable
from greylag.core.spf.questions import (
    MOST_HOSTS,
    Answer,
    Ended,
    Query,
    Questions,
    Result,
    names_of,
)
from greylag.core.spf.record import (
    LOOKS_UP,
    WIDEST_IPV4,
    WIDEST_IPV6,
    Record,
    Term,
    is_record,
    parse_record,
)
from greylag.core.value import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.core.spf.questions import Steps

__all__ = ["Answer", "Outcome", "Query", "Result", "check"]

# In all records that are read; those of big senders have some hundred terms in some kB.
MOST_TERMS, MOST_TEXT = 2000, 32 * 1024
WIDEST_IN_ALL = 4  # times the widest
_RESULTS = {"+": Result.PASS, "-": Result.FAIL, "~": Result.SOFTFAIL, "?": Result.NEUTRAL}


@value
class Outcome:
    """What SPF says, and the terms that led to it, outermost first."""

    result: Result
    terms: tuple[str, ...] = ()
    narrow: bool = False  # it passed, and by a term that is no wider than an identity may be


def check(client: bytes, sender: bytes, helo: bytes) -> Steps[Outcome]:
    """Check whether a packed client address may use the domain of a raw envelope sender.

    For the null sender that is postmaster at the HELO name (2.4).
    """
    local, _at, domain = sender.rpartition(b"@") if sender else (b"", b"", helo)
    name = host_name(domain)  # 4.3
    if name is None:
        return Outcome(Result.NONE)
    checking = _Check(client, local or b"postmaster", name, helo)
    try:
        return (yield from checking.of(name))
    except Ended as end:
        return Outcome(end.result)


class _Check(Questions):
    """One check."""

    def __init__(self, client: bytes, local: bytes, domain: str, helo: bytes) -> None:
        super().__init__(client)
        self.local, self.domain, self.helo = local, domain, helo
        self.terms = self.text = 0
        widest = WIDEST_IPV4 if self.kind == "A" else WIDEST_IPV6
        self.most_width = WIDEST_IN_ALL << (8 * len(client) - widest)  # addresses
        self.width = 0  # of all that is narrow and was seen

    @cached_property
    def values(self) -> dict[str, str | None]:
        """Return what macros stand for."""
        mailbox = printable(self.local)
        return {
            "s": None if mailbox is None else f"{mailbox}@{self.domain}",
            "l": mailbox,
            "o": self.domain,
            "i": ".".join(address_labels(self.client)),
            "v": reverse_zone(self.client),
            "h": printable(self.helo),
            "p": None,
        }

    def of(self, domain: str) -> Steps[Outcome]:
        """Check a domain: the sender's, or one that a record leads to (4.6)."""
        record = self.record((yield from self.ask(domain, "TXT")))
        if record is None:
            return Outcome(Result.NONE)
        for term in record.terms:
            if term.name in LOOKS_UP:
                self.looks_up()
            if term.network:
                found = self.ranged(term)
            else:
                found = yield from self.match(term, domain)
            if found is not None:
                result = _RESULTS[term.qualifier]
                narrow = result is Result.PASS and found.narrow
                return Outcome(result, (term.text, *found.terms), narrow)
        if record.redirect is None:
            return Outcome(Result.NEUTRAL)
        self.looks_up()
        target = yield from self.target(record.redirect, domain)
        outcome = (yield from self.of(target)) if target else Outcome(Result.NONE)
        if outcome.result is Result.NONE:
            raise Ended(Result.PERMERROR)  # 6.1
        narrow = outcome.narrow and is_fixed(record.redirect)
        return Outcome(outcome.result, (f"redirect={target}", *outcome.terms), narrow)

    def record(self, texts: tuple[bytes, ...]) -> Record | None:
        """Return the record among the texts of a domain (4.4, 4.5)."""
        found = [text for text in texts if is_record(text)]
        if not found:
            return None
        self.text += len(found[0])
        if len(found) > 1 or self.text > MOST_TEXT:
            raise Ended(Result.PERMERROR)
        try:
            record = parse_record(found[0])
        except RecordError:
            raise Ended(Result.PERMERROR) from None
        self.terms += len(record.terms)
        if self.terms > MOST_TERMS:
            raise Ended(Result.PERMERROR)
        self.width += record.widths[len(self.client)]
        return record

    def match(self, term: Term, domain: str) -> Steps[Outcome | None]:
        """Match a term without a range (5): None, or whether it is narrow and what led to it."""
        if term.name == "all":
            return Outcome(Result.PASS)
        if term.spec is None:
            return (yield from self.asked(term, domain, fixed=True))
        target = yield from self.target(term.spec, domain)
        if target is not None:
            return (yield from self.asked(term, target, fixed=is_fixed(term.spec)))
        if term.name == "include":
            raise Ended(Result.PERMERROR)
        return None  # 4.8 leaves it open: no query, no match

    def asked(self, term: Term, target: str, *, fixed: bool) -> Steps[Outcome | None]:
        """Match a term that asks DNS about its target."""
        if term.name == "include":
            return (yield from self.include(target, fixed=fixed))
        if term.name == "exists":
            return Outcome(Result.PASS) if (yield from self.term_query(target, "A")) else None
        if term.name == "ptr":
            return Outcome(Result.PASS) if (yield from self.has_name_below(target)) else None
        if term.name == "a":
            found = yield from self.term_query(target, self.kind)
        else:
            found = yield from self.mail_hosts(target)
        addresses = [address for address in found if len(address) == len(self.client)]
        self.width += len(addresses) * term.width_for(self.client)
        prefix = term.prefix_for(self.client)
        ours = network(self.client, prefix)
        matches = any(network(address, prefix) == ours for address in addresses)
        return self.passed(term, fixed=fixed) if matches else None

    def ranged(self, term: Term) -> Outcome | None:
        """Match a term that has a range."""
        client, found = self.client, term.network
        if len(found) != len(client) or network(client, term.prefix_for(client)) != found:
            return None
        return self.passed(term, fixed=True)

    def passed(self, term: Term, *, fixed: bool) -> Outcome:
        """Return what a term is worth that has the client's address."""
        narrow = fixed and term.width_for(self.client) > 0 and self.width <= self.most_width
        return Outcome(Result.PASS, narrow=narrow)

    def include(self, target: str, *, fixed: bool) -> Steps[Outcome | None]:
        """Match if the target's record passes the client (5.2)."""
        outcome = yield from self.of(target)
        if outcome.result is Result.NONE:
            raise Ended(Result.PERMERROR)
        if outcome.result is not Result.PASS:
            return None
        return Outcome(Result.PASS, outcome.terms, narrow=outcome.narrow and fixed)

    def mail_hosts(self, target: str) -> Steps[tuple[bytes, ...]]:
        """Return the addresses of the hosts of a domain's MX (5.4)."""
        hosts = yield from self.term_query(target, "MX")
        if len(hosts) > MOST_HOSTS:
            raise Ended(Result.PERMERROR)
        addresses: tuple[bytes, ...] = ()
        for name in names_of(hosts):
            addresses += yield from self.term_query(name, self.kind)
        return addresses

    def target(self, spec: Spec, domain: str) -> Steps[str | None]:
        """Return the domain that a spec stands for."""
        values = self.values | {"d": domain}
        if needs(spec, "p"):
            values["p"] = yield from self.client_name(domain)
        return fill(spec, values)
