"""Finds evidence by asking DNS, in the daemon: the `GatherLater` of `service.evidence`.

What is to be found is a generator of queries for each kind (`core.spf.check`, `core.lookups`).
All kinds that an attempt needs go on side by side, within one budget. What has ended by then is
found; the rest is left out, so it is unknown. Its queries go on for their own short time: their
answers are in the cache when the client comes again.
"""

from __future__ import annotations

import asyncio
from asyncio import get_running_loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    from greylag.core.evidence import Evidence, Kind
    from greylag.core.question import Question
    from greylag.core.spf.questions import Steps
    from greylag.service.dns.resolver import Resolver

    T = TypeVar("T")
    Recipes = Mapping[Kind, Callable[[Question], Steps[object]]]

# Seconds: who waits gives up after the budget, and would miss what was found by then.
MARGIN = 0.02


async def run(steps: Steps[T], resolver: Resolver) -> T:
    """Return what a generator of queries finds."""
    answer = None
    while True:
        try:
            query = steps.send(answer)
        except StopIteration as end:
            found: T = end.value
            return found
        answer = await resolver.ask(query)


async def find(
    question: Question, kinds: frozenset[Kind], seconds: float, recipes: Recipes, resolver: Resolver
) -> Evidence:
    """Return what is found about an attempt within so many seconds."""
    begun = {
        get_running_loop().create_task(run(recipes[kind](question), resolver)): kind
        for kind in kinds
        if kind in recipes
    }
    if not begun:
        return {}
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
        told = {"message": "evidence: cannot be gathered", "exception": error}
        get_running_loop().call_exception_handler(told)
    return error is None


class Gatherer:
    """Gathers in the daemon, without holding up anybody but who needs it."""

    def __init__(self, recipes: Recipes, resolver: Resolver) -> None:
        self._recipes = recipes
        self._resolver = resolver
        self._under_way: set[Task[Evidence]] = set()  # the loop itself keeps no task

    def __call__(
        self,
        question: Question,
        kinds: frozenset[Kind],
        seconds: float,
        tell: Callable[[Evidence], None],
    ) -> None:
        """Return at once, and tell later."""
        found = find(question, kinds, seconds, self._recipes, self._resolver)
        task = get_running_loop().create_task(found)
        self._under_way.add(task)

        def ended(task: Task[Evidence]) -> None:
            self._under_way.discard(task)
            tell(task.result() if _has_ended_well(task) else {})

        task.add_done_callback(ended)
