"""Records from the lines of logs: whose mail was accepted, since when, and when it came last."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from greylag.admin import Progress, unseen
from greylag.admin.logs.lines import client_of
from greylag.admin.logs.pattern import Nearest
from greylag.admin.logs.postfix import Queue
from greylag.admin.logs.times import is_multilog, seconds_of, split_stamp
from greylag.admin.treecopy import is_connection
from greylag.core.client import IPV4_BYTES, host_of
from greylag.core.connection import HOLD
from greylag.core.policy import Policy
from greylag.core.record import Record, joined
from greylag.core.triplet import Triplet, connection_of, triplet_of
from greylag.store.base import Store
from greylag.store.contacts import Contacts, Times

MOST_FOUND = 100_000  # records that are held before they are written
TOGETHER = 500  # records in one transaction
_IPV4_BITS = 32

Found = Mapping[Triplet, Times]


@dataclass(slots=True)
class Reader:
    """Takes lines of logs, and keeps whose mail was accepted when, and for whom."""

    now: int
    since: int
    policy: Policy
    pattern: re.Pattern[str] | None
    by_address: bool
    triplets: bool  # keep recipients as well; else connections alone
    write: Callable[[Found], None]  # takes what was found, whenever it is much
    lines: int = 0
    stamped: int = 0  # lines that begin with a time
    accepted: int = 0  # accepted mails with their clients
    old: int = 0  # of these: from before `since`
    connections: dict[Triplet, Times] = field(default_factory=dict)
    recipients: dict[Triplet, Times] = field(default_factory=dict)
    queue: Queue = field(default_factory=Queue)
    nearest: Nearest = field(default_factory=Nearest)

    def take(self, line: str) -> None:
        """Look at one line."""
        self.lines += 1
        split = split_stamp(line)
        if split is None:
            self.nearest.unstamped(line)
            return
        self.stamped += 1
        stamp, rest = split
        self.nearest.stamped(rest)
        head = self.queue.interesting(rest) if self.pattern is None else None
        if head is not None:
            at = seconds_of(stamp, self.now)
            seen = self.queue.take(head, rest[head.end() :], at) if at is not None else None
            if seen is not None and seen.recipient is None:
                self._accepted(seen.client, seen.at)
            elif seen is not None:
                self._delivered(seen.client, seen.at, seen.sender or "", seen.recipient or "")
            return
        client = client_of(rest, self.pattern, multilog=is_multilog(stamp))
        at = seconds_of(stamp, self.now) if client is not None else None
        if client is not None and at is not None:
            self._accepted(client, at)

    def _accepted(self, client: bytes, at: int) -> None:
        self.accepted += 1
        if at < self.since:
            self.old += 1
            return
        client, _carrier = host_of(client)
        single = self.by_address and len(client) == IPV4_BYTES
        prefix = _IPV4_BITS if single else self.policy.prefix_of(client)
        self._keep(self.connections, connection_of(client, prefix), at, HOLD)

    def _delivered(self, client: bytes, at: int, sender: str, recipient: str) -> None:
        if self.triplets and at >= self.since:
            names = sender.encode("latin-1"), recipient.encode("latin-1")
            key = triplet_of(client, *names, self.policy)
            self._keep(self.recipients, key, at, self.policy.delay)

    def _keep(self, found: dict[Triplet, Times], key: Triplet, at: int, waited: int) -> None:
        at = min(at, self.now)
        # Its mail was accepted: so it had waited, and came at least twice.
        known = found.get(key, Times(at, at))
        found[key] = Times(min(known.first, at - waited), max(known.last, at))
        if len(found) >= MOST_FOUND:
            self._hand_over(found)

    def _hand_over(self, found: dict[Triplet, Times]) -> None:
        self.write(dict(found))
        found.clear()

    def flush(self) -> None:
        """Hand over what was found and not written yet."""
        self._hand_over(self.connections)
        self._hand_over(self.recipients)


def parts_of(found: Found) -> Iterable[Found]:
    """Return what was found in parts that one transaction takes."""
    items = iter(sorted(found.items(), key=lambda item: item[0].key))
    while part := dict(islice(items, TOGETHER)):
        yield part


def remember(store: Store, part: Found, now: int, policy: Policy, *, dry_run: bool) -> int:
    """Make records where there is no live one; return how many.

    A record that has passed is kept longer where its mail came later than it says.
    """
    lifetime = policy.lifetime
    wanted = {key: times for key, times in part.items() if now < times.last + lifetime}
    contacts = store.contacts()
    if contacts is not None:
        return _into_contacts(store, contacts, wanted, now, dry_run=dry_run)
    with store.transaction():
        known = store.load(list(wanted))
        records = {key: _record(key, times, policy) for key, times in wanted.items()}
        new = {k: t for k, t in wanted.items() if not (k in known and known[k].live(now))}
        changed = {
            key: record
            for key, record in records.items()
            if key in new or (known[key].passed and joined(known[key], record) != known[key])
        }
        if changed and not dry_run:
            store.merge(changed)
    return len(new)


def _into_contacts(
    store: Store, contacts: Contacts, wanted: Found, now: int, *, dry_run: bool
) -> int:
    known, times = store.load(list(wanted)), contacts.times(wanted)
    new = {k for k in wanted if not (k in known and known[k].live(now))}
    changed = {
        k: t
        for k, t in wanted.items()  # what is known by another key (by address, by /24) has no times
        if k in new or k not in times or t.last > times[k].last
    }
    if changed and not dry_run:
        contacts.put_times(changed.items())
    return len(new)


def _record(key: Triplet, times: Times, policy: Policy) -> Record:
    may_pass = times.first + (HOLD if is_connection(key) else policy.delay)
    return Record(times.first, may_pass, times.last + policy.lifetime, blocked=1, passed=1)


class Seeds:
    """Writes what a reader found, into a store that is opened when there is something to write."""

    def __init__(
        self,
        open_store: Callable[[], Store],
        policy: Policy,
        now: int,
        *,
        dry_run: bool = False,
        progress: Progress = unseen,
    ) -> None:
        self._open_store = open_store
        self._policy = policy
        self._now = now
        self._dry_run = dry_run
        self._progress = progress
        self._store: Store | None = None
        self.networks = self.triplets = 0  # records that were found; added ones are counted below
        self.added = self.added_triplets = 0

    def write(self, found: Found) -> None:
        """Make records of what was found, where there is none."""
        if self._store is None:
            self._store = self._open_store()
        store = self._store
        for part in self._progress(parts_of(found), len(found), "remembering", step=TOGETHER):
            connections = {key: times for key, times in part.items() if is_connection(key)}
            triplets = {key: times for key, times in part.items() if key not in connections}
            self.networks += len(connections)
            self.triplets += len(triplets)
            self.added += self._remember(store, connections)
            self.added_triplets += self._remember(store, triplets)

    def _remember(self, store: Store, part: Found) -> int:
        return remember(store, part, self._now, self._policy, dry_run=self._dry_run)

    def close(self) -> None:
        """Let go of the store."""
        if self._store is not None:
            self._store.close()
