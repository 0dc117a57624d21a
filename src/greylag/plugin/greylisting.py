"""The `greylisting` plugin without a daemon: one process, one recipient, one answer.

Whatever goes wrong ends in an answer: the exit code is always 0, because qmail-spp turns a crash
(and the code 120) into a refusal. Only what the answer needs is imported.
"""

from __future__ import annotations

import _thread
import os
from time import monotonic

from greylag.plugin.process import (
    LOG_PATIENCE,
    fill_standard_descriptors,
    left_of_budget,
    service_of,
    settings_of,
    tell_internal_error,
    watch,
    write_all,
    write_in_time,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from greylag.core.attempt import Attempt
    from greylag.core.verdict import Decision


class Log:
    """Lines on stderr with the plugin's prefix, each written at once; never raises, never waits."""

    def __init__(self) -> None:
        self.level: int | None = None  # the old plugin's, until the configuration is known

    def failure(self, reason: str, error: str) -> None:
        """Say what went wrong."""
        from greylag.core.verdict import ERROR, FATAL

        level = FATAL if reason == "internal-error" else ERROR
        self._event(level, {"reason": reason, "error": error})

    def caution(self, error: str, reason: str = "") -> None:
        """Say what changes no answer."""
        from greylag.core.verdict import WARN

        self._event(WARN, {"reason": reason, "error": error} if reason else {"error": error})

    def decision(self, attempt: Attempt, decision: Decision) -> None:
        """Write what was answered."""
        from greylag.wire.logline import decision_line

        self._line(decision.reason.logged, decision_line(attempt, decision))

    def _event(self, level: int, fields: Mapping[str, str]) -> None:
        from greylag.wire.logline import format_event

        self._line(level, format_event(fields))

    def _line(self, level: int, line: str) -> None:
        from greylag.core.verdict import WARN
        from greylag.wire.logline import BEGINNINGS

        if level <= (WARN if self.level is None else self.level):
            write_in_time(
                2, f"greylisting: {BEGINNINGS[level]}{line}\n".encode("ascii"), LOG_PATIENCE
            )


class Answer:
    """The one answer of this process, whichever thread gives it: the second says nothing."""

    def __init__(self) -> None:
        self._turn = _thread.allocate_lock()
        self.late = b""  # what is answered when the time is over

    def give(self, output: bytes) -> bool:
        """Write the answer; return whether it was the first."""
        first = self._turn.acquire(False)
        if first:
            write_all(1, output)
        return first


def main() -> None:
    """Answer the question that the environment holds, and end the process."""
    log = Log()
    try:
        if b"GREYLISTING" in os.environb and b"RELAYCLIENT" not in os.environb:
            fill_standard_descriptors()
            given = Answer()
            left = left_of_budget(os.environb)
            _watch(left, log, given)
            answer(os.environb, log, given, monotonic() + left)
    except BaseException as error:  # noqa: BLE001 - no failure of ours may turn mail away
        tell_internal_error(log, error)
    finally:
        # The answer is out and all is committed: taking Python apart would only cost time.
        os._exit(0)


def answer(environ: Mapping[bytes, bytes], log: Log, given: Answer, ends_at: float) -> None:
    """Give the plugin's output for an environment: nothing, or one command line."""
    settings = settings_of(environ, log)
    if settings is None:
        return
    from greylag.core.engine import precheck, unanswered
    from greylag.core.question import Question
    from greylag.service.policies import Policies
    from greylag.wire.qmailspp import read_environment, write_command

    log.level = settings.log_level
    for line in settings.warnings:
        log.caution(line, "config-warning")
    attempt = read_environment(environ)
    policies = Policies(settings.policy, recipients=settings.recipients)
    question = precheck(attempt, policies.of(attempt))
    if isinstance(question, Question):
        given.late = write_command(unanswered(question, settings.on_failure), settings.replies)
    service = service_of(settings, log, ends_at)
    try:
        decision = service.answer(question)
        header = settings.header and not attempt.further  # the host adds one for each recipient
        if given.give(write_command(decision, settings.replies, header=header)):
            log.decision(attempt, decision)
    finally:
        service.close()


def _watch(left: float, log: Log, given: Answer) -> None:
    def late(error: str) -> None:
        if given.give(given.late):
            log.failure("store-unavailable", error)
        os._exit(0)

    watch(left, log, late)
