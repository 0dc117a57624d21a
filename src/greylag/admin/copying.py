"""Copying one store into another, as often as one likes.

Facts merge (`core.record.joined`), so what was copied before, or was learned by the target
meanwhile, is never counted twice: after an interruption the same copy simply goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import islice

from greylag.admin import Progress, in_parts, unseen
from greylag.admin.switch import holding
from greylag.admin.treecopy import into_contacts, is_connection, pages_of_contacts
from greylag.core.accesslist import NEVER, Entry, Purpose, speaking_of
from greylag.core.client import network
from greylag.core.history import Sought
from greylag.core.identity import is_network
from greylag.core.oldlists import in_old_lists
from greylag.core.oldname import bytes_of, name_of
from greylag.core.policy import Policy
from greylag.core.record import Record, joined
from greylag.core.subject import Subject
from greylag.core.triplet import Triplet
from greylag.core.value import replace, value
from greylag.store.base import (
    FIGURES,
    HISTORY,
    KINDS,
    LISTS,
    NAMES,
    RECIPIENTS,
    SWITCH,
    Filter,
    Store,
)

PAGE = 2000  # records in one transaction
MOST_ACTIONS = 10_000  # the newest, that are copied

Records = dict[Triplet, Record]
Page = list[tuple[Triplet, Record]]


@value
class Copied:
    """What was read, what of it said anything new, and what the target cannot keep."""

    read: int  # records
    copied: int  # records
    left_out: int  # records
    entries: int
    hours: int  # of figures
    entries_left_out: int
    actions: int = 0  # what admins did
    switch: bool = False  # that of the old store was turned in the new one
    actions_left_out: int = 0  # the new store has some of its own
    history_left_out: bool = False  # the old store has deferrals: each keeps its own


def copy(
    old: Store,
    new: Store,
    policy: Policy,
    now: int,
    *,
    dry_run: bool = False,
    progress: Progress = unseen,
) -> Copied:
    """Copy records, lists, figures, the switch and what admins did; what the new store knows stays.

    An entry of the old store replaces the new one's for the same subject. What the new store
    cannot keep is left out. `policy` is the new store's.
    """
    records = _copy_records(old, new, policy, now, dry_run, progress)
    entries = left_out = hours = 0
    if new.lacks(LISTS) is None:
        entries, left_out = _copy_entries(old, new, dry_run)
    else:
        left_out = len(old.entries())
    if new.lacks(FIGURES) is None:
        hours = _copy_figures(old, new, dry_run)
    switch = _copy_switch(old, new, now, dry_run)
    actions = actions_left_out = 0
    if new.lacks(HISTORY) is None:
        actions, actions_left_out = _copy_actions(old, new, dry_run)
    history = bool(old.deferrals(Sought(), 1).deferrals)
    return Copied(*records, entries, hours, left_out, actions, switch, actions_left_out, history)


def _copy_records(
    old: Store, new: Store, policy: Policy, now: int, dry_run: bool, progress: Progress
) -> tuple[int, int, int]:
    read = copied = left_out = 0
    source, target = old.contacts(), new.contacts()
    all_pages = _pages(old) if source is None else pages_of_contacts(source, policy, PAGE)
    for whole in progress(all_pages, None, "copying"):
        read += len(whole)
        page = kept_by(new, whole)
        left_out += len(whole) - len(page)
        given = by_key(page, policy)
        if target is None:
            copied += merge_into(new, given, dry_run)
        else:
            copied += into_contacts(target, given, policy, now, dry_run=dry_run)
    return read, copied, left_out


def kept_by(new: Store, page: Page) -> Page:
    """Return those records that the target can keep."""
    if new.lacks(RECIPIENTS) is not None:
        return [item for item in page if is_connection(item[0])]
    if new.lacks(NAMES) is not None:
        return [item for item in page if is_network(item[0].network)]
    return page


def merge_into(new: Store, given: Records, dry_run: bool) -> int:
    """Merge records into a store; return of how many it learned anything new."""
    known = new.load(list(given))
    changed = {t: r for t, r in given.items() if joined(known.get(t, r), r) != known.get(t)}
    if changed and not dry_run:
        new.merge(changed)
    return len(changed)


def _pages(store: Store) -> Iterator[Page]:
    """Yield all records, some at a time."""
    found = store.search(Filter(), sys.maxsize)
    while page := list(islice(found, PAGE)):
        yield page


def by_key(page: Page, policy: Policy) -> Records:
    """Return the records by the keys that greylag looks for: old rows hold other spellings."""
    found: Records = {}
    for triplet, record in page:
        key = _key(triplet, policy)
        found[key] = joined(found.get(key, record), record)
    return found


def _key(triplet: Triplet, policy: Policy) -> Triplet:
    net = triplet.network
    if is_connection(triplet):
        return triplet  # its network is of the width that jgreylist was told
    return Triplet(
        network(net, policy.prefix_of(net)) if is_network(net) else net,
        _name(triplet.sender, policy.sender_name),
        _name(triplet.recipient, policy.recipient_name),
    )


def _name(text: str, name: Callable[[bytes], str]) -> str:
    """Return the name in the target's keys: the source may be an old table, or an older greylag's.

    What was cut and ends with a digest cannot be read back.
    """
    known = text if r"\#" in text else name_of(text)
    raw = bytes_of(known)
    return known if raw is None else name(raw)


def _copy_entries(old: Store, new: Store, dry_run: bool) -> tuple[int, int]:
    """Return how many entries said anything new, and how many the target cannot keep."""
    wanted, known = _speaking(old), _speaking(new)
    changed = [entry for key, entry in wanted.items() if known.get(key) != entry]
    kept = changed if new.lacks(KINDS) is None else [e for e in changed if in_old_lists(e)]
    if not dry_run:
        for part in in_parts(kept):
            new.put_entries(part)
    return len(kept), len(changed) - len(kept)


def _speaking(store: Store) -> dict[tuple[Purpose, Subject], Entry]:
    """Return the last word of each subject, without the numbers: each store gives its own."""
    return {k: replace(e, number=0, rank=None) for k, e in speaking_of(store.entries()).items()}


def _copy_figures(old: Store, new: Store, dry_run: bool) -> int:
    """Raise each figure to what the other store has: adding would count twice when repeated."""
    hours, known = old.figures(0, NEVER), new.figures(0, NEVER)
    changed = 0
    for hour, figures in hours.items():
        there = known.get(hour, {})
        more = {name: n - there.get(name, 0) for name, n in figures.items()}
        more = {name: n for name, n in more.items() if n > 0}
        changed += bool(more)
        if more and not dry_run:
            new.apply((), more, hour)
    return changed


def _copy_switch(old: Store, new: Store, now: int, dry_run: bool) -> bool:
    """Turn the new store's switch as the old one's is, where it is not turned itself."""
    switch = holding(old, now)
    if switch is None or new.lacks(SWITCH) is not None or holding(new, now) is not None:
        return False
    if not dry_run:
        new.set_switch(switch)
    return True


def _copy_actions(old: Store, new: Store, dry_run: bool) -> tuple[int, int]:
    """Copy what admins did; return how much, and how much is left out.

    Stores have it in the order in which it was written. So the oldest is copied first, and nothing
    where the newest in the new store is not of the old one.
    """
    done, known = old.actions(MOST_ACTIONS), new.actions(1)
    if known and known[0] not in done:
        return 0, len(done)
    wanted = done[: done.index(known[0]) if known else None][::-1]
    for part in in_parts(wanted if not dry_run else []):
        with new.transaction():
            for action in part:
                new.note_action(action)
    return len(wanted), 0
