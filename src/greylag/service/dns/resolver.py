"""The resolver: answers from the cache, or from a name server, within bounds.

The work of finding out is left to a resolver that is there already: this machine's, or one that
is named. A query has `PATIENCE` seconds from the moment it is asked, and waiting for one of
`AT_ONCE` places is part of it. So whatever servers do, all that is under way has ended by then.
"""

from __future__ import annotations

import asyncio
from asyncio import get_running_loop
from time import monotonic

from greylag.service.dns.cache import Cache
from greylag.service.dns.exchange import exchange
from greylag.service.dns.servers import PATIENCE, in_turn, system_servers
from greylag.wire.dns import USELESS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Callable, Iterable, Sequence

    from greylag.core.spf.questions import Answer, Query
    from greylag.service.dns.servers import Server
    from greylag.wire.dns import Reply

__all__ = ["Resolver", "system_servers"]

LEAST_TIME = 0.02  # seconds: a query that has less left when it gets a place is not sent
AT_ONCE = 50  # queries; each has a socket for each server that was asked
MOST_WAITING = 1000  # queries that wait for a place; more are not known at once


class Resolver:
    """Answers queries. It belongs to one event loop."""

    def __init__(
        self,
        servers: Sequence[Server],
        *,
        cache: Cache | None = None,
        patience: float = PATIENCE,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._servers = servers
        self.cache = Cache() if cache is None else cache
        self._patience = patience
        self._clock = clock
        self._places = asyncio.Semaphore(AT_ONCE)
        self._under_way: dict[Query, Task[Answer]] = {}
        self.asked = self.errors = 0  # queries that were sent; that were not answered

    @property
    def under_way(self) -> int:
        """Return how many queries wait for a place or for a server."""
        return len(self._under_way)

    def kept(self, query: Query) -> tuple[Answer] | None:
        """Return the answer in a tuple, or None if it has to be asked for."""
        return self.cache.get(query, self._clock())

    async def ask(self, query: Query) -> Answer:
        """Return the answer to a query, after `PATIENCE` at the latest."""
        kept = self.kept(query)
        if kept is not None:
            return kept[0]
        task = self._under_way.get(query)
        if task is None:
            if self.under_way >= AT_ONCE + MOST_WAITING:
                return None
            task = get_running_loop().create_task(self._find(query))
            self._under_way[query] = task
            task.add_done_callback(lambda _task: self._under_way.pop(query, None))
        return await asyncio.shield(task)  # who stops waiting does not stop others

    def when_over(self, queries: Iterable[Query], tell: Callable[[], None]) -> None:
        """Call `tell` once none of these queries is under way."""
        left = {self._under_way[query] for query in queries if query in self._under_way}

        def over(task: Task[Answer]) -> None:
            left.discard(task)
            if not left:
                tell()

        for task in tuple(left):
            task.add_done_callback(over)
        if not left:
            tell()

    async def close(self) -> None:
        """End what is under way. Who waits for it is told that nothing is known."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _find(self, query: Query) -> Answer:
        loop = get_running_loop()
        ends_at = loop.time() + self._patience
        try:
            async with asyncio.timeout_at(ends_at - LEAST_TIME):
                await self._places.acquire()
        except (TimeoutError, asyncio.CancelledError):  # no place was free; or `close`
            self.errors += 1
            return None
        try:
            answer, ttl = await self._try_servers(query, ends_at)
        except asyncio.CancelledError:  # by `close`
            return None
        finally:
            self._places.release()
        self.errors += answer is None
        self.cache.put(query, answer, ttl, self._clock())
        return answer

    async def _try_servers(self, query: Query, ends_at: float) -> tuple[Answer, float]:
        """Return the first answer. A slow server may still reply when the next is asked."""
        self.asked += 1
        loop = get_running_loop()
        servers = in_turn(self._servers)
        begun: set[Task[Reply]] = set()
        try:
            for number, server in enumerate(servers):
                now = loop.time()
                until = now + (ends_at - now) / (len(servers) - number)
                begun.add(loop.create_task(_reply(query, server)))
                while begun and (left := until - loop.time()) > 0:
                    done, begun = await asyncio.wait(
                        begun, timeout=left, return_when=asyncio.FIRST_COMPLETED
                    )
                    for reply in [task.result() for task in done]:
                        if reply.answer is not None:
                            return reply.answer, reply.ttl
                    if done and number + 1 < len(servers):
                        break  # that one is of no use: the next is asked at once
        finally:
            for task in begun:
                task.cancel()
        return None, 0.0


async def _reply(query: Query, server: Server) -> Reply:
    try:
        return await exchange(query, server)
    except (OSError, ValueError):  # it cannot be reached; a name that cannot be
        return USELESS
