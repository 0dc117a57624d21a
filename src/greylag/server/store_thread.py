"""The thread that owns the store: opens it, asks it, opens it again after a failure."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from time import monotonic, sleep

from greylag.core.accesslist import AccessIndex
from greylag.server.maintenance import Maintenance
from greylag.service.batch import Answered, Asked, decide_batch
from greylag.service.later import Later
from greylag.store.base import Store, StoreError

NO_MEMORY = 0.05  # seconds until what there was no memory for is tried again

Reply = Callable[[Answered | None], None]


class Job:
    """One attempt that waits for the store; its reply is called once, with None for a failure."""

    __slots__ = ("asked", "deadline", "reply")

    def __init__(self, asked: Asked, reply: Reply, deadline: float) -> None:
        self.asked = asked
        self.reply: Reply | None = reply
        self.deadline = deadline

    def answer(self, answered: Answered | None) -> None:
        """Call the reply, the first time."""
        reply, self.reply = self.reply, None
        if reply is not None:
            reply(answered)


class Batch:
    """What the thread does in one go, and what came of it."""

    __slots__ = (
        "answers",
        "error",
        "jobs",
        "later",
        "lists",
        "look_at_lists",
        "no_figures",
        "took",
    )

    def __init__(self, jobs: list[Job], later: Later, *, look_at_lists: bool) -> None:
        self.jobs = jobs
        self.later = later
        self.look_at_lists = look_at_lists
        self.answers: list[Answered] = []
        self.lists: AccessIndex | None = None
        self.no_figures: str | None = None  # why none are kept
        self.error: str | None = None
        self.took = 0.0


class StoreThread(threading.Thread):
    """Owns the store: opens it, asks it, opens it again after a failure."""

    def __init__(
        self,
        open_store: Callable[[], Store],
        clock: Callable[[], float],
        maintenance: Maintenance,
    ) -> None:
        super().__init__(name="greylag-store", daemon=True)
        self._maintenance = maintenance
        self._open_store = open_store
        self._clock = clock
        self._store: Store | None = None
        self._generation: int | None = None
        self._queue: SimpleQueue[tuple[Batch, Callable[[Batch], None]] | None] = SimpleQueue()

    def put(self, batch: Batch, done: Callable[[Batch], None]) -> None:
        """Do a batch; `done` is called in this thread."""
        self._queue.put((batch, done))

    def stop(self) -> None:
        """Close the store and end, after what is queued."""
        self._queue.put(None)

    def run(self) -> None:
        """Do one batch after the other."""
        while (item := self._queue.get()) is not None:
            batch, done = item
            began = monotonic()
            try:
                self._do(batch)
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
            self._maintain()
        self._close()

    def _maintain(self) -> None:
        """When all answers are out; where it fails, the next batch is not to meet that session."""
        try:
            if self._store is None or not self._maintenance.due():
                return
            if not self._maintenance.step(self._store):
                self._close()
        except Exception as error:  # noqa: BLE001 - no memory, or a bug: the thread must go on
            self._maintenance.failed(error)

    def _hand_back(self, batch: Batch, done: Callable[[Batch], None]) -> None:
        """Hand a batch back; where there is no memory to do so, when there is: all wait for it."""
        while True:
            try:
                done(batch)
                return
            except MemoryError:
                sleep(NO_MEMORY)

    def _do(self, batch: Batch) -> None:
        store = self._opened()
        if batch.look_at_lists:
            store.check()
            generation = store.generation()
            if generation != self._generation:
                batch.lists = AccessIndex(store.entries())
                self._generation = generation
                batch.no_figures = store.no_figures()
        if batch.jobs or batch.later:
            asked = [job.asked for job in batch.jobs]
            admission = self._maintenance.quota.admission
            now = int(self._clock())
            batch.answers = decide_batch(store, asked, batch.later, now, admission)
            for item, answered in zip(asked, batch.answers, strict=True):
                self._maintenance.quota.answered(item, answered)

    def _opened(self) -> Store:
        if self._store is None:
            self._generation = None
            self._store = self._open_store()
        return self._store

    def _close(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            with suppress(Exception):  # it failed already, and that was told
                store.close()
