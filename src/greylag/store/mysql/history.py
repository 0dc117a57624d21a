"""The history in MySQL: tables of our own, in which nobody but greylag writes.

An account that may not make them goes without a history, and all else works.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from greylag.core.history import Action, By, Event, Sought, Tally
from greylag.core.shortid import PAIR
from greylag.core.tallies import AHEAD, NAMES_KEPT, day_of, minus, plus
from greylag.store.history import MOST_OF_IDS, DeferralPage
from greylag.store.mysql import historysql as sql
from greylag.store.mysql.historyrows import (
    action_row,
    number_of,
    read_actions,
    read_deferrals,
    read_name,
    read_tally,
    tally_row,
)
from greylag.store.mysql.link import Guard
from greylag.store.mysql.lists import MysqlLists
from greylag.store.mysql.names import Names
from greylag.store.mysql.remembering import NO_HISTORY, Remembering
from greylag.store.mysql.session import MysqlSession, Transaction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from greylag.core.policy import Kept

_STEP = 10_000  # deferrals that a page looks at, at most: one answer is bounded (see driver.py)
_NOTHING = Tally()


class MysqlHistory(MysqlLists):
    """The part `History`; `MysqlStore` has the session."""

    def __init__(
        self, session: MysqlSession, guard: Guard, transaction: Transaction, names: Names
    ) -> None:
        super().__init__(session, guard, transaction, names)
        self._history = Remembering(session)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold a transaction in which the history is written."""
        if not self._history.kept:
            raise self._guard.refused(NO_HISTORY)
        hurried = self._transaction.for_who_is(hurried=True)
        with hurried, self._guard, self._session.at_once(), self._history.broken():
            yield

    def remember(self, events: Sequence[Event], now: int) -> None:
        with self._writing():
            self._history.remember(events, now)

    def deferrals(self, wanted: Sought, limit: int, before: int | None = None) -> DeferralPage:
        if not self._history.kept:
            return DeferralPage([], None)
        limit, before = min(limit, _STEP), sql.HIGHEST if before is None else before
        ids = (wanted.first_id, wanted.last_id)
        with self._guard:
            few = self._are_few(wanted)
            if few:
                end = self._session.read(sql.END_OF_IDS, (*ids, before, limit))[0]
            else:
                end = self._session.read(sql.END_OF_STEP, (before, limit))[0]
            number, seen = map(int, end)
            if not seen:
                return DeferralPage([], None)
            first, last = wanted.networks or (None, None)
            texts = (wanted.sender.encode(), wanted.recipient.encode(), int(wanted.null_sender))
            outcomes = wanted.outcomes
            words = None if outcomes is None else ",".join(one.value for one in outcomes).encode()
            sign = wanted.sign.encode()
            where = (*texts, first, first, first, last, words, words, sign, sign)
            step = (*ids, number, before, wanted.since, wanted.until, *where)
            self._session.ask(sql.PAGE_OF_IDS if few else sql.PAGE, step)
            self._session.ask(sql.FIRST_SEEN, (number,))
            rows, reached = self._session.answers()
        found = [one for one in read_deferrals(rows) if wanted.fits(one)]
        at = number_of(reached[0][0]) if reached else 0
        return DeferralPage(found, number if seen == limit else None, at)

    def _are_few(self, wanted: Sought) -> bool:
        """Tell whether so few have these ids that they are sorted in no time."""
        if wanted.last_id - wanted.first_id >= PAIR:
            return False
        ids = (wanted.first_id, wanted.last_id, MOST_OF_IDS)
        return int(self._session.read(sql.COUNT_IDS, ids)[0][0]) < MOST_OF_IDS

    def tallies(self, since: int, until: int, by: By, limit: int) -> dict[str, Tally]:
        if not self._history.kept:
            return {}
        wanted = (by.value.encode(), since, until)
        with self._guard:
            self._session.ask(sql.SUMS, wanted)
            self._session.ask(sql.TALLIES, (*wanted, limit))
            (sums,), rows = self._session.answers()
        rest = read_tally(sums)
        found = {}
        for row in rows:
            name = read_name(row[0])
            if name:
                found[name] = tally = read_tally(row[1:])
                rest = minus(rest, tally)
        return found if rest == _NOTHING else found | {"": rest}

    def forget_history(self, kept: Kept, now: int, limit: int) -> int:
        if not self._history.kept:
            return 0
        before, after = kept.since(now), now + AHEAD
        with self._writing():
            return (
                self._forget_deferrals(before, after, limit, kept.most)
                or self._forget_actions(kept.actions_since(now), after, limit)
                or self._forget_day(day_of(before), after, limit)
                or self._cut_day(day_of(now), limit)
            )

    def _forget_deferrals(self, before: int, after: int, limit: int, most: int) -> int:
        self._session.ask(sql.OLDEST, (limit,))
        self._session.ask(sql.NEWEST, (limit,))
        oldest, (newest,) = self._session.answers()
        over = _about(oldest, newest, limit) - most
        last = int(oldest[min(over, len(oldest)) - 1][0]) if over > 0 else 0
        gone = [int(n) for n, at in oldest if int(n) <= last or _is_out(at, before, after)]
        if not gone:
            return 0
        self._session.read(sql.FORGET, (gone[-1], before, after, last))
        return self._changed()

    def _changed(self) -> int:
        """Return how many rows the last statement changed, as the server says."""
        return max(0, int(self._session.read(sql.CHANGED)[0][0]))

    def _forget_actions(self, before: int, after: int, limit: int) -> int:
        oldest = self._session.read(sql.OLDEST_ACTIONS, (limit,))
        gone = [int(number) for number, at in oldest if _is_out(at, before, after)]
        if not gone:
            return 0
        self._session.read(sql.FORGET_ACTIONS, (gone[-1], before, after))
        return self._changed()

    def _forget_day(self, before: int, after: int, limit: int) -> int:
        """Delete figures of one day and kind; return how many."""
        days = self._session.read(sql.OLD_DAY, (before, after))
        if not days:
            return 0
        self._session.read(sql.FORGET_TALLIES, (*days[0], limit))
        gone = self._changed()
        if gone < limit:
            self._session.read(sql.FORGET_DAY, days[0])
            gone += self._changed()
        return gone

    def _cut_day(self, today: int, limit: int) -> int:
        """Add names with little mail, of a day that is over, to those that are not named."""
        days = self._session.read(sql.LARGE_DAY, (NAMES_KEPT, today))
        if not days:
            return 0
        *day, found = days[0]
        names = number_of(found)
        number = max(1, min(limit, names - NAMES_KEPT))
        rows = self._session.read(sql.SMALLEST, (*day, number))
        cut = _NOTHING
        for row in rows:
            cut = plus(cut, read_tally(row[1:]))
        self._session.write(sql.FORGET_NAMES, [(*day, row[0]) for row in rows])
        self._session.write(sql.ADD_TALLY, [(*day, b"", *tally_row(cut))])
        # Where there are fewer than are told of, it is not to be looked at for ever.
        self._session.read(sql.FEWER_NAMES, (len(rows) or names, *day))
        changed = self._changed()
        return max(1, len(rows)) if changed else 0

    def note_action(self, action: Action) -> None:
        with self._writing():
            self._session.write(sql.NOTE_ACTION, [action_row(action)])
            self._session.flush()

    def actions(self, limit: int) -> list[Action]:
        if not self._history.kept:
            return []
        with self._guard:
            return read_actions(self._session.read(sql.ACTIONS, (limit,)))


def _is_out(at: object, before: int, after: int) -> bool:
    """Tell whether a time is too old, or of a clock that was wrong."""
    return not before <= number_of(at) <= after


def _about(oldest: Sequence[tuple[Any, ...]], newest: tuple[Any, ...], limit: int) -> int:
    """Return how many deferrals there are, about, as their ids lie at both ends."""
    if len(oldest) < limit:
        return len(oldest)
    first, last = int(oldest[0][0]), int(oldest[-1][0])
    number, low, high = map(int, newest)
    gaps, stretches = len(oldest) + number - 2, (last - first) + (high - low)
    return 1 + (high - first) * gaps // stretches if gaps else 1 + high - first
