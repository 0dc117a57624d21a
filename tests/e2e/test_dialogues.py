"""SMTP dialogues through tcpserver, the compiled plugin and the daemon, while a fault strikes (P1).

No mail is refused and none is lost: each comes in when its client tries again, as mail servers do.
At full size no answer is late, either; in `make test` the machine may be busy with anything else.
"""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from greylag.store.mysql.schema import DATA, LISTS
from tests.e2e.dialogues import (
    ONESHOTS,
    SESSIONS,
    Fault,
    Stage,
    dialogues,
    nothing_is_lost,
    stage_in,
)
from tests.e2e.test_failure import fill
from tests.native.daemon import Script, answering
from tests.native.daemon import running as scripted
from tests.servers import faults
from tests.servers.faults import Mend
from tests.servers.mariadb import PASSWORD, MariaDb, running


def killed(stage: Stage) -> Mend:
    stage.daemon.process.kill()
    stage.daemon.process.wait()
    return stage.revive


def frozen(stage: Stage) -> Mend:
    stage.daemon.process.send_signal(signal.SIGSTOP)
    return lambda: stage.daemon.process.send_signal(signal.SIGCONT)


def database_locked(stage: Stage) -> Mend:
    other = sqlite3.connect(stage.disk / "greylag.db", isolation_level=None, timeout=5)
    other.execute("BEGIN IMMEDIATE")
    return other.close


def database_refuses(stage: Stage) -> Mend:
    """What a database that may only be read says to those who write."""
    refuse = "CREATE TRIGGER refuse BEFORE INSERT ON records BEGIN SELECT RAISE(FAIL, 'no'); END"
    in_database(stage, refuse)
    return lambda: in_database(stage, "DROP TRIGGER refuse")


def in_database(stage: Stage, statement: str) -> None:
    with closing(sqlite3.connect(stage.disk / "greylag.db", timeout=5)) as db:
        db.execute(statement)


def disk_full(stage: Stage) -> Mend:
    fill(stage.disk / "ballast")
    return (stage.disk / "ballast").unlink


def socket_dropped(stage: Stage) -> Mend:
    aside = stage.daemon.socket.with_name("aside")
    stage.daemon.socket.rename(aside)

    def mend() -> None:
        aside.rename(stage.daemon.socket)

    return mend


def in_its_place(script: Script) -> Fault:
    """Have another server answer at the daemon's socket, without a moment when none does."""

    def strike(stage: Stage) -> Mend:
        place = stage.daemon.socket
        aside, its_own, over = (place.with_name(name) for name in ("aside", "its-own", "over"))
        aside.hardlink_to(place)
        other = ExitStack()
        other.enter_context(scripted(its_own, script))
        other.callback(aside.replace, place)  # before the other one goes
        over.hardlink_to(its_own)
        over.replace(place)
        return other.close

    return strike


def no_descriptors(stage: Stage) -> Mend:
    return limited(stage, resource.RLIMIT_NOFILE, 8)


def out_of_memory(stage: Stage) -> Mend:
    pages = int(Path(f"/proc/{stage.daemon.process.pid}/statm").read_text().split()[0])
    return limited(stage, resource.RLIMIT_AS, pages * os.sysconf("SC_PAGE_SIZE"))


def limited(stage: Stage, kind: int, value: int) -> Mend:
    pid = stage.daemon.process.pid
    before = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (value, before[1]))

    def mend() -> None:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, kind, before)
        stage.revive()

    return mend


def bad_reload(stage: Stage) -> Mend:
    good = stage.config.read_text()
    stage.config.write_text("[policy]\ndelay = true\n")
    stage.daemon.process.send_signal(signal.SIGHUP)
    assert stage.daemon.logged("reason=config-error")

    def mend() -> None:
        stage.config.write_text(good)

    return mend


def clock_moved(shift: str) -> Fault:
    def strike(stage: Stage) -> Mend:
        clock = stage.daemon.folder / "clock"
        clock.write_text(shift)

        def mend() -> None:
            clock.write_text("+0")

        return mend

    return strike


def clients_killed(stage: Stage) -> Mend:
    """Kill qmail-smtpd and its plugin in the middle of what they do, again and again."""
    stop = threading.Event()

    def kill() -> None:
        while not stop.wait(0.05):
            for child in children(stage.host.pid)[:1]:
                for pid in (*children(child), child):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)

    killing = threading.Thread(target=kill)
    killing.start()

    def mend() -> None:
        stop.set()
        killing.join()

    return mend


def children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


ONESHOT = "using the one-shot"
LATE = "no answer from the daemon within"
FAILED = "reason=store-unavailable"

# Each with what a log says of it, where one must.
FAULTS: dict[str, tuple[Fault, str]] = {
    "the daemon is killed": (killed, ONESHOT),
    "the daemon is frozen": (frozen, LATE),
    "the database is locked": (database_locked, FAILED),
    "the database refuses to be written": (database_refuses, FAILED),
    "the disk is full": (disk_full, FAILED),
    "the socket is gone": (socket_dropped, ONESHOT),
    "the answers are garbage": (in_its_place(answering(b"\xff\0action=\n\x1b[2J" * 100)), ONESHOT),
    "the answers are slow": (
        in_its_place(answering(*(b"%c" % byte for byte in b"action=DUNNO\n\n"), pause=0.3)),
        LATE,
    ),
    "there are no descriptors": (no_descriptors, LATE),
    "there is no memory": (out_of_memory, ""),
    "a reload is wrong": (bad_reload, "reason=config-error"),
    "the clock jumps ahead": (clock_moved("+1h"), ""),
    "the clock jumps back": (clock_moved("-1h"), ""),
    "clients are killed": (clients_killed, ""),
}


@pytest.mark.parametrize("name", FAULTS)
def test_no_mail_is_lost_or_refused_whatever_fails_p1(tmp_path: Path, name: str) -> None:
    fault, told = FAULTS[name]
    with stage_in(tmp_path) as stage:
        figures = dialogues(stage, fault, ONESHOTS if told == ONESHOT else SESSIONS)
        log = stage.log()
    print(figures.report(name))
    nothing_is_lost(figures)
    assert told in log
    assert told != LATE or ONESHOT not in log  # there was always somebody to ask
    assert "Traceback" not in log


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    with running(tmp_path_factory.mktemp("mariadb")) as one:
        yield one


@pytest.mark.parametrize("fault", faults.ALL)
def test_no_mail_is_lost_or_refused_whatever_the_server_does_p1(
    server: MariaDb, tmp_path: Path, fault: faults.Fault
) -> None:
    """A MariaDB with the old plugin's tables, which an admin's mistake or a crash takes away."""
    database = server.database(LISTS, DATA)
    with stage_in(tmp_path, database) as stage:
        figures = dialogues(stage, lambda _stage: fault(server, database), SESSIONS)
        log = stage.log()
    database.drop()
    print(figures.report(fault.__name__))
    nothing_is_lost(figures)
    assert FAILED in log
    assert "Traceback" not in log
    assert PASSWORD not in log
