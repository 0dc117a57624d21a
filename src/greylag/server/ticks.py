"""Work that comes again and again: called in the loop, told when to by a thread of its own.

A timer that sets itself anew ends for ever when there is no memory to do so, and with it ends
what it looked after: the time limits of all connections. The thread goes on whatever happens.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

from greylag.server.rest import rest

_MOST_MISSED = 100  # ticks that a busy loop may owe before it is asked once more


class Ticks(threading.Thread):
    """Calls all `works` in the loop, each so many seconds; what one raises is reported."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, seconds: float, *works: Callable[[], None]
    ) -> None:
        super().__init__(name="greylag-ticks", daemon=True)
        self._loop = loop
        self._seconds = seconds
        self._works = works
        self._missed = 0
        self._asked = False
        self._ended = False

    def run(self) -> None:
        """Tell the loop, until the end of either."""
        while not self._ended:
            try:
                self._ask()
            except RuntimeError:  # the loop is closed
                return
            except Exception:  # noqa: BLE001, S110 - no memory: the next tick is soon
                pass
            try:  # noqa: SIM105 - there may be no memory for `suppress` itself
                rest(self._seconds)
            except MemoryError:  # any call can fail so; then the next tick is sooner
                pass

    def _ask(self) -> None:
        if self._asked and self._missed < _MOST_MISSED:
            self._missed += 1
            return
        self._missed = 0
        self._asked = True  # before the loop can know: its tick may be over before this goes on
        try:
            self._loop.call_soon_threadsafe(self._tick)
        except BaseException:
            self._asked = False
            raise

    def _tick(self) -> None:
        self._asked = False
        if self._ended:
            return
        for work in self._works:
            try:
                work()
            except Exception as error:  # noqa: BLE001 - no memory, or a bug: the next tick comes
                with suppress(Exception):
                    context = {"message": "in a tick", "exception": error}
                    self._loop.call_exception_handler(context)

    def end(self) -> None:
        """Call no more; to be called in the loop."""
        self._ended = True
