"""Where engine, store, clock and failure policy meet: the only place.

`Service` answers one attempt at a time, for a process that lives for one; `desk`, `batch` and
`deciding` answer many, for the daemon.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, time

from greylag.core.engine import decide, listed, needs, unanswered
from greylag.core.evidence import NO_EVIDENCE, Needs
from greylag.core.figures import figures_of
from greylag.core.question import Question
from greylag.core.sparing import further, heed
from greylag.core.verdict import Decision, Verdict
from greylag.service.conflict import Tries
from greylag.service.history import HistoryFailed, remember_one
from greylag.store.base import Store, StoreConflict, StoreError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.core.accesslist import Entry
    from greylag.service.evidence import Gather

Report = Callable[[StoreError], None]


class Service:
    """Answers questions from one store, one at a time, and never fails to answer.

    `open_store` is called when a store is first needed, so an attempt that needs none pays for
    none. `report` is told why a store could not answer. `gather` gathers evidence, where the engine
    needs some, in half of the time that is left until `ends_at` (of a monotonic clock). With
    `history`, the store's history is told of each answer in its transaction.
    """

    def __init__(  # noqa: PLR0913 - where it asks, and all that it may need
        self,
        open_store: Callable[[], Store],
        *,
        report: Report,
        on_failure: Verdict = Verdict.PASS,
        clock: Callable[[], float] = time,
        gather: Gather | None = None,
        ends_at: float | None = None,
        history: bool = False,
    ) -> None:
        self._open_store = open_store
        self._report = report
        self._on_failure = on_failure
        self._clock = clock
        self._gather = gather
        self._ends_at = ends_at
        self._history = history
        self._store: Store | None = None
        self.question: Question | None = None  # that the records answered, with what was gathered

    def answer(self, question: Decision | Question) -> Decision:
        """Answer what `precheck` left open; what it changes is durable when this returns."""
        return self._answer(question, self._decide_and_write)

    def foretell(self, question: Decision | Question) -> Decision:
        """Return what `answer` would answer now, and write nothing."""
        return self._answer(question, self._decide_only)

    def _answer(
        self,
        question: Decision | Question,
        with_store: Callable[[Store, Question, int], Decision | Needs],
    ) -> Decision:
        now = int(self._clock())
        if isinstance(question, Decision):
            return question
        tries = Tries()
        try:
            store = self._store = self._open_store()
            while True:
                try:
                    found = with_store(store, question, now)
                except StoreConflict as conflict:
                    tries.lost(conflict)
                    continue
                except HistoryFailed:  # once more without it: it must cost no answer
                    self._history = False
                    continue
                if not isinstance(found, Needs):
                    return found
                # Once: what was asked for is not needed again.
                question, tries = self._informed(question, found), Tries()
        except StoreError as error:
            self._report(error)
            return unanswered(question, self._on_failure)

    def close(self) -> None:
        """Close the store, where one was opened."""
        if self._store is not None:
            self._store.close()

    def _informed(self, question: Question, needs: Needs) -> Question:
        from greylag.service.evidence import BUDGET, informed  # rarely needed

        if self._gather is None:
            return informed(question, needs, NO_EVIDENCE)
        left = 2 * BUDGET if self._ends_at is None else self._ends_at - monotonic()
        return informed(question, needs, self._gather(question, needs.kinds, min(left / 2, BUDGET)))

    def _decide_only(self, store: Store, question: Question, now: int) -> Decision | Needs:
        switch = store.switch()
        if switch is not None:
            question = switch.asked(question, now)
        heard = ask_lists(store, question, now)
        if isinstance(heard, Decision):
            return heard
        self.question = heard
        records = store.load([heard.triplet, *further(heard)])
        record = records.get(heard.triplet)
        return needs(heard, record, now, records) or decide(heard, record, now, records)

    def _decide_and_write(self, store: Store, question: Question, now: int) -> Decision | Needs:
        # One transaction around reading and writing: attempts on one triplet at the same
        # moment are answered one after the other, and every count is exact.
        with store.transaction():
            decision = self._decide_only(store, question, now)
            if isinstance(decision, Needs):
                return decision
            store.apply(decision.changes, figures_of(decision), now)
            if self._history and self.question is not None:
                remember_one(store, self.question, decision, now)
        return decision


def ask_lists(store: Store, question: Question, now: int) -> Decision | Question:
    """Return what the store's lists decide, or the question with what else they say."""
    return heard(question, store.matching(question), now)


def heard(question: Question, entries: list[Entry], now: int) -> Decision | Question:
    """Return what these entries decide, or the question with what else they say."""
    return listed(question, entries, now) or heed(question, entries, now)
