"""The contract of every store, on one screen.

`now` is whole Unix seconds everywhere. All methods raise StoreError, and nothing else, when the
data cannot be read or written; its text names the place. Nothing is half done: a call either
happened or it did not. `tests/store/test_contract.py` is this page as tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from greylag.core.accesslist import Entry
from greylag.core.record import Change, Record
from greylag.core.subject import Subject
from greylag.core.triplet import Triplet
from greylag.core.value import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Protocol
else:
    Protocol = object  # the annotation's machinery costs a one-shot process milliseconds


class StoreError(Exception):
    """The data could not be read or written. The text names the place and the cause."""


class StoreRefused(StoreError):
    """The same, of one record or one entry: the store is there for all others."""


class StoreUnavailable(StoreError):
    """The same, and trying again later may help: locked, full, not there."""


class StoreConflict(StoreUnavailable):
    """Another writer was faster: nothing was done, and the same again may succeed at once."""


@value
class Filter:
    """Which records a search is after; all that is given must hold. Texts match anywhere."""

    first_network: bytes | None = None  # packed; with last_network, a range of one family
    last_network: bytes | None = None
    sender: str = ""
    recipient: str = ""
    null_sender: bool = False
    passed: bool | None = None


# Where a walk goes on. Only the store that gave it knows what is in it; many give a Triplet.
Position = object


@value
class Page:
    """One step of `expire`: what it forgot by fate, what it kept, where the next step goes on."""

    stopped: int
    delayed: int
    after: Position | None  # None: all was seen
    waiting: int = 0  # kept, not passed yet
    passed: int = 0  # kept
    size: int = 0  # bytes that those of `waiting` take, about


@value
class Stretch:
    """One step of `thin`: how many records it found and forgot, where the next step goes on."""

    found: int
    gone: int
    after: Position | None  # None: all was seen


@value
class EntryPage:
    """Some entries of the lists, by their numbers, and after which the next page goes on."""

    entries: list[Entry]
    after: int | None  # None: all was seen
    ignored: int = 0  # rows that name nothing that an entry can name


class Store(Protocol):
    """Records, lists and figures."""

    def transaction(
        self, waiting: Callable[[], None] | None = None
    ) -> AbstractContextManager[None]:
        """Hold what is called inside together: one step to others, where the store can do that.

        Where another writer has to be waited for before it begins, `waiting` is called once; it may
        read. Errors of its own end the transaction.
        """

    def load(self, triplets: Sequence[Triplet]) -> dict[Triplet, Record]:
        """Return the records of those triplets that have one, live or not."""

    def apply(self, changes: Sequence[Change], figures: Mapping[str, int], now: int) -> None:
        """Make the changes as `core.record.applied` does, and add to the figures of this hour.

        On return all is durable. A record that a `Created` replaces is counted by its fate.
        """

    def merge(self, records: Mapping[Triplet, Record]) -> None:
        """Take over what another store knows, as `core.record.joined` does; all or none."""

    def matching(self, client: bytes, domain: str) -> list[Entry]:
        """Return the entries that name the client (packed) or the domain; others may be among them.

        The cost does not grow with the lists.
        """

    def entries(self) -> list[Entry]:
        """Return all entries of the lists, expired ones too, in the order they were made in."""

    def entries_after(self, number: int, limit: int) -> EntryPage:
        """Return the entries with higher numbers, of up to `limit` rows; 0 begins."""

    def put_entries(self, entries: Iterable[Entry]) -> None:
        """Add entries, all or none. An entry for a subject that has one replaces it."""

    def remove_entries(self, subjects: Iterable[Subject]) -> int:
        """Remove the entries of these subjects; return how many there were."""

    def generation(self) -> int | None:
        """Return a number that changes whenever the lists do.

        Other lists have another number, those of another store too: after a failure the store is
        opened anew, and what is in memory is read again only if this number is another one.
        None: a long list is looked through in steps, and this was one of them. Ask again.
        """

    def removals(self) -> int | None:
        """Return a number that changes when `forget` removes records, on whatever host.

        None: this store cannot tell, so nobody may go by what he remembers of its records.
        """

    def figures(self, since: int, until: int) -> dict[int, dict[str, int]]:
        """Return the figures of each hour that began in [since, until), by the hour's start."""

    def no_figures(self) -> str | None:
        """Return why no figures are kept here, or None where they are."""

    def warning(self) -> str | None:
        """Return what an admin has to look after, though the store works; or None."""

    def count(self, now: int) -> tuple[int, int]:
        """Return how many live records wait; and have passed."""

    def expire(self, now: int, limit: int, after: Position | None = None) -> Page:
        """Look at up to `limit` records after a place; forget and count those that are not live."""

    def trim(self, number: int, now: int) -> int:
        """Forget up to `number` records that never passed, of any network.

        Which, chance decides, so that a flood meets mostly itself. Return and count (evicted) how
        many; it may be fewer than asked for. The cost does not grow with the records.
        """

    def thin(
        self,
        network: bytes,
        *,
        passed: bool,
        look: int,
        part: float,
        now: int,
        after: Position | None,
    ) -> Stretch:
        """Look at up to `look` records of one client network after a place; forget a part of them.

        Those that wait, or those that have passed; live or not. Which of these go, chance decides,
        but those that passed more than once go last. They are counted (evicted; delayed). The cost
        does not grow with the records.
        """

    def search(self, wanted: Filter, limit: int) -> Iterator[tuple[Triplet, Record]]:
        """Return up to `limit` records that fit, live or not, each once.

        They are looked for in steps of a bounded size, and nothing is held between two steps.
        """

    def forget(self, triplets: Iterable[Triplet]) -> int:
        """Remove these records uncounted, all or none; return how many there were."""

    def check(self) -> None:
        """Raise StoreUnavailable where what is open is no longer what the URL names."""

    def close(self) -> None:
        """Let go of files and connections. Closing twice is fine."""
