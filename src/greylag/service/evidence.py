"""Where evidence is gathered: between the engine's `Needs` and its decision.

It has a budget of time. What is not known by then stays unknown, and that is no reason to let
anybody in. There is no kind of evidence yet, so nobody gathers any.
"""

from __future__ import annotations

from greylag.core.evidence import NO_EVIDENCE, Evidence, Needs
from greylag.core.question import Question
from greylag.core.value import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from greylag.core.evidence import Kind

    # Returns what it found within so many seconds.
    Gather = Callable[[Question, frozenset[Kind], float], Evidence]
    # Returns at once, and calls back in the event loop.
    GatherLater = Callable[[Question, frozenset[Kind], float, Callable[[Evidence], None]], None]

BUDGET = 0.8  # seconds for all evidence about one attempt; a resolver gives up after 5 to 30


def nobody_later(
    _question: Question,
    _kinds: frozenset[Kind],
    _seconds: float,
    tell: Callable[[Evidence], None],
) -> None:
    """Find nothing."""
    tell(NO_EVIDENCE)


def informed(question: Question, needs: Needs, found: Evidence) -> Question:
    """Return the question with what was found. The rest is unknown, and is not asked for again."""
    known = {**question.evidence, **{kind: found.get(kind) for kind in needs.kinds}}
    return replace(question, evidence=known, counts=False)  # memory had no record


class Gathering:
    """Gathers evidence for the daemon. Only the attempt that needs it waits for it."""

    def __init__(self, gather: GatherLater) -> None:
        self._gather = gather
        self.under_way = 0  # questions

    def begin(
        self,
        loop: AbstractEventLoop,
        question: Question,
        needs: Needs,
        seconds: float,
        go_on: Callable[[Question], None],
    ) -> None:
        """Call `go_on` once, with what was found, or after the budget or so many seconds."""
        seconds = min(seconds, BUDGET)
        waits = True

        def tell(found: Evidence) -> None:
            nonlocal waits
            if waits:
                waits = False
                self.under_way -= 1
                go_on(informed(question, needs, found))

        self.under_way += 1
        loop.call_later(seconds, tell, NO_EVIDENCE)
        loop.call_soon(self._gather, question, needs.kinds, seconds, tell)
