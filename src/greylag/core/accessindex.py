"""The entries of the lists in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from greylag.core.accesslist import NAMES_OF, Entry, Purpose, addresses_of
from greylag.core.subject import CLIENT_NAME, DOMAIN, Domain, Network, Subject, named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from greylag.core.accesslist import Asked

    Facts = tuple[Any, ...]
    # By size and by host bits, and there by the network's bits as a number: to shift an address
    # costs a fifth of clearing its host bits, and ranges of big senders have 20 lengths.
    Networks = dict[int, dict[int, dict[int, Facts]]]


class AccessIndex:
    """The list entries in memory. A look-up costs the same for any number of entries.

    Only the prefix lengths and the kinds of names that are in use are looked up. An entry is kept
    as a tuple of plain values: Python would look for cycles in objects again and again, which
    pauses the process for some 100 ms with 300,000 entries. The index is filled and emptied in
    small parts.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._domains: dict[str, Facts] = {}
        self._networks: Networks = {}
        self._providers: Networks = {}  # ranges of big senders, of all sizes: see `providers`
        self._named: dict[str, dict[str, Facts]] = {}  # by kind: all but `_domains`
        self.ignored = 0  # entries that name nothing; who fills the index may add to it
        self.add(entries)

    def add(self, entries: Iterable[Entry]) -> None:
        """Add entries."""
        for entry in entries:
            facts: Facts = (entry.denied_until, entry.expires, entry.comment)
            facts += (entry.created, entry.number, entry.rank)
            facts += (_WORDS[entry.purpose], entry.origin, entry.spoofable)
            subject = entry.subject
            if not isinstance(subject, Network) and subject.name:
                kind = subject.kind
                table = self._domains if kind == DOMAIN else self._named.setdefault(kind, {})
                known = table.setdefault(subject.name, facts)
                if known is not facts:
                    table[subject.name] = (*known, *facts)
            elif isinstance(subject, Network) and subject.sound:
                provider = entry.purpose is Purpose.PROVIDER
                ranges = self._providers if provider else self._networks
                hosts = 8 * len(subject.packed) - subject.prefix
                of_family = ranges.setdefault(len(subject.packed), {})
                of_length = of_family.setdefault(hosts, {})
                number = int.from_bytes(subject.packed, "big") >> hosts
                known = of_length.setdefault(number, facts)
                if known is not facts:
                    of_length[number] = (*known, *facts)
            else:
                self.ignored += 1

    def take_out(self, number: int) -> bool:
        """Remove up to `number` subjects. Tell whether there may be more."""
        for found in self._tables():
            while found and number:
                found.popitem()
                number -= 1
        return not number

    def _tables(self) -> Iterator[dict[Any, Facts]]:
        yield self._domains
        yield from self._named.values()
        for family in (*self._networks.values(), *self._providers.values()):
            yield from family.values()

    def __len__(self) -> int:
        return sum(len(facts) for found in self._tables() for facts in found.values()) // _FACTS

    def matching(self, asked: Asked) -> list[Entry]:
        """Return the entries that name the client, the sender or the recipient of an attempt.

        Where names of the client are not known, but an entry has one, any of these is among them.
        Those of providers are left out.
        """
        found: list[Entry] = []
        if self._domains:
            facts = self._domains.get(asked.domain)
            if facts is not None:
                found += _entries(Domain(asked.domain), facts)
        if self._named:
            self._add_named(found, asked)
        if self._networks:
            _add_around(found, self._networks, asked)
        return found

    def providers(self, asked: Asked) -> list[Entry]:
        """Return the entries of providers whose ranges have the client.

        They have nearly all prefix lengths, each of them a look-up. Who is known need not pay that.
        """
        found: list[Entry] = []
        if self._providers:
            _add_around(found, self._providers, asked)
        return found

    def _add_named(self, found: list[Entry], asked: Asked) -> None:
        for kind, table in self._named.items():
            if kind == CLIENT_NAME and asked.names is None:
                names: Iterable[str] = (next(iter(table), ""),)
            else:
                names = NAMES_OF[kind](asked)
            for name in names:
                facts = table.get(name)
                if facts is not None:
                    found += _entries(named(kind, name), facts)


# Facts: the fields of an entry without its subject. Several entries for one subject follow each
# other in one tuple. Python looks for no cycles in tuples of plain values, which no member of an
# enumeration is.
_FACTS = 9
_NONE: dict[int, dict[int, Facts]] = {}
_WORDS = {purpose: purpose.value for purpose in Purpose}
_PURPOSES = {word: purpose for purpose, word in _WORDS.items()}


def _add_around(found: list[Entry], ranges: Networks, asked: Asked) -> None:
    for client in addresses_of(asked):
        size, number = len(client), int.from_bytes(client, "big")
        for hosts, networks in ranges.get(size, _NONE).items():
            facts = networks.get(number >> hosts)
            if facts is not None:
                packed = (number >> hosts << hosts).to_bytes(size, "big")
                found += _entries(Network(packed, 8 * size - hosts), facts)


def _entries(subject: Subject, facts: Facts) -> Iterator[Entry]:
    for at in range(0, len(facts), _FACTS):
        # Written out, as allowlisted mail makes an entry for each recipient.
        denied_until, expires, comment, created, number, rank, word, origin, spoofable = (
            facts if len(facts) == _FACTS else facts[at : at + _FACTS]
        )
        purpose = _PURPOSES[word]
        yield Entry(
            *(subject, denied_until, expires, comment, created, number, rank, purpose, origin),
            spoofable=spoofable,
        )
