"""The contract of every store, in parts: `Records`, `Lists`, `Figures`, `History`.

`now` is whole Unix seconds everywhere. All methods raise StoreError, and nothing else, when the
data cannot be read or written; its text names the place. Nothing is half done: a call either
happened or it did not. `tests/store/test_contract.py` is this page as tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from greylag.core.accesslist import Entry, Purpose
from greylag.core.record import Change, Record
from greylag.core.subject import Subject
from greylag.core.triplet import Triplet
from greylag.core.value import value
from greylag.store.history import History

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Protocol

    from greylag.core.accesslist import Asked
    from greylag.core.switch import Switch
    from greylag.store.contacts import Contacts
else:
    Protocol = object  # the annotation's machinery costs a one-shot process milliseconds


# What a store may be unable to keep or do: `lacks` says why.
LISTS = "lists"
FIGURES = "figures"
HISTORY = "history"
RECIPIENTS = "recipients"  # records of triplets; without them it keeps connections alone
COUNTS = "counts"  # how often, and until when; without them it keeps `contacts`
KINDS = "kinds"  # entries that the old plugin's lists cannot express (`core.oldlists`)
NAMES = "names"  # records of pools, trust...: what stands under a name (`core.identity`)
SWITCH = "switch"  # `greylag off`: see `core.switch`
TABLES = "tables"  # of a database, that an admin makes and looks over: `greylag db`


class StoreError(Exception):
    """The data could not be read or written. The text names the place and the cause."""


class StoreRefused(StoreError):
    """One record or one entry could not be read or written. The store works for all others."""


class StoreUnavailable(StoreError):
    """Nothing could be read or written now. It may work later: locked, full, not there."""


class StoreConflict(StoreUnavailable):
    """Another writer was faster. Nothing was done; the same call may succeed at once."""


@value
class Filter:
    """Which records a search is after; all that is given must hold. Texts match anywhere."""

    # Packed; with last_network, a range of one family. Or both are one name (`core.identity`).
    first_network: bytes | None = None
    last_network: bytes | None = None
    sender: str = ""
    recipient: str = ""
    null_sender: bool = False
    passed: bool | None = None

    def fits(self, key: Triplet, record: Record) -> bool:
        """Tell whether a record is one that the search is after."""
        low, high = self.first_network, self.last_network
        if low is None or high is None:
            low = high = key.network
        return (
            len(key.network) == len(low)
            and low <= key.network <= high
            and self.sender in key.sender
            and self.recipient in key.recipient
            and not (self.null_sender and key.sender)
            and self.passed in (None, record.passed > 0)
        )


# Where a walk goes on. Only the store that gave it knows what is in it; many give a Triplet.
Position = object


@value
class Page:
    """One step of `expire`: how many it removed and kept, and where the next step goes on."""

    stopped: int
    delayed: int
    after: Position | None  # None: all was seen
    waiting: int = 0  # kept, not passed yet; those of pools, too: they take room
    passed: int = 0  # kept, of networks
    size: int = 0  # bytes that those of `waiting` take, about
    pools: int = 0  # of `waiting`: what is no mail of a network, so `count` does not count it


@value
class Stretch:
    """One step of `thin`: how many records it found and removed, where the next step goes on."""

    found: int
    gone: int
    after: Position | None  # None: all was seen


@value
class Glance:
    """What a daemon looks at once a second, beside the lists."""

    removals: int | None  # see `Records.removals`
    switch: Switch | None


@value
class Some:
    """Records that were found among some; `whole`: among all."""

    records: list[tuple[Triplet, Record]]
    whole: bool


@value
class EntryPage:
    """Some entries of the lists, by their numbers, and after which the next page goes on."""

    entries: list[Entry]
    after: int | None  # None: all was seen
    ignored: int = 0  # rows that name nothing that an entry can name


class Records(Protocol):
    """What is known of triplets and of connections."""

    def transaction(
        self, waiting: Callable[[], None] | None = None, *, lazy: bool = False
    ) -> AbstractContextManager[None]:
        """Make one transaction of what is called inside, where the store has such.

        A `lazy` one may be lost where the machine fails before the next that is none.
        If another writer has to be waited for before it begins, `waiting` is called once. It may
        read. Its errors end the transaction. Who gives it is in a hurry: where a foreign program
        keeps the record of one key locked, that is not waited for (StoreConflict).
        """

    def load(self, triplets: Sequence[Triplet]) -> dict[Triplet, Record]:
        """Return the records of those triplets that have one, expired ones too."""

    def apply(self, changes: Sequence[Change], figures: Mapping[str, int], now: int) -> None:
        """Make the changes as `core.record.applied` does, and add to the figures of this hour.

        On return all is durable. A record of a network that a `Created` or `Noted` replaces is
        counted (stopped, or delayed). A `Freed` counts as a removal: memory may be wrong then.
        """

    def merge(self, records: Mapping[Triplet, Record]) -> None:
        """Take over what another store knows, as `core.record.joined` does; all or none."""

    def removals(self) -> int | None:
        """Return a number that changes with `forget` and with each `Freed`, on whatever host.

        None: this store cannot tell, so its records must not be answered from memory.
        """

    def count(self, now: int) -> tuple[int, int]:
        """Return how many live records wait, and how many have passed."""

    def expire(self, now: int, limit: int, after: Position | None = None) -> Page:
        """Look at records after a position, `limit` or fewer; remove and count those expired."""

    def trim(self, number: int, now: int) -> int:
        """Evict up to `number` records that never passed, of any network, and count them (evicted).

        They are chosen at random, so a flood evicts mostly its own. Return how many; it may be
        fewer than asked for. The cost does not grow with the records.
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
        """Look at up to `look` records of one client network after a position; evict some of them.

        Either those that wait are looked at, or those that have passed; expired ones too. The
        `part` that goes is chosen at random, but records that passed more than once go last. They
        are counted (evicted, or delayed). The cost does not grow with the records.
        """

    def search(self, wanted: Filter, limit: int) -> Iterator[tuple[Triplet, Record]]:
        """Return up to `limit` records that fit, expired ones too, each once.

        They are looked for in steps of a bounded size, and nothing is held between two steps.
        """

    def waiting(self, wanted: Filter, look: int) -> Some:
        """Return records of networks that wait and fit, of up to `look` that the store chooses.

        So the cost does not grow with the records. Expired ones may be among them.
        """

    def forget(self, triplets: Iterable[Triplet], now: int) -> int:
        """Remove these records uncounted, all or none; return how many there were."""


