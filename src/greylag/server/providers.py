"""The daemon resolves the records of big senders once a day, if an admin has done so once.

The store tells when that was, so of several hosts on one store the first to look does it. Nobody
waits for any of this: DNS is asked in the loop, the store in its own thread, in short steps.
"""

from __future__ import annotations

import asyncio
from random import uniform
from time import monotonic, time

from greylag.core.verdict import INFO, WARN
from greylag.service.dns.published import published
from greylag.service.providers import MEANWHILE, REFUSED, ROWS, in_groups, judge, read_known, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import TypeVar

    from greylag.core.spf.ranges import Ranges
    from greylag.server.errands import Errands
    from greylag.server.journal import Journal
    from greylag.server.metrics import Metrics
    from greylag.service.dns.resolver import Resolver
    from greylag.service.providers import Known, Provider
    from greylag.store.base import Store

    T = TypeVar("T")

DAY = 86400  # seconds that ranges are used without a look
AGAIN = 3000  # seconds until what failed, on whatever host, is tried again
# Seconds to the first look, and between two: by chance, so that hosts do not look all at once.
FIRST, EVERY = (1.0, 10.0), (3300.0, 3900.0)
TELL_EVERY = DAY  # seconds until the same failure of a provider is told again
MOST_UNANSWERED = 3  # records in a row: then DNS is away, and the others have to wait, too


class Refreshing:
    """Looks now and then, and resolves what is due."""

    def __init__(
        self,
        errands: Errands,
        resolver: Callable[[], Resolver | None],
        journal: Journal,
        metrics: Metrics,
        *,
        first: tuple[float, float] = FIRST,
        every: tuple[float, float] = EVERY,
    ) -> None:
        self._errands = errands
        self._resolver = resolver
        self._journal = journal
        self._metrics = metrics
        self._every = every
        self._next = monotonic() + uniform(*first)  # noqa: S311 - no secret
        self._task: asyncio.Task[None] | None = None
        self._told: dict[str, tuple[str, float]] = {}

    def tick(self) -> None:
        """Begin to look, if it is time; to be called in the loop."""
        now = monotonic()
        if now < self._next or self._resolver() is None:
            return
        self._next = now + uniform(*self._every)  # noqa: S311 - no secret
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._look())

    async def close(self) -> None:
        """End what is under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _look(self) -> None:
        try:
            found = await self._on_store(read_known)
            self._count(found)
            await self._refresh(found)
            self._count(found)
        except Exception as error:  # noqa: BLE001 - the store is away, or a bug: later again
            self._tell("", str(error) or type(error).__name__)

    def _count(self, found: Known) -> None:
        used = [provider for provider in found.providers.values() if provider.used]
        refused = [p.tried for p in used if p.outcome.startswith(REFUSED)]
        self._metrics.providers = len(used)
        self._metrics.oldest_provider = min((p.refreshed for p in used), default=0)
        self._metrics.provider_refused = max(refused, default=self._metrics.provider_refused)

    async def _refresh(self, found: Known) -> None:
        resolved: dict[str, Ranges] = {}
        unanswered = 0
        for provider in due(found, int(time())):
            resolver = self._resolver()
            if resolver is None or unanswered >= MOST_UNANSWERED:
                break
            ranges = resolved[provider.name] = await published(provider.domain, resolver)
            unanswered = unanswered + 1 if ranges.is_unanswered else 0
        if not resolved:
            return
        outcomes = await self._on_store(_storing(found, resolved, int(time())))
        for name, why in outcomes.items():
            if why:
                self._tell(name, why)
            else:
                self._told.pop(name, None)
        refreshed = sum(not why for why in outcomes.values())
        if refreshed:
            fields: dict[str, bytes | str | int] = {"event": "providers-refreshed"}
            self._journal.event(INFO, {**fields, "providers": refreshed})

    def _tell(self, name: str, why: str) -> None:
        """Tell of a failure, if it is news."""
        now = monotonic()
        before, since = self._told.get(name, ("", 0.0))
        if why == before and now < since + TELL_EVERY:
            return
        self._told[name] = (why, now)
        fields: dict[str, bytes | str | int] = {"event": "provider-failed"}
        if why.startswith(REFUSED):
            fields = {"event": "provider-refused"}
        if name:
            fields["provider"] = name
        self._journal.event(WARN, {**fields, "error": why.removeprefix(REFUSED)})

    async def _on_store(self, work: Callable[[Store], Generator[None, None, T]]) -> T:
        """Have work done in the store's thread, and return what it returns."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        results: list[T] = []

        def errand(store: Store) -> Generator[None, None, None]:
            results.append((yield from work(store)))

        def end(error: Exception | None) -> None:
            if future.done():  # nobody waits any more
                return
            if error is None:
                future.set_result(results[0])
            else:
                future.set_exception(error)

        def done(error: Exception | None) -> None:
            try:
                loop.call_soon_threadsafe(end, error)
            except RuntimeError:  # the loop has gone
                return

        self._errands.put(errand, done)
        return await future


def due(found: Known, now: int) -> list[Provider]:
    """Return the providers whose records are to be resolved, the oldest first.

    A time of a clock that was wrong is no reason to wait.
    """
    old = [p for p in found.providers.values() if p.used and abs(now - p.refreshed) >= DAY]
    return sorted((p for p in old if abs(now - p.tried) >= AGAIN), key=lambda p: p.refreshed)


def _storing(
    found: Known, resolved: dict[str, Ranges], now: int
) -> Callable[[Store], Generator[None, None, dict[str, str]]]:
    """Return what stores ranges in short steps, and returns why not, or "", for each provider."""

    def work(store: Store) -> Generator[None, None, dict[str, str]]:
        steps = [judge(found, name, new, now, force=False) for name, new in resolved.items()]
        outcomes = {step.before.name: step.why for step in steps}
        for group in in_groups(steps, ROWS):
            outcomes |= dict.fromkeys(write(store, group, now), MEANWHILE)
            yield
        return outcomes

    return work
