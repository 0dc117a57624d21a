"""T39: what the daemon does again and again goes on when it has failed once, and tells of it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from types import ModuleType
from typing import cast

import pytest

from greylag.server import logfile, ticks, watch
from greylag.server.ticks import Ticks
from tests.server.clients import talking
from tests.server.daemon import Daemon, request, serving
from tests.server.test_failure import DEFERRED, LET_IN, until_deferred

SOAK = os.environ.get("GREYLAG_SOAK") == "1"
TIMES = 10 if SOAK else 1  # how often there is no memory: once a second, and tests wait for 15
# The daemon, short of patience, in which one function finds no memory so many times.
FAILING = """
import importlib, sys
from functools import partial
from greylag.app import serve
from greylag.server import handover, session
from greylag.cli.main import main

place, times = sys.argv[1], int(sys.argv[2])
module, kind, name = place.split(":")
owner = getattr(importlib.import_module("greylag." + module), kind)
real, failed = getattr(owner, name), []

def failing(*words, **named):
    if len(failed) < times:
        failed.append(1)
        raise MemoryError
    return real(*words, **named)

serve.Limits = partial(session.Limits, request=1.0)
limits = serve.DialogueLimits
serve.DialogueLimits = lambda **named: limits(**{**named, "idle": 1.0})
handover._PATIENCE = 1.0
setattr(owner, name, failing)
sys.argv = ["greylag", *sys.argv[3:]]
main()
"""


def slow_requests_are_cut_off(daemon: Daemon) -> None:
    for _ in range(2):
        with daemon.connect() as client:
            client.socket.sendall(request()[:20])
            assert client.closed()


def idle_dialogues_end(daemon: Daemon) -> None:
    for _ in range(2):
        with talking(daemon.folder) as client:
            assert client.reply().startswith(b"220")
            assert client.rest() in ([], [b"421 timeout"])


def silent_givers_are_hung_up_on(daemon: Daemon) -> None:
    for _ in range(2):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as giver:
            giver.settimeout(20)
            giver.connect(str(daemon.folder / "handover.sock"))
            assert giver.recv(10) == b""


def nobody_waits_for_a_locked_store(daemon: Daemon) -> None:
    with daemon.connect() as client:
        until_deferred(client, "before@example.org")
        with closing(sqlite3.connect(daemon.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with suppress(TimeoutError):
                sender = f"locked{time.monotonic_ns()}@example.org"  # a repeat waits for no lock
                assert client.ask(sender=sender) == LET_IN
                return
    raise AssertionError("nobody looked at the deadline")


def counts_are_written(daemon: Daemon) -> None:
    with daemon.connect() as client:
        until_deferred(client, "s@example.org")
        assert client.ask(sender="s@example.org").startswith(DEFERRED)
    until(daemon, "SELECT max(blocked) >= 2 FROM records")


def until(daemon: Daemon, question: str) -> None:
    end = time.monotonic() + 15
    while time.monotonic() < end:
        with closing(sqlite3.connect(daemon.database)) as db:
            if db.execute(question).fetchone() == (1,):
                return
        time.sleep(0.05)
    raise AssertionError(question)


@pytest.mark.parametrize(
    ("place", "check"),
    [
        ("server.session:Session:abort", slow_requests_are_cut_off),
        ("server.reception:Reception:sweep", slow_requests_are_cut_off),
        ("server.dialogues:Dialogues:sweep", idle_dialogues_end),
        ("server.dialogues:_Client:look_at_clock", idle_dialogues_end),
        ("server.handover:HandOver:sweep", silent_givers_are_hung_up_on),
        ("server.handover:_Giver:close", silent_givers_are_hung_up_on),
        ("server.worker:Worker:_tick", nobody_waits_for_a_locked_store),
        ("server.worker:Worker:_dispatch", nobody_waits_for_a_locked_store),
        ("service.breaker:Breaker:failed", nobody_waits_for_a_locked_store),
        ("server.maintenance:Maintenance:due", counts_are_written),
        ("server.maintenance:Maintenance:step", counts_are_written),
        ("server.store_thread:StoreThread:_do", counts_are_written),
        ("service.desk:Desk:take_later", counts_are_written),
    ],
)
def test_whatever_failed_once_goes_on_t39(
    tmp_path: Path, place: str, check: Callable[[Daemon], None]
) -> None:
    program = [sys.executable, "-c", FAILING, place, str(TIMES)]
    with serving(tmp_path, server='deadline = "1s"', program=program) as daemon:
        for _ in range(TIMES if SOAK else 1):
            check(daemon)
        assert daemon.logged("MemoryError")
        assert daemon.process.poll() is None


def test_a_tick_may_be_over_before_the_thread_goes_on() -> None:
    """The loop can be faster than the thread that has just told it: that is no missed tick."""
    calls: list[int] = []

    class Fast:
        def call_soon_threadsafe(self, tick: Callable[[], None]) -> None:
            tick()

    ticks = Ticks(cast("asyncio.AbstractEventLoop", Fast()), 1, lambda: calls.append(1))
    for number in range(1, 50):
        ticks._ask()
        assert len(calls) == number


class Loop:
    """A loop that runs nothing until the test has it run."""

    def __init__(self) -> None:
        self.told: list[Callable[[], None]] = []
        self.failures: list[object] = []
        self.closed = False

    def call_soon_threadsafe(self, tick: Callable[[], None]) -> None:
        if self.closed:
            raise RuntimeError("closed")
        self.told.append(tick)

    def call_exception_handler(self, context: object) -> None:
        self.failures.append(context)

    def run(self) -> None:
        told, self.told = self.told, []
        for tick in told:
            tick()


def ticks_of(loop: Loop, *works: Callable[[], None], seconds: float = 0.001) -> Ticks:
    return Ticks(cast("asyncio.AbstractEventLoop", loop), seconds, *works)


def test_a_busy_loop_is_not_told_again_and_again() -> None:
    """But once more after a while: what it was told may have been lost."""
    loop = Loop()
    ticks = ticks_of(loop)
    for _ in range(100):
        ticks._ask()
    assert len(loop.told) == 1
    for _ in range(2):
        ticks._ask()
    assert len(loop.told) == 2
    for _ in range(100):
        ticks._ask()
    assert len(loop.told) == 2
    loop.run()
    ticks._ask()
    assert len(loop.told) == 1


def test_one_work_that_fails_keeps_no_other_from_its_turn() -> None:
    calls: list[str] = []
    error = ValueError("odd")

    def fails() -> None:
        raise error

    loop = Loop()
    ticks = ticks_of(loop, lambda: calls.append("a"), fails, lambda: calls.append("b"))
    ticks._ask()
    loop.run()
    assert calls == ["a", "b"]
    assert loop.failures == [{"message": "in a tick", "exception": error}]


def test_after_the_end_nothing_is_called_and_the_thread_is_gone() -> None:
    calls: list[int] = []
    loop = Loop()
    ticks = ticks_of(loop, lambda: calls.append(1))
    ticks.start()
    assert ticks.daemon
    ticks._ask()
    ticks.end()
    ticks.join(10)
    assert not ticks.is_alive()
    loop.run()
    assert calls == []


def test_with_its_loop_the_thread_ends() -> None:
    loop = Loop()
    loop.closed = True
    ticks = ticks_of(loop, seconds=30)
    ticks.start()
    ticks.join(10)
    assert not ticks.is_alive()


def test_ticks_come_as_often_as_was_said() -> None:
    loop = Loop()
    ticks = ticks_of(loop, seconds=0.05)
    began = time.monotonic()
    ticks.start()
    for _ in range(5):
        while not loop.told:
            time.sleep(0.001)
        loop.run()
    assert time.monotonic() - began >= 4 * 0.05
    ticks.end()


def test_no_memory_for_a_tick_costs_that_tick_alone_t39() -> None:
    """Where the loop cannot even be told, and where the work itself fails."""

    async def count() -> tuple[int, int]:
        loop = asyncio.get_running_loop()
        told, failures, done = [], 3, asyncio.Event()
        loop.set_exception_handler(lambda _loop, context: told.append(context))
        real = loop.call_soon_threadsafe

        def refusing(*words: object) -> object:
            nonlocal failures
            if failures:
                failures -= 1
                raise MemoryError
            return real(*words)  # type: ignore[arg-type]

        calls = []

        def work() -> None:
            calls.append(1)
            if len(calls) < 5:
                raise MemoryError
            done.set()

        loop.call_soon_threadsafe = refusing  # type: ignore[assignment,method-assign]
        ticks = Ticks(loop, 0.01, work)
        ticks.start()
        await asyncio.wait_for(done.wait(), 10)
        ticks.end()
        return len(told), failures

    assert asyncio.run(count()) == (4, 0)


class Leaving(watch.Watch):
    """A daemon's lives until the process ends; one that stays here would disturb other tests."""

    def run(self) -> None:
        with suppress(SystemExit):
            super().run()
        signal.setitimer(signal.ITIMER_PROF, 0)


