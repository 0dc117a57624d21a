"""The store fails under the daemon: answers in time, one line of cause, recovery (P1)."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.server.daemon import Connection, Daemon, serving, write_config

SOAK = os.environ.get("GREYLAG_SOAK") == "1"
KILLS = 20 if SOAK else 4
CLIENTS = 50 if SOAK else 20
DEFERRED = b"action=DEFER_IF_PERMIT"
LET_IN = b"action=DUNNO"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with serving(tmp_path) as running:
        yield running


def until_deferred(client: Connection, sender: str, seconds: float = 15) -> None:
    """Ask until the store is used again."""
    end = time.monotonic() + seconds
    while not client.ask(sender=sender).startswith(DEFERRED):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_database_that_is_deleted_is_noticed_and_made_anew(daemon: Daemon) -> None:
    with daemon.connect() as client:
        assert client.ask().startswith(DEFERRED)
        for path in daemon.folder.glob("greylag.db*"):
            path.unlink()
        assert daemon.logged("event=store-failed")
        until_deferred(client, "after@example.org")
        assert daemon.logged("event=store-recovered")
        with closing(sqlite3.connect(daemon.database)) as db:
            found = db.execute("SELECT count(*) FROM records").fetchone()
        assert found >= (1,)


def test_a_locked_database_is_waited_for_no_longer_than_the_deadline(daemon: Daemon) -> None:
    with daemon.connect() as client:
        client.ask()
        with closing(sqlite3.connect(daemon.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            began = time.monotonic()
            assert client.ask(sender="locked@example.org") == LET_IN
            assert time.monotonic() - began < 3
            began = time.monotonic()
            for number in range(50):  # the breaker is open: nobody waits any more
                assert client.ask(sender=f"l{number}@example.org") == LET_IN
            assert time.monotonic() - began < 2
        until_deferred(client, "after@example.org")
    log = daemon.log.read_text()
    assert log.count("event=store-failed") == 1
    assert "reason=store-unavailable" in log
    assert "event=store-recovered" in log


def a_folder(place: Path) -> None:
    place.mkdir()


def junk(place: Path) -> None:
    place.write_bytes(b"\xa5" * 65536)


@pytest.mark.parametrize(
    ("make", "cause"), [(a_folder, "unable to open"), (junk, "not a database")]
)
def test_a_database_that_cannot_be_opened(
    tmp_path: Path, make: Callable[[Path], None], cause: str
) -> None:
    """The daemon starts all the same, lets in, says why, and recovers without a restart."""
    database = tmp_path / "greylag.db"
    make(database)
    with serving(tmp_path) as daemon, daemon.connect() as client:
        assert client.ask() == LET_IN
        assert daemon.logged(cause)
        assert str(database) in daemon.log.read_text()
        database.rmdir() if database.is_dir() else database.unlink()
        until_deferred(client, "after@example.org")
        assert daemon.log.read_text().count("event=store-failed") == 1


def test_failing_may_mean_deferring(tmp_path: Path) -> None:
    (tmp_path / "greylag.db").mkdir()
    text = f'store.url = "sqlite://{tmp_path}/greylag.db"\nstore.on_failure = "defer"\n'
    config = write_config(tmp_path)
    config.write_text(text + config.read_text().replace("[store]\nurl", "#"))
    with serving(tmp_path, config=config) as daemon, daemon.connect() as client:
        assert client.ask().startswith(DEFERRED)
        assert daemon.logged("verdict=defer reason=store-unavailable")


class Load(threading.Thread):
    """A client that asks about new triplets, and remembers which deferrals were answered."""

    def __init__(self, daemon: Daemon, number: int) -> None:
        super().__init__()
        self._daemon = daemon
        self._number = number
        self.deferred: list[str] = []
        self.others: list[bytes] = []
        self.stop = threading.Event()

    def run(self) -> None:
        asked = 0
        while not self.stop.is_set():
            with suppress(OSError), self._daemon.connect(timeout=5) as client:
                while not self.stop.is_set():
                    asked += 1
                    sender = f"s{self._number}-{asked}@example.org"
                    network = f"10.{asked // 250 % 250}.{asked % 250}.1"  # room for all of them
                    answer = client.ask(sender=sender, client_address=network)
                    if answer.startswith(DEFERRED):
                        self.deferred.append(sender)
                    elif answer:
                        self.others.append(answer)
                    else:
                        break
            time.sleep(0.01)


def test_kill_9_under_load_loses_nothing_that_was_answered_p6(tmp_path: Path) -> None:
    """After each kill: what was answered with a deferral is there, and the file is whole."""
    answered: set[str] = set()
    for _round in range(KILLS):
        with serving(tmp_path) as daemon:
            clients = [Load(daemon, random.randrange(10**9)) for _ in range(CLIENTS)]
            for client in clients:
                client.start()
            time.sleep(random.uniform(0.3, 0.8))
            daemon.process.send_signal(signal.SIGKILL)
            daemon.process.wait()
            for client in clients:
                client.stop.set()
            for client in clients:
                client.join()
                answered.update(client.deferred)
                assert set(client.others) <= {LET_IN}
        with closing(sqlite3.connect(daemon.database)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            kept = {row[0] for row in db.execute("SELECT sender FROM records")}
        assert not answered - kept
    assert len(answered) > 100
