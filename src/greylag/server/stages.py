"""Notices a mail server that never asks at DATA: bounces would pass there for ever, unasked."""

from __future__ import annotations

from greylag.core.attempt import Attempt, Stage
from greylag.core.verdict import Decision, Reason
from greylag.server.journal import WARN, Journal

# Call-outs alone stop after RCPT; a server that takes mail asks at DATA for each, so that this
# many without one is no chance.
ENOUGH = 100


class Stages:
    """Counts recipients that were left for DATA until the first question at DATA comes."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._left = 0

    def saw(self, attempt: Attempt, decision: Decision) -> None:
        """Take note of an answer; tell once if the question that was to follow never does."""
        if attempt.stage is Stage.DATA:
            self._left = ENOUGH  # it is asked at DATA: nothing to tell from now on
        elif attempt.stage is Stage.RCPT_FIRST and decision.reason is Reason.OTHER_STAGE:
            self._left += 1
            if self._left == ENOUGH:
                cause = "bounces are not greylisted: the mail server never asks at DATA"
                event = {"event": "no-data-question", "attempts": str(ENOUGH), "error": cause}
                self._journal.event(WARN, event)
