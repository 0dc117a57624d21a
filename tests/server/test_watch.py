"""The thread that ends the process where its loop cannot, looked at step by step (P1)."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

import pytest

from greylag.server import watch
from greylag.server.connections import Connections
from greylag.server.watch import DOUBT_EVERY, ENDS_WITHIN, FAILS, HEARD_WITHIN, KNOCK, KNOCKS, LOOK

HIGH = 1 << 46  # bytes: a limit of the address space that no test meets


class EndError(BaseException):
    """The process would have ended; nothing may catch it."""


class Place:
    """A listener, and how many of its connections were taken in."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.taken = 0

    def take_in(self) -> int:
        """Take in all who wait; return how many there were."""
        before = self.taken
        with suppress(BlockingIOError):
            while True:
                self.listener.accept()[0].close()
                self.taken += 1
        return self.taken - before


class Site:
    """A watch with listeners, at a clock that stands where it is put."""

    def __init__(self, patch: pytest.MonkeyPatch, places: list[Place]) -> None:
        self.now = 1000.0
        self.told = 0
        self.places = places
        patch.setattr(watch, "monotonic", lambda: self.now)
        patch.setattr(watch, "end_at_once", self._end)
        self.watch = watch.Watch(
            cast("asyncio.AbstractEventLoop", self),
            lambda: None,
            [(place.listener, cast("Connections", place)) for place in places],
        )

    def _end(self) -> None:
        raise EndError

    def call_soon_threadsafe(self, _stop: Callable[[], None]) -> None:
        self.told += 1

    def look(self, seconds: float = KNOCK) -> None:
        self.watch._look_at_listeners()
        self.now += seconds


@contextmanager
def no_limit(soft: int = resource.RLIM_INFINITY) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with socket.socket(socket.AF_UNIX) as local, socket.socket(socket.AF_INET) as other, no_limit():
        local.bind(str(tmp_path / "s"))
        other.bind(("127.0.0.1", 0))
        for listener in (local, other):
            listener.listen(100)
            listener.setblocking(False)
        yield Site(monkeypatch, [Place(local), Place(other)])
        signal.setitimer(signal.ITIMER_PROF, 0)  # or the kernel ends these tests later


def test_without_a_doubt_nobody_knocks(site: Site) -> None:
    for _ in range(100):
        site.look()
    assert [place.take_in() for place in site.places] == [0, 0]


@pytest.mark.parametrize("again", [False, True])
def test_a_listener_that_takes_nobody_in_ends_the_process_p1(site: Site, again: bool) -> None:
    """Of two, one is enough; and another doubt meanwhile begins nothing anew."""
    site.watch.doubt()
    for _ in range(KNOCKS):
        site.look()
        site.places[0].take_in()
        if again:
            site.watch.doubt()
    with pytest.raises(EndError):
        site.look()
    assert site.places[1].take_in() == KNOCKS


def test_a_listener_whose_queue_is_full_is_no_reason_to_wait_p1(site: Site) -> None:
    site.places[0].listener.listen(1)
    site.watch.doubt()
    for _ in range(KNOCKS):
        site.look()
    with pytest.raises(EndError):
        site.look()


def test_the_doubt_is_over_once_somebody_was_taken_in(site: Site) -> None:
    """Whoever it was; and what was taken in before a doubt says nothing."""
    for _ in range(3):
        site.watch.doubt()
        for number in range(50):
            site.look()
            assert [place.take_in() for place in site.places] == [int(number == 0)] * 2


def test_knocks_are_a_second_apart(site: Site) -> None:
    site.watch.doubt()
    for _ in range(4 * KNOCKS):
        site.look(KNOCK / 4)
    assert [place.take_in() for place in site.places] == [KNOCKS] * 2


