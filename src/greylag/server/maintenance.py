"""Forgetting what is past, and what there is no room for: in small steps between the batches.

No cron, and nobody waits for it: a step is made when the answers of a batch are out.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, time

from greylag.core.policy import Room
from greylag.service.quota import Quota
from greylag.store.base import Position, Store, StoreConflict, StoreError, StoreUnavailable

STEP = 500  # records looked at in one transaction: a few milliseconds, where few of them go
SMALLEST = 50  # the same where a step took long, as all of them go, or the machine is busy
LONG = 0.025  # seconds
STEP_EVERY = 0.1  # seconds between steps: 5,000 records a second at the most
PASS_EVERY = 600.0  # seconds from the end of one walk to the beginning of the next
AFTER_FAILURE = 1.0  # seconds until anything is tried again
JUMP = 3600.0  # seconds by which the clock may differ from the stopwatch: beyond, it has jumped
# Seconds from a jump until records are expired again. What looks expired after a jump ahead may be
# all that is known, so a human gets a day to see it and to set the clock right.
AFTER_JUMP_AHEAD, AFTER_JUMP_BACK = 86400.0, 3600.0


class Maintenance:
    """Walks the records from one end to the other, and begins again after a while; makes room.

    A wall clock that jumps makes everything look expired, or nothing. Then nothing is forgotten
    until the clock has been steady for a while, or the process is started again (P18, T30).
    """

    def __init__(
        self,
        quota: Quota,
        *,
        clock: Callable[[], float] = time,
        stopwatch: Callable[[], float] = monotonic,
    ) -> None:
        self.quota = quota
        self._clock = clock
        self._stopwatch = stopwatch
        self._offset = clock() - stopwatch()
        self._after: Position | None = None
        self._walked = (0, 0)
        self._next = self._next_history = 0.0
        self._limit = STEP
        self._forgot_last = False  # the last step was of the history
        self._resume = 0.0  # after a failure
        self._error: str | None = None
        self.has_failed = False  # the last step
        self._jump: tuple[int, int] | None = None  # one that was not told yet
        self._paused_until = 0.0
        self.jumps = 0
        self.records: tuple[int, int] | None = None  # waiting, passed: as the last walk found them

    def use(self, room: Room) -> None:
        """Go by other numbers from now on; may be called in another thread."""
        self.quota.use(room)
        self._next_history = 0.0

    def due(self) -> bool:
        """Tell whether it is time for a step."""
        if self._stopwatch() < self._resume:
            return False
        return self.quota.exceeded or self._expiry_is_due() or self._history_is_due()

    def _expiry_is_due(self) -> bool:
        now = self._stopwatch()
        self._look_at_the_clock(now)
        return now >= max(self._next, self._paused_until)

    def _history_is_due(self) -> bool:
        return self._stopwatch() >= max(self._next_history, self._paused_until)

    def _look_at_the_clock(self, now: float) -> None:
        offset = self._clock() - now
        jump = offset - self._offset
        if abs(jump) > JUMP:
            pause = AFTER_JUMP_AHEAD if jump > 0 else AFTER_JUMP_BACK
            self._offset, self._paused_until = offset, now + pause
            self._jump = (int(jump), int(pause))
            self.jumps += 1

    @property
    def paused(self) -> bool:
        """Tell whether nothing is expired, as the clock has jumped."""
        return self._stopwatch() < self._paused_until

    def step(self, store: Store) -> bool:
        """Do what is due; tell whether the store can be used as before. Never raises."""
        try:
            self._delete(store)
            if self.quota.exceeded:
                self.quota.make_room(store, int(self._clock()))
        except Exception as error:  # noqa: BLE001 - no memory, or a bug: the thread must go on
            self.failed(error)
            return _has_answered(error)
        self.has_failed = False
        return True

    def _delete(self, store: Store) -> None:
        began = self._stopwatch()
        expires = self._expiry_is_due()
        if self._history_is_due() and not (expires and self._forgot_last):  # by turns
            self._forgot_last = True
            self._forget_history(store)
        elif expires:
            self._forgot_last = False
            self._next = began + STEP_EVERY
            self._expire(store)
        else:
            return
        if self._stopwatch() - began > LONG:
            self._limit = max(SMALLEST, self._limit // 2)
        else:
            self._limit = min(STEP, self._limit + SMALLEST)

    def failed(self, error: Exception) -> None:
        """Remember why a step failed, and let a while pass before the next."""
        self.has_failed = True
        self._error = "MemoryError"  # what needs no memory to say
        self._resume = self._stopwatch() + AFTER_FAILURE
        if not isinstance(error, MemoryError):
            self._error = str(error) or type(error).__name__

    def _expire(self, store: Store) -> None:
        page = store.expire(int(self._clock()), self._limit, self._after)
        self._after = page.after
        waiting = self._walked[0] + page.waiting - page.pools
        self._walked = waiting, self._walked[1] + page.passed
        self.quota.walked(page)
        if page.after is None:
            self._next = self._stopwatch() + PASS_EVERY
            self.records, self._walked = self._walked, (0, 0)

    def _forget_history(self, store: Store) -> None:
        """Delete what is too old in the history, or too much; of a failure nothing comes soon."""
        began = self._stopwatch()
        self._next_history = began + PASS_EVERY
        now, kept = int(self._clock()), self.quota.room.history
        if store.forget_history(kept, now, self._limit):
            self._next_history = began + STEP_EVERY

    def take_jump(self) -> tuple[int, int] | None:
        """Return by how many seconds the clock jumped since the last call, and how long we wait."""
        jump, self._jump = self._jump, None
        return jump

    def take_error(self) -> str | None:
        """Return why a step failed since the last call, or None."""
        error, self._error = self._error, None
        return error


def _has_answered(error: Exception) -> bool:
    """Tell whether a store is as good as before: it lost against another writer, or refused."""
    if isinstance(error, StoreUnavailable):
        return isinstance(error, StoreConflict)
    return isinstance(error, StoreError)
