"""Foreign descriptors are closed in threads, a bounded number of which may hang (T38)."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from greylag.server import closing
from greylag.server.closing import _MOST_THREADS, _MOST_WAITING, Closing, unlinger


class Slow:
    """A system whose `close` hangs until it is told to go on."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.begun: list[int] = []
        self.closed: list[int] = []
        self.fails = False

    def close(self, descriptor: int) -> None:
        self.begun.append(descriptor)
        self.go_on.wait(20)
        if self.fails:
            raise OSError("a bad end")
        self.closed.append(descriptor)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    made = Slow()

    class System:
        close = made.close

    monkeypatch.setattr(closing, "os", System)
    yield made
    made.go_on.set()


def until(found: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not found():
        assert time.monotonic() < end
        time.sleep(0.002)


def is_stuck(work: Closing) -> bool:
    return work.stuck


def test_a_descriptor_is_closed_soon() -> None:
    reader, writer = os.pipe()
    work = Closing()
    work.put(writer)
    assert os.read(reader, 1) == b"", "the other end sees it"
    os.close(reader)


def test_put_waits_for_nobody_and_so_many_may_hang(slow: Slow) -> None:
    told = threading.Event()
    work = Closing(told.set)
    for descriptor in range(_MOST_THREADS + _MOST_WAITING - 1):
        work.put(descriptor)
    until(lambda: len(slow.begun) == _MOST_THREADS)
    assert slow.closed == []
    assert not is_stuck(work), "there is room for one more"
    work.put(99)
    assert is_stuck(work)
    time.sleep(0.05)
    assert len(slow.begun) == _MOST_THREADS
    assert not told.is_set()
    slow.go_on.set()
    until(lambda: len(slow.closed) == _MOST_THREADS + _MOST_WAITING)
    assert sorted(slow.closed) == [*range(_MOST_THREADS + _MOST_WAITING - 1), 99], "each once"
    until(lambda: not work.stuck and work._busy == 0)
    assert told.wait(20)
    work.put(100)
    until(lambda: 100 in slow.closed)


def test_many_at_once_are_begun_by_one_thread_and_go_on_in_others(slow: Slow) -> None:
    """A message may have 253 of them: as many threads would cost others their answers."""
    work = Closing()
    work.put(*range(100))
    until(lambda: bool(slow.begun))
    assert len(slow.begun) == 1
    for _ in range(2 * _MOST_THREADS):  # once a second
        work.step()
    until(lambda: len(slow.begun) == _MOST_THREADS)
    slow.go_on.set()
    until(lambda: sorted(slow.closed) == [*range(100)])


def test_threads_that_hang_are_not_stuck_while_nobody_waits(slow: Slow) -> None:
    work = Closing()
    for descriptor in range(_MOST_THREADS):
        work.put(descriptor)
    until(lambda: len(slow.begun) == _MOST_THREADS)
    assert not work.stuck


def test_a_close_that_fails_harms_no_other(slow: Slow) -> None:
    slow.fails = True
    slow.go_on.set()
    work = Closing()
    for descriptor in range(3 * _MOST_THREADS):
        work.put(descriptor)
        until(lambda: work._busy == 0)
    assert slow.begun == [*range(3 * _MOST_THREADS)]


@pytest.mark.parametrize("error", [RuntimeError, MemoryError])
def test_without_a_thread_the_next_one_takes_it_along(
    slow: Slow, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    slow.go_on.set()
    work = Closing()

    def fails(_thread: threading.Thread) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fails)
        for descriptor in range(2 * _MOST_THREADS):
            work.put(descriptor)
    assert slow.begun == []
    work.put(99)
    until(lambda: len(slow.closed) == 2 * _MOST_THREADS + 1)


def test_a_socket_of_somebody_else_lingers_no_more() -> None:
    one, other = socket.socketpair()
    with one, other:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 30))
        unlinger(one)
        found = one.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
        assert struct.unpack("ii", found)[0] == 0
    unlinger(one)  # closed meanwhile: no harm
