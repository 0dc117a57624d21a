"""Many attempts in one transaction of the store: the price of a commit is shared by all of them.

First the store is only read (`look`), for those where this is likely to be enough. What the lists
decide, and what only counts, is answered from that, and needs no commit; the rest is decided in the
transaction that writes it, and who only counts is answered there before the commit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from greylag.core.engine import decide, needs
from greylag.core.evidence import Needs
from greylag.core.figures import EVICTED, figures_of
from greylag.core.question import Question
from greylag.core.record import Change, Record, applied
from greylag.core.sparing import further
from greylag.core.triplet import Triplet
from greylag.core.value import replace, value
from greylag.core.verdict import Decision, Reason
from greylag.service.conflict import Tries
from greylag.service.later import Later, only_counts
from greylag.store.base import Store, StoreConflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    Found = list[tuple[Question, "Answered"]]


@value
class Answered:
    """A decision, and the triplet's record after it."""

    decision: Decision
    record: Record | None


def look(
    questions: Sequence[Question],
    records: dict[Triplet, Record],
    now: int,
) -> list[Answered | None]:
    """Answer what needs nothing written by these records; None stands for the rest.

    Whoever asks after an attempt on the same triplet that has to be written is answered after it,
    too.
    """
    answers: list[Answered | None] = []
    written: set[Triplet] = set()
    for question in questions:
        triplet = question.triplet
        record = records.get(triplet)
        if record is not None and triplet not in written:
            decision = decide(question, record, now)
            if only_counts(decision):
                record = applied(decision.changes[0], record, now) or record
                records[triplet] = record
                answers.append(Answered(decision, record))
                continue
            written.add(triplet)
        answers.append(None)
    return answers


def _everyone(_question: Question) -> bool:
    return True


def _nobody(_found: Found) -> None:
    pass


def decide_batch(  # noqa: PLR0913 - what is asked, and what goes with it
    store: Store,
    questions: Sequence[Question],
    later: Later,
    now: int,
    admission: Callable[[], Callable[[Question], bool]] = lambda: _everyone,
    before_commit: Callable[[Found], None] = _nobody,
    *,
    tries: Tries | None = None,
) -> list[Answered | Needs]:
    """Answer questions one after the other, and write all that follows in one transaction.

    Who needs evidence first is told so, and nothing of it is written.
    Attempts of the same batch on the same triplet see each other. `admission` begins a batch: what
    it returns tells of each first contact whether there is room to record it. `before_commit` is
    told who can be answered already, as it only counts. Raises StoreError; then nothing was
    written. Where another writer was faster, it is tried again, and `before_commit` told again.
    """
    tries = tries or Tries()
    while True:
        try:
            return _decide_once(store, questions, later, now, admission(), before_commit)
        except StoreConflict as conflict:
            tries.lost(conflict)


def _meanwhile(
    store: Store, questions: Sequence[Question], now: int, before_commit: Callable[[Found], None]
) -> None:
    """Answer repeats while another writer holds the store up: they need no write."""
    records = store.load(list({question.triplet for question in questions}))
    known = look(questions, records, now)
    early = [(one, found) for one, found in zip(questions, known, strict=True) if found is not None]
    if early:
        before_commit(early)


def _apply(changes: Iterable[Change], records: dict[Triplet, Record], now: int) -> None:
    """Let those who follow in the batch see what it does to the records."""
    for change in changes:
        after = applied(change, records.get(change.triplet), now)
        if after is not None:
            records[change.triplet] = after


def _decide_once(
    store: Store,
    questions: Sequence[Question],
    later: Later,
    now: int,
    admits: Callable[[Question], bool],
    before_commit: Callable[[Found], None],
) -> list[Answered | Needs]:
    answers: list[Answered | Needs] = []
    written: set[Triplet] = set()
    found: Found = []
    with store.transaction(lambda: _meanwhile(store, questions, now, before_commit)):
        rests_on = [further(question) for question in questions]
        records = store.load(list({one.triplet for one in questions}.union(*rests_on)))
        changes, figures = later.changes(), Counter(later.figures)
        for question, keys in zip(questions, rests_on, strict=True):
            triplet = question.triplet
            record = records.get(triplet)
            others = {key: records[key] for key in keys if key in records}
            if (needed := needs(question, record, now, others)) is not None:
                answers.append(needed)
                continue
            decision = decide(question, record, now, others)
            if Reason.NEW in (decision.reason, decision.instead) and not admits(question):
                decision = replace(decision, changes=())  # deferred, and nothing is remembered
                figures[EVICTED] += 1
            changes += decision.changes
            _apply(decision.changes, records, now)
            for name, number in figures_of(decision).items():
                figures[name] += number
            answers.append(answered := Answered(decision, records.get(triplet)))
            if not only_counts(decision):
                written.add(triplet)
            elif triplet not in written:
                found.append((question, answered))
        if found:
            before_commit(found)
        store.apply(changes, figures, now)
    return answers
