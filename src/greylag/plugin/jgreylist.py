"""The `jgreylist` wrapper without a daemon: one process, one connection, one outcome.

    tcpserver ... jgreylist qmail-smtpd

Either the program named by our arguments is executed in our place, with the descriptors and the
environment that we were given, or the client is told in a conversation of our own that it is not
let in. Whatever goes wrong in greylag lets it in. See docs/start/jgreylist.md.
"""

from __future__ import annotations

import _thread
import errno
import os
import sys
from time import monotonic

from greylag.plugin.process import (
    BUDGET_VARIABLE,
    LOG_PATIENCE,
    fill_standard_descriptors,
    left_of_budget,
    service_of,
    settings_of,
    tell_internal_error,
    watch,
    write_in_time,
)
from greylag.wire.tempfail import End, read_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from greylag.core.connection import Connection
    from greylag.core.verdict import Decision

NO_PROGRAM = 111  # the exit code of tcpserver's friends for a failure that may pass
_DIRECTORY = b"JGREYLIST_DIR"
_SHOWN = 64  # bytes of an address in the log


class Log:
    """Lines on stderr as the old program writes them; never raises, never waits for long."""

    def __init__(self) -> None:
        environ = os.environb
        self._taken = True  # the last line; a log that has stopped is waited for just once
        with_pid = read_number(environ.get(b"JGREYLIST_LOG_PID"), 1) != 0
        self._prefix = f"greylist[{os.getpid()}]: " if with_pid else "jgreylist: "
        self._outcomes = read_number(environ.get(b"JGREYLIST_LOG"), 1) != 0
        raw = environ.get(b"TCPREMOTEIP", b"")[:_SHOWN]
        self._address = "".join(chr(byte) if 0x20 < byte < 0x7F else "?" for byte in raw)

    def say(self, text: str) -> None:
        """Write a line; the text is printable ASCII."""
        line = f"{self._prefix}{text}\n".encode("ascii", "backslashreplace")
        self._taken = write_in_time(2, line, LOG_PATIENCE if self._taken else 0)

    def outcome(self, text: str) -> None:
        """Write what becomes of the connection, where that is wanted."""
        if self._outcomes:
            self.say(f"{self._address}: {text}")

    def failure(self, reason: str, error: str) -> None:
        """Write what went wrong."""
        self.caution(f"{reason}: {error}")

    def caution(self, error: str) -> None:
        """Write an error alone."""
        from greylag.wire.logline import quote

        self.say(f"error={quote(error.encode('utf-8', 'backslashreplace'))}")


def main(config: bytes | None = None) -> None:
    """Decide, and act on it; does not return.

    `config` is the settings' file where the environment names none.
    """
    log = Log()
    command = [os.fsencode(word) for word in sys.argv[1:]]
    if not command:
        log.say("no command: expected jgreylist PROGRAM [ARGUMENT...]")
        os._exit(1)
    if not os.environb.get(b"TCPREMOTEIP"):
        log.say("TCPREMOTEIP is not set: expected to run under tcpserver")
        os._exit(1)
    program = Program(command, log)
    try:
        fill_standard_descriptors()
        left = left_of_budget(os.environb)
        turn = _thread.allocate_lock()
        _watch(left, log, turn, program)
        connection, decision = _decided(log, config, monotonic() + left)
        if turn.acquire(False):
            _act(connection, decision, log, program)
    except BaseException as error:  # noqa: BLE001 - no failure of ours may turn mail away
        tell_internal_error(log, error)
    program.start()


class Program:
    """The program that is executed in our place.

    Python ignores signals that a program does not expect to be ignored, and only the main thread
    may change that, which may hang when the program is due. So it is changed at the start, and
    the signals are held back until then.
    """

    def __init__(self, command: list[bytes], log: Log) -> None:
        import signal

        self._command = command
        self._log = log
        self._signals = (signal.SIGPIPE, signal.SIGXFSZ)
        self._blocked = signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
        for number in self._signals:
            signal.signal(number, signal.SIG_DFL)

    def start(self) -> NoReturn:
        """Become the program: same process, same descriptors, same environment; in any thread."""
        import signal

        _restore_environment()
        while signal.sigtimedwait(self._signals, 0) is not None:
            pass  # of a log or a store that is gone: they were never meant for the program
        signal.pthread_sigmask(signal.SIG_SETMASK, self._blocked)
        try:
            _execute(self._command)
        except OSError as error:
            signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
            self._log.failure(os.fsdecode(self._command[0]), str(error.strerror))
        os._exit(NO_PROGRAM)


