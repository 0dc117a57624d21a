"""Finds evidence by asking DNS, in the daemon: the `GatherLater` of `service.evidence`.

What is to be found is a generator of queries for each kind (`core.spf.check`, `core.lookups`).
What the resolver's cache can answer is found at once. Else all kinds that an attempt needs go on
side by side, within one budget. What has ended by then is found; the rest is left out, so it is
unknown. Its queries go on for their own short time: their answers are in the cache when the client
comes again.

Of one network of clients only few attempts ask at a time, and have their places until their
queries are over. Others of it wait for their turn, within their own budget. So a network whose
domains have silent name servers cannot take all the places that there are for queries.
"""

from __future__ import annotations

import asyncio
from asyncio import get_running_loop

from greylag.core.client import IPV4_BYTES, network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    from greylag.core.evidence import Evidence, Kind
    from greylag.core.question import Question
    from greylag.core.spf.questions import Answer, Query, Steps
    from greylag.service.dns.resolver import Resolver

    T = TypeVar("T")
    Recipes = Mapping[Kind, Callable[[Question], Steps[object]]]
    Waiting = dict[Kind, tuple[Steps[object], Query]]

# Seconds: who waits gives up after the budget, and would miss what was found by then.
MARGIN = 0.02
# Attempts of one network that ask at a time. Each has a query for each kind, and all together have
# `resolver.AT_ONCE`.
MOST_OF_A_NETWORK = 8
_NETWORK_IPV4, _NETWORK_IPV6 = 24, 48  # bits; one customer of an access provider may have a /48


async def run(steps: Steps[T], resolver: Resolver) -> T:
    """Return what a generator of queries finds."""
    answer: Answer = None
    while True:
        try:
            query = _first_to_ask(steps, resolver, answer)
        except StopIteration as end:
            found: T = end.value
            return found
        answer = await resolver.ask(query)


async def find(
    question: Question, kinds: frozenset[Kind], seconds: float, recipes: Recipes, resolver: Resolver
) -> Evidence:
    """Return what is found about an attempt within so many seconds."""
    found, waiting = _begun(question, kinds, recipes, resolver)
    return {**found, **await _finished(waiting, seconds, resolver)}


def _begun(
    question: Question, kinds: frozenset[Kind], recipes: Recipes, resolver: Resolver
) -> tuple[dict[Kind, object], Waiting]:
    """Return what is found without waiting, and what the rest has to ask first."""
    found: dict[Kind, object] = {}
    waiting: Waiting = {}
    for kind in kinds:
        if kind in recipes:
            try:
                steps = recipes[kind](question)
                waiting[kind] = steps, _first_to_ask(steps, resolver)
            except StopIteration as end:
                found[kind] = end.value
            except Exception as error:  # noqa: BLE001 - a bug costs its evidence alone
                _tell(error)
    return found, waiting


def _first_to_ask(steps: Steps[object], resolver: Resolver, answer: Answer = None) -> Query:
    """Go on by answers that are kept. Raises StopIteration with what is found, if it is found."""
    while True:
        query = steps.send(answer)
        kept = resolver.kept(query)
        if kept is None:
            return query
        answer = kept[0]


async def _go_on(kind: Kind, waiting: Waiting, resolver: Resolver) -> object:
    """Go on with a kind to its end. `waiting` has what it asks."""
    while True:
        steps, query = waiting[kind]
        answer = await resolver.ask(query)
        try:
            waiting[kind] = steps, _first_to_ask(steps, resolver, answer)
        except StopIteration as end:
            del waiting[kind]
            return end.value


async def _finished(waiting: Waiting, seconds: float, resolver: Resolver) -> Evidence:
    """Return what is found in time. `waiting` is left with what is not."""
    if not waiting:
        return {}
    begun = {
        get_running_loop().create_task(_go_on(kind, waiting, resolver)): kind for kind in waiting
    }
    done, late = await asyncio.wait(begun, timeout=max(seconds - MARGIN, 0))
    for task in late:
        task.cancel()
    return {begun[task]: task.result() for task in done if _has_ended_well(task)}


def _has_ended_well(task: Task[T]) -> bool:
    """Tell whether a task has a result. A bug costs evidence, and is told as bugs are."""
    if task.cancelled():
        return False
    error = task.exception()
    if error is not None:
        _tell(error)
    return error is None


def _tell(error: BaseException) -> None:
    told = {"message": "evidence: cannot be gathered", "exception": error}
    get_running_loop().call_exception_handler(told)


class Gatherer:
    """Gathers in the daemon, without holding up anybody but who needs it."""

    def __init__(self, recipes: Recipes, resolver: Resolver) -> None:
        self._recipes = recipes
        self._resolver = resolver
        self._turns = _Turns()
        self._under_way: set[Task[Evidence]] = set()  # the loop itself keeps no task

    def kept_about(self, question: Question, kinds: frozenset[Kind]) -> Evidence | None:
        """Return what is found by answers that are kept; None where one of them is missing."""
        found, waiting = _begun(question, kinds, self._recipes, self._resolver)
        return None if waiting else found

    def __call__(
        self,
        question: Question,
        kinds: frozenset[Kind],
        seconds: float,
        tell: Callable[[Evidence], None],
    ) -> None:
        """Return at once, and tell now or later."""
        found, waiting = _begun(question, kinds, self._recipes, self._resolver)
        if not waiting:
            tell(found)
            return
        task = get_running_loop().create_task(self._asked(question, waiting, seconds))
        self._under_way.add(task)

        def ended(task: Task[Evidence]) -> None:
            self._under_way.discard(task)
            tell({**found, **task.result()} if _has_ended_well(task) else found)

        task.add_done_callback(ended)

    async def _asked(self, question: Question, waiting: Waiting, seconds: float) -> Evidence:
        loop = get_running_loop()
        ends_at = loop.time() + seconds
        try:
            turn = await self._turns.take(question.client, ends_at - MARGIN)
        except TimeoutError:  # others of its network took all the time
            return {}
        try:
            return await _finished(waiting, ends_at - loop.time(), self._resolver)
        finally:
            # Its last queries go on for a while: until then they have their places.
            late = [query for _steps, query in waiting.values()]
            self._resolver.when_over(late, turn.end)


class _Turns:
    """The turns of each network that asks."""

    def __init__(self) -> None:
        self._turns: dict[bytes, _Turn] = {}

    async def take(self, client: bytes, until: float) -> _Turn:
        """Wait for a turn. Raises TimeoutError."""
        bits = _NETWORK_IPV4 if len(client) == IPV4_BYTES else _NETWORK_IPV6
        key = network(client, bits)
        turn = self._turns.get(key)
        if turn is None:
            turn = self._turns[key] = _Turn(lambda: self._turns.pop(key))
        turn.users += 1
        try:
            async with asyncio.timeout_at(until):
                await turn.places.acquire()
        except BaseException:
            turn.leave()
            raise
        return turn


class _Turn:
    """The places of one network."""

    def __init__(self, unused: Callable[[], object]) -> None:
        self.places = asyncio.Semaphore(MOST_OF_A_NETWORK)
        self.users = 0  # who has a place, or waits for one
        self._unused = unused

    def end(self) -> None:
        """Give a place back."""
        self.places.release()
        self.leave()

    def leave(self) -> None:
        """Count one less; the last tells that nobody is left."""
        self.users -= 1
        if not self.users:
            self._unused()
