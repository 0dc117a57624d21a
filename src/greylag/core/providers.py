"""Big senders and their published ranges: how entries name them, and what change is too much.

A range may be published by several (many send through the same pool), and a subject has one entry
for each purpose, so its origin names them all: `provider:mailchimp,sendgrid`.
"""

from __future__ import annotations

from greylag.core.accesslist import OF_PROVIDERS
from greylag.core.client import IPV4_BYTES
from greylag.core.spf.ranges import addresses_in, joined

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from greylag.core.subject import Network

MOST_CHANGED = 20  # percent of the addresses of one family, at one refresh
_FAMILIES = ((IPV4_BYTES, "IPv4"), (16, "IPv6"))


def origin_of(names: Iterable[str]) -> str:
    """Return the origin of an entry for a range of these providers."""
    return OF_PROVIDERS + ",".join(sorted(names))


def names_in(origin: str) -> frozenset[str]:
    """Return which providers an origin names."""
    if not origin.startswith(OF_PROVIDERS):
        return frozenset()
    return frozenset(name for name in origin.removeprefix(OF_PROVIDERS).split(",") if name)


def too_much(old: Iterable[Network], new: Iterable[Network]) -> str:
    """Return why new ranges are not to take the place of old ones unseen; "" if they may (T28).

    Addresses are counted, not ranges, and those of IPv4 and of IPv6 each for themselves: those
    that would come and those that would go, together, in percent of those that there are.
    """
    before, after = joined(old), joined(new)
    both = joined((*before, *after))
    for size, family in _FAMILIES:
        there = addresses_in(before, size)
        changed = 2 * addresses_in(both, size) - there - addresses_in(after, size)
        if 100 * changed > MOST_CHANGED * there:
            if not there:
                return f"it would have {family} addresses, and had none"
            percent = -(-100 * changed // there)
            return f"{percent} % of its {family} addresses would change"
    return ""
