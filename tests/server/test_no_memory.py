"""A daemon without memory ends or goes on; it is never there for nothing (P1, P2)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from greylag.server import watch
from tests.server.daemon import Daemon, request, serving

MOST = 3000  # connections; far fewer are enough
HALF = request(sender="x" * 4000 + "@example.org")[:-1]  # of a request: it has to be kept
ENDS_WITHIN = 40.0  # seconds: more than it takes to be sure, with the other tests' load


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


def test_a_process_that_was_stopped_is_not_ended_for_the_time_it_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A frozen container or a paused machine: looks are counted, not seconds."""
    ended: list[bool] = []
    monkeypatch.setattr(watch, "end_at_once", lambda: ended.append(True))
    with closing(asyncio.new_event_loop()) as loop:
        watching = watch.Watch(loop, lambda: None, ())
    watching.stopping()
    for looks in range(int(watch.ENDS_WITHIN / watch.LOOK)):
        watching._tell(looks)
    assert not ended
    watching._tell(looks + 2)
    assert ended
