"""The store, for pages: in threads, each with a store of its own, and never longer than a deadline.

The event loop never waits for a store. Where all threads are busy and enough visits wait, the next
is told so at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import local
from typing import TypeVar

from greylag.store import Backend
from greylag.store.base import Store, StoreError, StoreUnavailable

THREADS = 4
WAITING = 32  # visits at once; more are refused
DEADLINE = 10.0  # seconds

T = TypeVar("T")


class Busy(StoreUnavailable):
    """No answer came in time, or too many wait already."""


class Stores:
    """Runs what needs the store."""

    def __init__(self, backend: Backend, timeout: float, *, read_only: bool) -> None:
        self.backend = backend
        self.read_only = read_only
        self._timeout = timeout
        self._own = local()
        self._pool = ThreadPoolExecutor(THREADS, "store")
        self._counting = ThreadPoolExecutor(1, "count")
        self._running = 0

    async def run(self, work: Callable[[Store], T], deadline: float = DEADLINE) -> T:
        """Return what the work returns. Raises StoreError; Busy where it takes too long.

        What takes too long goes on in its thread, and its outcome is dropped.
        """
        if self._running >= WAITING:
            raise Busy(f"{self.backend.shown}: {WAITING} visits wait for it already")
        self._running += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, self._work, work)
        future.add_done_callback(self._ended)
        try:
            return await asyncio.wait_for(asyncio.shield(future), deadline)
        except TimeoutError:
            told = f"no answer within {deadline:.0f} seconds; what was begun may still be done"
            raise Busy(f"{self.backend.shown}: {told}") from None

    def begin(self, work: Callable[[Store], T]) -> Future[T]:
        """Begin what may take long, one after the other; nobody waits for it for long."""
        return self._counting.submit(self._work, work)

    def _ended(self, future: asyncio.Future[T]) -> None:
        self._running -= 1
        if not future.cancelled():
            future.exception()  # whoever waited for it may have gone

    def _work(self, work: Callable[[Store], T]) -> T:
        try:
            store = self._store()
        except StoreError:
            self._drop()
            raise
        try:
            return work(store)
        except StoreError:
            self._drop()
            raise

    def _store(self) -> Store:
        """Return this thread's store; one whose file was exchanged is opened anew."""
        store: Store | None = getattr(self._own, "store", None)
        if store is not None:
            try:
                store.check()
            except StoreError:
                self._drop()
                store = None
        if store is None:
            store = self._own.store = self._open()
        return store

    def _open(self) -> Store:
        backend = self.backend
        if self.read_only:
            return backend.open_reading(timeout=self._timeout)
        return backend.open(timeout=self._timeout, create=not backend.lasts)

    def _drop(self) -> None:
        store: Store | None = getattr(self._own, "store", None)
        self._own.store = None
        if store is not None:
            with suppress(StoreError):
                store.close()

    def close(self) -> None:
        """Begin no more work."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._counting.shutdown(wait=False, cancel_futures=True)
