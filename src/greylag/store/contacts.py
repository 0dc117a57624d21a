"""Connections by their first and last contact: what is kept where there are no whole records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from greylag.core.triplet import Triplet
from greylag.core.value import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object


@value
class Times:
    """When a client came first, and last, in Unix seconds."""

    first: int
    last: int


class Contacts(Protocol):
    """A store of these alone (`Store.contacts`). All methods raise StoreError."""

    def times(self, triplets: Iterable[Triplet]) -> dict[Triplet, Times]:
        """Return the times of those connections that have a record of their own.

        `load` returns what they are known by, which can be the record of a network around them.
        """

    def all_times(self) -> Iterator[tuple[Triplet, Times]]:
        """Yield all connections."""

    def put_times(self, connections: Iterable[tuple[Triplet, Times]]) -> None:
        """Make records with these times; one that is there gets the earlier and the later."""
