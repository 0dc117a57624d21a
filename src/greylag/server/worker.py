"""The thread that owns the store, and the queue before it: group commit that adapts to the load.

One attempt waiting is committed at once. While a batch is under way, all that comes waits for the
next, so the busier the daemon the more attempts share a commit. Whoever waits for longer than the
deadline is answered without the store, whatever the thread hangs in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic, time

from greylag.core.accessindex import AccessIndex
from greylag.core.evidence import Needs
from greylag.core.policy import Room
from greylag.core.question import Question
from greylag.server.job import Batch, Job, Reply
from greylag.server.maintenance import Maintenance
from greylag.server.reporting import Reporting
from greylag.server.store_thread import StoreThread
from greylag.server.ticks import Ticks
from greylag.service.breaker import Breaker
from greylag.service.collecting import Collector
from greylag.service.desk import Desk
from greylag.service.evidence import BUDGET
from greylag.service.later import Later
from greylag.service.quota import Quota
from greylag.store.base import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.server.events import Events

MAX_BATCH = 512  # attempts in one transaction: at 25 us each still far below the deadline
CROWDED = 2 * MAX_BATCH  # attempts that wait: more would not be written sooner, only wait longer
TICK = 0.05  # seconds between looks at the deadline
WRITE_LATER_EVERY = 1.0  # seconds that the counts of repeats may lag
BUSY = 100  # attempts in a tick: some 2,000 a second, and then answers come first
MOST_BEHIND = 5.0  # seconds that the counts may lag meanwhile
LISTS_EVERY = 1.0  # seconds until a change of the lists is seen
MOST_LATER = 512  # records whose counts are written with one batch: who waits for it waits for them
MANY_LATER = 100_000  # triplets whose counts are not put off any longer
MAX_LATER = 200_000  # triplets whose counts are kept while the store is away


class Worker:
    """The queue before the thread, in the event loop."""

    def __init__(
        self,
        desk: Desk,
        open_store: Callable[[], Store],
        events: Events,
        *,
        deadline: float,
        room: Room,
        clock: Callable[[], float] = time,
    ) -> None:
        self.desk = desk
        self._events = events
        self._deadline = deadline
        self.maintenance = Maintenance(Quota(room), clock=clock)
        new_lists = partial(self._in_loop, self._use_lists)
        self._history = Collector(room.history, clock)
        self._thread = StoreThread(open_store, clock, self.maintenance, new_lists, self._history)
        self.errands = self._thread.errands
        self._ready = partial(self._in_loop, self._answer_ready)
        self._breaker = Breaker()
        self._cause_missing = False  # of a failure that was told
        self.reporting = Reporting(events, self._breaker, self.maintenance)
        self._waiting: list[Job] = []
        self._flying: Batch | None = None
        self._scheduled = False
        self._next_lists = 0.0
        self._next_later = 0.0
        self._asked = 0  # of the desk, up to the last tick
        self._busy, self._judged = False, 0.0
        self._ticks: Ticks | None = None

    @property
    def queue_length(self) -> int:
        """Return how many attempts wait for the store now."""
        jobs = self._flying.jobs if self._flying else ()
        return len(self._waiting) + len(jobs) + self.desk.gathering.under_way

    @property
    def is_crowded(self) -> bool:
        """Tell whether each batch is full without more attempts."""
        return len(self._waiting) >= CROWDED

    @property
    def store_is_down(self) -> bool:
        """Return whether the breaker is open."""
        return self._breaker.is_open

    def start(self) -> None:
        """Begin to work; to be called in the loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        self._ticks = Ticks(self._loop, TICK, self._tick)
        self._ticks.start()

    def use(self, deadline: float, room: Room) -> None:
        """Go by these from now on."""
        self._deadline = deadline
        self.maintenance.use(room)
        self._history.use(room.history)

    def ask(self, question: Question, reply: Reply, deadline: float | None = None) -> None:
        """Put a question to the store; `reply` is called once, within the deadline."""
        now = monotonic()
        if self._breaker.is_open and (self._flying is not None or not self._breaker.allows(now)):
            reply(None)
            return
        self._waiting.append(Job(question, reply, deadline or now + self._deadline))
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled and self._flying is None:
            # At the end of this iteration of the loop: all that it has read goes together.
            self._loop.call_soon(self._dispatch)
            self._scheduled = True  # only now: there may have been no memory

    def _dispatch(self) -> None:
        self._scheduled = False
        if self._flying is not None:
            return
        now = monotonic()
        taken, left = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
        jobs = [job for job in taken if job.reply is not None]
        number = self.desk.gathering.at_once(self._loop, jobs)
        jobs, left = jobs[:number], [*jobs[number:], *left]
        look = now >= self._next_lists
        if look:
            self._next_lists = now + LISTS_EVERY
        later = self._counts(now)
        if not (jobs or later or look or self.maintenance.due()):
            self._waiting = left
            return
        batch = Batch(jobs, later, look_at_lists=look, trial=self._breaker.is_open)
        self._thread.put(batch, self._ready, self._landed)
        self._flying, self._waiting = batch, left  # only now: there may have been no memory

    def _counts(self, now: float) -> Later:
        """Take counts that may wait no longer; once a second they begin to go, in small parts."""
        if not self._counts_are_due():
            return Later()
        counts = self.desk.take_later(MOST_LATER)
        if not self.desk.later:
            self._next_later = now + WRITE_LATER_EVERY
        return counts

    def _in_loop(self, step: Callable[..., None], item: object) -> None:
        """Called in the thread; the loop may have gone, with all who waited."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(step, item)

    def _landed(self, batch: Batch) -> None:
        self._in_loop(self._done, batch)

    def _use_lists(self, lists: AccessIndex) -> None:
        if lists.ignored:
            self._events.list_rows_ignored(lists.ignored)
        self._thread.discard(self.desk.use_lists(lists))

    def _answer_ready(self, batch: Batch) -> None:
        """Answer those for whom nothing is to be written now; what they count is written later."""
        ready, batch.ready = batch.ready, []
        for job, answered in ready:
            job.answer(answered)
            self.desk.learn(job.question, answered)
            self.desk.later.add(answered.decision)
        for job, answered in batch.before_commit:  # counted by the batch itself
            job.answer(answered)

    def _done(self, batch: Batch) -> None:
        if batch is not self._flying:
            return  # told of it twice: there was no memory left after the first time
        self._flying = None
        try:
            if batch.error is None:
                self._succeeded(batch)
            else:
                self._failed(batch)
        finally:
            for job in batch.jobs:  # no memory, or a bug: nobody waits for ever
                job.answer(None)
            if self._waiting or (not self._breaker.is_open and self._counts_are_due()):
                self._schedule()

    def _counts_are_due(self) -> bool:
        late = len(self.desk.later) > MANY_LATER
        lag = MOST_BEHIND - WRITE_LATER_EVERY if self._busy and not late else 0.0
        return bool(self.desk.later) and monotonic() >= self._next_later + lag

    def _succeeded(self, batch: Batch) -> None:
        if self._breaker.succeeded(wrote=batch.wrote):
            self._cause_missing = False
            self._events.store_recovered()
        if batch.look_at_lists:
            self.desk.heed(batch.removals)
            self.desk.use_switch(batch.switch)
        self._answer_ready(batch)
        for job, answered in batch.written:
            if isinstance(answered, Needs):
                self._inform(job, answered)
            else:
                job.answer(answered)
                if answered is not None:
                    self.desk.learn(job.question, answered)
        self.reporting.report(batch)

    def _inform(self, job: Job, needs: Needs) -> None:
        """Have evidence gathered, and ask the store again: that is no part of the store's time."""
        reply = job.reply
        if reply is not None:
            again = partial(self.ask, reply=reply, deadline=job.deadline + BUDGET)
            self.desk.inform(self._loop, job.question, needs, again, reply)
            job.reply = None  # only now: there may have been no memory

    def _failed(self, batch: Batch) -> None:
        if len(self.desk.later) < MAX_LATER:
            self.desk.later.merge(batch.later)
        self._trip(batch.error or "", writing=batch.writing)
        if self._cause_missing:
            self._cause_missing = False
            self._events.store_cause(batch.error or "")

    def _trip(self, error: str, *, writing: bool) -> bool:
        """Note a failure; tell whether that is news."""
        news = self._breaker.failed(monotonic(), writing=writing)
        if news:
            self._events.store_failed(error)
            self.desk.forget_all()
        waiting, self._waiting = self._waiting, []
        for job in waiting:
            job.answer(None)
        return news

    def _tick(self) -> None:
        """Answer those whose time is over; write what may wait no longer; look at the lists."""
        now = monotonic()
        if now >= self._judged + TICK / 2:  # ticks that were late come together
            asked, self._asked = self._asked, self.desk.hits + self.desk.misses
            self._busy, self._judged = self._asked - asked > BUSY, now
        flying = self._flying.jobs if self._flying is not None else []
        late = [job for job in (*flying, *self._waiting) if job.reply and job.deadline <= now]
        if late:
            writing = self._flying is not None and self._flying.writing
            self._cause_missing |= self._trip(
                f"no answer within {self._deadline:g} s", writing=writing
            )
            for job in late:
                job.answer(None)
        if self._flying is not None:
            return
        self._scheduled = False  # what was scheduled may have found no memory
        # A look, where the store can be read, is not the one try in a second that a store is given:
        # else one that can be read alone would never be tried by what has to be written.
        looks = now >= self._next_lists or self.maintenance.due()
        writes = bool(self._waiting) or self._counts_are_due()
        if (looks and self._breaker.reads) or ((looks or writes) and self._breaker.allows(now)):
            self._schedule()

    def _is_behind(self) -> bool:
        return bool(self.desk.later) and not self._breaker.is_open

    async def stop(self, patience: float) -> None:
        """Write what is left and end the thread, waiting for at most `patience` seconds."""
        try:
            async with asyncio.timeout(patience):
                while self._flying or self.queue_length or self._is_behind():
                    self._next_later = 0.0
                    self._schedule()
                    await asyncio.sleep(TICK / 5)
        except TimeoutError:
            pass
        if self._ticks is not None:
            self._ticks.end()
        self._thread.stop()
        await asyncio.to_thread(self._thread.join, patience)
