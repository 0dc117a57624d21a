"""Hours of ordinary work, in small: nothing grows or fails (P16); a slow store is told (P5)."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from tests.server.daemon import Connection, Daemon, serving
from tests.server.test_failure import LET_IN

SOAK = os.environ.get("GREYLAG_SOAK") == "1"
SECONDS = 3600 if SOAK else 8
RATE = 500  # requests a second
REMINDED_EVERY = 200  # seconds; after 600 the daemon closes what is idle
IDLE = 2000 if SOAK else 100
WARMING = 4  # parts of the first quarter
RELOADS = 10
GROWTH = 1 << 20 if SOAK else 8 << 20  # bytes; in a short run the cache still fills


def work(daemon: Daemon, seconds: float, tag: str, crowd: Iterable[Connection] = ()) -> int:
    """Ask at a steady rate: new triplets, early retries and known ones; return the errors.

    As many as a machine answers that has nothing else to do; a busy one takes longer. The crowd is
    reminded meanwhile.
    """
    errors = number = 0
    began = reminded = time.monotonic()
    with daemon.connect() as client:
        while number < seconds * RATE:
            if time.monotonic() - reminded > REMINDED_EVERY:
                reminded = time.monotonic()
                remind(crowd)
            while number < min(seconds, time.monotonic() - began) * RATE:
                sender = (
                    f"{tag}{number // 3}@example.org"
                    if number % 3
                    else f"n{number % 900}@example.org"
                )
                errors += not client.ask(sender=sender).startswith(b"action=")
                number += 1
            time.sleep(0.005)
    return errors


def remind(crowd: Iterable[Connection]) -> None:
    """Ask once on each connection: those that say nothing for ten minutes are closed."""
    for connection in crowd:
        assert connection.ask().startswith(b"action=")


def test_an_hour_of_work_leaves_no_trace_p16(tmp_path: Path) -> None:
    with serving(tmp_path, 'policy.delay = "1s"') as daemon, ExitStack() as stack:
        crowd = [stack.enter_context(daemon.connect()) for _ in range(IDLE)]
        for part in range(WARMING):
            assert work(daemon, SECONDS / 4 / WARMING, f"warm{part}-", crowd) == 0
            remind(crowd)
        before, open_before = daemon.memory(), daemon.descriptors()
        for part in range(RELOADS):
            assert work(daemon, SECONDS * 3 / 4 / RELOADS, f"p{part}-", crowd) == 0
            daemon.process.send_signal(signal.SIGHUP)
            remind(crowd)
        assert daemon.logged("event=reloaded")
        print(f"{(daemon.memory() - before) / 1024:.0f} kB more, {daemon.descriptors()} open")
        assert daemon.memory() - before < GROWTH
        end = time.monotonic() + 5
        while daemon.descriptors() > open_before and time.monotonic() < end:
            time.sleep(0.02)  # our last connection may still be about to be closed
        assert daemon.descriptors() <= open_before
        assert work(daemon, 0.1, "last") == 0
    log = daemon.log.read_text()
    assert log.count("event=reloaded") == RELOADS
    failed = [line for line in log.splitlines() if "event=store-failed" in line]
    assert not (SOAK and failed)
    assert all("no answer within 4 s" in line for line in failed)  # a busy disk alone
    assert "Traceback" not in log


@contextmanager
def locked(daemon: Daemon) -> Iterator[None]:
    """Hold the database's lock."""
    with closing(sqlite3.connect(daemon.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


def test_a_slow_store_is_waited_for_and_told_p5(tmp_path: Path) -> None:
    with serving(tmp_path) as daemon, daemon.connect() as client:
        client.ask()
        for number in range(5):  # it may be maintenance that waits, and the answers behind it
            with locked(daemon):
                client.send(sender=f"slow{number}@example.org")
                time.sleep(0.4)
            assert client.response().startswith(b"action=DEFER")
            if daemon.logged("event=store-slow attempts=", 1):  # once a minute: its start may be it
                break
        else:
            raise AssertionError(daemon.log.read_text())


def test_nobody_waits_for_a_store_longer_than_the_deadline_p5(tmp_path: Path) -> None:
    with serving(tmp_path, server='deadline = "1s"') as daemon, daemon.connect() as client:
        client.ask()
        with locked(daemon):  # the answer comes before the store's
            assert client.ask(sender="slow@example.org") == LET_IN
        assert daemon.logged("no answer within 1 s")
        assert daemon.logged("event=store-recovered")
