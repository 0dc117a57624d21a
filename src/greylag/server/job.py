"""What is put to the thread that owns the store, and what came of it."""

from __future__ import annotations

from collections.abc import Callable

from greylag.core.evidence import Needs
from greylag.core.question import Question
from greylag.service.batch import Answered
from greylag.service.later import Later

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.core.switch import Switch

Reply = Callable[[Answered | None], None]


class Job:
    """One attempt that waits for the store; its reply is called once, with None for a failure."""

    __slots__ = ("deadline", "question", "reply")

    def __init__(self, question: Question, reply: Reply, deadline: float) -> None:
        self.question = question
        self.reply: Reply | None = reply
        self.deadline = deadline

    def answer(self, answered: Answered | None) -> None:
        """Call the reply, the first time."""
        reply, self.reply = self.reply, None
        if reply is not None:
            reply(answered)


class Batch:
    """What the thread does in one go, and what came of it."""

    __slots__ = (
        "before_commit",
        "error",
        "jobs",
        "later",
        "look_at_lists",
        "no_figures",
        "no_history",
        "ready",
        "refused",
        "removals",
        "switch",
        "took",
        "trial",
        "warning",
        "writing",
        "written",
        "wrote",
    )

    def __init__(
        self, jobs: list[Job], later: Later, *, look_at_lists: bool, trial: bool = False
    ) -> None:
        self.jobs = jobs
        self.later = later
        self.look_at_lists = look_at_lists
        self.trial = trial  # of a store that failed: nobody is answered until it was written to
        self.ready: list[tuple[Job, Answered]] = []  # answered before anything is written
        self.before_commit: list[tuple[Job, Answered]] = []  # answered while it is written
        # What came of the others; None: the store refused it.
        self.written: list[tuple[Job, Answered | Needs | None]] = []
        self.writing = False  # it came to writing
        self.wrote = False  # and something was written
        self.no_figures: str | None = None  # why none are kept
        self.no_history: str | None = None  # why it could not be written
        self.removals: int | None = None  # the store's count, where it was looked at
        self.switch: Switch | None = None  # the same
        self.warning: str | None = None  # what an admin has to look after
        self.refused: str | None = None  # why the store refused something
        self.error: str | None = None
        self.took = 0.0
