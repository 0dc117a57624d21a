"""Rows of the history, and what they mean: as with `rows`, nothing is believed to be in order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from greylag.core.history import Action, Deferral, Outcome, Tally
from greylag.core.identity import is_network
from greylag.core.tallies import bounded
from greylag.core.triplet import Triplet
from greylag.store.mysql.rows import whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_OUTCOMES = {outcome.value.encode(): outcome for outcome in Outcome}
_MOST = 2**63 - 1  # that a column holds
_WORD, _TEXT = 255, 1024  # characters of an action: as its columns hold them


def deferral_row(deferral: Deferral) -> tuple[object, ...]:
    """Return what is inserted for a deferral."""
    key = deferral.triplet
    between = (key.network, key.sender.encode(), key.recipient.encode())
    about = (deferral.first_seen, deferral.defer_until, deferral.client, deferral.name.encode())
    signs = " ".join(deferral.signs).encode()
    return (deferral.id, *between, *about, signs, deferral.pool, *_happened(deferral))


def changed_row(deferral: Deferral) -> tuple[object, ...]:
    """Return what is written of a deferral that is there: what may have happened to it."""
    return (deferral.number, deferral.defer_until, *_happened(deferral))


def _happened(deferral: Deferral) -> tuple[object, ...]:
    tries = (min(deferral.tries, _MOST), deferral.first_try, deferral.last_try)
    return (*tries, deferral.outcome.value.encode(), deferral.ended, deferral.released)


def read_deferrals(rows: Iterable[tuple[Any, ...]]) -> list[Deferral]:
    """Return the deferrals among rows: one that is none must not hide all others."""
    return [one for one in map(_read_deferral, rows) if one is not None]


def _read_deferral(row: tuple[Any, ...]) -> Deferral | None:
    try:
        number, network, sender, recipient, first_seen, until, client, name, signs, *facts = row
        pool, tries, first_try, last_try, outcome, ended, released = facts
        if not all(isinstance(one, bytes) for one in (network, client, pool)):
            return None
        if not is_network(network):
            return None
        return Deferral(
            Triplet(network, sender.decode("ascii"), recipient.decode("ascii")),
            whole(first_seen),
            whole(until),
            client if is_network(client) else b"",
            name.decode("ascii"),
            tuple(signs.decode("ascii").split()),
            pool,
            whole(tries),
            whole(first_try),
            whole(last_try),
            _OUTCOMES[outcome],
            whole(ended),
            whole(released),
            int(number),
        )
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError):
        return None  # of a version to come, or of nobody's


def tally_row(tally: Tally) -> tuple[int, ...]:
    """Return what is added for some figures of a day."""
    most = bounded(tally)
    return most.deferred, most.passed, most.waited, most.likely_spam, most.never


def read_tally(sums: Sequence[Any]) -> Tally:
    """Return a day's figures, or their sums; what is no number counts for nothing."""
    return Tally(*map(number_of, sums))


def number_of(found: object) -> int:
    """Return a number of 64 bits; what is none is 0."""
    try:
        return whole(found or 0)
    except (ValueError, TypeError, OverflowError):
        return 0


def read_name(found: object) -> str | None:
    """Return a name of a day's figures, or None for one that nobody has."""
    return found.decode() if isinstance(found, bytes) and found.isascii() else None


def action_row(action: Action) -> tuple[object, ...]:
    """Return what is inserted for an action."""
    texts = (action.who[:_WORD], action.action[:_WORD], action.subject[:_TEXT])
    return (action.at, *(text.encode("utf-8", "replace").decode() for text in texts))


def read_actions(rows: Iterable[tuple[Any, ...]]) -> list[Action]:
    """Return what admins did; a row that says nothing must not hide all others."""
    return [
        Action(number_of(at), *map(str, texts))
        for at, *texts in rows
        if all(isinstance(text, str) for text in texts)
    ]