def leave(_seconds: float) -> None:
    raise SystemExit


@pytest.mark.parametrize("module", [ticks, watch, logfile], ids=lambda m: m.__name__)
def test_no_memory_to_rest_ends_no_thread_t39(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Any call can fail so; a thread that is gone is missed for as long as the daemon runs."""
    left = [MemoryError] * 3

    def failing(seconds: float) -> None:
        if left:
            raise left.pop()
        time.sleep(min(seconds, 0.01))

    monkeypatch.setattr(module, "rest", failing)
    with closing(asyncio.new_event_loop()) as loop:
        threads: dict[ModuleType, Callable[[], ticks.Ticks | watch.Watch | logfile.LogWriter]] = {
            ticks: lambda: ticks_of(Loop()),
            watch: lambda: Leaving(loop, lambda: None, ()),
            logfile: lambda: logfile.LogWriter(str(tmp_path / "log")),
        }
        thread = threads[module]()
        thread.start()
        end = time.monotonic() + 10
        while left and thread.is_alive() and time.monotonic() < end:
            if isinstance(thread, logfile.LogWriter):
                thread.add("event=x")
            time.sleep(0.01)
        assert not left
        assert thread.is_alive()
        if isinstance(thread, watch.Watch):
            monkeypatch.setattr(module, "rest", leave)
        else:
            thread.end(5) if isinstance(thread, logfile.LogWriter) else thread.end()
        thread.join(10)
        assert not thread.is_alive()
