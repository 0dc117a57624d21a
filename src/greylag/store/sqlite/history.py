"""The history of a SQLite file."""

from __future__ import annotations

from collections.abc import Sequence

from greylag.core.history import Action, By, Event, Sought, Tally
from greylag.core.shortid import PAIR
from greylag.core.tallies import AHEAD, NAMES_KEPT, day_of, minus, plus
from greylag.store.history import MOST_OF_IDS, DeferralPage
from greylag.store.sqlite import historysql as sql
from greylag.store.sqlite.historyrows import read_end, read_tally, sound_actions, sound_deferrals
from greylag.store.sqlite.lists import SqliteLists
from greylag.store.sqlite.remembering import add_unnamed, remember

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.core.policy import Kept

_HIGHEST = 1 << 62  # above every number
_NOTHING = Tally()


class SqliteHistory(SqliteLists):
    """The part `History`; `SqliteStore` has the file and its transactions."""

    def remember(self, events: Sequence[Event], now: int) -> None:
        with self.transaction(), self._guard:
            remember(self._db, events, now)

    def deferrals(self, wanted: Sought, limit: int, before: int | None = None) -> DeferralPage:
        first, last = wanted.networks or (None, None)
        before = _HIGHEST if before is None else before
        ids = (wanted.first_id, wanted.last_id)
        when = (wanted.since, wanted.until)
        outcomes = wanted.outcomes
        words = None if outcomes is None else f" {' '.join(one.value for one in outcomes)} "
        texts = (wanted.sender, wanted.recipient, wanted.null_sender)
        where = (*ids, *when, *texts, first, last, words, wanted.sign)
        with self._guard:
            few = self._are_few(wanted)
            if few:
                end = self._db.execute(sql.END_OF_IDS, (before, limit, *ids)).fetchone()
            else:
                end = self._db.execute(sql.END_OF_STEP, (before, limit)).fetchone()
            number, reached, seen = read_end(end)
            rows = self._db.execute(sql.PAGE_OF_IDS if few else sql.PAGE, (before, number, *where))
            found = [one for one in sound_deferrals(rows) if wanted.fits(one)]
        return DeferralPage(found, number if seen == limit else None, reached)

    def _are_few(self, wanted: Sought) -> bool:
        """Tell whether so few have these ids that they are sorted in no time."""
        if wanted.last_id - wanted.first_id >= PAIR:
            return False
        ids = (wanted.first_id, wanted.last_id, MOST_OF_IDS)
        return bool(self._db.execute(sql.COUNT_IDS, ids).fetchone() != (MOST_OF_IDS,))

    def tallies(self, since: int, until: int, by: By, limit: int) -> dict[str, Tally]:
        wanted = (by.value, since, until)
        with self._guard:
            rest = read_tally(self._db.execute(sql.SUMS, wanted).fetchone())
            found = {}
            for name, *sums in self._db.execute(sql.TALLIES, (*wanted, limit)):
                found[str(name)] = tally = read_tally(sums)
                rest = minus(rest, tally)
        return found if rest == _NOTHING else found | {"": rest}

    def forget_history(self, kept: Kept, now: int, limit: int) -> int:
        before, after = kept.since(now), now + AHEAD
        actions = (limit, kept.actions_since(now), after)
        with self.transaction(), self._guard:
            gone = self._db.execute(sql.FORGET, (limit, before, after, kept.most)).rowcount
            gone = gone or self._db.execute(sql.FORGET_ACTIONS, actions).rowcount
            gone = gone or self._forget_day(day_of(before), after, limit)
            return gone or self._cut_day(day_of(now), limit)

    def _forget_day(self, before: int, after: int, limit: int) -> int:
        """Delete tallies of one day and kind; return how many."""
        day = self._db.execute(sql.OLD_DAY, (before, after)).fetchone()
        if day is None:
            return 0
        gone = self._db.execute(sql.FORGET_TALLIES, (*day, limit)).rowcount
        if gone < limit:
            self._db.execute(sql.FORGET_DAY, day)
        return gone or 1

    def _cut_day(self, today: int, limit: int) -> int:
        """Add names with little mail, of a day that is over, to those that are not named."""
        day = self._db.execute(sql.LARGE_DAY, (NAMES_KEPT, today)).fetchone()
        if day is None:
            return 0
        kind, at, names = day
        rows = self._db.execute(sql.SMALLEST, (kind, at, min(limit, names - NAMES_KEPT))).fetchall()
        cut = _NOTHING
        for name, *sums in rows:
            cut = plus(cut, read_tally(sums))
            self._db.execute(sql.FORGET_TALLY, (kind, at, name))
        add_unnamed(self._db, kind, at, cut)
        # Where there are fewer than are told of, it is not to be looked at for ever.
        self._db.execute(sql.FEWER_NAMES, (len(rows) or names, kind, at))
        return len(rows) or 1

    def note_action(self, action: Action) -> None:
        with self.transaction(), self._guard:
            row = (action.at, action.who, action.action, action.subject)
            self._db.execute(sql.NOTE_ACTION, row)

    def actions(self, limit: int) -> list[Action]:
        with self._guard:
            return list(sound_actions(self._db.execute(sql.ACTIONS, (limit,))))
