"""SMTP dialogues through tcpserver, the compiled plugin and the daemon, while a fault strikes (P1).

No mail is refused and none is lost: each comes in when its client tries again, as mail servers do.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.e2e.plugin import BIN, faketime_library, needed
from tests.e2e.test_failure import fill, small_disk
from tests.host.server import Client, ConnectionLost, Host, make_home, running
from tests.native.building import Builder
from tests.native.daemon import Script, answering
from tests.native.daemon import running as scripted
from tests.server.daemon import Daemon, serving, write_config

SOAK = os.environ.get("GREYLAG_SOAK") == "1"
DIALOGUES = 10_000 if SOAK else 24
SESSIONS = 100 if SOAK else 8
PATIENCE = 60.0  # seconds that a client goes on trying after the fault
BUDGET_MS = 1000
DEADLINE = 1.05  # seconds: what an answer should take at most


@dataclass
class Stage:
    """What a fault may strike."""

    daemon: Daemon
    host: Host
    disk: Path
    mending: ExitStack

    def revive(self) -> None:
        """Start the daemon again, where it has ended; as a supervisor does."""
        if self.daemon.process.poll() is not None:
            self.mending.enter_context(serving(self.daemon.folder, config=self.config))

    @property
    def config(self) -> Path:
        return self.daemon.folder / "greylag.toml"


Fault = Callable[[Stage], Callable[[], None]]  # strikes, and returns what mends it


def killed(stage: Stage) -> Callable[[], None]:
    stage.daemon.process.kill()
    stage.daemon.process.wait()
    return stage.revive


def frozen(stage: Stage) -> Callable[[], None]:
    stage.daemon.process.send_signal(signal.SIGSTOP)
    return lambda: stage.daemon.process.send_signal(signal.SIGCONT)


def database_locked(stage: Stage) -> Callable[[], None]:
    other = sqlite3.connect(stage.disk / "greylag.db", isolation_level=None, timeout=5)
    other.execute("BEGIN IMMEDIATE")
    return other.close


def database_refuses(stage: Stage) -> Callable[[], None]:
    """What a database that may only be read says to those who write."""
    refuse = "CREATE TRIGGER refuse BEFORE INSERT ON records BEGIN SELECT RAISE(FAIL, 'no'); END"
    in_database(stage, refuse)
    return lambda: in_database(stage, "DROP TRIGGER refuse")


def in_database(stage: Stage, statement: str) -> None:
    with closing(sqlite3.connect(stage.disk / "greylag.db", timeout=5)) as db:
        db.execute(statement)


def disk_full(stage: Stage) -> Callable[[], None]:
    fill(stage.disk / "ballast")
    return (stage.disk / "ballast").unlink


def socket_dropped(stage: Stage) -> Callable[[], None]:
    aside = stage.daemon.socket.with_name("aside")
    stage.daemon.socket.rename(aside)

    def mend() -> None:
        aside.rename(stage.daemon.socket)

    return mend


def in_its_place(script: Script) -> Fault:
    """Have another server answer at the daemon's socket."""

    def strike(stage: Stage) -> Callable[[], None]:
        mend = socket_dropped(stage)
        other = ExitStack()
        other.enter_context(scripted(stage.daemon.socket, script))
        other.callback(mend)
        return other.close

    return strike


def no_descriptors(stage: Stage) -> Callable[[], None]:
    return limited(stage, resource.RLIMIT_NOFILE, 8)


def out_of_memory(stage: Stage) -> Callable[[], None]:
    pages = int(Path(f"/proc/{stage.daemon.process.pid}/statm").read_text().split()[0])
    return limited(stage, resource.RLIMIT_AS, pages * os.sysconf("SC_PAGE_SIZE"))


def limited(stage: Stage, kind: int, value: int) -> Callable[[], None]:
    pid = stage.daemon.process.pid
    before = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (value, before[1]))

    def mend() -> None:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, kind, before)
        stage.revive()

    return mend


def bad_reload(stage: Stage) -> Callable[[], None]:
    good = stage.config.read_text()
    stage.config.write_text("[policy]\ndelay = true\n")
    stage.daemon.process.send_signal(signal.SIGHUP)
    assert stage.daemon.logged("reason=config-error")

    def mend() -> None:
        stage.config.write_text(good)

    return mend


def clock_moved(shift: str) -> Fault:
    def strike(stage: Stage) -> Callable[[], None]:
        clock = stage.daemon.folder / "clock"
        clock.write_text(shift)

        def mend() -> None:
            clock.write_text("+0")

        return mend

    return strike


def clients_killed(stage: Stage) -> Callable[[], None]:
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


@dataclass
class Figures:
    """What came of the dialogues."""

    delivered: set[str] = field(default_factory=set)
    refused: list[bytes] = field(default_factory=list)
    times: list[float] = field(default_factory=list)


