"""Copying one store into another, as often as one likes.

Facts merge (`core.record.joined`), so what was copied before, or was learned by the target
meanwhile, is never counted twice: after an interruption the same copy simply goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import islice

from greylag.admin import Progress, in_parts, unseen
from greylag.admin.treecopy import into_contacts, is_connection, pages_of_contacts
from greylag.core.accesslist import NEVER, Entry, Purpose, speaking_of
from greylag.core.client import network
from greylag.core.identity import is_network
from greylag.core.oldlists import in_old_lists
from greylag.core.oldname import bytes_of, name_of
from greylag.core.policy import Policy
from greylag.core.record import Record, joined
from greylag.core.subject import Subject
from greylag.core.triplet import Triplet
from greylag.core.value import replace, value
from greylag.store.base import FIGURES, KINDS, LISTS, NAMES, RECIPIENTS, Filter, Store

PAGE = 2000  # records in one transaction

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


def copy(
    old: Store,
    new: Store,
    policy: Policy,
    now: int,
    *,
    dry_run: bool = False,
    progress: Progress = unseen,
) -> Copied:
    """Copy records, lists and figures; what the new store knows already stays.

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
    return Copied(*records, entries, hours, left_out)


def _copy_records(
    old: Store, new: Store, policy: Policy, now: int, dry_run: bool, progress: Progress
) -> tuple[int, int, int]:
    read = copied = left_out = 0
    source, target = old.contacts(), new.contacts()
    all_pages = _pages(old) if source is None else pages_of_contacts(source, policy, PAGE)
    for whole in progress(all_pages, None, "copying"):
        read += len(whole)
        page = _kept_by(new, whole)
        left_out += len(whole) - len(page)
        given = _by_key(page, policy)
        if target is None:
            copied += _merge_into(new, given, dry_run)
        else:
            copied += into_contacts(target, given, policy, now, dry_run=dry_run)
    return read, copied, left_out


def _kept_by(new: Store, page: Page) -> Page:
    """Return those records that the target can keep."""
    if new.lacks(RECIPIENTS) is not None:
        return [item for item in page if is_connection(item[0])]
    if new.lacks(NAMES) is not None:
        return [item for item in page if is_network(item[0].network)]
    return page


def _merge_into(new: Store, given: Records, dry_run: bool) -> int:
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


def _by_key(page: Page, policy: Policy) -> Records:
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
