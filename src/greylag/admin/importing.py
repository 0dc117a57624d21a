"""Taking an export of ours into a store, in small transactions.

It is as with `greylag db copy`: facts merge, an entry takes the place of an older one for the same
subject, and each figure becomes the larger of both. So it may be run again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic, sleep

from greylag.admin import PAUSE
from greylag.admin.copying import by_key, kept_by, merge_into
from greylag.admin.imports import Left
from greylag.admin.imports.ours import Cut, Found, Hour
from greylag.admin.treecopy import into_contacts
from greylag.core.accesslist import Entry
from greylag.core.oldlists import in_old_lists
from greylag.core.policy import Policy
from greylag.core.record import CLOCK_TOLERANCE, Record
from greylag.core.switch import Switch
from greylag.core.triplet import Triplet
from greylag.core.value import replace
from greylag.store.base import FIGURES, KINDS, LISTS, NAMES, RECIPIENTS, SWITCH, Store

_TOGETHER = 500  # lines that are taken in one step
_EXAMPLES = 5
RECORDS, ENTRIES, HOURS, SWITCHES = "records", "entries", "figures", "switch"
KINDS_OF = (RECORDS, ENTRIES, HOURS, SWITCHES)


@dataclass(slots=True)
class Imported:
    """What was read so far, what of it is new here, and what was left out."""

    read: Counter[str] = field(default_factory=Counter)
    new: Counter[str] = field(default_factory=Counter)
    left: dict[str, list[int]] = field(default_factory=dict)  # reason: how many, then lines
    cut: bool = False

    def leave(self, why: str, number: int = 0, count: int = 1) -> None:
        """Count what is left out."""
        told = self.left.setdefault(why, [0])
        told[0] += count
        if number and len(told) <= _EXAMPLES:
            told.append(number)


class Importing:
    """Takes what an export says into a store."""

    def __init__(self, store: Store, policy: Policy, now: int, *, dry_run: bool = False) -> None:
        self._store = store
        self._policy = policy
        self._now = now
        self._dry_run = dry_run
        self.done = Imported()
        self._known: dict[object, Entry] | None = None

    def take(self, found: Iterable[Found]) -> None:
        """Take all; what was taken before an error stays taken. Raises StoreError."""
        rest = iter(found)
        while part := list(islice(rest, _TOGETHER)):
            began = monotonic()
            self._records([one for one in part if isinstance(one, tuple)])
            self._entries([one for one in part if isinstance(one, Entry)])
            for one in part:
                self._one(one)
            if not self._dry_run and len(part) == _TOGETHER:
                sleep(min(PAUSE, monotonic() - began))  # others have their turn

    def _one(self, one: Found) -> None:
        if isinstance(one, Left):
            self.done.leave(one.why, one.number)
        elif isinstance(one, Cut):
            self.done.cut = True
        elif isinstance(one, Hour):
            self._hour(one)
        elif isinstance(one, Switch):
            self._switch(one)

    def _records(self, given: list[tuple[Triplet, Record]]) -> None:
        now, store = self._now, self._store
        page = [one for one in given if one[1].live(now)]
        soon = now + CLOCK_TOLERANCE
        late = [one for one in page if one[1].first_seen > soon]
        self.done.read[RECORDS] += len(given)
        if len(given) > len(page):
            self.done.leave("it has expired", count=len(given) - len(page))
        if late:
            self.done.leave("it is from the future", count=len(late))
        page = [(key, self._soon(record)) for key, record in page if record.first_seen <= soon]
        kept = kept_by(store, page)
        if len(page) > len(kept):
            why = store.lacks(RECIPIENTS) or store.lacks(NAMES) or ""
            self.done.leave(why, count=len(page) - len(kept))
        contacts, records = store.contacts(), by_key(kept, self._policy)
        if contacts is not None:
            new = into_contacts(contacts, records, self._policy, now, dry_run=self._dry_run)
        else:
            new = merge_into(store, records, self._dry_run)
        self.done.new[RECORDS] += new

    def _soon(self, record: Record) -> Record:
        """Return a record that makes nobody wait longer than a first contact would now."""
        return replace(record, defer_until=min(record.defer_until, self._now + self._policy.delay))

    def _entries(self, given: list[Entry]) -> None:
        if not given:
            return
        store = self._store
        self.done.read[ENTRIES] += len(given)
        why = store.lacks(LISTS)
        if why is not None:
            self.done.leave(why, count=len(given))
            return
        if self._known is None:  # once: lists are held in memory by the daemon, too
            self._known = {entry.key: entry for entry in store.entries()}
        wanted: dict[object, Entry] = {}
        for entry in given:
            before = wanted.get(entry.key) or self._known.get(entry.key)
            if not entry.live(self._now):
                self.done.leave("it has expired")
            elif store.lacks(KINDS) is not None and not in_old_lists(entry):
                self.done.leave(store.lacks(KINDS) or "")
            elif before is None or (entry.created >= before.created and _says(entry, before)):
                wanted[entry.key] = entry
        if wanted and not self._dry_run:
            store.put_entries(wanted.values())
        self._known |= wanted
        self.done.new[ENTRIES] += len(wanted)

    def _hour(self, one: Hour) -> None:
        """Raise each figure to what the file has: adding would count twice when repeated."""
        self.done.read[HOURS] += 1
        why = self._store.lacks(FIGURES)
        if why is not None:
            self.done.leave(why)
            return
        there = self._store.figures(one.hour, one.hour + 1).get(one.hour, {})
        more = {name: n - there.get(name, 0) for name, n in one.figures.items()}
        more = {name: n for name, n in more.items() if n > 0}
        if more and not self._dry_run:
            self._store.apply((), more, one.hour)
        self.done.new[HOURS] += bool(more)

    def _switch(self, one: Switch) -> None:
        self.done.read[SWITCHES] += 1
        why = self._store.lacks(SWITCH)
        if why is not None or not one.holds(self._now):
            self.done.leave(why or "it has expired")
            return
        if one.since > self._now + CLOCK_TOLERANCE:
            self.done.leave("it is from the future")
            return
        before = self._store.switch()
        if before is not None and before.since >= one.since:
            return
        if not self._dry_run:
            self._store.set_switch(one)
        self.done.new[SWITCHES] += 1


def _says(entry: Entry, before: Entry) -> bool:
    """Tell whether an entry says anything that is not known."""
    names = ("denied_until", "expires", "comment", "origin", "spoofable")
    return any(getattr(entry, name) != getattr(before, name) for name in names)
