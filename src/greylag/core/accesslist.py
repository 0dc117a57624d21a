"""Allowlist and denylist: what an entry names, which entries match, and which one decides.

The precedence is that of docs/reasons.md, "The lists": entries for addresses go before entries for
recipient domains, and the longest prefix first. Of entries for the same subject, the one with the
highest number decides. Stores number them so that this is the newest. In the old tables it is the
first row, as in the old program.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from greylag.core.client import network, translated
from greylag.core.subject import Domain, Network, Subject
from greylag.core.value import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Facts = tuple[Any, ...]

NEVER = 253402300799  # 9999-12-31 23:59:59 UTC, as the old tables write "never ends"

_DOMAINS = -130  # the rank of entries for domains; those for addresses have their prefix, 0 to 128


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

    def live(self, now: int) -> bool:
        """Tell whether the entry still counts."""
        return now < self.expires

    def denies(self, now: int) -> bool:
        """Tell a denylist entry from an allowlist entry."""
        return now < self.denied_until


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


def speaks_for(subject: Subject, client: bytes, domain: str) -> bool:
    """Tell whether an entry's subject covers this client or recipient domain."""
    if isinstance(subject, Domain):
        return subject.name == domain
    if not subject.sound:
        return False  # a bad row of the database: it alone is ignored
    same_family = len(subject.packed) == len(client)
    return same_family and network(client, subject.prefix) == subject.packed


def last_word(
    entries: list[Entry], client: bytes, domain: str, now: int, carrier: bytes = b""
) -> Entry | None:
    """Return the entry that decides about a client and a recipient domain, or None.

    `carrier` is the IPv6 address that the client's IPv4 address was embedded in, if any. The entry
    that decides is found for each of the two addresses, and a denial of either goes first.
    """
    if not entries:
        return None
    live = [entry for entry in entries if entry.live(now)]
    word = _last(live, carrier or client, domain)
    inside = _last(live, client, "") if carrier else None
    # An allowlist entry for the IPv4 address counts behind NAT64 alone, a translator of our own.
    # Anybody can run a relay of 6to4 or Teredo, and use addresses of others.
    if inside is None or not (inside.denies(now) or translated(carrier)):
        return word
    if word is None or isinstance(word.subject, Domain):
        return inside
    return word if word.denies(now) or not inside.denies(now) else inside


def _last(live: list[Entry], client: bytes, domain: str) -> Entry | None:
    speaking = [entry for entry in live if speaks_for(entry.subject, client, domain)]
    return max(speaking, key=_precedence, default=None)


def speaking_of(entries: Iterable[Entry]) -> dict[Subject, Entry]:
    """Return the entry that decides for each subject. The old tables may have several for one."""
    found: dict[Subject, Entry] = {}
    for entry in entries:
        if entry.subject not in found or entry.number > found[entry.subject].number:
            found[entry.subject] = entry
    return found


def rank_beside(prefix: int) -> int:
    """Return the rank of a row of the old tables that names an address and a domain.

    It is below rows with an address alone, and above rows with a domain alone.
    """
    return prefix + _DOMAINS + 1


def _precedence(entry: Entry) -> tuple[int, int]:
    rank = entry.rank
    if rank is None:
        rank = entry.subject.prefix if isinstance(entry.subject, Network) else _DOMAINS
    return rank, entry.number


class AccessIndex:
    """The list entries in memory. A look-up costs the same for any number of entries.

    Only the prefix lengths that are in use are looked up. An entry is kept as a tuple of plain
    values: Python would look for cycles in objects again and again, which pauses the process for
    some 100 ms with 300,000 entries. The index is filled and emptied in small parts.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._domains: dict[str, Facts] = {}
        self._networks: dict[int, dict[int, dict[bytes, Facts]]] = {}  # by size, by prefix
        self.ignored = 0  # entries that name no range; who fills the index may add to it
        self.add(entries)

    def add(self, entries: Iterable[Entry]) -> None:
        """Add entries."""
        for entry in entries:
            facts: Facts = (entry.denied_until, entry.expires, entry.comment)
            facts += (entry.created, entry.number, entry.rank)
            subject = entry.subject
            if isinstance(subject, Domain):
                known = self._domains.setdefault(subject.name, facts)
                if known is not facts:
                    self._domains[subject.name] = (*known, *facts)
            elif subject.sound:
                of_family = self._networks.setdefault(len(subject.packed), {})
                of_prefix = of_family.setdefault(subject.prefix, {})
                known = of_prefix.setdefault(subject.packed, facts)
                if known is not facts:
                    of_prefix[subject.packed] = (*known, *facts)
            else:
                self.ignored += 1

    def take_out(self, number: int) -> bool:
        """Remove up to `number` subjects. Tell whether there may be more."""
        by_prefix = (found for family in self._networks.values() for found in family.values())
        for found in (self._domains, *by_prefix):
            while found and number:
                found.popitem()  # type: ignore[attr-defined]
                number -= 1
        return not number

    def __len__(self) -> int:
        families = self._networks.values()
        found = [*self._domains.values()]
        found += [
            facts for family in families for part in family.values() for facts in part.values()
        ]
        return sum(map(len, found)) // _FACTS

    def matching(self, client: bytes, domain: str) -> list[Entry]:
        """Return the entries that name this client (packed) or domain."""
        found: list[Entry] = []
        if self._domains:
            facts = self._domains.get(domain)
            if facts is not None:
                found += _entries(Domain(domain), facts)
        for prefix, networks in self._networks.get(len(client), _NONE).items():
            packed = network(client, prefix)
            facts = networks.get(packed)
            if facts is not None:
                found += _entries(Network(packed, prefix), facts)
        return found


# Facts: the fields of an entry without its subject. Several entries for one subject follow each
# other in one tuple. Python looks for no cycles in tuples of plain values.
_FACTS = 6
_NONE: dict[int, dict[bytes, Facts]] = {}


def _entries(subject: Subject, facts: Facts) -> Iterator[Entry]:
    for start in range(0, len(facts), _FACTS):
        yield Entry(subject, *facts[start : start + _FACTS])
