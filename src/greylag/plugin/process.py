"""What the plugins do as processes: an answer in time, a log that delays nobody, one store.

A mail server starts one of them for each recipient or connection, and waits for it. A C program
that executes one of them says how much of the time is left.
"""

from __future__ import annotations

import _thread
import os
from time import monotonic, sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Protocol

    from greylag.app.config import Settings
    from greylag.service import Service

    class Log(Protocol):
        """The log of a plugin; what it says never raises, and waits for `LOG_PATIENCE` at most."""

        def failure(self, reason: str, error: str) -> None:
            """Say what went wrong; the mail is answered all the same."""

        def caution(self, error: str) -> None:
            """Say what changes no answer."""


BUDGET = 5.0  # seconds from start to answer; qmail-smtpd itself would wait for ever
BUDGET_VARIABLE = b"GREYLAG_BUDGET_MS"  # set by the C programs alone: what they have left of it
STORE_MARGIN = 0.5  # seconds of it that are not the store's: the answer is still to be written
LEAST_WAIT = 0.05  # seconds that a store may wait however little is left
LOG_PATIENCE = 200  # milliseconds for a line that the log does not take
GRACE = 100  # milliseconds more, for a write that was begun
NO_MEMORY = (
    b'greylag: level=fatal reason=internal-error error="MemoryError: is softlimit -m low?"\n'
)
STACK = 256 * 1024  # bytes for a thread: softlimit -m limits stacks too, and Python's are as large


def left_of_budget(environ: Mapping[bytes, bytes]) -> float:
    """Return the seconds that are left of `BUDGET`: no variable gives more than that."""
    told = environ.get(BUDGET_VARIABLE, b"")
    if not told.isdigit() or len(told) > len("5000"):
        return BUDGET
    return min(int(told) / 1000, BUDGET)


def watch(left: float, log: Log, late: Callable[[str], None]) -> None:
    """Call `late` with a text for the log when the budget is used up, wherever this hangs."""

    def wait() -> None:
        sleep(left)
        late(f"no answer within {left:g} s")

    try:
        _thread.stack_size(STACK)
        _thread.start_new_thread(wait, ())
    except RuntimeError as error:  # no memory for a thread
        log.caution(f"cannot limit the time of this answer: {error}")


def tell_internal_error(log: Log, error: BaseException) -> None:
    """Say what no code of ours has caught."""
    try:
        log.failure("internal-error", f"{type(error).__name__}: {error}")
    except MemoryError:  # as under a low softlimit: this takes none
        write_all(2, NO_MEMORY)


def fill_standard_descriptors() -> None:
    """Open what the host left closed (stdin is): or the database would get a standard number.

    A program that is executed in our place does not inherit what is opened here.
    """
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(handle)


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


def settings_of(environ: Mapping[bytes, bytes], log: Log) -> Settings | None:
    """Return the settings; None where they have errors, all of which are told."""
    from greylag.app.config import ConfigError, load

    try:
        return load(environ)
    except ConfigError as error:
        for line in error.errors:
            log.failure("config-error", line)
        return None


def service_of(settings: Settings, log: Log, ends_at: float) -> Service:
    """Return what decides, with the store of these settings: it is opened when it is needed.

    It is to be closed after the answer is out. Closing matters: the last process to let go of a
    SQLite file folds its log into it, and without that the log would grow for ever.
    """
    from functools import partial

    from greylag.app.dns import gather_of
    from greylag.service import Service
    from greylag.store import open_store

    left = max(ends_at - monotonic() - STORE_MARGIN, LEAST_WAIT)
    timeout = min(settings.store_timeout, left)
    return Service(
        partial(open_store, settings.store_url, timeout=timeout),
        report=lambda error: log.failure("store-unavailable", str(error)),
        on_failure=settings.on_failure,
        gather=gather_of(settings.dns, log.caution),
        ends_at=ends_at,
        history=settings.room.history.seconds > 0,
    )
