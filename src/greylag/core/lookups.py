"""What is asked of DNS about a client beside SPF: its confirmed names, and zones that list it.

Each is a generator that yields a `Query` and is sent the answer, as `core.spf.check` is.
"""

from __future__ import annotations

from greylag.core.client import IPV4_BYTES
from greylag.core.names import below_zone, reverse_name
from greylag.core.spf.questions import MOST_POINTERS, Query, names_of
from greylag.core.zones import Listing, listing_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.core.spf.questions import Steps
    from greylag.core.zones import Pattern


def confirmed_names(client: bytes) -> Steps[tuple[str, ...] | None]:
    """Return those names of a packed address that lead back to it: () for none, None if unknown.

    Anybody may give his address the name of a stranger, but cannot make that name lead back. One
    confirmed name is known even where another could not be asked about.
    """
    pointers = yield Query(reverse_name(client), "PTR")
    if pointers is None:
        return None
    kind = "A" if len(client) == IPV4_BYTES else "AAAA"
    confirmed, unknown = [], False
    for name in dict.fromkeys(names_of(pointers[:MOST_POINTERS])):
        answer = yield Query(name, kind)
        if answer is None:
            unknown = True
        elif client in answer:
            confirmed.append(name)
    return None if unknown and not confirmed else tuple(confirmed)


def listing(client: bytes, zone: str, codes: tuple[Pattern, ...]) -> Steps[Listing]:
    """Return what a zone says about a packed address."""
    return listing_of((yield Query(below_zone(client, zone), "A")), codes)
