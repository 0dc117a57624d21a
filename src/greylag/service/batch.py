"""Many attempts in one transaction of the store: the price of a commit is shared by all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from greylag.core.engine import Question, decide
from greylag.core.figures import EVICTED, figures_of
from greylag.core.policy import Policy
from greylag.core.record import Record, applied
from greylag.core.value import replace, value
from greylag.core.verdict import Decision, Reason
from greylag.service.conflict import settled
from greylag.service.later import Later
from greylag.store.base import Store


@value
class Asked:
    """A question, and the policy that holds for its client."""

    question: Question
    policy: Policy


@value
class Answered:
    """A decision, and the triplet's record after it."""

    decision: Decision
    record: Record | None


def _everyone(_asked: Asked) -> bool:
    return True


def decide_batch(
    store: Store,
    asked: Sequence[Asked],
    later: Later,
    now: int,
    admission: Callable[[], Callable[[Asked], bool]] = lambda: _everyone,
) -> list[Answered]:
    """Answer questions one after the other, and write all that follows in one transaction.

    Attempts of the same batch on the same triplet see each other. `admission` begins a batch: what
    it returns tells of each first contact whether there is room to record it. Raises StoreError;
    then nothing was written. Where another writer was faster, it is tried again.
    """
    return settled(lambda: _decide_once(store, asked, later, now, admission()))


def _decide_once(
    store: Store,
    asked: Sequence[Asked],
    later: Later,
    now: int,
    admits: Callable[[Asked], bool],
) -> list[Answered]:
    answers: list[Answered] = []
    with store.transaction():
        records = store.load(list({item.question.triplet for item in asked}))
        changes, figures = later.changes(), Counter(later.figures)
        for item in asked:
            triplet = item.question.triplet
            record = records.get(triplet)
            decision = decide(item.question, record, item.policy, now)
            if decision.reason is Reason.NEW and not admits(item):
                decision = replace(decision, changes=())  # deferred, and nothing is remembered
                figures[EVICTED] += 1
            for change in decision.changes:
                changes.append(change)
                record = applied(change, record, now)
            if record is not None:
                records[triplet] = record
            figures.update(figures_of(decision))
            answers.append(Answered(decision, record))
        store.apply(changes, figures, now)
    return answers
