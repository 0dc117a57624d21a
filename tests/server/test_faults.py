"""Faults under the daemon, one after the other: nothing is lost, nothing is refused (P1, P7)."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from greylag.core.accessindex import AccessIndex
from greylag.core.attempt import Attempt
from greylag.core.engine import precheck
from greylag.core.policy import Policy, Room
from greylag.core.question import Question
from greylag.server.journal import Journal
from greylag.server.worker import Worker
from greylag.service.batch import Answered
from greylag.service.desk import Desk
from greylag.store.base import StoreError, StoreUnavailable
from greylag.store.memory import MemoryStore
from tests.e2e.test_failure import fill, small_disk
from tests.server.daemon import Daemon, serving, write_config
from tests.server.test_failure import DEFERRED, LET_IN, until_deferred


def test_a_disk_that_fills_up_lets_in_and_is_recovered_from_without_a_restart(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        config = write_config(tmp_path)
        text = config.read_text().replace(f"{tmp_path}/greylag.db", f"{disk}/greylag.db")
        config.write_text(text)
        with serving(tmp_path, config=config) as daemon, daemon.connect() as client:
            assert client.ask().startswith(DEFERRED)
            fill(disk / "ballast")
            answers = [client.ask(sender=f"f{number}@example.org") for number in range(100)]
            assert answers[-1] == LET_IN
            deferred = answers.count(next((a for a in answers if a != LET_IN), b""))
            assert daemon.logged("reason=store-unavailable")
            assert daemon.logged("event=store-failed")
            time.sleep(2.5)  # it looks at the lists, which are read all the same
            assert "event=store-recovered" not in daemon.log.read_text()
            (disk / "ballast").unlink()
            until_deferred(client, "after@example.org")
            assert daemon.logged("event=store-recovered")
            with closing(sqlite3.connect(disk / "greylag.db")) as db:
                kept = db.execute("SELECT count(*) FROM records").fetchone()[0]
        assert kept >= 1 + deferred  # what was deferred was stored


def test_a_store_that_can_be_read_alone_has_not_recovered(tmp_path: Path) -> None:
    """Another holds its lock: the lists are looked at meanwhile, and a try a second is allowed."""
    with serving(tmp_path, server='deadline = "1s"') as daemon, daemon.connect() as client:
        assert client.ask().startswith(DEFERRED)
        with closing(sqlite3.connect(daemon.database, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            assert client.ask(sender="locked@example.org") == LET_IN
            time.sleep(6.5)  # the try itself ends after 4
            log = daemon.log.read_text()
        assert log.count("event=store-failed") == 1
        assert "event=store-recovered" not in log
        until_deferred(client, "after@example.org")
        assert daemon.logged("event=store-recovered")


def locked(daemon: Daemon) -> None:
    with closing(sqlite3.connect(daemon.database, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        time.sleep(1.5)


def frozen(daemon: Daemon) -> None:
    daemon.process.send_signal(signal.SIGSTOP)
    time.sleep(0.3)
    daemon.process.send_signal(signal.SIGCONT)


def a_bad_reload(daemon: Daemon) -> None:
    config = daemon.folder / "greylag.toml"
    good = config.read_text()
    config.write_text("[policy]\ndelay = true\n")
    daemon.process.send_signal(signal.SIGHUP)
    assert daemon.logged("reason=config-error")
    config.write_text(good)


def no_descriptors(daemon: Daemon) -> None:
    """EMFILE: whoever is connected is answered all the same."""
    before = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (8, before[1]))
    time.sleep(0.3)
    resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, before)


def dropped_connections(daemon: Daemon) -> None:
    for _ in range(20):
        with daemon.connect() as other:
            other.socket.sendall(b"request=smtpd_access_policy\nsender=")


@pytest.mark.parametrize(
    "fault", [locked, frozen, a_bad_reload, no_descriptors, dropped_connections]
)
def test_a_fault_costs_nobody_his_mail_p1(tmp_path: Path, fault: Callable[[Daemon], None]) -> None:
    """Never a refusal, always an answer; and what was deferred passes in the end."""
    with serving(tmp_path, 'policy.delay = "1s"') as daemon, daemon.connect() as client:
        before = client.ask(sender="before@example.org")
        fault(daemon)
        during = client.ask(sender="during@example.org")
        time.sleep(2.1)
        for sender, answer in (("before", before), ("during", during)):
            assert answer == LET_IN or answer.startswith(DEFERRED)
            assert client.ask(sender=f"{sender}@example.org") == LET_IN
        until_deferred(client, "after@example.org")


class Faulty(MemoryStore):
    """A store whose calls fail from the n-th on, as often as is wanted."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.fails_at: range = range(0)
        self.error: Callable[[], Exception] = RuntimeError

    def _called(self) -> None:
        self.calls += 1
        if self.calls in self.fails_at:
            raise self.error()

    def load(self, *arguments: Any) -> Any:
        self._called()
        return super().load(*arguments)

    def apply(self, *arguments: Any) -> None:
        self._called()
        super().apply(*arguments)

    def generation(self) -> int:
        self._called()
        return super().generation()

    def entries_after(self, *arguments: Any) -> Any:
        self._called()
        return super().entries_after(*arguments)

    def close(self) -> None:
        """A memory that is opened again is the same one."""


