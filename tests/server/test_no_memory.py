"""A daemon without memory ends or goes on; it is never there for nothing (P1, P2)."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.daemon import BIN, Daemon, request, serving, write_config

MOST = 3000  # connections; far fewer are enough
HALF = request(sender="x" * 4000 + "@example.org")[:-1]  # of a request: it has to be kept
EACH = 64 << 20  # bytes that one more arena of malloc reserves; here each thread's stack would, too
ENDS_WITHIN = 60.0  # seconds: more than 30 for the looks and 10 for a loop of Python's own

# The daemon, where its loop itself finds no memory.
FAILING = """
import sys
from greylag.cli.main import main
from greylag.server.daemon import Daemon

async def failing(_daemon):
    raise MemoryError

Daemon.serve = failing
sys.argv = ["greylag", *sys.argv[1:]]
main()
"""

# The daemon, where one of its threads never lets another run: here in one call that has no end.
STUCK = """
import re, sys, threading
from greylag.cli.main import main
from greylag.server import watch

watch.SPINS = 1.0
threading.Timer(1, re.match, ("(a+)+$", "a" * 60 + "b")).start()
sys.argv = ["greylag", *sys.argv[1:]]
main()
"""


def fill(daemon: Daemon, clients: contextlib.ExitStack, spare: int) -> None:
    """Use up the address space that is left, and so many bytes, with half requests."""
    pages = Path(f"/proc/{daemon.process.pid}/statm").read_text().split()[0]
    room = int(pages) * os.sysconf("SC_PAGE_SIZE") + spare
    resource.prlimit(daemon.process.pid, resource.RLIMIT_AS, (room, room))
    with contextlib.suppress(OSError):  # it takes nobody in any more, or has ended
        for _ in range(MOST):
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(1)
            client.connect(str(daemon.socket))
            client.sendall(HALF)


@pytest.fixture(params=[0, 3_000_000])
def filled(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Daemon]:
    with serving(tmp_path) as daemon, contextlib.ExitStack() as clients:
        with daemon.connect() as client:
            client.ask()
        fill(daemon, clients, request.param)
        yield daemon


def answers(daemon: Daemon) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)  # of connecting, too: it would wait for ever where the queue is full
        client.connect(str(daemon.socket))
        client.sendall(request())
        return client.recv(100).startswith(b"action=")
    return False


def test_without_memory_it_answers_or_ends_so_that_another_is_started_p1(filled: Daemon) -> None:
    try:
        status = filled.process.wait(ENDS_WITHIN)
    except subprocess.TimeoutExpired:
        assert answers(filled)
    else:
        assert status != 0
        if status > 0:  # else a library of others could not bear it: it has ended all the same
            assert "event=ended error=MemoryError" in filled.log.read_text()


def test_without_memory_it_ends_at_sigterm_p1(filled: Daemon) -> None:
    filled.process.send_signal(signal.SIGTERM)
    filled.process.wait(ENDS_WITHIN)


def test_its_threads_reserve_little_of_the_address_space_p2(tmp_path: Path) -> None:
    """Else a limit that is far above what it uses would end it."""
    program = ["prlimit", f"--stack={EACH}:", str(BIN / "greylag")]
    with serving(tmp_path, program=program) as daemon:
        with daemon.connect() as client:
            client.ask()
        pages = Path(f"/proc/{daemon.process.pid}/statm").read_text().split()[0]
        assert int(pages) * os.sysconf("SC_PAGE_SIZE") < 1.6 * EACH  # some 0.7 are used


def test_a_loop_without_memory_is_an_end_that_is_told_p1(tmp_path: Path) -> None:
    """With a status of 0, whoever looks after the daemon may not start it again."""
    command = [sys.executable, "-c", FAILING, "--config", str(write_config(tmp_path)), "serve"]
    ended = subprocess.run(command, check=False, capture_output=True, timeout=60)
    assert ended.stderr.splitlines()[-1:] == [b"greylag: level=fatal event=ended error=MemoryError"]
    assert ended.returncode == os.EX_OSERR


def test_a_thread_that_lets_no_other_run_ends_the_process_p1(tmp_path: Path) -> None:
    """No thread can look after it then, as the one that runs is in the interpreter."""
    command = [sys.executable, "-c", STUCK, "--config", str(write_config(tmp_path)), "serve"]
    ended = subprocess.run(command, check=False, capture_output=True, timeout=60)
    assert ended.returncode == -signal.SIGPROF
