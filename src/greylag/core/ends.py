"""How the history tells what became of a record that never passed, when its time is over."""

from __future__ import annotations

from collections.abc import Sequence

from greylag.core.fates import fate_of_deferral
from greylag.core.history import Deferral, Outcome
from greylag.core.record import Record
from greylag.core.triplet import Triplet

OTHERS = 16  # deferrals of a pair that tell what became of one of them: the newest
# A step of expiry takes no longer than this allows, whatever senders made up: each deferral that
# is read or compared counts one.
_MOST = 6000
# The same where a step can end early, and go on with the rest in the next: some 20 ms.
MOST_OF_STEP = 1500


class Work:
    """What a step has left of the work of comparing deferrals; without others, signs decide."""

    def __init__(self, most: int = _MOST) -> None:
        self._left = most

    @property
    def done(self) -> bool:
        """Tell whether nothing more is to be read or compared."""
        return self._left <= 0

    def read(self, number: int) -> None:
        """Count deferrals that were read."""
        self._left -= number

    def compare(self, near: Sequence[Deferral]) -> Sequence[Deferral]:
        """Return those to compare with: the newest, or none any more."""
        if self.done:
            return ()
        near = near[-OTHERS:]
        self._left -= len(near)
        return near


def deferral_of(triplet: Triplet, record: Record, client: bytes = b"") -> Deferral:
    """Return what a record alone says of a deferral that is not remembered."""
    tries = max(0, record.blocked - 1)
    return Deferral(triplet, record.first_seen, record.defer_until, client, tries=tries)


def own_of(triplet: Triplet, record: Record, near: Sequence[Deferral]) -> Deferral | None:
    """Return the deferral that a record is of, among the deferrals of its pair, or None.

    It may have passed all the same: then its retry came from another server of its pool. Or its
    mail was let in for another reason, while this record waited.
    """
    same = [one for one in near if one.triplet == triplet]
    waiting = [one for one in same if one.outcome is Outcome.WAITING]
    came = [one for one in same if _came(one, record)]
    return max(waiting or came, key=lambda one: one.number, default=None)


def _came(one: Deferral, record: Record) -> bool:
    """Tell whether the mail of a deferral came, since the record was made."""
    if one.outcome is Outcome.OTHER_WAY:  # one of an older record is of that alone
        return one.first_seen >= record.first_seen
    return one.outcome is Outcome.PASSED and one.ended >= record.first_seen


def outcome_of(
    triplet: Triplet, record: Record, own: Deferral | None, near: Sequence[Deferral]
) -> Outcome:
    """Return what became of a record that never passed; `near` are deferrals of its pair."""
    if own is None:
        own = deferral_of(triplet, record)
    elif own.outcome is not Outcome.WAITING:
        return Outcome.OTHER_WAY
    return fate_of_deferral(own, near, record)
