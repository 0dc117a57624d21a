"""The lists: what an entry names, which entries speak about an attempt, and which one decides.

The precedence is that of reasons.md, "The lists": addresses, names of clients, senders, then
recipients; a mailbox before its domain, the longest prefix and the longest name first. Of entries
for the same subject, the one with the highest number decides. Stores number them so that this is
the newest. In the old tables it is the first row, as in the old program.

What an entry needs and is not known does not speak. A name of a client counts only where it is
confirmed. Anybody can claim to be any sender: an entry that lets a sender in speaks only where SPF
passed, or where the admin said that a forged one may come in, too (`spoofable`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import Enum

from greylag.core.client import network, translated
from greylag.core.evidence import Kind
from greylag.core.subject import (
    CLIENT_NAME,
    DOMAIN,
    DOMAINS,
    RECIPIENT,
    SENDER,
    SENDER_DOMAIN,
    SENDER_DOMAINS,
    ClientName,
    Network,
    RecipientMailbox,
    SenderDomain,
    SenderMailbox,
    Subject,
    of_sender,
)
from greylag.core.value import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeAlias

    from greylag.core.question import Question

    Asked: TypeAlias = "Question | Seen"  # what is known of an attempt

OF_PROVIDERS = "provider:"  # how the origin of a range of big senders begins; their names follow
NEVER = 253402300799  # 9999-12-31 23:59:59 UTC, as the old tables write "never ends"


class Purpose(Enum):
    """What an entry is for. One subject has one entry for each of them."""

    ACCESS = "access"  # it lets in, or refuses
    EXPECTED = "expected"  # this mailbox expects mail for a time
    TRAP = "trap"  # nobody writes to this mailbox who means well
    PROVIDER = "provider"  # the range is of a big sender's servers

    __hash__ = object.__hash__


_ACCESS = Purpose.ACCESS  # looking a member up in its class costs several times as much


@value
class Entry:
    """One entry of the lists: it denies until `denied_until`, then allows until `expires`."""

    subject: Subject
    denied_until: int  # 0 for an entry that only allows
    expires: int = NEVER
    comment: str = ""
    created: int = 0
    number: int = 0  # given by the store: of entries for one subject the highest decides
    rank: int | None = None  # given by the store where it is not that of the subject
    purpose: Purpose = _ACCESS
    origin: str = ""  # who brought it: nothing for an admin, the name of a file or of a provider
    spoofable: bool = False  # of a sender that is let in: also where SPF did not pass

    @property
    def key(self) -> tuple[Purpose, Subject]:
        """What there is one entry for."""
        return self.purpose, self.subject

    def live(self, now: int) -> bool:
        """Tell whether the entry still counts."""
        return now < self.expires

    def denies(self, now: int) -> bool:
        """Tell a denylist entry from an allowlist entry."""
        return now < self.denied_until


@value
class Seen:
    """What is known of an attempt, as far as entries may ask for it. Names are canonical."""

    client: bytes = b""  # packed; the IPv4 address where it is embedded in an IPv6 address
    domain: str = ""  # of the recipient
    recipient: str = ""
    sender: str = ""
    names: tuple[str, ...] | None = None  # confirmed names of the client; None: not known
    spf_passed: bool | None = None  # for the sender; None: not known
    carrier: bytes = b""  # the IPv6 address that the client's IPv4 address was embedded in


def networks_around(client: bytes) -> list[Network]:
    """Return every network that a packed address lies in, the narrowest first.

    A store looks these up (33 or 129 keys) to find the entries that may match. So the cost does
    not grow with the lists.
    """
    size, number = len(client), int.from_bytes(client, "big")
    return [
        Network((number >> host << host).to_bytes(size, "big"), 8 * size - host)
        for host in range(8 * size + 1)
    ]


def addresses_of(asked: Asked) -> tuple[bytes, ...]:
    """Return the packed addresses by which entries may name a client."""
    return (asked.client, asked.carrier) if asked.carrier else (asked.client,)


def parents(name: str) -> Iterator[str]:
    """Yield a name and all domains that it is below, the longest first."""
    while name:
        yield name
        name = name.partition(".")[2]


def _sender_domain(asked: Asked) -> str:
    return asked.sender.rpartition("@")[2].removesuffix(".")


# By which names entries of a kind can be found for an attempt.
NAMES_OF: dict[str, Callable[[Asked], Iterable[str]]] = {
    CLIENT_NAME: lambda asked: (part for name in asked.names or () for part in parents(name)),
    SENDER: lambda asked: (asked.sender.removesuffix("."),),
    SENDER_DOMAIN: lambda asked: (_sender_domain(asked),),
    SENDER_DOMAINS: lambda asked: parents(_sender_domain(asked)),
    RECIPIENT: lambda asked: (asked.recipient.removesuffix("."),),
    DOMAIN: lambda asked: (asked.domain,),
    DOMAINS: lambda asked: parents(asked.domain),
}


def speaks_for(subject: Subject, asked: Asked) -> bool:
    """Tell whether an entry's subject names the client, the sender or the recipient."""
    if isinstance(subject, Network):
        return _lies_in(asked.carrier or asked.client, subject)
    # An empty name is a bad row, and no name of a null sender.
    return bool(subject.name) and subject.name in NAMES_OF[subject.kind](asked)


def _lies_in(client: bytes, subject: Network) -> bool:
    if not subject.sound:
        return False  # a bad row of the database: it alone is ignored
    same_family = len(subject.packed) == len(client)
    return same_family and network(client, subject.prefix) == subject.packed


