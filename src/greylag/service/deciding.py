"""Batches of a store that may refuse some keys: what it refuses costs nobody else his answer.

A store that is away fails for all, and whoever asks it stops asking for a while. A store that
refuses one key (StoreRefused), as that of a corrupt page, is there for all others. So a batch that
is refused is cut in halves until the key stands alone. The key is remembered for a moment: to ask
for it again and again must not cost a search each time (T34).

Many errors may mean either. Then the store is to write a key that nobody has (`Store.prove`): if
it can, it is there, and one of the batch's own keys is to blame.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from time import monotonic

from greylag.core.evidence import Needs
from greylag.core.question import Question
from greylag.core.record import Record
from greylag.core.triplet import Triplet
from greylag.core.value import replace
from greylag.core.verdict import Decision
from greylag.service import ask_lists
from greylag.service.batch import Answered, decide_batch, look
from greylag.service.conflict import TRIES, Tries
from greylag.service.later import Later
from greylag.store.base import Store, StoreConflict, StoreError, StoreRefused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.service.batch import Found

REMEMBERED_FOR = 30.0  # seconds until a key that was refused is tried again
MOST = 10_000  # keys that are remembered
ENOUGH = 0.25  # of those that memory does not know: while as many are repeats, they are read first
WINDOW = 1000  # of these that the share goes by, about
PATIENCE = 0.25  # seconds for the search in one batch: all others wait meanwhile
LONG = 1.0  # seconds: who has waited so long for an error asks no more what it means
SEARCHING = 2  # tries of one part against another writer, while the others wait


def is_away(error: Exception) -> bool:
    """Tell an error of the store as a whole from its refusal of one thing.

    What is no StoreError at all is a bug, which one key brought out.
    """
    whole = isinstance(error, StoreError | OSError | MemoryError)
    return whole and not isinstance(error, StoreRefused)


def said(error: Exception) -> str:
    """Return what an error says, for the log."""
    return str(error) if isinstance(error, StoreError) else f"{type(error).__name__}: {error}"


class Refused:
    """Keys that the store has refused a moment ago."""

    def __init__(self, stopwatch: Callable[[], float] = monotonic) -> None:
        self._stopwatch = stopwatch
        self._until: OrderedDict[Triplet, float] = OrderedDict()  # the oldest first

    def __contains__(self, triplet: Triplet) -> bool:
        return bool(self._until) and triplet in self._until

    def __iter__(self) -> Iterator[Triplet]:
        return iter(self._until)

    def add(self, triplet: Triplet) -> None:
        """Remember a key."""
        self._until.pop(triplet, None)
        self._until[triplet] = self._stopwatch() + REMEMBERED_FOR
        if len(self._until) > MOST:
            self._until.popitem(last=False)

    def let_go(self) -> None:
        """Forget those whose time is over."""
        now = self._stopwatch()
        while self._until and next(iter(self._until.values())) <= now:
            self._until.popitem(last=False)

    def clear(self) -> None:
        """Forget all, as of another store."""
        self._until.clear()


class Strangers:
    """How many of those that memory does not know were repeats, lately.

    After a start these are all there are, and most are repeats; later nearly all are first
    contacts, for whom to read first is one more trip to the server, and in vain.
    """

    def __init__(self) -> None:
        self._asked = self._repeats = WINDOW / 4

    @property
    def mostly_new(self) -> bool:
        """Tell whether to read first is mostly in vain."""
        return self._repeats < ENOUGH * self._asked

    def note(self, asked: int, repeats: int) -> None:
        """Take in what some of them were."""
        self._asked += asked
        self._repeats += repeats
        while self._asked > WINDOW:
            self._asked /= 2
            self._repeats /= 2


class Deciding:
    """Answers batches; raises what means that the store is away, and nothing else of its errors.

    `admission` is that of `decide_batch`; `written` is told of each answer that was committed.
    """

    def __init__(
        self,
        admission: Callable[[], Callable[[Question], bool]],
        stopwatch: Callable[[], float] = monotonic,
        written: Callable[[Question, Answered], None] = lambda _question, _answered: None,
    ) -> None:
        self._admission = admission
        self._tell_written = written
        self._stopwatch = stopwatch
        self.refused = Refused(stopwatch)  # to be read, or written for an answer
        self.uncounted = Refused(stopwatch)  # to be counted later
        self._strangers = Strangers()
        self._cause: str | None = None
        self._began = 0.0
        self._few_tries_until = 0.0  # after a batch has lost them all though the store can write

    def take_cause(self) -> str | None:
        """Return why something was refused since the last call, or None."""
        cause, self._cause = self._cause, None
        return cause

    def forget(self) -> None:
        """Forget who was refused: the store is to be opened anew."""
        self.refused.clear()
        self.uncounted.clear()

    def ask_lists(self, store: Store, question: Question, now: int) -> Decision | Question:
        """Ask the store's lists, where memory does not know them yet."""
        if question.listed:
            return question
        try:
            found = ask_lists(store, question, now)
        except Exception as error:  # noqa: BLE001 - a bug that one key brings out, too
            self._raise_if_away(store, error)
            self.refused.add(question.triplet)
            return question
        return replace(found, listed=True) if isinstance(found, Question) else found

    def _raise_if_away(self, store: Store, error: Exception) -> None:
        """Raise an error that is of the store as a whole; note any other as the cause."""
        if is_away(error):
            if not isinstance(error, StoreError) or self._stopwatch() - self._began >= LONG:
                raise error
            if not _can_write(store):
                raise error
        self._cause = said(error)

    def look(self, store: Store, questions: Sequence[Question], now: int) -> list[Answered | None]:
        """Answer what needs nothing written; None for the rest, and for who is refused.

        Only those are read that are likely to be answered so: `write` reads all others.
        """
        self._began = self._stopwatch()
        self.refused.let_go()
        new = self._strangers.mostly_new
        triplets = {
            question.triplet
            for question in questions
            if question.counts or (question.counts is None and not new)
        }
        if not triplets:
            return [None] * len(questions)
        records = self._load(store, [t for t in triplets if t not in self.refused])
        found = look(questions, records, now)
        repeats = sum(
            question.counts is None and answered is not None and bool(answered.decision.changes)
            for question, answered in zip(questions, found, strict=True)
        )
        self._strangers.note(repeats, repeats)
        return found

    def _load(self, store: Store, triplets: list[Triplet]) -> dict[Triplet, Record]:
        if not triplets:
            return {}
        try:
            return _loaded(store, triplets)
        except Exception as error:  # noqa: BLE001 - a bug that one key brings out, too
            self._raise_if_away(store, error)
            if len(triplets) == 1:
                self.refused.add(triplets[0])
                return {}
        middle = len(triplets) // 2
        return self._load(store, triplets[:middle]) | self._load(store, triplets[middle:])

    def write(
        self,
        store: Store,
        questions: Sequence[Question],
        later: Later,
        now: int,
        before_commit: Callable[[Found], None] = lambda _found: None,
    ) -> list[Answered | Needs | None]:
        """Answer questions, and write what follows and what was to be counted later.

        None is for who is refused. What is refused of `later` is lost. `before_commit` is that of
        `decide_batch`.
        """

        def tell(found: Found) -> None:
            self._strangers.note(0, sum(question.counts is None for question, _ in found))
            before_commit(found)

        self._began = self._stopwatch()
        self.uncounted.let_go()
        for triplet in self.uncounted:
            later.drop(triplet)
        refused = [question.triplet in self.refused for question in questions]
        taken = [question for question, no in zip(questions, refused, strict=True) if not no]
        if not (taken or later):
            return [None] * len(questions)
        self._strangers.note(sum(question.counts is None for question in taken), 0)
        decided = partial(decide_batch, store, now=now, admission=self._admission)
        found = self._written(store, partial(decided, before_commit=tell), taken, later)
        for question, answered in zip(taken, found, strict=True):
            if isinstance(answered, Answered):
                self._tell_written(question, answered)
        answers = iter(found)
        return [None if no else next(answers) for no in refused]

    def _written(
        self,
        store: Store,
        decided: Callable[..., list[Answered | Needs]],
        questions: Sequence[Question],
        later: Later,
        until: float | None = None,
    ) -> list[Answered | Needs | None]:
        hasty = until is not None or self._stopwatch() < self._few_tries_until
        try:
            return [*decided(questions, later, tries=Tries(SEARCHING if hasty else TRIES))]
        except Exception as error:  # noqa: BLE001 - a bug that one key brings out, too
            self._raise_if_away(store, error)
            if isinstance(error, StoreConflict):
                self._few_tries_until = self._stopwatch() + REMEMBERED_FOR
        if len(questions) + len(later) + bool(later.figures) == 1:
            if questions:
                self.refused.add(questions[0].triplet)
            for triplet in later.triplets():
                self.uncounted.add(triplet)
            return [None] * len(questions)
        until = until or self._stopwatch() + PATIENCE
        if self._stopwatch() > until:
            return [None] * len(questions)
        return [
            answer
            for some, counts in _halves(questions, later)
            for answer in self._written(store, decided, some, counts, until)
        ]


def _can_write(store: Store) -> bool:
    try:
        store.prove()
    except StoreError:
        return False
    return True


def _loaded(store: Store, triplets: list[Triplet]) -> dict[Triplet, Record]:
    tries = Tries()
    while True:
        try:
            return store.load(triplets)
        except StoreConflict as conflict:
            tries.lost(conflict)


def _halves(
    questions: Sequence[Question], later: Later
) -> Iterator[tuple[Sequence[Question], Later]]:
    """Cut a batch in two, in its order: first who waits for an answer."""
    if questions and later:
        yield questions, Later()
        yield (), later
    elif questions:
        middle = len(questions) // 2
        yield questions[:middle], Later()
        yield questions[middle:], Later()
    else:
        yield (), later.take(len(later) // 2)
        yield (), later
