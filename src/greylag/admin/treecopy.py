"""jgreylist's tree in `greylag db copy`: what its files say as records, and the other way.

A file says when a client came first and last. A record says until when it is remembered, which is
its last contact and the time that policy gives it from there on. So either tells the other, under
one policy, and what goes there and back is equal. See docs/start/jgreylist.md, "The
record tree".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from greylag.core.connection import HOLD, held
from greylag.core.policy import Policy
from greylag.core.record import Record
from greylag.core.triplet import Triplet, connection_of
from greylag.core.value import replace
from greylag.store.contacts import Contacts, Times


def as_record(times: Times, policy: Policy) -> Record:
    """Return what greylag would remember of a client that came first and last then."""
    may_pass = times.first + HOLD
    passed = int(times.last > times.first and times.last >= may_pass)
    kept = times.last + _kept_for(passed, policy)
    return Record(times.first, may_pass, kept, blocked=1, passed=passed)


def as_times(record: Record, policy: Policy, now: int) -> Times:
    """Return the first and the last contact, which is never before the first nor after `now`.

    It would be, where the record was kept under another policy.
    """
    last = min(record.expires - _kept_for(record.passed, policy), now)
    return Times(record.first_seen, max(record.first_seen, last))


def _kept_for(passed: int, policy: Policy) -> int:
    return policy.lifetime if passed else held(policy, HOLD).retry_window


def is_connection(triplet: Triplet) -> bool:
    """Tell whether a tree can keep it."""
    return triplet == connection_of(triplet.network, 8 * len(triplet.network))


def pages_of_contacts(
    contacts: Contacts, policy: Policy, size: int
) -> Iterator[list[tuple[Triplet, Record]]]:
    """Yield what such a store holds, some `size` records at a time."""
    page: list[tuple[Triplet, Record]] = []
    for connection, times in contacts.all_times():
        page.append((connection, as_record(times, policy)))
        if len(page) == size:
            yield page
            page = []
    yield page


def into_contacts(
    contacts: Contacts,
    records: Mapping[Triplet, Record],
    policy: Policy,
    now: int,
    *,
    dry_run: bool,
) -> int:
    """Put records of connections into such a store; return how many say anything new."""
    given = {t: as_times(r, policy, now) for t, r in records.items()}
    known = contacts.times(given)
    changed = [
        (triplet, times)
        for triplet, times in given.items()
        if triplet not in known or not _says_no_more(times, known[triplet])
    ]
    if changed and not dry_run:
        contacts.put_times(changed)
    return len(changed)


def _says_no_more(times: Times, known: Times) -> bool:
    return known == replace(
        known, first=min(known.first, times.first), last=max(known.last, times.last)
    )
