"""What an answer means for the history of deferred mail.

A process for one recipient writes it in the transaction of the answer; the daemon, see
`service.collecting`.
"""

from __future__ import annotations

from greylag.core.history import Begun, Deferral, Ended, Event, LetIn, Outcome, Tried
from greylag.core.question import Question
from greylag.core.record import Created
from greylag.core.verdict import Decision, Reason
from greylag.store.base import HISTORY, Store, StoreConflict, StoreError

SPOKEN_OF = (Reason.NEW, Reason.EARLY, Reason.RETRIED)


class HistoryFailed(Exception):
    """It could not be remembered in the transaction of an answer: that is to be made without."""


def is_spoken_of(decision: Decision) -> bool:
    """Tell whether an answer may mean something for the history."""
    return decision.reason in SPOKEN_OF or decision.waiting is not None


def event_of(question: Question, decision: Decision, now: int) -> Event | None:
    """Return what an answer means for the history; None for nothing."""
    if decision.waiting is not None:
        return LetIn(decision.waiting, now)
    if decision.reason not in SPOKEN_OF or not decision.changes or question.connection:
        return None
    change = decision.changes[0]  # of the triplet, or the same with its pool
    if isinstance(change, Created):
        return Begun(_deferral_of(question, change))
    if decision.reason is Reason.EARLY:
        return Tried(change.triplet, now)
    began = now if decision.record is None else decision.record.first_seen
    return Ended(change.triplet, began + (decision.waited or 0), Outcome.PASSED)


def _deferral_of(question: Question, created: Created) -> Deferral:
    from greylag.core.signs import known_signs

    names = question.names
    return Deferral(
        question.triplet,
        created.first_seen,
        created.defer_until,
        question.client,
        names[0] if names else "",
        known_signs(question),
        b"" if question.pooled is None else question.pooled.network,
    )


def remember_one(store: Store, question: Question, decision: Decision, now: int) -> None:
    """Remember an answer inside its own transaction. Raises HistoryFailed, StoreConflict."""
    if not is_spoken_of(decision) or store.lacks(HISTORY) is not None:
        return
    event = event_of(question, decision, now)
    if event is not None:
        try:
            store.remember([event], now)
        except StoreConflict:
            raise
        except StoreError as error:
            raise HistoryFailed from error
