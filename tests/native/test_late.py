"""A question has one budget of time from start to end; when it is used up, the mail is let in."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.plugin import Value
from tests.native.building import Builder
from tests.native.conftest import Client, events_of
from tests.native.daemon import Script, answering, deaf, hanging, read_until, running

BUDGET_MS = 300
# A header that is included before the program: its socket can hold only a few KiB unread.
SMALL_BUFFER = """\
#include <sys/socket.h>
static inline int small_socket(int domain, int type, int protocol)
{
    int made = socket(domain, type, protocol), size = 1;
    (void)setsockopt(made, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    return made;
}
#define socket small_socket
"""


def assert_let_in_late(client: Client, **changes: Value | None) -> None:
    started = time.monotonic()
    answer = client.run(**changes)
    assert time.monotonic() - started >= BUDGET_MS / 1000
    assert answer.output == b""
    assert events_of(answer.log) == [
        {
            "level": b"error",
            "reason": b"store-unavailable",
            "error": b"no answer from the daemon within %d ms" % BUDGET_MS,
        }
    ]
    assert not client.oneshot_ran(), "the time for that is over"


@pytest.fixture
def hurried(client: Client, build: Builder) -> Client:
    """A client with little time, whose requests need several sends."""
    header = build.folder / "small_buffer.h"
    header.write_text(SMALL_BUFFER)
    extra = f"-D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE -include {header}"
    return client.of(build(budget_ms=BUDGET_MS, extra=extra))


@pytest.mark.parametrize(
    "script",
    [
        hanging,
        answering(*[b"a"] * 40, pause=0.025),
        answering(*[b"%c" % byte for byte in b"action=DUNNO\n" * 5], pause=0.025),
    ],
    ids=["never", "noise-drop-by-drop", "endless-answer"],
)
def test_no_answer_in_time(hurried: Client, script: Script) -> None:
    with running(hurried.socket, script):
        assert_let_in_late(hurried)


def test_a_daemon_that_does_not_read(hurried: Client) -> None:
    with running(hurried.socket, deaf, reads=False):
        assert_let_in_late(hurried, SMTPMAILFROM=b"a" * 15_000)


def test_a_daemon_that_reads_slowly(client: Client, build: Builder) -> None:
    sender = b"a" * 15_000
    received = bytearray()

    def script(connection: socket.socket, _question: bytes) -> None:
        while not received.endswith(b"\n\n"):
            received.extend(connection.recv(1000))
            time.sleep(0.001)
        connection.sendall(b"action=451 at last\n\n")

    header = build.folder / "small_buffer.h"
    header.write_text(SMALL_BUFFER)
    patient = client.of(
        build(extra=f"-D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE -include {header}")
    )
    with running(client.socket, script, reads=False):
        assert patient.run(SMTPMAILFROM=sender).output == b"E451 at last\n"
    assert b"\nsender=" + sender + b"\n" in received


@contextlib.contextmanager
def full_backlog(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as waiting:
        listener.bind(str(path))
        listener.listen(0)
        while True:
            other = waiting.enter_context(socket.socket(socket.AF_UNIX))
            other.setblocking(False)
            try:
                other.connect(str(path))
            except BlockingIOError:
                break
        yield listener


def test_a_daemon_that_accepts_nobody(hurried: Client) -> None:
    with full_backlog(hurried.socket):
        assert_let_in_late(hurried)


def test_a_daemon_that_accepts_after_a_while(client: Client) -> None:
    command, environ = [client.program], client.variables({})
    with (
        full_backlog(client.socket) as listener,
        subprocess.Popen(
            command, env=environ, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
        ) as process,
    ):
        time.sleep(0.1)
        listener.settimeout(30)
        while True:
            with listener.accept()[0] as connection:
                connection.setblocking(True)
                if not select_readable(connection):
                    continue
                read_until(connection, b"\n\n")
                connection.sendall(b"action=451 now\n\n")
                break
        assert process.communicate(timeout=30)[0] == b"E451 now\n"
        assert process.returncode == 0


def select_readable(connection: socket.socket) -> bool:
    """Tell the client from the connections that only fill the backlog."""
    connection.settimeout(0.5)
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except TimeoutError:
        return False
    finally:
        connection.settimeout(30)
