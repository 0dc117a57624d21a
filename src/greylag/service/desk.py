"""The desk of the daemon: answers from memory what memory can answer, and knows what it cannot.

A record that is in the cache, and will only be counted, needs no store now: its own timestamps
decide. A first contact and a first pass do: they are on the disk before the answer is out. The
cache is bounded. What the `greylag` command removes, on whatever host, is seen within seconds: the
store counts such removals, and after one the cache is dropped. For what nobody tells us, as a row
that was deleted with SQL, an entry is trusted for some minutes only; where the store cannot count
removals, for a moment. So is always one that waits: an admin may have let it in with SQL, and mail
that has to wait for nothing is worse than mail that is let in once more.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from time import monotonic, time

from greylag.core.accessindex import AccessIndex
from greylag.core.engine import decide, listed
from greylag.core.question import Question
from greylag.core.record import Change, Record, applied
from greylag.core.sparing import heed
from greylag.core.triplet import Triplet
from greylag.core.value import replace
from greylag.core.verdict import Decision
from greylag.service import heard
from greylag.service.batch import Answered
from greylag.service.evidence import Gathering, nobody_later, nothing_kept
from greylag.service.later import Later, only_counts
from greylag.service.switched import Switched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from greylag.core.accesslist import Entry
    from greylag.core.evidence import Needs
    from greylag.core.switch import Switch
    from greylag.service.evidence import GatherLater, Kept

TRUSTED_FOR = 300.0  # seconds that the record of a known triplet is believed without being read
BRIEFLY = 2.0  # the same of one that waits, and where a store does not tell of removals
CACHE_SIZE = 100_000  # records; about 60 MB
MOST_TAUGHT = 100_000  # records that wait to be counted, beyond which nothing is learned


class Cached:
    """A record in the cache, and until when it is believed."""

    __slots__ = ("record", "until")

    def __init__(self, record: Record, until: float) -> None:
        self.record = record
        self.until = until


class Desk:
    """Answers from lists and cache; keeps the counts that are written later."""

    def __init__(
        self,
        *,
        size: int = CACHE_SIZE,
        clock: Callable[[], float] = time,
        stopwatch: Callable[[], float] = monotonic,
        gather: GatherLater = nobody_later,
        kept: Kept = nothing_kept,
    ) -> None:
        self._size = size
        self._trusted_for = BRIEFLY
        self._removals: int | None = None
        self._clock = clock
        self._stopwatch = stopwatch
        # A dict would pass over all who have gone before it finds its oldest.
        self._cache: OrderedDict[Triplet, Cached] = OrderedDict()
        self._lists: AccessIndex | None = None
        self._switched: Switched | None = None  # as the store had it when it was looked at last
        self.later = Later()
        self.gathering = Gathering(gather, kept)
        self.hits = 0
        self.misses = 0

    @property
    def ready(self) -> bool:
        """Tell whether the lists are known: before that the store is asked for each attempt."""
        return self._lists is not None

    def use_lists(self, lists: AccessIndex) -> AccessIndex | None:
        """Decide by these lists from now on; return those that held before."""
        before, self._lists = self._lists, lists
        return before

    @property
    def switch(self) -> Switch | None:
        """Return the switch as it was read last, also where it has ended."""
        return None if self._switched is None else self._switched.switch

    def use_switch(self, switch: Switch | None) -> None:
        """Go by this switch from now on."""
        if switch != self.switch:
            self._switched = None if switch is None else Switched(switch)

    def look_up(self, question: Question) -> Decision | Question:
        """Return what lists and memory say, or what the store has to be asked."""
        now = int(self._clock())
        if self._switched is not None:
            question = self._switched.asked(question, now)
        if self._lists is None:
            return replace(question, listed=False)
        entries = self._lists.matching(question)
        decision = listed(question, entries, now)
        if decision is None:
            found = self._remembered(question, self._lists, entries, now)
            if isinstance(found, Question):
                self.misses += 1
                return found
            self.hits += 1
            decision = found
        self.later.add(decision)
        return decision

    def _remembered(
        self, question: Question, lists: AccessIndex, entries: list[Entry], now: int
    ) -> Decision | Question:
        """Return what memory says; what entries say of first contacts is no matter to the known."""
        known = self._cache.get(question.triplet)
        if known is not None and known.record.passed and known.record.live(now):
            found = self._from_cache(question, known, now)
            if isinstance(found, Decision):
                return found
            question, known = found, None
        question = heed(question, [*entries, *lists.providers(question)], now)
        if known is None:
            return question
        return self._from_cache(question, known, now)

    def inform(
        self,
        loop: AbstractEventLoop,
        question: Question,
        needs: Needs,
        ask: Callable[[Question], None],
        reply: Callable[[Answered | None], None],
    ) -> None:
        """Have evidence gathered; then ask the store again, where the lists do not decide now."""

        def go_on(informed: Question) -> None:
            found = self._look_again(informed)
            if isinstance(found, Question):
                ask(found)
            else:
                reply(Answered(found, None))

        self.gathering.begin(loop, question, needs, go_on, partial(reply, None))

    def _look_again(self, question: Question) -> Decision | Question:
        """Ask the lists once more, where entries waited for the evidence that is there now."""
        if not question.wants:
            return question
        if self._lists is None:
            return replace(question, listed=False)
        entries = [*self._lists.matching(question), *self._lists.providers(question)]
        found = heard(question, entries, int(self._clock()))
        if isinstance(found, Decision):
            self.later.add(found)
        return found

    def _from_cache(self, question: Question, known: Cached, now: int) -> Decision | Question:
        record = known.record
        decision = decide(question, record, now)
        counts = only_counts(decision)
        if not counts or self._stopwatch() >= known.until:
            return replace(question, counts=counts)
        known.record = applied(decision.changes[0], record, now) or record
        return decision

    def learn(self, question: Question, answered: Answered) -> None:
        """Remember what the store has just confirmed."""
        triplet = question.triplet
        self._cache.pop(triplet, None)  # so that it goes to the end: the oldest go first
        if answered.record is not None:
            trusted_for = self._trusted_for if answered.record.passed else BRIEFLY
            self._cache[triplet] = Cached(answered.record, self._stopwatch() + trusted_for)
            while len(self._cache) > self._size:
                self._cache.popitem(last=False)

    def learn_later(self, change: Change) -> None:
        """Have a change written with the counts that wait. Where too many wait, it is left out."""
        if len(self.later) < MOST_TAUGHT:
            self.later.note(change)

    def heed(self, removals: int | None) -> None:
        """Note the store's count of removals: after one, nothing in the cache is sure."""
        if removals != self._removals:
            self._removals = removals
            self._trusted_for = BRIEFLY if removals is None else TRUSTED_FOR
            self.forget_all()

    def forget_all(self) -> None:
        """Drop the cache, as after the store was away: what it held may be gone."""
        self._cache.clear()

    def take_later(self, most: int) -> Later:
        """Hand over what is to be written, of up to so many records."""
        return self.later.take(most)
