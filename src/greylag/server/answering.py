"""From an attempt to its answer: its policy, memory or the store, and the line in the log.

The daemon's side of "The life of a RCPT" in ARCHITECTURE.md. Who asks, and in which protocol, is
known to the front ends alone (`fronts`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic, time

from greylag.core.attempt import Attempt
from greylag.core.engine import precheck, unanswered
from greylag.core.question import Question
from greylag.core.sparing import taught
from greylag.core.verdict import WARN, Decision, Verdict
from greylag.server.journal import Journal
from greylag.server.metrics import Metrics
from greylag.server.trees import Trees
from greylag.server.worker import Worker
from greylag.service.batch import Answered
from greylag.service.policies import Policies

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.core.policy import Policy
    from greylag.server.fronts import Rules
    from greylag.server.session import Owe

    # Returns the bytes of an answer.
    Write = Callable[[Rules, Attempt, Decision], bytes]


class Inquiry:
    """One thing to answer: what is to be looked up, and what becomes of the decision."""

    __slots__ = ("failure", "finish", "found", "worker")

    def __init__(
        self,
        found: Decision | Question,  # what is decided without lists and records, or the question
        worker: Worker,  # whose lists and records answer
        finish: Callable[[Decision], bytes],  # logs the decision, and returns the answer
        failure: Verdict | bytes,  # where they cannot: a verdict, or the answer as it is
    ) -> None:
        self.found = found
        self.worker = worker
        self.finish = finish
        self.failure = failure


class Shared:
    """What all front ends have in common."""

    def __init__(self, rules: Rules, worker: Worker, trees: Trees, journal: Journal) -> None:
        self.worker = worker
        self.trees = trees
        self.journal = journal
        self.use(rules)

    def use(self, rules: Rules) -> None:
        """Answer by these rules from now on."""
        self.rules = rules
        self.policies = Policies(rules.policy, self._warn, rules.recipients)

    def inquiry(self, attempt: Attempt, write: Write) -> Inquiry:
        """Return what is to be answered to an attempt. The decision is logged, then written."""
        rules = self.rules
        policy = self.policies.of(attempt)
        found = precheck(attempt, policy)
        if policy.correspondents and isinstance(found, Decision):
            self._learn(attempt, policy)
        finish = partial(self._finish, rules, attempt, write)
        return Inquiry(found, self.worker, finish, rules.on_failure)

    def _learn(self, attempt: Attempt, policy: Policy) -> None:
        """Remember to whom our users write; nobody waits for that."""
        change = taught(attempt, policy, int(time()))
        if change is not None:
            self.worker.desk.learn_later(change)

    def _finish(self, rules: Rules, attempt: Attempt, write: Write, decision: Decision) -> bytes:
        self.journal.decision(attempt, decision)
        return write(rules, attempt, decision)

    def _warn(self, line: str) -> None:
        self.journal.event(WARN, {"reason": "config-warning", "error": line})


class Answering:
    """Answers inquiries from memory at once, or through the worker."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def answer(self, inquiry: Inquiry, owe: Owe) -> bytes | None:
        """Return the answer; or take a place for it from `owe`, and fill that once, later."""
        began = monotonic()
        found = inquiry.found
        if isinstance(found, Question):
            found = inquiry.worker.desk.look_up(found)
        if isinstance(found, Decision):
            self._metrics.answered(found, monotonic() - began)
            return inquiry.finish(found)
        inquiry.worker.ask(found, partial(self._from_store, owe(), inquiry, began, found))
        return None

    def _from_store(
        self,
        fill: Callable[[bytes], None],
        inquiry: Inquiry,
        began: float,
        question: Question,
        answered: Answered | None,
    ) -> None:
        failure = inquiry.failure
        if answered is not None:
            decision = answered.decision
        elif isinstance(failure, bytes):
            fill(failure)
            return
        else:
            decision = unanswered(question, failure)
        self._metrics.answered(decision, monotonic() - began)
        fill(inquiry.finish(decision))