class Quiet:
    """Nobody listens."""

    def __init__(self) -> None:
        self.failures = 0
        self.attempts = 0

    def store_failed(self, error: str) -> None:
        self.failures += 1

    def store_cause(self, error: str) -> None: ...
    def store_refused(self, error: str) -> None: ...
    def store_recovered(self) -> None: ...
    def store_slow(self, seconds: float, attempts: int) -> None: ...
    def no_figures(self, cause: str) -> None: ...
    def store_warns(self, warning: str) -> None: ...
    def list_rows_ignored(self, rows: int) -> None: ...
    def maintenance_failed(self, error: str) -> None: ...
    def history_failed(self, error: str) -> None: ...
    def clock_jumped(self, seconds: int, pause: int) -> None: ...

    def batch_done(self, seconds: float, attempts: int) -> None:
        self.attempts += attempts


ERRORS: dict[str, Callable[[], Exception]] = {
    "EIO": lambda: StoreError("disk I/O error"),
    "ENOSPC": lambda: StoreUnavailable("database or disk is full"),
    "locked": lambda: StoreUnavailable("database is locked"),
    "time-out": lambda: TimeoutError("timed out"),
    "no memory": MemoryError,
    "gone away": lambda: ConnectionResetError("gone"),
}

ASKED = 45  # attempts: three calls each, and those that look at the lists


async def asked(worker: Worker, desk: Desk, number: int) -> Answered | None:
    answer: asyncio.Future[Answered | None] = asyncio.get_running_loop().create_future()
    attempt = Attempt(b"192.0.2.17", b"s%d@example.org" % number, b"b@example.net")
    question = precheck(attempt, Policy())
    assert isinstance(question, Question)
    found = desk.look_up(question)
    assert isinstance(found, Question)
    worker.ask(found, answer.set_result)
    return await asyncio.wait_for(answer, 10)


async def _walk(store: Faulty) -> tuple[int, int]:
    """Ask again and again; return how many were answered from the store, and what it holds."""
    desk = Desk()
    desk.use_lists(AccessIndex([]))
    events = Quiet()
    worker = Worker(desk, lambda: store, events, deadline=5.0, room=Room())
    worker.start()
    answers = []
    for number in range(ASKED):
        answers.append(await asked(worker, desk, number))
        if worker.store_is_down:
            worker._breaker._next_try = 0.0  # no second of patience between the faults
    await worker.stop(5)
    return sum(answer is not None for answer in answers), store.count(int(time.time()))[0]


@pytest.mark.parametrize("error", ERRORS, ids=str)
def test_every_call_that_fails_leaves_before_or_after_p7(error: str) -> None:
    """The n-th call fails, for all n: an answer always, and a record for each deferral given."""
    for number in range(1, 200):
        store = Faulty()
        store.fails_at, store.error = range(number, number + 1), ERRORS[error]
        answered, kept = asyncio.run(_walk(store))
        assert answered == kept
        if store.calls < number:
            break  # no call is left that could fail
        assert answered >= ASKED - 1 or number <= 2
    assert number > 84  # with six errors more than 500 faults


class Forgetful(Desk):
    """A desk that has no memory left."""

    def learn(self, asked: Question, answered: Answered) -> None:
        raise MemoryError


def test_whoever_waits_is_answered_where_memory_ends_p1(tmp_path: Path) -> None:
    """And the log tells it in one line, with the place."""
    log = tmp_path / "log"

    async def ask() -> list[Answered | None]:
        journal = Journal(str(log))
        asyncio.get_running_loop().set_exception_handler(journal.internal_error)
        desk = Forgetful()
        desk.use_lists(AccessIndex([]))
        worker = Worker(desk, MemoryStore, Quiet(), deadline=5.0, room=Room())
        worker.start()
        found = [await asyncio.gather(*(asked(worker, desk, n) for n in range(5)))]
        found.append([await asked(worker, desk, 5)])
        await worker.stop(5)
        journal.close()
        return [answer for some in found for answer in some]

    answers = asyncio.run(ask())
    assert [answer is not None for answer in answers] == [True, *[False] * 4, True]
    lines = log.read_text().splitlines()
    told = r"greylag: level=error event=internal-error error=MemoryError where=test_faults.py:\d+"
    assert all(re.fullmatch(told, line) for line in lines), lines
    assert len(lines) == 1  # the second is the same, within a minute


