"""Where evidence is gathered: between the engine's `Needs` and its decision.

It has a budget of time. What is not known by then stays unknown, and that is no reason to let
anybody in. `service.dns` gathers all kinds that there are.
"""

from __future__ import annotations

from greylag.core.evidence import NO_EVIDENCE, Evidence, Kind, Needs
from greylag.core.question import Question
from greylag.core.sparing import with_known
from greylag.core.value import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Sequence
    from typing import Protocol

    class Job(Protocol):
        """Who waits for an answer."""

        question: Question

    # Returns what it found within so many seconds.
    Gather = Callable[[Question, frozenset[Kind], float], Evidence]
    # Returns at once what needs no query, or None.
    Kept = Callable[[Question, frozenset[Kind]], Evidence | None]
    # Returns at once, and calls back in the event loop.
    GatherLater = Callable[[Question, frozenset[Kind], float, Callable[[Evidence], None]], None]

BUDGET = 0.8  # seconds for all evidence about one attempt; a resolver gives up after 5 to 30
AT_A_TIME = 0.01  # seconds for what needs no query, of a batch; one attempt takes some 0.02 ms
_NAMES = frozenset((Kind.NAMES,))


def nothing_kept(_question: Question, _kinds: frozenset[Kind]) -> Evidence | None:
    """Know nothing."""
    return None


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
    return with_known(replace(question, counts=False), known)  # memory had no record


def unasked(question: Question) -> Question:
    """Return the question as if all evidence had been asked for, and nothing was known."""
    kinds = question.policy.evidence | question.wants
    if kinds <= question.evidence.keys():
        return question
    return replace(question, evidence={**dict.fromkeys(kinds), **question.evidence})


class Gathering:
    """Gathers evidence for the daemon. Only the attempt that needs it waits for it."""

    def __init__(self, gather: GatherLater, kept: Kept = nothing_kept) -> None:
        self._gather = gather
        self._kept = kept
        self.under_way = 0  # questions

    def at_once(self, loop: AbstractEventLoop, jobs: Sequence[Job]) -> int:
        """Add the evidence that needs no query: these may be first contacts.

        So the store is asked once; and once more where evidence is gathered. In a row it takes half
        of what it takes between other requests. Tell for how many there was time: records of
        hostile domains are long, and others are to be answered meanwhile.
        """
        ends_at = loop.time() + AT_A_TIME
        for number, job in enumerate(jobs, 1):
            job.question = self._with_kept(loop, job.question)
            if loop.time() > ends_at:
                return number
        return len(jobs)

    def _with_kept(self, loop: AbstractEventLoop, question: Question) -> Question:
        kinds = question.policy.evidence
        if not kinds or question.counts is not None or question.lists_only:
            return question
        try:
            names = question.names  # as the mail server tells them: they are looked up once
            found = self._kept(question, kinds if names is None else kinds - _NAMES)
            if found is None:
                return question
            return with_known(question, found if names is None else {**found, Kind.NAMES: names})
        except Exception as error:  # noqa: BLE001 - a bug costs its evidence alone, not the batch
            told = {"message": "evidence: cannot be gathered", "exception": error}
            loop.call_exception_handler(told)
            return question

    def begin(
        self,
        loop: AbstractEventLoop,
        question: Question,
        needs: Needs,
        go_on: Callable[[Question], None],
        give_up: Callable[[], None],
    ) -> None:
        """Call `go_on` with what was found, within the budget, or `give_up` if that fails.

        One of them is called, once; none if this raises.
        """
        waits = True

        def tell(found: Evidence) -> None:
            nonlocal waits
            if not waits:
                return
            waits = False
            timer.cancel()
            self.under_way -= 1
            try:
                asked = informed(question, needs, found)
            except BaseException:
                give_up()  # no memory
                raise
            go_on(asked)

        timer = loop.call_later(BUDGET, tell, NO_EVIDENCE)
        try:
            loop.call_soon(self._gather, question, needs.kinds, BUDGET, tell)
        except BaseException:
            timer.cancel()
            raise
        self.under_way += 1
