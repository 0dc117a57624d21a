"""The `greylisting` plugin without a daemon: one process, one recipient, one answer.

Whatever goes wrong ends in an answer: the exit code is always 0, because qmail-spp turns a crash
(and the code 120) into a refusal. An answer is there within `BUDGET`, because qmail-smtpd waits for
us; a C program that executes us tells how much of it is left. Only what the answer needs is
imported.
"""

from __future__ import annotations

import _thread
import os
from collections.abc import Mapping
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from greylag.app.config import Settings
    from greylag.core.attempt import Attempt
    from greylag.core.engine import Question
    from greylag.core.verdict import Decision
    from greylag.store.base import Store

BUDGET = 5.0  # seconds from start to answer; qmail-smtpd itself would wait for ever
BUDGET_VARIABLE = b"GREYLAG_BUDGET_MS"  # set by the C programs alone: what they have left of it
STORE_MARGIN = 0.5  # seconds of it that are not the store's: the answer is still to be written
LEAST_WAIT = 0.05  # seconds that a store may wait however little is left
LOG_PATIENCE = 200  # milliseconds for a line that the log does not take
GRACE = 100  # milliseconds more, for a write that was begun
NO_MEMORY = (
    b'greylag: level=fatal reason=internal-error error="MemoryError: is softlimit -m low?"\n'
)
STACK = 256 * 1024  # bytes for the thread that watches the time
FATAL, ERROR, WARN, INFO, DEBUG = 1, 2, 3, 4, 5
NAMES = ("off", "fatal", "error", "warn", "info", "debug")
DEFAULT_LEVEL = WARN  # the old plugin's, in force until the configuration is known


class Log:
    """Lines on stderr with the plugin's prefix, each written at once; never raises, never waits."""

    def __init__(self, level: int = DEFAULT_LEVEL) -> None:
        self.level = level

    def event(self, level: int, **fields: bytes | str | int) -> None:
        """Write one event if the level is on; anything but `info` is named in the line."""
        if level > self.level:
            return
        from greylag.wire.logline import format_event

        self.line(level, format_event(fields))

    def line(self, level: int, line: str) -> None:
        """Write an event that is formatted already."""
        if level <= self.level:
            named = "" if level == INFO else f"level={NAMES[level]} "
            write_in_time(2, f"greylisting: {named}{line}\n".encode("ascii"), LOG_PATIENCE)


def write_all(descriptor: int, data: bytes) -> None:
    """Write to a descriptor as far as it can be written; nobody is left to tell of a failure."""
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        return


def write_in_time(descriptor: int, data: bytes, patience: int) -> bool:
    """Write to whom may have stopped reading, for so many milliseconds; return whether it is out.

    A pipe that was ready may be filled by others before it is our turn: so the write itself is
    waited for, too.
    """
    import select

    out = _thread.allocate_lock()
    written = []

    def write() -> None:
        try:
            if os.isatty(descriptor):
                _may_write_in_the_background()
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            rest = data
            while rest and poll.poll(patience):
                # A pipe that is ready takes this much without waiting for its reader.
                rest = rest[os.write(descriptor, rest[: select.PIPE_BUF]) :]
            written.append(not rest)
        except OSError:
            pass
        finally:
            out.release()

    out.acquire()
    try:
        _thread.stack_size(STACK)
        _thread.start_new_thread(write, ())
    except RuntimeError:
        write()  # no memory for a thread
    out.acquire(timeout=(patience + GRACE) / 1000)
    return bool(written and written[0])


def _may_write_in_the_background() -> None:
    """Keep this thread from being stopped by a terminal (`stty tostop`)."""
    from signal import SIG_BLOCK, SIGTTOU, pthread_sigmask

    pthread_sigmask(SIG_BLOCK, (SIGTTOU,))


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
            _fill_standard_descriptors()
            given = Answer()
            left = left_of_budget(os.environb)
            _watch(log, given, left)
            answer(os.environb, log, given, monotonic() + left)
    except BaseException as error:  # noqa: BLE001 - no failure of ours may turn mail away
        try:
            log.event(FATAL, reason="internal-error", error=f"{type(error).__name__}: {error}")
        except MemoryError:  # as under a low softlimit: this takes none
            write_all(2, NO_MEMORY)
    finally:
        # The answer is out and all is committed: taking Python apart would only cost time.
        os._exit(0)


