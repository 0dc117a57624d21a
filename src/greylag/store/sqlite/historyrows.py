"""Rows of the history, and what they mean: as with `rows`, nothing is believed to be in order."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from greylag.core.history import Action, Deferral, Outcome, Tally
from greylag.core.tallies import bounded
from greylag.core.triplet import Triplet
from greylag.store.sqlite.rows import check_row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DEFERRAL = (int, bytes, str, str, int, int, bytes, str, str, bytes, int, int, int, str, int, int)
_OUTCOMES = {outcome.value: outcome for outcome in Outcome}


def read_deferral(row: tuple[Any, ...]) -> Deferral:
    """Return a deferral. Raises sqlite3.DataError."""
    check_row(row, _DEFERRAL, "deferral")
    number, network, sender, recipient, first_seen, until, client, name, signs, *facts = row
    pool, tries, first_try, last_try, word, ended, released = facts
    outcome = _OUTCOMES.get(word)
    if outcome is None:  # of a version to come, or of nobody's
        raise sqlite3.DataError("a deferral has an outcome that is not known")
    triplet = Triplet(network, sender, recipient)
    about = (first_seen, until, client, name, tuple(signs.split()), pool)
    return Deferral(
        triplet, *about, tries, first_try, last_try, outcome, ended, released, number=number
    )


def sound_deferrals(rows: Iterable[tuple[Any, ...]]) -> Iterator[Deferral]:
    """Yield the deferrals among rows: one that is none must not hide all others."""
    for row in rows:
        with suppress(sqlite3.DataError):
            yield read_deferral(row)


def deferral_row(deferral: Deferral) -> tuple[object, ...]:
    """Return what is inserted for a deferral."""
    about = (deferral.first_seen, deferral.defer_until, deferral.client, deferral.name)
    signs = " ".join(deferral.signs)
    tries = (deferral.tries, deferral.first_try, deferral.last_try)
    end = (deferral.outcome.value, deferral.ended, deferral.released)
    return (deferral.id, *deferral.triplet.key, *about, signs, deferral.pool, *tries, *end)


def read_end(row: tuple[Any, ...]) -> tuple[int, int, int]:
    """Return where a step ended: the last number, its first contact, how many were seen."""
    number, first_seen, seen = row
    return number or 0, first_seen if type(first_seen) is int else 0, seen


def read_tally(sums: Sequence[Any]) -> Tally:
    """Return a day's figures, or their sums; what is no number counts for nothing."""
    return Tally(*(number if type(number) is int else 0 for number in sums))


def tally_row(tally: Tally) -> tuple[int, ...]:
    """Return what is added for a tally."""
    most = bounded(tally)
    return most.deferred, most.passed, most.waited, most.likely_spam, most.never


def sound_actions(rows: Iterable[tuple[Any, ...]]) -> Iterator[Action]:
    """Yield what admins did; a row that says nothing must not hide all others."""
    for row in rows:
        with suppress(sqlite3.DataError):
            check_row(row, (int, str, str, str), "action")
            yield Action(*row)
