"""Logs and hosts that no longer read, limits on files and memory: an answer all the same (T33)."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.e2e.plugin import Value
from tests.native.building import Builder
from tests.native.conftest import SANITIZERS, Client
from tests.native.daemon import answering, hanging, running
from tests.native.greylisted import Jgreylist, write_recorder
from tests.native.test_budget import real_oneshot

DEADLINE = 8.0  # seconds: 5 for the answer, and for a busy machine
SOAK = os.environ.get("GREYLAG_SOAK") == "1"
CROWD = 2000 if SOAK else 40
ALLOWED = {"JGREYLIST": ""}
KNOWN = b"action=DUNNO\ngreylag_reason=known\n\n"
SIZE = 1 << (signal.SIGXFSZ - 1)


@pytest.fixture
def program(build: Builder, tmp_path: Path) -> Jgreylist:
    write_recorder(build.folder / "jgreylist-oneshot")
    write_recorder(tmp_path / "smtpd")
    return Jgreylist(build() / "jgreylist", tmp_path, SANITIZERS if build.sanitized else {})


@contextlib.contextmanager
def full_pipe(room: int = 0) -> Iterator[int]:
    """A pipe that nobody reads, with room for so many bytes."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    os.read(reader, room) if room else None
    try:
        yield writer
    finally:
        os.close(reader)
        os.close(writer)


def limited(limit: str) -> list[str]:
    return ["/usr/bin/prlimit", f"--{limit}", "--"] if limit else []


def start(
    command: list[str],
    environ: Mapping[bytes, bytes],
    *,
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.DEVNULL,
    limit: str = "",
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*limited(limit), *command],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
    )


def test_a_log_that_has_stopped_delays_no_answer_t33(client: Client) -> None:
    with full_pipe() as writer:
        process = start([str(client.program)], client.variables({}), stderr=writer)
        assert process.wait(DEADLINE) == 0
    assert client.oneshot_ran()


def test_a_host_that_has_stopped_reading_is_given_up_t33(client: Client) -> None:
    response = b"action=451 later\n\n"
    with full_pipe() as writer, running(client.socket, answering(response)):
        process = start([str(client.program)], client.variables({}), stdout=writer)
        assert process.wait(DEADLINE) == 0


def test_ifauthskip_and_a_host_that_has_stopped_t33(client: Client) -> None:
    with full_pipe() as writer:
        environ = client.variables({"SMTPAUTHUSER": "a"})
        process = start([str(client.program.with_name("ifauthskip"))], environ, stdout=writer)
        assert process.wait(DEADLINE) == 0


@pytest.mark.parametrize("changes", [{}, ALLOWED], ids=["one-shot", "allowed"])
def test_jgreylist_waits_for_no_log_t33(program: Jgreylist, changes: dict[str, Value]) -> None:
    with full_pipe() as writer:
        command = [str(program.program), str(program.smtpd)]
        process = start(command, program.variables(changes), stderr=writer)
        process.wait(DEADLINE)
    program.recorded_at_all()


def test_jgreylist_waits_for_no_log_when_the_daemon_is_late_t33(
    program: Jgreylist, build: Builder
) -> None:
    with full_pipe() as writer, running(program.folder / "s", hanging):
        command = [str(build(budget_ms=400) / "jgreylist"), str(program.smtpd)]
        process = start(command, program.variables({}), stderr=writer)
        process.wait(DEADLINE)
    program.recorded_at_all()


def test_a_crowd_at_the_last_free_page_of_a_pipe_t33(client: Client) -> None:
    """Each finds room when it looks; the first take it, and whoever writes after them blocks."""
    with full_pipe(room=4096) as writer:
        crowd = [
            start([str(client.program)], client.variables({"RECORD": "/dev/null"}), stderr=writer)
            for _ in range(CROWD)
        ]
        assert [process.wait(DEADLINE + CROWD / 20) for process in crowd] == [0] * CROWD


def test_a_log_at_its_limit_kills_nothing_t33(client: Client, build: Builder) -> None:
    command = [str(build(fallback=0) / "greylisting")]
    with (client.record.parent / "log").open("wb") as log:
        process = start(command, client.variables({}), stderr=log.fileno(), limit="fsize=0")
        assert process.wait(DEADLINE) == 0


def test_jgreylist_at_the_limit_of_a_log_lets_in_t33(program: Jgreylist) -> None:
    """The program behind it finds the signal as it was: not ignored."""
    script = ["/bin/sh", "-c", "grep SigIgn /proc/$$/status"]
    with (
        (program.folder / "log").open("wb") as log,
        subprocess.Popen(
            [*limited("fsize=0"), program.program, *script],
            env=program.variables(ALLOWED),
            stdout=subprocess.PIPE,
            stderr=log,
        ) as process,
    ):
        told, _none = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    assert not int(told.split()[1], 16) & SIZE


