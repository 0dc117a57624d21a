"""Allowlist and denylist: what an entry names, which entries speak, and which has the last word.

The precedence is that of spec/greylisting-plugin.md "Verdicts": entries for addresses go before
entries for recipient domains, and the longest prefix first. Of entries that name the
very same thing the one with the highest number wins. Stores number them so that it is the newest,
what the admin said last; in the old tables it is the first row, as in the old program.
"""

from __future__ import annotations

from collections.abc import Iterable

from greylag.core.client import network
from greylag.core.subject import Domain, Network, Subject
from greylag.core.value import value

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
    number: int = 0  # given by the store: of entries for one subject the highest speaks
    rank: int | None = None  # given by the store where it is not that of the subject

    def live(self, now: int) -> bool:
        """Tell whether the entry still counts."""
        return now < self.expires

    def denies(self, now: int) -> bool:
        """Tell a denylist entry from an allowlist entry."""
        return now < self.denied_until


def networks_around(client: bytes) -> list[Network]:
    """Return every network that a packed address lies in, the narrowest first.

    A store finds the entries that may speak by looking these up (33 or 129 keys), so the cost
    does not grow with the lists.
    """
    return [Network(network(client, bits), bits) for bits in range(8 * len(client), -1, -1)]


def speaks_for(subject: Subject, client: bytes, domain: str) -> bool:
    """Tell whether an entry's subject covers this client or recipient domain."""
    if isinstance(subject, Domain):
        return subject.name == domain
    if not subject.sound:
        return False  # a row that somebody wrote: it alone is ignored
    same_family = len(subject.packed) == len(client)
    return same_family and network(client, subject.prefix) == subject.packed


def last_word(entries: list[Entry], client: bytes, domain: str, now: int) -> Entry | None:
    """Return the entry that decides about a client and a recipient domain, or None."""
    speaking = [e for e in entries if e.live(now) and speaks_for(e.subject, client, domain)]
    return max(speaking, key=_precedence, default=None)


def speaking_of(entries: Iterable[Entry]) -> dict[Subject, Entry]:
    """Return the entry that speaks for each subject: the old tables may have several for one."""
    found: dict[Subject, Entry] = {}
    for entry in entries:
        if entry.subject not in found or entry.number > found[entry.subject].number:
            found[entry.subject] = entry
    return found


def rank_beside(prefix: int) -> int:
    """Return the rank of a row of the old tables that names an address and a domain.

    It is below all that name an address alone, and above all that name a domain alone.
    """
    return prefix + _DOMAINS + 1


def _precedence(entry: Entry) -> tuple[int, int]:
    rank = entry.rank
    if rank is None:
        rank = entry.subject.prefix if isinstance(entry.subject, Network) else _DOMAINS
    return rank, entry.number


class AccessIndex:
    """The entries of the lists in memory, found at the same price for any number of them.

    Only the prefix lengths that are in use are looked up.
    """

    def __init__(self, entries: list[Entry]) -> None:
        self._by_subject: dict[Subject, list[Entry]] = {}
        self._prefixes: dict[int, set[int]] = {}
        for entry in entries:
            self._by_subject.setdefault(entry.subject, []).append(entry)
            if isinstance(entry.subject, Network) and entry.subject.sound:
                self._prefixes.setdefault(len(entry.subject.packed), set()).add(
                    entry.subject.prefix
                )

    def __len__(self) -> int:
        return sum(map(len, self._by_subject.values()))

    def matching(self, client: bytes, domain: str) -> list[Entry]:
        """Return the entries that name this client (packed) or domain."""
        if not self._by_subject:
            return []
        found = list(self._by_subject.get(Domain(domain), ()))
        for prefix in self._prefixes.get(len(client), ()):
            found += self._by_subject.get(Network(network(client, prefix), prefix), ())
        return found
