"""What an entry of the lists may name: clients, senders or recipients, each kind on its own.

Names are canonical (`core.address`): lower case, and a domain in its `xn--` form. The kind of a
subject is a word that stores, JSON and the log use alike.
"""

from __future__ import annotations

from collections.abc import Callable

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

    @property
    def kind(self) -> str:
        """Return the word for what it names."""
        return NETWORK


@value
class ClientName:
    """A client by a confirmed name: this name, and all names below it."""

    name: str

    @property
    def kind(self) -> str:
        """Return the word for what it names."""
        return CLIENT_NAME

    def __str__(self) -> str:
        return self.name


@value
class SenderMailbox:
    """One envelope sender."""

    name: str

    @property
    def kind(self) -> str:
        """Return the word for what it names."""
        return SENDER

    def __str__(self) -> str:
        return self.name


@value
class SenderDomain:
    """All envelope senders of a domain; with `below`, also those of domains below it."""

    name: str
    below: bool = False

    @property
    def kind(self) -> str:
        """Return the word for what it names."""
        return SENDER_DOMAINS if self.below else SENDER_DOMAIN

    def __str__(self) -> str:
        return self.name


@value
class RecipientMailbox:
    """One recipient."""

    name: str

    @property
    def kind(self) -> str:
        """Return the word for what it names."""
        return RECIPIENT

    def __str__(self) -> str:
        return self.name


@value
class Domain:
    """A recipient domain (all of the recipient, where it has no `@`).

    With `below`, also the domains below it.
    """

    name: str
    below: bool = False

    @property
    def kind(self) -> str:
        """Return the word for what it names."""
        return DOMAINS if self.below else DOMAIN

    def __str__(self) -> str:
        return self.name


NETWORK, CLIENT_NAME = "network", "client-name"
SENDER, SENDER_DOMAIN, SENDER_DOMAINS = "sender", "sender-domain", "sender-domain-and-below"
RECIPIENT, DOMAIN, DOMAINS = "recipient", "domain", "domain-and-below"

Named = ClientName | SenderMailbox | SenderDomain | RecipientMailbox | Domain
Subject = Network | Named

_MADE: dict[str, Callable[[str], Named]] = {
    CLIENT_NAME: ClientName,
    SENDER: SenderMailbox,
    SENDER_DOMAIN: SenderDomain,
    SENDER_DOMAINS: lambda name: SenderDomain(name, below=True),
    RECIPIENT: RecipientMailbox,
    DOMAIN: Domain,
    DOMAINS: lambda name: Domain(name, below=True),
}
_OF_SENDER, _OF_RECIPIENT = (SenderMailbox, SenderDomain), (RecipientMailbox, Domain)


def named(kind: str, name: str) -> Named:
    """Return the subject of a kind that has this canonical name. KeyError: there is no such."""
    return _MADE[kind](name)


def of_sender(subject: Subject) -> bool:
    """Tell whether a subject names senders. Anybody can claim to be one."""
    return isinstance(subject, _OF_SENDER)


def of_recipient(subject: Subject) -> bool:
    """Tell whether a subject names recipients: mail TO it is meant."""
    return isinstance(subject, _OF_RECIPIENT)


def parse_subject(text: str, *, domain: bool = False, mask: bool = False) -> Subject:
    """Read what an admin typed: an address, a CIDR range or a recipient domain.

    With `domain`, any name is a domain, also one without a dot. With `mask`, the host bits of a
    range are cleared; else a range that has some is an error. Raises ValueError with what was
    expected. The old plugin stored wrong values as rows that never match (its fault 6 in
    docs/inside/properties.md).
    """
    text = text.strip()
    if not text:
        raise ValueError(f"expected {EXPECTED}, got an empty text")
    if not domain and numeric(text):
        return _network(text, mask=mask)
    return _domain(text, dotted=not domain)


def numeric(text: str) -> bool:
    """Tell whether a text is meant as an address or a range, and not as a name."""
    return "/" in text or ":" in text or text.rpartition(".")[2].isdigit()


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
        raise ValueError(f"expected {EXPECTED}; {shown} is a mailbox")
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