class Bare(MemoryStore):
    """A store whose maintenance finds no memory."""

    def expire(self, *_arguments: Any) -> Any:
        raise MemoryError


class Deaf(Worker):
    """A worker that there is no memory to tell of a batch, at first."""

    refused = 0

    def _landed(self, batch: Any) -> None:
        if self.refused < 3:
            self.refused += 1
            if self.refused > 1:
                super()._landed(batch)  # it was told, and will be again
            raise MemoryError
        super()._landed(batch)


def test_the_thread_outlives_the_want_of_memory_p1() -> None:
    """Were it to end, no answer would come from the store until the daemon is started again."""

    async def ask() -> list[Answered | None]:
        desk = Desk()
        desk.use_lists(AccessIndex([]))
        events = Quiet()
        worker = Deaf(desk, Bare, events, deadline=5.0, room=Room())
        worker.start()
        found = [await asked(worker, desk, number) for number in range(3)]
        await worker.stop(5)
        assert worker.refused == 3
        assert events.attempts == 3  # told again, it counts once
        return found

    assert None not in asyncio.run(ask())


def test_a_session_whose_maintenance_failed_is_not_used_again_p1() -> None:
    """It may have gone, or stand in the middle of an answer: who asks next would pay for it."""
    opened: list[MemoryStore] = []

    def another() -> MemoryStore:
        opened.append(Bare())
        return opened[-1]

    async def ask() -> list[Answered | None]:
        desk = Desk()
        desk.use_lists(AccessIndex([]))
        worker = Worker(desk, another, Quiet(), deadline=5.0, room=Room())
        worker.start()
        found = [await asked(worker, desk, number) for number in range(5)]
        await worker.stop(5)
        return found

    assert None not in asyncio.run(ask())
    assert len(opened) == 2  # for a second nothing but attempts is done


def test_a_batch_that_ends_after_the_loop_hurts_nobody(
    capfd: pytest.CaptureFixture[str],
) -> None:
    opened = threading.Event()

    def slowly() -> MemoryStore:
        opened.wait(5)
        return MemoryStore()

    async def leave() -> Worker:
        worker = Worker(Desk(), slowly, Quiet(), deadline=5.0, room=Room())
        worker.start()
        await asyncio.sleep(0.2)  # the look at the lists is under way
        return worker

    worker = asyncio.run(leave())
    opened.set()
    worker._thread.stop()
    worker._thread.join(5)
    assert not worker._thread.is_alive()
    assert capfd.readouterr().err == ""


NO_MEMORY = """
import sys
from greylag.server.daemon import Daemon
from greylag.app.serve import serve

async def end(self):
    raise MemoryError

Daemon.serve = end
serve({b"GREYLAG_CONFIG": sys.argv[1].encode()}, "/nonexistent")
"""


def test_a_loop_without_memory_ends_in_one_line(tmp_path: Path) -> None:
    words = [sys.executable, "-c", NO_MEMORY, str(write_config(tmp_path))]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == os.EX_OSERR
    assert done.stderr == "greylag: level=fatal event=ended error=MemoryError\n"


@contextmanager
def as_user(name: str) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Run Python as another user of this machine."""
    user = pwd.getpwnam(name)

    def run(code: str, *words: str, group: int | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/usr/bin/python3", "-I", "-c", code, *words],
            user=user.pw_uid,
            group=user.pw_gid if group is None else group,
            extra_groups=[],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    yield run


CONNECT = "import socket, sys\nsocket.socket(socket.AF_UNIX).connect(sys.argv[1])"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")
def test_nobody_may_not_ask_t18(tmp_path: Path) -> None:
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == 0 and str(parent) not in ("/", "/tmp"):
            parent.chmod(0o755)
    group = pwd.getpwnam("daemon").pw_gid
    with serving(tmp_path, server='socket_group = "daemon"') as daemon, as_user("nobody") as run:
        assert "PermissionError" in run(CONNECT, str(daemon.socket)).stderr
        assert run(CONNECT, str(daemon.socket), group=group).returncode == 0
