"""Many attempts in one transaction of the store: the price of a commit is shared by all of them.

First the store is only read (`look`), for those where this is likely to be enough. What the lists
decide, and what only counts, is answered from that, and needs no commit; the rest is decided in the
transaction that writes it, and who only counts is answered there before the commit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from greylag.core.engine import Question, decide, entries_about, listed
from greylag.core.figures import EVICTED, figures_of
from greylag.core.policy import Policy
from greylag.core.record import Record, applied
from greylag.core.triplet import Triplet
from greylag.core.value import replace, value
from greylag.core.verdict import Decision, Reason
from greylag.service.conflict import settled
from greylag.service.later import Later, only_counts
from greylag.store.base import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    Found = list[tuple["Asked", "Answered"]]


@value
class Asked:
    """A question, and the policy that holds for its client."""

    question: Question
    policy: Policy
    listed: bool = True  # the lists had their word; else the store's are to be asked
    counts: bool | None = None  # whether it only counts, by what memory holds; None: nothing


@value
class Answered:
    """A decision, and the triplet's record after it."""

    decision: Decision
    record: Record | None


def look(
    asked: Sequence[Asked],
    records: dict[Triplet, Record],
    word: Callable[[Asked], Decision | None],
    now: int,
) -> list[Answered | None]:
    """Answer what needs nothing written by these records; None stands for the rest.

    `word` is the word of the lists on what they were not asked for yet. Whoever asks after an
    attempt on the same triplet that has to be written is answered after it, too.
    """
    answers: list[Answered | None] = []
    written: set[Triplet] = set()
    for item in asked:
        triplet = item.question.triplet
        decision = None if item.listed else word(item)
        if decision is not None:
            answers.append(Answered(decision, None))
            continue
        record = records.get(triplet)
        if record is not None and triplet not in written:
            decision = decide(item.question, record, item.policy, now)
            if only_counts(decision):
                record = applied(decision.changes[0], record, now) or record
                records[triplet] = record
                answers.append(Answered(decision, record))
                continue
            written.add(triplet)
        answers.append(None)
    return answers


def word_of_lists(store: Store, item: Asked, now: int) -> Decision | None:
    """Return what the store's lists say about a question."""
    entries = entries_about(item.question, store.matching)
    return listed(item.question, entries, item.policy, now)


def _everyone(_asked: Asked) -> bool:
    return True


def _nobody(_found: Found) -> None:
    pass


def decide_batch(
    store: Store,
    asked: Sequence[Asked],
    later: Later,
    now: int,
    admission: Callable[[], Callable[[Asked], bool]] = lambda: _everyone,
    before_commit: Callable[[Found], None] = _nobody,
) -> list[Answered]:
    """Answer questions one after the other, and write all that follows in one transaction.

    Attempts of the same batch on the same triplet see each other. `admission` begins a batch: what
    it returns tells of each first contact whether there is room to record it. `before_commit` is
    told who can be answered already, as it only counts. Raises StoreError; then nothing was
    written. Where another writer was faster, it is tried again, and `before_commit` told again.
    """
    return settled(lambda: _decide_once(store, asked, later, now, admission(), before_commit))


def _meanwhile(
    store: Store, asked: Sequence[Asked], now: int, before_commit: Callable[[Found], None]
) -> None:
    """Answer repeats while another writer holds the store up: they need no write."""
    records = store.load(list({item.question.triplet for item in asked}))
    known = look(asked, records, lambda _asked: None, now)
    early = [(item, one) for item, one in zip(asked, known, strict=True) if one is not None]
    if early:
        before_commit(early)


def _decide_once(
    store: Store,
    asked: Sequence[Asked],
    later: Later,
    now: int,
    admits: Callable[[Asked], bool],
    before_commit: Callable[[Found], None],
) -> list[Answered]:
    answers: list[Answered] = []
    written: set[Triplet] = set()
    found: Found = []
    with store.transaction(lambda: _meanwhile(store, asked, now, before_commit)):
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
            for name, number in figures_of(decision).items():
                figures[name] += number
            answered = Answered(decision, record)
            answers.append(answered)
            if not only_counts(decision):
                written.add(triplet)
            elif triplet not in written:
                found.append((item, answered))
        if found:
            before_commit(found)
        store.apply(changes, figures, now)
    return answers