class Sender:
    """A mail server with mail to send: it tries again, until it is told that it need not."""

    def __init__(self, host: Host, figures: Figures) -> None:
        self._host = host
        self._figures = figures
        self._client: Client | None = None

    def sent(self, name: str) -> bool:
        """Try to send one mail; tell whether it was taken."""
        try:
            return self._dialogue(self._connected(), name)
        except (ConnectionLost, OSError):
            self.close()
            return False

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None

    def _connected(self) -> Client:
        if self._client is None:
            self._client = self._host.connect()
            self._client.ehlo()
        return self._client

    def _dialogue(self, client: Client, name: str) -> bool:
        assert client.rset()[0] == 250
        assert client.mail(f"{name}@example.org")[0] == 250
        began = time.monotonic()
        code, text = client.rcpt("b@example.net")
        self._figures.times.append(time.monotonic() - began)
        if code == 250:
            code, text = client.data(f"Subject: {name}\n\nhello\n")
        if code == 250:
            self._figures.delivered.add(name)
        elif code >= 500:
            self._figures.refused.append(text)
        return code == 250


@contextmanager
def stage_in(folder: Path) -> Iterator[Stage]:
    """The daemon, its database on a disk of its own, and qmail-smtpd with the compiled plugin."""
    needed("tcpserver", "ucspi-tcp")
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(folder / "disk", "64m" if SOAK else "2m"))
        config = write_config(folder, 'policy.delay = "1s"')
        text = config.read_text().replace(f"{folder}/greylag.db", f"{disk}/greylag.db")
        config.write_text(text)
        (folder / "clock").write_text("+0")
        clock = {
            "LD_PRELOAD": faketime_library(),
            "FAKETIME_TIMESTAMP_FILE": str(folder / "clock"),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        daemon = stack.enter_context(serving(folder, config=config, env=clock))
        build = Builder(folder, sanitized=False)
        oneshot = folder / "oneshot"
        oneshot.write_text(f"#!/bin/sh\nGREYLAG_CONFIG={config} exec {BIN}/greylisting\n")
        oneshot.chmod(0o755)
        programs = build(budget_ms=BUDGET_MS, oneshot=oneshot)
        (folder / "plugins").mkdir()
        shutil.copy(programs / "greylisting", folder / "plugins")
        home = make_home(folder, ["plugins/greylisting"])
        env = {"GREYLISTING": "", "GREYLAG_SOCKET": str(daemon.socket)}
        host = stack.enter_context(
            running(home, env=env, concurrency=2 * SESSIONS, log=folder / "log")
        )
        yield Stage(daemon, host, disk, stack)


def share(names: list[str], work: Callable[[list[str]], None]) -> list[threading.Thread]:
    """Divide the work among as many threads as there are sessions."""
    parts = [names[n::SESSIONS] for n in range(SESSIONS)]
    threads = [threading.Thread(target=work, args=(part,)) for part in parts if part]
    for thread in threads:
        thread.start()
    return threads


@pytest.mark.parametrize("name", FAULTS)
def test_no_mail_is_lost_or_refused_whatever_fails_p1(tmp_path: Path, name: str) -> None:
    names = [f"m{number}" for number in range(DIALOGUES)]
    figures = Figures()
    with stage_in(tmp_path) as stage:

        def once(part: list[str]) -> None:
            with closing(Sender(stage.host, figures)) as sender:
                for mail in part:
                    sender.sent(mail)

        def until_sent(part: list[str]) -> None:
            end = time.monotonic() + PATIENCE
            with closing(Sender(stage.host, figures)) as sender:
                while part and time.monotonic() < end:
                    part = [mail for mail in part if not sender.sent(mail)]
                    time.sleep(0.5)

        threads = share(names, once)
        while len(figures.times) < len(names) // 4 and any(one.is_alive() for one in threads):
            time.sleep(0.01)
        strike, told = FAULTS[name]
        mend = strike(stage)
        for thread in threads:
            thread.join()
        mend()
        longest, late = max(figures.times), sum(took > DEADLINE for took in figures.times)
        for thread in share([mail for mail in names if mail not in figures.delivered], until_sent):
            thread.join()
        arrived = {
            message.partition(b"Subject: ")[2].split(b"\n")[0] for message in stage.host.messages()
        }
        log = stage.daemon.log.read_text() + stage.host.log.read_text()
    tried = f"{len(names)} mails, {len(figures.times)} attempts"
    print(f"{name}: {tried}, the longest took {longest:.2f} s, {late} over {DEADLINE} s")
    assert figures.refused == []
    assert arrived == {mail.encode() for mail in names}
    assert told in log
    assert "Traceback" not in log