def _execute(command: list[bytes]) -> None:
    """Execute a program as C's execvp does. Raises OSError.

    What is no program and has no first line that names one is a script of the shell.
    """
    try:
        os.execvp(command[0], command)  # noqa: S606 - the admin's own words
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
    ways = [b""] if b"/" in command[0] else [os.fsencode(way) for way in os.get_exec_path()]
    for way in ways:
        file = os.path.join(way, command[0])
        if os.access(file, os.X_OK):
            os.execv("/bin/sh", [b"/bin/sh", file, *command[1:]])  # noqa: S606


def _act(connection: Connection, decision: Decision, log: Log, program: Program) -> None:
    from greylag.core.verdict import Verdict
    from greylag.wire.connection import outcome_of, refusal_of

    log.outcome(outcome_of(decision))
    if decision.verdict is Verdict.PASS:
        program.start()
    try:
        end = _converse(refusal_of(decision, connection), log)
        if end is End.TOO_MANY_RCPT:
            log.outcome("HANGUP too many RCPT commands")
    except OSError:
        pass  # the client is gone
    os._exit(0)


def _converse(refusal: bytes, log: Log) -> End:
    from greylag.plugin.conversation import converse
    from greylag.wire.tempfail import read_manner, shown

    manner = read_manner(lambda name: os.environb.get(b"JGREYLIST_" + name))

    def tell(direction: str, line: bytes) -> None:
        if manner.log_smtp:
            log.say(f"{direction} {shown(line)}")

    return converse(refusal, manner, tell)


def _decided(log: Log, config: bytes | None, ends_at: float) -> tuple[Connection, Decision]:
    """Return the connection that the environment describes, and what becomes of it."""
    from greylag.app.config import CONFIG_VARIABLE
    from greylag.core.connection import precheck_connection
    from greylag.core.policy import Policy
    from greylag.core.verdict import Decision, Reason, Verdict
    from greylag.service.policies import Policies
    from greylag.wire.connection import read_environment

    connection = read_environment(os.environb)
    first = precheck_connection(connection, Policy())
    if isinstance(first, Decision):
        return connection, first  # needs neither settings nor store
    if _DIRECTORY in os.environb:
        return connection, _by_the_tree(connection, os.environb[_DIRECTORY], log)
    named = {} if config is None else {CONFIG_VARIABLE: config}
    settings = settings_of({**named, **os.environb}, log)
    if settings is None:
        return connection, Decision(Verdict.PASS, Reason.CONFIG_ERROR)
    policy = Policies(settings.policy).of_connection(connection)
    service = service_of(settings, log, ends_at)
    try:
        return connection, service.answer(precheck_connection(connection, policy))
    finally:
        service.close()


def _by_the_tree(connection: Connection, directory: bytes, log: Log) -> Decision:
    """Decide by the old program's own files, and as it did by nothing else."""
    from greylag.core.connection import held, precheck_connection
    from greylag.core.policy import Policy
    from greylag.service import Service
    from greylag.store.tree import open_tree

    path = os.fsdecode(directory)
    if not os.path.isdir(path) or not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        from greylag.wire.logline import quote

        log.say(
            f"JGREYLIST_DIR={quote(directory)}: expected a folder that we can read, write and enter"
        )
        os._exit(1)
    service = Service(
        lambda: open_tree(path, hold=connection.hold),
        report=lambda error: log.failure("store-unavailable", str(error)),
    )
    return service.answer(precheck_connection(connection, held(Policy(), connection.hold)))


def _watch(left: float, log: Log, turn: _thread.LockType, program: Program) -> None:
    def let_in(error: str) -> None:
        if turn.acquire(False):
            log.failure("store-unavailable", error)
            program.start()

    watch(left, log, let_in)


def _restore_environment() -> None:
    """Take out what the C program has put in for us, and Python (PEP 538: a locale for C's)."""
    os.environb.pop(BUDGET_VARIABLE, None)
    try:
        with open("/proc/self/environ", "rb") as file:
            given = file.read()
    except OSError:
        return
    if b"\0LC_CTYPE=" not in b"\0" + given:
        os.environb.pop(b"LC_CTYPE", None)