def left_of_budget(environ: Mapping[bytes, bytes]) -> float:
    """Return the seconds that are left of `BUDGET`: no variable gives more than that."""
    told = environ.get(BUDGET_VARIABLE, b"")
    if not told.isdigit() or len(told) > len("5000"):
        return BUDGET
    return min(int(told) / 1000, BUDGET)


def answer(environ: Mapping[bytes, bytes], log: Log, given: Answer, ends_at: float) -> None:
    """Give the plugin's output for an environment: nothing, or one command line."""
    from greylag.app.config import ConfigError, load
    from greylag.core.engine import Question, precheck, unanswered
    from greylag.service.policies import Policies
    from greylag.wire.qmailspp import read_environment, write_command

    try:
        settings = load(environ)
    except ConfigError as error:
        for line in error.errors:
            log.event(ERROR, reason="config-error", error=line)
        return
    log.level = settings.log_level
    for line in settings.warnings:
        log.event(WARN, reason="config-warning", error=line)
    attempt = read_environment(environ)
    question = precheck(attempt, Policies(settings.policy).of(attempt))
    if isinstance(question, Question):
        late = unanswered(question, settings.on_failure)
        given.late = write_command(late, settings.replies)
    with OneStore(settings, ends_at) as store:
        decision = _decide(question, settings, store, log)
        if given.give(write_command(decision, settings.replies)):
            _log_decision(attempt, decision, log)


class OneStore:
    """The store of these settings: opened when it is needed, closed after the answer is out.

    Closing matters: the last process to let go of a SQLite file folds its log into it, and
    without that the log would grow for ever.
    """

    def __init__(self, settings: Settings, ends_at: float) -> None:
        self._settings = settings
        self.ends_at = ends_at
        self._store: Store | None = None

    def open(self) -> Store:
        """Return the store. Raises StoreError."""
        from greylag.store import open_store

        left = max(self.ends_at - monotonic() - STORE_MARGIN, LEAST_WAIT)
        timeout = min(self._settings.store_timeout, left)
        self._store = open_store(self._settings.store_url, timeout=timeout)
        return self._store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._store is not None:
            self._store.close()


def _decide(
    question: Decision | Question, settings: Settings, store: OneStore, log: Log
) -> Decision:
    from greylag.service import Service

    service = Service(
        store.open,
        report=lambda error: log.event(ERROR, reason="store-unavailable", error=str(error)),
        on_failure=settings.on_failure,
        ends_at=store.ends_at,
    )
    return service.answer(question)


def _log_decision(attempt: Attempt, decision: Decision, log: Log) -> None:
    from greylag.wire.logline import decision_line

    log.line(NAMES.index(decision.reason.logged), decision_line(attempt, decision))


def _watch(log: Log, given: Answer, left: float) -> None:
    """Give the answer of a store that fails when the budget is used up, wherever this hangs."""
    from time import sleep

    def let_in() -> None:
        sleep(left)
        if given.give(given.late):
            log.event(ERROR, reason="store-unavailable", error=f"no answer within {left:g} s")
        os._exit(0)

    try:
        # softlimit -m limits the stack too, and threads' stacks are as large as that by default:
        # none could ever be started.
        _thread.stack_size(STACK)
        _thread.start_new_thread(let_in, ())
    except RuntimeError as error:
        log.event(WARN, error=f"no watch on the time: {error}")


def _fill_standard_descriptors() -> None:
    """Open what the host left closed (stdin is): or the database would get a standard number."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(handle, True)
    os.close(handle)
