"""The part of a store's contract that says what became of deferred mail (`core.history`)."""

from __future__ import annotations

from collections.abc import Sequence

from greylag.core.value import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from greylag.core.history import Action, By, Deferral, Event, Sought, Tally
    from greylag.core.policy import Kept
else:
    Protocol = object  # as in `store.base`


MOST_OF_IDS = 5000  # deferrals in a narrow range that are sorted: a flood of them is walked past


@value
class DeferralPage:
    """Some deferrals, the newest first, and before which number the next page goes on."""

    deferrals: list[Deferral]
    before: int | None  # None: all was looked at
    reached: int = 0  # first contact of the oldest that was looked at


class History(Protocol):
    """What became of deferred mail, what was done by whom, for a bounded time."""

    def remember(self, events: Sequence[Event], now: int) -> None:
        """Write what happened, in its order, all or none; and add to the tallies of today.

        What speaks of a deferral that is not remembered adds to the tallies alone.
        """

    def deferrals(self, wanted: Sought, limit: int, before: int | None = None) -> DeferralPage:
        """Return deferrals that fit, the newest first, among the next `limit` ones.

        So a step costs the same whatever fits, and a page may be empty though others follow. With
        a narrow range of ids all of these are looked at, by an index.
        """

    def tallies(self, since: int, until: int, by: By, limit: int) -> dict[str, Tally]:
        """Return the sums of the days that began in [since, until): the names with most deferrals.

        "" stands for all that are not named, as a day keeps a bounded number of names.
        """

    def forget_history(self, kept: Kept, now: int, limit: int) -> int:
        """Delete up to `limit` deferrals, the oldest; return how many.

        Those go that are too old, those beyond about the most, and those of a clock that was wrong
        (`AHEAD`), or such would lie in the way of all that came after them. Where none is left to
        go, up to `limit` actions and tallies are deleted in the same way, and tallies of days that
        are over are cut to the names with most mail: what these are is counted, too.
        """

    def note_action(self, action: Action) -> None:
        """Write down what an admin did."""

    def actions(self, limit: int) -> list[Action]:
        """Return the newest actions, the newest first."""
