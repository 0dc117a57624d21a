"""Many attempts in one transaction of the store: the price of a commit is shared by all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from greylag.core.engine import Question, decide
from greylag.core.figures import figures_of
from greylag.core.policy import Policy
from greylag.core.record import Blocked, Change, Passed, Record, applied
from greylag.core.triplet import Triplet
from greylag.core.value import value
from greylag.core.verdict import Decision
from greylag.service.conflict import settled
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


class Later:
    """Changes and figures that were answered from memory, and are written with the next batch.

    Repeats alone: losing them costs a count, never a deferral or a pass.
    """

    def __init__(self) -> None:
        self._blocked: Counter[Triplet] = Counter()
        self._passed: dict[Triplet, tuple[int, int]] = {}
        self.figures: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return bool(self.figures)

    def __len__(self) -> int:
        return len(self._blocked) + len(self._passed)

    def add(self, decision: Decision) -> None:
        """Note a decision that was answered."""
        for change in decision.changes:
            if isinstance(change, Blocked):
                self._blocked[change.triplet] += change.count
            elif isinstance(change, Passed):
                expires, count = self._passed.get(change.triplet, (0, 0))
                self._passed[change.triplet] = (
                    max(expires, change.expires),
                    count + change.count,
                )
        for name, number in figures_of(decision).items():
            self.figures[name] += number

    def merge(self, other: Later) -> None:
        """Take back what could not be written."""
        self._blocked.update(other._blocked)
        for triplet, (expires, count) in other._passed.items():
            mine = self._passed.get(triplet, (0, 0))
            self._passed[triplet] = (max(expires, mine[0]), count + mine[1])
        self.figures.update(other.figures)

    def changes(self) -> list[Change]:
        """Return one change for each triplet and kind."""
        blocked = [Blocked(triplet, count) for triplet, count in self._blocked.items()]
        passed = [Passed(triplet, *what) for triplet, what in self._passed.items()]
        return [*blocked, *passed]


def decide_batch(store: Store, asked: Sequence[Asked], later: Later, now: int) -> list[Answered]:
    """Answer questions one after the other, and write all that follows in one transaction.

    Attempts of the same batch on the same triplet see each other. Raises StoreError; then nothing
    was written. Where another writer was faster, it is tried again.
    """
    return settled(lambda: _decide_once(store, asked, later, now))


def _decide_once(store: Store, asked: Sequence[Asked], later: Later, now: int) -> list[Answered]:
    answers: list[Answered] = []
    with store.transaction():
        records = store.load(list({item.question.triplet for item in asked}))
        changes, figures = later.changes(), Counter(later.figures)
        for item in asked:
            triplet = item.question.triplet
            record = records.get(triplet)
            decision = decide(item.question, record, item.policy, now)
            for change in decision.changes:
                changes.append(change)
                record = applied(change, record, now)
            if record is not None:
                records[triplet] = record
            figures.update(figures_of(decision))
            answers.append(Answered(decision, record))
        store.apply(changes, figures, now)
    return answers
