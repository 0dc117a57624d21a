"""The circuit breaker: while a store fails, nobody waits for it; now and then one try is allowed.

Pure: the time is an argument (seconds of a monotonic clock).
"""

from __future__ import annotations

RETRY_EVERY = 1.0  # seconds between tries while the store fails
SLOW_AFTER = 0.1  # seconds for one batch; postscreen warns of tables from 100 ms on
WARN_EVERY = 60.0  # seconds between two warnings of a slow store, as postscreen has it


class Breaker:
    """Closed while the store answers, open while it does not.

    A store that cannot be written to (a full disk, another's lock) can often be read all the same.
    So what a write has opened, a write alone closes.
    """

    def __init__(self) -> None:
        self.is_open = False
        self._is_readable = True
        self._is_writable = True
        self._next_try = 0.0
        self._next_warning = 0.0

    @property
    def reads(self) -> bool:
        """Tell whether the store may be read, which is no try to write to it."""
        return not self.is_open or self._is_readable

    def allows(self, now: float) -> bool:
        """Tell whether the store may be asked; of an open breaker, once in a while."""
        if not self.is_open:
            return True
        if now < self._next_try:
            return False
        self._next_try = now + RETRY_EVERY
        return True

    def failed(self, now: float, *, writing: bool = False) -> bool:
        """Note a failure; return whether that is news."""
        news = not self.is_open
        self.is_open = True
        self._is_readable = writing
        if writing:
            self._is_writable = False
        self._next_try = now + RETRY_EVERY
        return news

    def succeeded(self, *, wrote: bool = False) -> bool:
        """Note a success; return whether it ends what failed."""
        self._is_readable = True
        self._is_writable = self._is_writable or wrote
        ends = self.is_open and self._is_writable
        if ends:
            self.is_open = False
        return ends

    def slow(self, took: float, now: float) -> bool:
        """Tell whether a batch that took so long is worth a warning now."""
        return took >= SLOW_AFTER and self.warns(now)

    def warns(self, now: float) -> bool:
        """Tell whether a warning may be given now: one is, at most, in each minute."""
        if now < self._next_warning:
            return False
        self._next_warning = now + WARN_EVERY
        return True


class Seldom:
    """Lets something be told once a minute at most."""

    def __init__(self) -> None:
        self._next = 0.0

    def allows(self, now: float) -> bool:
        """Tell whether it may be told now."""
        if now < self._next:
            return False
        self._next = now + WARN_EVERY
        return True