@pytest.mark.parametrize(
    ("megabytes", "told", "ran"),
    [
        (10, "softlimit -m is too low for the one-shot: letting the mail in", False),
        (50, "softlimit -m is under 60000000: the one-shot may fail", True),
        (80, None, True),
    ],
)
def test_a_low_softlimit_is_told(
    client: Client, build: Builder, megabytes: int, told: str | None, *, ran: bool
) -> None:
    if build.sanitized:
        pytest.skip("ASan takes more address space than any limit leaves")

    command = [str(client.program)]
    process = start(
        command, client.variables({}), stderr=subprocess.PIPE, limit=f"as={megabytes}000000"
    )
    _none, log = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    assert client.record.exists() == ran
    assert (b"softlimit" in log) == (told is not None)
    assert told is None or told.encode() in log


@pytest.mark.parametrize(
    ("limit", "told", "ran"),
    [
        ("data=5000000", "softlimit -d is too low for the one-shot: letting the mail in", False),
        ("data=15000000", "softlimit -d is under 20000000: the one-shot may fail", True),
        ("stack=100000", "softlimit -s is too low for the one-shot: letting the mail in", False),
        ("stack=200000", None, True),
    ],
)
def test_a_low_limit_of_one_kind_of_memory_is_told(
    client: Client, build: Builder, limit: str, told: str | None, *, ran: bool
) -> None:
    """Python would end by a signal, which the host turns into a refusal."""
    if build.sanitized:
        pytest.skip("ASan takes more memory than any limit leaves")
    command = [str(client.program)]
    process = start(command, client.variables({}), stderr=subprocess.PIPE, limit=limit)
    _none, log = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    assert client.record.exists() == ran
    assert (b"softlimit" in log) == (told is not None)
    assert told is None or told.encode() in log


# Starts the program in the background of a terminal that stops who writes to it from there.
BACKGROUND = """\
import os, subprocess, sys, termios
flags = termios.tcgetattr(0)
flags[3] |= termios.TOSTOP
termios.tcsetattr(0, termios.TCSANOW, flags)
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, process_group=0)
_pid, status = os.waitpid(process.pid, os.WUNTRACED)
process.kill()
os._exit(7 if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize("program", ["greylisting", "jgreylist", "one-shot"])
def test_a_terminal_does_not_stop_who_writes_in_the_background_t33(
    client: Client, tmp_path: Path, program: str
) -> None:
    oneshot = real_oneshot(tmp_path, "greylisting", tmp_path / "none.toml")  # it tells of that
    command = [str(oneshot if program == "one-shot" else client.program.with_name(program))]
    environ = client.variables({"JGREYLIST": ""})
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, ["python", "-c", BACKGROUND, *command, "/bin/true"], environ)
    with contextlib.suppress(OSError):  # the end of a terminal
        while os.read(terminal, 1024):
            pass
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_jgreylist_tells_a_low_softlimit_and_lets_in(program: Jgreylist, build: Builder) -> None:
    if build.sanitized:
        pytest.skip("ASan takes more address space than any limit leaves")
    run = program.run(["/usr/bin/prlimit", "--as=10000000", "--"])
    assert run.said == [b"220 from smtpd"]
    assert "softlimit -m is too low for the one-shot: letting the client in" in run.log[1]


@pytest.mark.parametrize("by_name", [False, True])
def test_a_script_without_a_first_line_is_run_by_the_shell(
    program: Jgreylist, *, by_name: bool
) -> None:
    script = program.folder / "no-first-line"
    script.write_text('printf "%s\\n" "$0" "$@"\n')
    script.chmod(0o755)
    name = script.name if by_name else str(script)
    environ = program.variables({**ALLOWED, "PATH": f"/nowhere::/usr/bin:{program.folder}"})
    command = [str(program.program), name, "a b", ""]
    done = start(command, environ, stdout=subprocess.PIPE).communicate(timeout=DEADLINE)[0]
    assert done.decode().splitlines() == [str(script), "a b", ""]


@pytest.mark.parametrize(
    ("value", "logs"),
    [("no", False), ("0x1", False), ("00", False), (" 1", True), ("1s", True), ("", True)],
)
def test_a_number_is_read_as_far_as_it_goes(program: Jgreylist, value: str, *, logs: bool) -> None:
    with running(program.folder / "s", answering(KNOWN)):
        assert bool(program.run(JGREYLIST_LOG=value).log) == logs
