"""All that a store holds, as values for lines of JSON: docs/everyday/export.md names the fields.

The first line says what the file is, and the last one how many lines it has: so one that was cut
is told. What stands between is read in steps, and only the lists are held in memory.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TypeAlias

from greylag.admin import AT_ONCE
from greylag.admin.trust import identity_text
from greylag.core.accesslist import NEVER, Entry, speaking_of
from greylag.core.client import format_address
from greylag.core.history import Deferral, Sought
from greylag.core.identity import is_network, pool_of
from greylag.core.record import Record
from greylag.core.switch import Switch
from greylag.core.triplet import Triplet, kind_of
from greylag.store.base import FIGURES, HISTORY, LISTS, SWITCH, Filter, Store

VERSION = 1
HEAD, END = "greylag-export", "end"
ENTRY, SWITCHED, FIGURED, DEFERRAL = "entry", "switch", "figures", "deferral"

Line: TypeAlias = dict[str, object]


def lines(store: Store, now: int, *, history: bool = False) -> Iterator[Line]:
    """Yield the lines of an export. Raises StoreError."""
    count = 1
    yield {"kind": HEAD, "version": VERSION, "made": now}
    for line in _all(store, history=history):
        count += 1
        yield line
    yield {"kind": END, "lines": count + 1}


def _all(store: Store, *, history: bool) -> Iterator[Line]:
    for key, record in store.search(Filter(), sys.maxsize):
        if is_network(key.network) or pool_of(key.network) is not None:
            yield _record(key, record)
    if store.lacks(LISTS) is None:
        # All at once, as the daemon has them in memory: the old tables may have several for one.
        yield from map(_entry, speaking_of(store.entries()).values())
    switch = store.switch() if store.lacks(SWITCH) is None else None
    if switch is not None:
        yield _switch(switch)
    if store.lacks(FIGURES) is None:
        for hour, figures in store.figures(0, NEVER).items():
            yield {"kind": FIGURED, "hour": hour, "figures": figures}
    if history and store.lacks(HISTORY) is None:
        yield from _history(store)


def _history(store: Store) -> Iterator[Line]:
    before: int | None = None
    while True:
        found = store.deferrals(Sought(), AT_ONCE, before)
        yield from map(_deferral, found.deferrals)
        before = found.before
        if before is None:
            return


def network_text(network: bytes) -> str:
    """Return what stands in a network's place as text: an address, or `spf:example.org`."""
    pool = pool_of(network)
    return format_address(network) if pool is None else str(pool)


def _record(key: Triplet, record: Record) -> Line:
    return {
        "kind": kind_of(key),
        "network": network_text(key.network),
        "sender": key.sender,
        "recipient": key.recipient,
        "first_seen": record.first_seen,
        "defer_until": record.defer_until,
        "expires": record.expires,
        "blocked": record.blocked,
        "passed": record.passed,
    }


def _entry(entry: Entry) -> Line:
    return {
        "kind": ENTRY,
        "purpose": entry.purpose.value,
        "names": entry.subject.kind,
        "subject": str(entry.subject),
        "denied_until": entry.denied_until,
        "expires": entry.expires,
        "created": entry.created,
        "comment": entry.comment,
        "origin": entry.origin,
        "spoofable": entry.spoofable,
    }


def _switch(switch: Switch) -> Line:
    times = {"until": switch.until, "since": switch.since}
    return {"kind": SWITCHED, "mode": switch.mode.value, **times, "who": switch.who}


def _deferral(one: Deferral) -> Line:
    key = one.triplet
    return {
        "kind": DEFERRAL,
        "id": one.id,
        "network": identity_text(key.network),
        "sender": key.sender,
        "recipient": key.recipient,
        "first_seen": one.first_seen,
        "defer_until": one.defer_until,
        "client": format_address(one.client) if one.client else None,
        "name": one.name,
        "signs": list(one.signs),
        "tries": one.tries,
        "outcome": one.outcome.value,
        "ended": one.ended,
        "released": one.released,
    }