def test_where_the_address_space_has_a_limit_there_is_a_doubt_now_and_then(site: Site) -> None:
    knocks = 0
    with no_limit(HIGH):
        for _ in range(int(20 * DOUBT_EVERY / KNOCK)):
            site.look()
            knocks += site.places[0].take_in()
            site.places[1].take_in()
    assert knocks == 20


def test_a_limit_alone_is_no_doubt_about_a_port(site: Site) -> None:
    """A firewall may drop our own connections to it, and other clients may have no question."""
    with no_limit(HIGH):
        for _ in range(3 * KNOCKS):
            site.look()
            site.places[0].take_in()
    assert site.places[1].take_in() == 0


def test_a_knock_without_a_descriptor_counts_for_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_family: int) -> socket.socket:
        raise OSError(errno.EMFILE, "no descriptor")

    monkeypatch.setattr("greylag.server.watch.socket.socket", none_left)
    site.watch.doubt()
    for _ in range(3 * KNOCKS):
        site.look()


def test_the_thread_looks_at_the_listeners_p1(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def rest(seconds: float) -> None:
        site.now += seconds
        if site.now > 1100:
            pytest.fail("it never ended")

    monkeypatch.setattr(watch, "rest", rest)
    site.watch.doubt()
    with pytest.raises(EndError):
        site.watch.run()
    assert site.told == 0


def test_a_process_that_was_stopped_is_not_ended_for_the_time_it_lost(site: Site) -> None:
    """A frozen container or a paused machine: looks are counted, not seconds."""
    site.watch.stopping()
    for looks in range(int(ENDS_WITHIN / LOOK)):
        site.watch._tell(looks)
        site.now += 1000
    with pytest.raises(EndError):
        site.watch._tell(looks + 2)
    assert site.told == 0, "the loop knows"


def test_a_loop_that_does_not_hear_of_a_signal_is_ended_p1(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told again and again: what it was told may have been lost."""
    monkeypatch.setattr(watch, "rest", lambda _seconds: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, watch.SIGNALS)
    try:
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        with pytest.raises(EndError):
            site.watch.run()
        assert signal.sigwait(watch.SIGNALS) == signal.SIGTERM
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, watch.SIGNALS)
    assert site.told == int(HEARD_WITHIN / LOOK)


def test_a_loop_that_does_not_end_is_ended_p1(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    monkeypatch.setattr(watch, "rest", rests.append)
    site.watch.stopping()
    with pytest.raises(EndError):
        site.watch.run()
    assert ENDS_WITHIN <= sum(rests) < ENDS_WITHIN + 2 * LOOK


def test_looks_that_fail_again_and_again_end_the_process_p1(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But only where each of them does."""
    looks = 0

    def failing(_seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks % (FAILS + 1) or looks > 3 * FAILS:
            raise MemoryError

    monkeypatch.setattr(watch, "rest", failing)
    with pytest.raises(EndError):
        site.watch.run()
    assert looks == 3 * (FAILS + 1)
    assert site.told == 0, "there was no signal"


NO_POLL = """
def none(*_words):
    raise MemoryError
watch.select.poll = none
"""


@pytest.mark.parametrize("spoil", ["", NO_POLL], ids=["", "no memory to ask for room"])
@pytest.mark.parametrize("room", [True, False])
def test_the_end_waits_for_nobody_who_reads_its_last_line_p1(room: bool, spoil: str) -> None:
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)
        with suppress(BlockingIOError):
            while not room:
                os.write(writer, b"x" * 4096)
        os.set_blocking(writer, True)
        code = f"from greylag.server import watch\n{spoil}\nwatch.end_at_once()"
        command = [sys.executable, "-c", code]
        ended = subprocess.run(command, check=False, stderr=writer, timeout=30)
        assert ended.returncode == (os.EX_OSERR if room or not spoil else -signal.SIGALRM)
        os.set_blocking(reader, False)
        said = os.read(reader, 1 << 20)
        assert (said == b"greylag: level=fatal event=ended error=MemoryError\n") is room
    finally:
        os.close(reader)
        os.close(writer)