class Lists(Protocol):
    """Who is let in or refused, as admins say."""

    def matching(self, asked: Asked) -> list[Entry]:
        """Return the entries that name client, sender or recipient, and maybe some others.

        Where names of the client are not known, but an entry has one, any of these is among them
        (see `core.accesslist.wants`). The cost does not grow with the lists.
        """

    def entries(self) -> list[Entry]:
        """Return all entries of the lists, expired ones too, in the order they were made in.

        A store with two tables may return those of one, then those of the other.
        """

    def entries_after(self, number: int, limit: int) -> EntryPage:
        """Return the entries with higher numbers, of up to `limit` rows; 0 begins."""

    def put_entries(self, entries: Iterable[Entry]) -> None:
        """Add entries, all or none. One for a subject and a purpose that have one replaces it."""

    def remove_entries(self, subjects: Iterable[Subject], purpose: Purpose = Purpose.ACCESS) -> int:
        """Remove the entries of these subjects and one purpose; return how many there were."""

    def generation(self) -> int | None:
        """Return a number that changes whenever the lists do.

        The lists of another store have another number: after a failure the store is opened anew,
        and the lists are read again only if the number has changed.
        None: a long list is looked through in steps, and this was one of them. Ask again.
        """

    def switch(self) -> Switch | None:
        """Return the switch as it was set last, also where it has ended."""

    def set_switch(self, switch: Switch | None) -> None:
        """Keep this switch in the place of any other. None: the settings hold."""


class Figures(Protocol):
    """What was counted, by the hour. `Records.apply` adds to it."""

    def figures(self, since: int, until: int) -> dict[int, dict[str, int]]:
        """Return the figures of each hour that began in [since, until), by the hour's start."""


class Store(Records, Lists, Figures, History, Protocol):
    """All parts. A store that cannot keep one inherits its stand-in from `store.lacking`."""

    def lacks(self, part: str) -> str | None:
        """Return why this (LISTS, FIGURES...) is not kept, a sentence to show; None where it is."""
        return None

    def contacts(self) -> Contacts | None:
        """Return this store as one that keeps first and last contacts, where that is all it has."""
        return None

    def count_in_time(self, now: int) -> tuple[int, int, int]:
        """Return `count`, and when that was: before, where to count now would take long."""
        return (*self.count(now), now)

    def glance(self) -> Glance:
        """Return both at once, in one trip to a server."""
        return Glance(self.removals(), self.switch())

    def warning(self) -> str | None:
        """Return what an admin has to look after, though the store works; or None."""
        return None

    def check(self) -> None:
        """Raise StoreUnavailable where what is open is no longer what the URL names."""

    def prove(self) -> None:
        """Write a key that nobody has, and leave nothing of it; raise StoreError where that fails.

        It tells a store that fails from one that fails for one key. One that cannot be tried so
        raises always.
        """
        raise StoreUnavailable("whether anything can be written was not tried")

    def close(self) -> None:
        """Let go of files and connections. Closing twice is fine."""
