"""Where engine, store, clock and failure policy meet: the only place.

`Service` answers one attempt at a time, for a process that lives for one; `desk`, `batch` and
`deciding` answer many, for the daemon.
"""

from __future__ import annotations

from collections.abc import Callable
from time import time

from greylag.core.attempt import Attempt
from greylag.core.engine import (
    Question,
    decide,
    entries_about,
    listed,
    precheck,
    unanswered,
)
from greylag.core.figures import figures_of
from greylag.core.policy import Policy
from greylag.core.verdict import Decision, Verdict
from greylag.service.conflict import settled
from greylag.store.base import Store, StoreError

Report = Callable[[StoreError], None]


class Service:
    """Answers attempts from one store under one policy, and never fails to answer.

    `open_store` is called when a store is first needed, so an attempt that needs none pays for
    none. `report` is told why a store could not answer.
    """

    def __init__(
        self,
        policy: Policy,
        open_store: Callable[[], Store],
        *,
        report: Report,
        on_failure: Verdict = Verdict.PASS,
        clock: Callable[[], float] = time,
    ) -> None:
        self._policy = policy
        self._open_store = open_store
        self._report = report
        self._on_failure = on_failure
        self._clock = clock

    def decide(self, attempt: Attempt) -> Decision:
        """Answer an attempt; what it changes is durable when this returns."""
        return self.answer(precheck(attempt, self._policy))

    def answer(self, question: Decision | Question) -> Decision:
        """Answer what a first look left open; what it changes is durable when this returns."""
        return self._answer(question, self._decide_and_write)

    def explain(self, attempt: Attempt) -> Decision:
        """Return what `decide` would answer now, and write nothing."""
        return self.foretell(precheck(attempt, self._policy))

    def foretell(self, question: Decision | Question) -> Decision:
        """Return what `answer` would answer now, and write nothing."""
        return self._answer(question, self._decide_only)

    def _answer(
        self,
        question: Decision | Question,
        with_store: Callable[[Store, Question, int], Decision],
    ) -> Decision:
        now = int(self._clock())
        if isinstance(question, Decision):
            return question
        try:
            store = self._open_store()
            return settled(lambda: with_store(store, question, now))
        except StoreError as error:
            self._report(error)
            return unanswered(question, self._on_failure)

    def _decide_only(self, store: Store, question: Question, now: int) -> Decision:
        entries = entries_about(question, store.matching)
        decision = listed(question, entries, now)
        if decision is not None:
            return decision
        record = store.load([question.triplet]).get(question.triplet)
        return decide(question, record, now)

    def _decide_and_write(self, store: Store, question: Question, now: int) -> Decision:
        # One transaction around reading and writing: attempts on one triplet at the same
        # moment are answered one after the other, and every count is exact.
        with store.transaction():
            decision = self._decide_only(store, question, now)
            store.apply(decision.changes, figures_of(decision), now)
        return decision