def last_word(entries: list[Entry], asked: Asked, now: int) -> Entry | None:
    """Return the entry that lets in or refuses, or None.

    The entry that decides is found for each address of the client (see `Seen.carrier`), and a
    denial of either goes first.
    """
    if not entries:
        return None
    live = [entry for entry in entries if entry.purpose is _ACCESS and entry.live(now)]
    word = _last(live, asked, now)
    inside = _of_address(live, asked.client) if asked.carrier else None
    # An allowlist entry for the IPv4 address counts behind NAT64 alone, a translator of our own.
    # Anybody can run a relay of 6to4 or Teredo, and use addresses of others.
    if inside is None or not (inside.denies(now) or translated(asked.carrier)):
        return word
    if word is None or not isinstance(word.subject, Network):
        return inside
    return word if word.denies(now) or not inside.denies(now) else inside


_NOTHING: frozenset[Kind] = frozenset()


def wants(entries: list[Entry], asked: Asked, now: int) -> frozenset[Kind]:
    """Return the evidence that would let an entry speak that goes before the last word.

    `matching` returns some entry for a name of a client where names are not known: that there is
    any is enough to ask for them.
    """
    if not entries:
        return _NOTHING
    word = last_word(entries, asked, now)
    lowest = -1 if word is None else rank_of(word)
    higher = [entry for entry in entries if entry.purpose is _ACCESS and rank_of(entry) > lowest]
    wanted = set()
    if asked.names is None and any(isinstance(e.subject, ClientName) for e in higher):
        wanted.add(Kind.NAMES)
    if asked.spf_passed is None and any(
        of_sender(e.subject) and e.live(now) and speaks_for(e.subject, asked) for e in higher
    ):
        wanted.add(Kind.SPF)
    return frozenset(wanted) if wanted else _NOTHING


def expected(entries: list[Entry], asked: Asked, now: int) -> Entry | None:
    """Return the entry that says that the recipient expects mail, or None."""
    return _last(_live(entries, Purpose.EXPECTED, now), asked, now)


def trap(entries: list[Entry], asked: Asked, now: int) -> Entry | None:
    """Return the entry that says that the recipient is a trap, or None."""
    return _last(_live(entries, Purpose.TRAP, now), asked, now)


def provider(entries: list[Entry], asked: Asked, now: int) -> Entry | None:
    """Return the narrowest entry that says whose server the client is, or None.

    Its IPv4 address inside an IPv6 address counts behind NAT64 alone, as for the lists. Ranges
    alone speak: what has a name is what is known of the provider itself (`service.providers`).
    """
    live = _live(entries, Purpose.PROVIDER, now)
    word = _of_address(live, asked.carrier or asked.client) if live else None
    if word is None and translated(asked.carrier):
        word = _of_address(live, asked.client)
    return word


def _live(entries: list[Entry], purpose: Purpose, now: int) -> list[Entry]:
    return [entry for entry in entries if entry.purpose is purpose and entry.live(now)]


def _last(live: list[Entry], asked: Asked, now: int) -> Entry | None:
    speaking = [entry for entry in live if _speaks(entry, asked, now)]
    return max(speaking, key=_precedence, default=None)


def _speaks(entry: Entry, asked: Asked, now: int) -> bool:
    subject = entry.subject
    if isinstance(subject, Network):  # nearly every entry
        return _lies_in(asked.carrier or asked.client, subject)
    if not speaks_for(subject, asked):
        return False
    known = not of_sender(subject) or asked.spf_passed is True
    return known or entry.spoofable or entry.denies(now)


def _of_address(live: list[Entry], client: bytes) -> Entry | None:
    speaking = [e for e in live if isinstance(e.subject, Network) and _lies_in(client, e.subject)]
    return max(speaking, key=_precedence, default=None)


def speaking_of(entries: Iterable[Entry]) -> dict[tuple[Purpose, Subject], Entry]:
    """Return the entry that decides for each key. The old tables may have several for one."""
    found: dict[tuple[Purpose, Subject], Entry] = {}
    for entry in entries:
        if entry.key not in found or entry.number > found[entry.key].number:
            found[entry.key] = entry
    return found


# Ranks: the kinds lie further apart than the longest name or prefix of one kind.
_STEP = 1000
_DOMAINS, _RECIPIENTS, _BESIDE, _SENDER_DOMAINS, _SENDERS, _NAMES, _ADDRESSES = range(
    0, 7 * _STEP, _STEP
)


def rank_beside(prefix: int) -> int:
    """Return the rank of a row of the old tables that names an address and a domain.

    It is below rows with an address alone, and above rows with a domain alone.
    """
    return _BESIDE + prefix


def rank_of(entry: Entry) -> int:
    """Return how early the kind and the width of an entry let it speak: the highest decides."""
    subject = entry.subject
    if entry.rank is not None:
        return entry.rank
    if isinstance(subject, Network):
        return _ADDRESSES + subject.prefix
    if isinstance(subject, ClientName):
        return _NAMES + len(subject.name)
    if isinstance(subject, SenderMailbox):
        return _SENDERS
    if isinstance(subject, RecipientMailbox):
        return _RECIPIENTS
    base = _SENDER_DOMAINS if isinstance(subject, SenderDomain) else _DOMAINS
    return base + 2 * len(subject.name) + (not subject.below)


def _precedence(entry: Entry) -> tuple[int, int]:
    return rank_of(entry), entry.number
