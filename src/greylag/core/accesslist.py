"""Allowlist and denylist: what an entry names, which entries speak, and which has the last word.

The precedence is that of spec/greylisting-plugin.md "Verdicts": entries for addresses go before
entries for recipient domains, and the longest prefix first. Of entries that name the
very same thing the newest wins: it is what the admin said last.
"""

from __future__ import annotations

from greylag.core.client import network
from greylag.core.subject import Domain, Network, Subject
from greylag.core.value import value

NEVER = 253402300799  # 9999-12-31 23:59:59 UTC, as the old tables write "never ends"


@value
class Entry:
    """One entry of the lists: it denies until `denied_until`, then allows until `expires`."""

    subject: Subject
    denied_until: int  # 0 for an entry that only allows
    expires: int = NEVER
    comment: str = ""
    created: int = 0
    number: int = 0  # given by the store; later entries have higher ones

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
    same_family = len(subject.packed) == len(client)
    return same_family and network(client, subject.prefix) == subject.packed


def last_word(entries: list[Entry], client: bytes, domain: str, now: int) -> Entry | None:
    """Return the entry that decides about a client and a recipient domain, or None."""
    speaking = [e for e in entries if e.live(now) and speaks_for(e.subject, client, domain)]
    return max(speaking, key=_precedence, default=None)


def _precedence(entry: Entry) -> tuple[int, int]:
    prefix = entry.subject.prefix if isinstance(entry.subject, Network) else -1
    return prefix, entry.number


class AccessIndex:
    """The entries of the lists in memory, found at the same price for any number of them.

    Only the prefix lengths that are in use are looked up.
    """

    def __init__(self, entries: list[Entry]) -> None:
        self._by_subject: dict[Subject, list[Entry]] = {}
        self._prefixes: dict[int, set[int]] = {}
        for entry in entries:
            self._by_subject.setdefault(entry.subject, []).append(entry)
            if isinstance(entry.subject, Network):
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
