"""The thread that owns the store: opens it, asks it, opens it again after a failure."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from time import monotonic

from greylag.core.accessindex import AccessIndex
from greylag.core.policy import Kept
from greylag.core.question import Question
from greylag.core.value import replace
from greylag.server.errands import Errands
from greylag.server.job import Batch, Job
from greylag.server.maintenance import Maintenance
from greylag.server.rest import rest
from greylag.service.batch import Answered
from greylag.service.collecting import Collector
from greylag.service.deciding import Deciding
from greylag.service.evidence import unasked
from greylag.service.listreader import ListReader
from greylag.store.base import FIGURES, HISTORY, Store, StoreError, StoreRefused

NO_MEMORY = 0.05  # seconds until what there was no memory for is tried again
_AT_ONCE = 0.0001  # seconds: no wait at all would look at the queue without giving up Python's lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.core.switch import Switch
    from greylag.service.batch import Found

    Tell = Callable[["Batch"], None]
    Item = tuple["Batch", Tell, Tell]


class StoreThread(threading.Thread):
    """Owns the store: opens it, asks it, opens it again after a failure."""

    def __init__(
        self,
        open_store: Callable[[], Store],
        clock: Callable[[], float],
        maintenance: Maintenance,
        on_lists: Callable[[AccessIndex], None],
        history: Collector | None = None,
    ) -> None:
        super().__init__(name="greylag-store", daemon=True)
        self._maintenance = maintenance
        self._open_store = open_store
        self._clock = clock
        self._on_lists = on_lists
        self._store: Store | None = None
        self._switch: Switch | None = None  # as it was read last
        self._lists = ListReader()
        self.errands = Errands()
        self._history = history or Collector(Kept())
        quota = maintenance.quota
        self._deciding = Deciding(quota.admission, written=quota.answered)
        self._queue: SimpleQueue[Item | None] = SimpleQueue()

    def put(self, batch: Batch, ready: Tell, done: Tell) -> None:
        """Do a batch; in this thread `ready` is called when some have an answer, at last `done`.

        `ready` may be called more than once, and told again what it was told before.
        """
        self._queue.put((batch, ready, done))

    def discard(self, lists: AccessIndex | None) -> None:
        """Let go of lists that are not used any more, if there are any."""
        if lists is not None:
            self._lists.discard(lists)

    def stop(self) -> None:
        """Close the store and end, after what is queued."""
        self._queue.put(None)

    def run(self) -> None:
        """Do one batch after the other."""
        while (item := self._next()) is not None:
            batch, ready, done = item
            began = monotonic()
            try:
                self._do(batch, ready)
            except MemoryError:
                batch.error = "MemoryError"  # what needs no memory to say
            except StoreError as error:
                batch.error = str(error)
            except Exception as error:  # noqa: BLE001 - a bug must cost an answer, not the daemon
                batch.error = f"{type(error).__name__}: {error}"
            if batch.error is not None:
                self._close()
            batch.took = monotonic() - began
            self._hand_back(batch, done)
            self._write_history()
            self._maintain()
            if self._store is not None and not self.errands.step(self._store):
                self._close()
            if self._lists.busy and not self._lists.wait:
                self._step_lists()
        self._write_history(at_the_end=True)
        self._close()

    def _next(self) -> Item | None:
        """Wait for the next batch; read lists meanwhile."""
        while self._lists.busy:
            try:
                return self._queue.get(timeout=self._lists.wait or _AT_ONCE)
            except Empty:
                self._step_lists()
        return self._queue.get()

    def _step_lists(self) -> None:
        """Read some of the lists; where the store is away, the next batch will tell."""
        try:
            lists = self._lists.step(self._store)
        except Exception:  # noqa: BLE001 - it is not there, or there is no memory: later again
            self._close()
            return
        if lists is not None:
            self._on_lists(lists)

    def _write_history(self, *, at_the_end: bool = False) -> None:
        """Write what happened, when all answers are out; go on while nobody asks anything."""
        try:
            while self._store is not None and self._history.due(at_the_end=at_the_end):
                if not self._history.step(self._store):
                    self._close()
                if not (at_the_end or self._queue.empty()):
                    return
        except Exception as error:  # noqa: BLE001 - no memory, or a bug: the thread must go on
            self._history.failed(error)

    def _maintain(self) -> None:
        """When all answers are out; where it fails, the next batch is not to meet that session.

        After a failure, as on a full disk, lists are read first: else they never would be.
        """
        try:
            if self._store is None or not self._maintenance.due():
                return
            if self._lists.reading and self._maintenance.has_failed:
                return
            if not self._maintenance.step(self._store):
                self._close()
        except Exception as error:  # noqa: BLE001 - no memory, or a bug: the thread must go on
            self._maintenance.failed(error)

    def _hand_back(self, batch: Batch, tell: Tell) -> None:
        """Hand a batch back; where there is no memory to do so, when there is: all wait for it."""
        failed = False
        while True:
            try:  # the rest as well: without memory any call can fail
                if failed:
                    rest(NO_MEMORY)
                tell(batch)
                return
            except MemoryError:
                failed = True

    def _do(self, batch: Batch, ready: Tell) -> None:
        store = self._opened()
        if batch.look_at_lists:
            store.check()
            self._lists.look(store)
            batch.no_figures = store.lacks(FIGURES) or store.lacks(HISTORY)
            batch.warning = store.warning()
            self._glance(store, batch)
        if self._switch is not None:
            self._heed(self._switch, batch.jobs)
        if batch.jobs or batch.later:
            self._decide(store, batch, ready)
        if batch.look_at_lists:  # a batch that failed tells nothing
            batch.no_history = self._history.take_error()
        batch.refused = self._deciding.take_cause() or self._lists.take_error() or batch.refused

    def _glance(self, store: Store, batch: Batch) -> None:
        try:
            found = store.glance()
        except StoreRefused as error:  # a row means nothing: as in a store that cannot tell
            batch.refused = str(error)
        else:
            batch.removals, self._switch = found.removals, found.switch
        batch.switch = self._switch

    def _heed(self, switch: Switch, jobs: list[Job]) -> None:
        """Put the switch over the policies of those who asked before the desk knew of it."""
        now = int(self._clock())
        for job in jobs:
            question = switch.asked(job.question, now)
            if question is not job.question:  # the lists' word depends on the policy
                job.question = replace(question, listed=False)

    def _look(self, store: Store, jobs: list[Job], now: int) -> list[tuple[Job, Answered | None]]:
        """Answer what the lists decide, and what only counts; None stands for the rest."""
        listed, left = [], []
        for job in jobs:
            heard = self._deciding.ask_lists(store, job.question, now)
            if isinstance(heard, Question):
                job.question = heard
                left.append(job)
            else:
                listed.append((job, Answered(heard, None)))
        found = self._deciding.look(store, [job.question for job in left], now)
        return [*listed, *zip(left, found, strict=True)]

    def _decide(self, store: Store, batch: Batch, ready: Tell) -> None:
        """Answer from what is there, where that is enough; then write, and answer the others."""
        now = int(self._clock())
        pairs = self._look(store, batch.jobs, now)
        batch.ready = [(job, answered) for job, answered in pairs if answered is not None]
        rest = [job for job, answered in pairs if answered is None] if batch.ready else batch.jobs
        later = batch.later
        if batch.trial:  # nobody but whom the lists decide
            rest = [job for job, answered in pairs if answered is None or answered.decision.changes]
            batch.ready = [pair for pair in batch.ready if not pair[1].decision.changes]
            for job in rest:  # who waits for evidence would write nothing, and try nothing
                job.question = unasked(job.question)
        if not (rest or later):
            return
        if batch.ready:
            self._hand_back(batch, ready)
        questions = [job.question for job in rest]

        def before_commit(found: Found) -> None:
            if not batch.trial:
                jobs = {id(job.question): job for job in rest}
                batch.before_commit = [
                    (jobs[id(question)], answered) for question, answered in found
                ]
                with suppress(MemoryError):  # at the end all are answered
                    ready(batch)

        batch.writing, counted = True, len(later) > 0
        answers = self._deciding.write(store, questions, later, now, before_commit)
        batch.written = list(zip(rest, answers, strict=True))
        batch.wrote = counted or any(
            isinstance(answered, Answered) and answered.decision.changes for answered in answers
        )
        try:  # what is committed is answered, whatever becomes of its history
            self._history.answered(questions, answers)
            self._history.counted(later.blocked())
        except Exception as error:  # noqa: BLE001 - no memory, or a bug
            self._history.failed(error)

    def _opened(self) -> Store:
        if self._store is None:
            self._deciding.forget()
            self._store = self._open_store()
            self._history.opened(self._store)
        return self._store

    def _close(self) -> None:
        store, self._store = self._store, None
        self._lists.halt()  # without a store, its steps would do nothing, without an end
        if store is not None:
            with suppress(Exception):  # it failed already, and that was told
                store.close()
