"""Mail servers that send a lot of mail through tcpserver, the compiled plugin and the daemon."""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.plugin import BIN, faketime_library, needed
from tests.e2e.test_failure import small_disk
from tests.host.server import Client, ConnectionLost, Host, make_home, running
from tests.native.building import Builder
from tests.server.daemon import Daemon, serving, write_config
from tests.servers.faults import Mend
from tests.servers.mariadb import Database

SOAK = os.environ.get("GREYLAG_SOAK") == "1"
DIALOGUES = 10_000 if SOAK else 24
SESSIONS = 40 if SOAK else 8
ONESHOTS = 8  # at once: each takes some 30 ms of one processor
PAUSE = 0.2 if SOAK else 0.0  # seconds at most between two mails: servers do not march in step
PATIENCE = 60.0  # seconds that a client goes on trying after the fault
BUDGET_MS = 1000
DEADLINE = 1.05  # seconds: what an answer takes at most


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

    def log(self) -> str:
        """Return what the daemon and the plugins have logged."""
        return self.daemon.log.read_text() + self.host.log.read_text()


Fault = Callable[[Stage], Mend]  # strikes, and returns what mends it


@dataclass
class Figures:
    """What came of the dialogues."""

    delivered: set[str] = field(default_factory=set)
    arrived: set[str] = field(default_factory=set)
    refused: list[bytes] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def report(self, name: str) -> str:
        """Return a line about how long the answers took."""
        tried = f"{DIALOGUES} mails, {len(self.times)} attempts"
        return f"{name}: {tried}, the longest took {max(self.times):.2f} s, {self.late} late"

    @property
    def late(self) -> int:
        return sum(took > DEADLINE for took in self.times)


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
def stage_in(folder: Path, database: Database | None = None) -> Iterator[Stage]:
    """The daemon, its database (on a disk of its own), and qmail-smtpd with the compiled plugin."""
    needed("tcpserver", "ucspi-tcp")
    with ExitStack() as stack:
        disk = stack.enter_context(small_disk(folder / "disk", "64m" if SOAK else "2m"))
        config = write_config(folder, 'policy.delay = "1s"', 'deadline = "1s"')
        url = f"sqlite://{disk}/greylag.db" if database is None else database.url
        text = config.read_text().replace(f"sqlite://{folder}/greylag.db", url)
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


def share(
    names: list[str], sessions: int, work: Callable[[list[str]], None]
) -> list[threading.Thread]:
    """Divide the work among as many threads as there are sessions."""
    parts = [names[n::sessions] for n in range(sessions)]
    threads = [threading.Thread(target=work, args=(part,)) for part in parts if part]
    for thread in threads:
        thread.start()
    return threads


def dialogues(stage: Stage, fault: Fault, sessions: int) -> Figures:
    """Send mail until all of it has been taken; after a quarter of it the fault strikes.

    Each mail is tried once with the fault there, and again and again when it is mended.
    """
    names = [f"m{number}" for number in range(DIALOGUES)]
    figures = Figures()
    struck = threading.Event()

    def once(part: list[str]) -> None:
        with closing(Sender(stage.host, figures)) as sender:
            for mail in part:
                if mail == part[-1] != part[0]:  # or all might be over before the fault is there
                    struck.wait(PATIENCE)
                sender.sent(mail)
                time.sleep(random.uniform(0, PAUSE))

    def until_sent(part: list[str]) -> None:
        end = time.monotonic() + PATIENCE
        with closing(Sender(stage.host, figures)) as sender:
            while part and time.monotonic() < end:
                part = [mail for mail in part if not sender.sent(mail)]
                time.sleep(0.5)

    threads = share(names, sessions, once)
    while len(figures.times) < len(names) // 4 and any(one.is_alive() for one in threads):
        time.sleep(0.01)
    mend = fault(stage)
    struck.set()
    for thread in threads:
        thread.join()
    mend()
    left = [mail for mail in names if mail not in figures.delivered]
    for thread in share(left, sessions, until_sent):
        thread.join()
    figures.arrived = arrived(stage.host)
    return figures


def arrived(host: Host) -> set[str]:
    """Return the names of the mails that are in the queue."""
    texts = (message.partition(b"Subject: ")[2] for message in host.messages())
    return {text.partition(b"\n")[0].decode() for text in texts}


def nothing_is_lost(figures: Figures) -> None:
    """P1: no mail is refused, all of it arrives, and at full size no answer is late."""
    assert figures.refused == []
    assert figures.arrived == {f"m{number}" for number in range(DIALOGUES)}
    assert not SOAK or figures.late == 0
