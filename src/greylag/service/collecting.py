"""What happens to deferred mail, on its way into the store's history.

Answering only notes it. It is written afterwards, in bounded parts, and nobody waits for that: a
history that cannot be written costs no answer. A flood is remembered in part: figures of the hour
count all of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from time import monotonic, time

from greylag.core.evidence import Needs
from greylag.core.figures import SKIPPED
from greylag.core.history import Tried
from greylag.core.policy import Kept
from greylag.core.question import Question
from greylag.core.triplet import CONNECTION, Triplet
from greylag.core.verdict import Decision, Reason
from greylag.service.batch import Answered
from greylag.service.history import event_of, is_spoken_of
from greylag.store.base import HISTORY, Store, StoreConflict, StoreError, StoreUnavailable

# First contacts that are remembered: so many at once, and so many a second in the long run. That is
# far more than the history has room for in its time; what is over is a flood, and is counted.
NEW_AT_ONCE, NEW_PER_SECOND = 500, 100
MOST_WAITING = 5000  # events, of some kB each, while they cannot be written
WRITE_EVERY = 1.0  # seconds
PART = 250  # events in one transaction: some 10 ms
TRIES_EVERY = 5.0  # seconds in which early tries of a triplet are put together: all change one row
AFTER_FAILURE = 60.0  # seconds until it is tried again, and told again


class Collector:
    """Events that wait to be written. All is called in the thread that owns the store."""

    def __init__(
        self,
        kept: Kept,
        clock: Callable[[], float] = time,
        stopwatch: Callable[[], float] = monotonic,
    ) -> None:
        self._kept = kept
        self._clock = clock
        self._stopwatch = stopwatch
        self._waiting: deque[tuple[Question, Decision, int] | Tried] = deque()
        self._tries: dict[Triplet, list[Tried]] = {}  # the first ones of each, and all after them
        self._tries_due = 0.0
        self._has_place = False  # in the store that is open
        self._room, self._looked = float(NEW_AT_ONCE), 0.0  # for first contacts, when it was so
        self._skipped = 0
        self._next = 0.0
        self._error: str | None = None
        self._failed = False  # the last step

    def use(self, kept: Kept) -> None:
        """Go by other numbers from now on; may be called in another thread."""
        self._kept = kept

    def opened(self, store: Store) -> None:
        """Note which store is open now."""
        self._has_place = store.lacks(HISTORY) is None

    @property
    def _notes(self) -> bool:
        return self._has_place and self._kept.seconds > 0

    def answered(
        self, questions: Sequence[Question], answers: Sequence[Answered | Needs | None]
    ) -> None:
        """Note answers that the store has committed, in a few steps for each of a flood."""
        if not self._notes:
            return
        at = self._stopwatch()
        self._room += (at - self._looked) * NEW_PER_SECOND
        self._room, self._looked = min(self._room, NEW_AT_ONCE), at
        now, waiting, new, skipped = int(self._clock()), self._waiting, Reason.NEW, 0
        for question, answered in zip(questions, answers, strict=True):
            if not isinstance(answered, Answered):
                continue
            decision = answered.decision
            if decision.reason is new:
                if not decision.changes or question.connection:
                    continue
                if self._room < 1 or len(waiting) >= MOST_WAITING:
                    skipped += 1
                    continue
                self._room -= 1
            elif not is_spoken_of(decision) or len(waiting) >= MOST_WAITING:
                continue
            elif self._tries:
                self._tries_of(question, decision)
            waiting.append((question, decision, now))
        self._skipped += skipped

    def counted(self, tries: Iterable[tuple[Triplet, int]]) -> None:
        """Note retries that came too early, and were answered from memory a moment ago."""
        if not self._notes:
            return
        now, known = int(self._clock()), self._tries
        if not known:
            self._tries_due = self._stopwatch() + TRIES_EVERY
        for triplet, count in tries:
            if triplet.recipient == CONNECTION:
                continue
            noted = known.get(triplet)
            if noted is None:
                if len(known) + len(self._waiting) < MOST_WAITING:
                    known[triplet] = [Tried(triplet, now, count)]
            elif len(noted) == 1:
                noted.append(Tried(triplet, now, count))
            else:
                noted[1] = Tried(triplet, now, noted[1].count + count)

    def _tries_of(self, question: Question, decision: Decision) -> None:
        """Have those of a triplet written before what has happened to it now."""
        keys = {question.triplet, *(change.triplet for change in decision.changes)}
        if decision.waiting is not None:
            keys.add(decision.waiting)
        for key in keys:
            self._waiting.extend(self._tries.pop(key, ()))

    def due(self, *, at_the_end: bool = False) -> bool:
        """Tell whether it is time to write; at the end all is written that can be."""
        if self._tries and (at_the_end or self._stopwatch() >= self._tries_due):
            self._waiting.extend(tried for noted in self._tries.values() for tried in noted)
            self._tries.clear()
        if not (self._waiting or self._skipped):
            return False
        return (at_the_end and not self._failed) or self._stopwatch() >= self._next

    def step(self, store: Store) -> bool:
        """Write a part; tell whether the store can be used as before. Never raises."""
        if not self._kept.seconds:  # it was switched off meanwhile
            self._waiting.clear()
            self._tries.clear()
        part = [self._waiting.popleft() for _ in range(min(PART, len(self._waiting)))]
        skipped, self._skipped = self._skipped, 0
        self._next = 0.0 if self._waiting else self._stopwatch() + WRITE_EVERY
        self._failed = True
        try:
            self._write(store, part, skipped)
            self._failed = False
        except StoreConflict:  # another writer is at work: in a moment again
            self._waiting.extendleft(reversed(part))
            self._skipped += skipped
            self._next = self._stopwatch() + WRITE_EVERY
        except Exception as error:  # noqa: BLE001 - no memory, or a bug: the thread must go on
            self.failed(error)
            goes_on = isinstance(error, StoreError) and not isinstance(error, StoreUnavailable)
            if goes_on:  # what it failed for may last: then nothing is noted any more
                self.opened(store)
            return goes_on
        return True

    def failed(self, error: Exception) -> None:
        """Remember why it failed, and let a while pass before the next step."""
        self._failed = True
        self._next = self._stopwatch() + AFTER_FAILURE
        self._error = "MemoryError"  # what needs no memory to say
        if not isinstance(error, MemoryError):
            self._error = str(error) or type(error).__name__

    def _write(
        self, store: Store, part: list[tuple[Question, Decision, int] | Tried], skipped: int
    ) -> None:
        found = [one if isinstance(one, Tried) else event_of(*one) for one in part]
        now = int(self._clock())
        with store.transaction(_do_not_wait, lazy=True):
            store.remember([event for event in found if event is not None], now)
            if skipped:
                store.apply((), {SKIPPED: skipped}, now)

    def take_error(self) -> str | None:
        """Return why something could not be written since the last call, or None."""
        error, self._error = self._error, None
        return error


def _do_not_wait() -> None:
    """Called where another writer has to be waited for: who wants an answer would wait, too."""
    raise StoreConflict("another writer is at work")
