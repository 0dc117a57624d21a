"""Taking what other programs know into a store: items of `admin.imports`, in small transactions.

What the store knows already is never made worse: facts merge (`core.record.joined`), a record that
has passed stays one that has, and an entry that an admin made stays as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic, sleep

from greylag.admin import PAUSE
from greylag.admin.imports import (
    Connected,
    Item,
    Left,
    Listed,
    Mail,
    Trapped,
    Trusted,
)
from greylag.admin.treecopy import into_contacts
from greylag.core.accesslist import NEVER, Entry
from greylag.core.client import host_of
from greylag.core.connection import HOLD
from greylag.core.identity import of_address
from greylag.core.names import host_name
from greylag.core.policy import Policy
from greylag.core.record import CLOCK_TOLERANCE, Record, joined
from greylag.core.sparing import TRUST_TAKES
from greylag.core.triplet import Triplet, connection_of, trapped_of, triplet_of, trust_of
from greylag.store.base import KINDS, LISTS, NAMES, RECIPIENTS, Store

_TOGETHER = 500  # records in one transaction
_EXAMPLES = 5  # lines that are told of, for each reason
_USUAL_DELAY = 300  # seconds: postgrey's, unless it is told otherwise
MOST_TRUSTED = 1_000_000  # records of trust: a /24 becomes 256 of them

PASSED, WAITING, TRUST, CONNECTIONS = "passed", "waiting", "trust", "connections"
TRAPPED, ENTRIES = "trapped", "entries"
KINDS_OF = (PASSED, WAITING, TRUST, CONNECTIONS, TRAPPED, ENTRIES)

_FUTURE = "it is from the future"
_ORDER = "its last contact is before its first"
_OLD = "it has expired"
_NO_TRUST = "trust is off here (policy.trust_after, policy.trust_all_after)"
_NO_DOMAIN = "the sender's domain is no name"
_MUCH = f"more than {MOST_TRUSTED} records of trust (a /24 becomes 256)"
_HERE_ALREADY = "there is an entry of yours for it"

Found = list[tuple[str, Triplet, Record]]


@dataclass(slots=True)
class Taken:
    """What was read so far, what of it is new here, and what was left out, with the first lines."""

    read: Counter[str] = field(default_factory=Counter)
    new: Counter[str] = field(default_factory=Counter)
    left: dict[str, list[int]] = field(default_factory=dict)  # reason: how many, then lines
    items: int = 0

    def leave(self, number: int, why: str) -> None:
        """Count what is left out."""
        told = self.left.setdefault(why, [0])
        told[0] += 1
        if number and len(told) <= _EXAMPLES:
            told.append(number)


class Taking:
    """Takes items into a store that is opened when there is something to write."""

    def __init__(
        self,
        open_store: Callable[[], Store],
        policy: Policy,
        now: int,
        origin: str,
        *,
        dry_run: bool = False,
    ) -> None:
        self._open_store = open_store
        self._store: Store | None = None
        self._policy = policy
        self._now = now
        self._origin = origin
        self._dry_run = dry_run
        self._took = 0.0  # seconds, the last transaction
        self.taken = Taken()

    @property
    def store(self) -> Store:
        """The store, opened."""
        if self._store is None:
            self._store = self._open_store()
        return self._store

    def take(self, items: Iterable[Item]) -> None:
        """Take all items; what was taken before an error stays taken."""
        rest = iter(items)
        while part := list(islice(rest, _TOGETHER)):
            self.taken.items += len(part)
            found: Found = []
            entries: list[Entry] = []
            for item in part:
                if isinstance(item, Left):
                    self.taken.leave(item.number, item.why)
                elif isinstance(item, Listed):
                    entries.append(self._entry(item))
                else:
                    self._found(item, found)
            for start in range(0, len(found), _TOGETHER):
                self._merge(found[start : start + _TOGETHER])
            if entries:
                self._put(entries)

    def _found(self, item: Mail | Trusted | Connected | Trapped, found: Found) -> None:
        if isinstance(item, Trapped):
            self._keep(found, TRAPPED, trapped_of(host_of(item.client)[0]), self._trapped(item))
            return
        if item.last > self._now + CLOCK_TOLERANCE:
            self.taken.leave(0, _FUTURE)
        elif (item.first or 0) > item.last:
            self.taken.leave(0, _ORDER)
        elif isinstance(item, Mail):
            self._mail(item, found)
        elif isinstance(item, Connected):
            client, _carrier = host_of(item.client)
            key = connection_of(client, self._policy.prefix_of(client))
            self._keep(found, CONNECTIONS, key, self._passed(item.first, item.last, HOLD))
        else:
            self._trusted(item, found)

    def _keep(self, found: Found, kind: str, key: Triplet, record: Record) -> None:
        if record.live(self._now):
            found.append((kind, key, record))
        else:
            self.taken.leave(0, _OLD)

    def _mail(self, item: Mail, found: Found) -> None:
        policy = self._policy
        key = triplet_of(item.client, item.sender, item.recipient, policy)
        # The other program's delay is not known: it may be shorter than ours.
        enough = min(policy.delay, _USUAL_DELAY)
        passed = item.last - item.first >= enough if item.passed is None else item.passed
        if passed:
            record = self._passed(item.first, item.last, policy.delay, item.expires)
            self._keep(found, PASSED, key, record)
            return
        until = item.first + policy.retry_window
        waiting = Record(item.first, item.first + policy.delay, until, blocked=1)
        self._keep(found, WAITING, key, waiting)

    def _passed(self, first: int, last: int, waited: int, expires: int | None = None) -> Record:
        longest = self._now + self._policy.lifetime
        until = last + self._policy.lifetime if expires is None else min(expires, longest)
        return Record(first, min(first + waited, last), until, blocked=1, passed=1)

    def _trapped(self, item: Trapped) -> Record:
        until = min(item.until, self._now + self._policy.lifetime)
        return Record(self._now, self._now, until, passed=1)

    def _trusted(self, item: Trusted, found: Found) -> None:
        policy = self._policy
        needed = policy.trust_after if item.domain else policy.trust_all_after
        domain = host_name(item.domain) if item.domain else ""
        if not needed or domain is None:
            self.taken.leave(0, _NO_TRUST if not needed else _NO_DOMAIN)
            return
        if self.taken.read[TRUST] + len(item.clients) > MOST_TRUSTED:
            self.taken.leave(0, _MUCH)
            return
        # Who is trusted there is trusted here at once, and not a day after the first pass only.
        full = item.passes is None
        first = item.last if item.first is None else item.first
        since = min(first, self._now - TRUST_TAKES) if full else first
        passes = needed if item.passes is None else item.passes
        for client in item.clients:
            key = trust_of(of_address(host_of(client)[0]), domain)
            until = item.last + policy.lifetime
            self._keep(found, TRUST, key, Record(max(since, 1), max(since, 1), until, 0, passes))

    def _merge(self, part: Found) -> None:
        sleep(self._took)  # a store has one writer at a time, and mail waits for it
        began = monotonic()
        try:
            self._merge_now(part)
        finally:
            self._took = 0.0 if self._dry_run else min(PAUSE, monotonic() - began)

    def _merge_now(self, part: Found) -> None:
        store = self.store
        part = [one for one in part if self._kept(store, one[0])]
        given: dict[Triplet, tuple[str, Record]] = {}
        for kind, key, record in part:
            self.taken.read[kind] += 1
            before = given.get(key)
            given[key] = kind, record if before is None else joined(before[1], record)
        contacts = store.contacts()
        if contacts is not None:  # connections alone
            records = {key: record for key, (_kind, record) in given.items()}
            new = into_contacts(contacts, records, self._policy, self._now, dry_run=self._dry_run)
            self.taken.new[CONNECTIONS] += new
            return
        with store.transaction():
            known = store.load(list(given))
            better = {k: v for k, v in given.items() if self._better(known.get(k), v[1])}
            if better and not self._dry_run:
                store.merge({key: record for key, (_kind, record) in better.items()})
        self.taken.new.update(kind for kind, _record in better.values())

    def _kept(self, store: Store, kind: str) -> bool:
        part = NAMES if kind in (TRUST, TRAPPED) else RECIPIENTS
        why = None if kind == CONNECTIONS else store.lacks(part)
        if why is not None:
            self.taken.leave(0, why)
        return why is None

    def _better(self, known: Record | None, given: Record) -> bool:
        """Tell whether what is given says more than what is known."""
        if known is None or not known.live(self._now):
            return True
        if known.passed and not given.passed:
            return False
        if known.passed and given.passed:
            return given.expires > known.expires or given.passed > known.passed
        return bool(given.passed) or joined(known, given) != known

    def _entry(self, item: Listed) -> Entry:
        denied = NEVER if item.denies else 0
        return Entry(
            *(item.subject, denied, NEVER, item.comment, self._now),
            purpose=item.purpose,
            origin=self._origin,
        )

    def _put(self, entries: list[Entry]) -> None:
        store = self.store
        why = store.lacks(LISTS) or store.lacks(KINDS)
        if why is not None:
            for _entry in entries:
                self.taken.leave(0, why)
            return
        known = {entry.key: entry for entry in store.entries()}
        new = {}
        for entry in entries:
            self.taken.read[ENTRIES] += 1
            before = known.get(entry.key)
            if before is None:
                new[entry.key] = entry
            elif before.origin != self._origin:
                self.taken.leave(0, _HERE_ALREADY)
        if new and not self._dry_run:
            store.put_entries(new.values())
        self.taken.new[ENTRIES] += len(new)

    def close(self) -> None:
        """Let go of the store."""
        if self._store is not None:
            self._store.close()
