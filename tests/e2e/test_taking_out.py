"""P19: greylag is installed, upgraded and taken out beside running mail.

None is refused, and what was taken is in the queue.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.plugin import BIN, needed
from tests.host.server import SMTPD, ConnectionLost, Host, make_home, running

ROUNDS = 2
# The kernel names a process after the script: as that of a real qmail-smtpd.
AS_QMAIL = """#!/usr/bin/python3 -IS
import runpy
runpy.run_path({smtpd!r}, run_name="__main__")
"""


class Mail(threading.Thread):
    """Sends one mail after the other, and notes each reply that greylisting does not explain."""

    def __init__(self, host: Host, name: str) -> None:
        super().__init__()
        self._host = host
        self._name = name
        self.wrong: list[object] = []
        self.taken: list[str] = []
        self.sent = 0
        self.deferred = 0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            try:
                self._mail()
            except (OSError, ConnectionLost) as error:
                self.wrong.append(error)

    def _mail(self) -> None:
        with self._host.connect() as client:
            client.helo()
            for number in range(3):  # a session lives on while plugins come and go
                sender = f"{self._name}{self.sent}@example.org"
                client.mail(sender)
                code, text = client.rcpt(f"b{number}@example.net")
                self.sent += 1
                self.deferred += code == 451
                if code == 250:
                    code, text = client.data(f"Subject: {sender}\n\nhello\n")
                    self.taken.append(sender)
                client.rset()
                if code != 250 and not (code == 451 and b"Greylisted" in text):
                    self.wrong.append((code, text))
                time.sleep(0.02)


@contextlib.contextmanager
def serving(config: Path, socket: Path) -> Iterator[None]:
    """Run the daemon for a while; what it logs is added to a file beside its socket."""
    command: list[str | Path] = [BIN / "greylag", "--config", config, "serve"]
    with (
        socket.with_name("daemon.log").open("ab") as log,
        subprocess.Popen(command, stderr=log) as daemon,
    ):
        try:
            end = time.monotonic() + 30
            while not socket.exists() and time.monotonic() < end:
                time.sleep(0.05)
            yield
        finally:
            daemon.terminate()


def test_no_mail_is_refused_while_greylag_comes_and_goes(tmp_path: Path) -> None:
    needed("tcpserver", "ucspi-tcp")
    needed("cc", "gcc")
    home = make_home(tmp_path / "qmail", ["plugins/mine"])
    (home / "plugins").mkdir()
    mine = home / "plugins" / "mine"
    mine.write_text("#!/bin/sh\n")
    mine.chmod(0o755)
    before = (home / "control" / "smtpplugins").read_bytes()
    smtpd = tmp_path / "qmail-smtpd"
    smtpd.write_text(AS_QMAIL.format(smtpd=str(SMTPD)))
    smtpd.chmod(0o755)
    config = tmp_path / "greylag.toml"
    socket = tmp_path / "greylag.sock"
    config.write_text(
        f'[store]\nurl = "sqlite://{tmp_path}/greylag.db"\n[server]\nsocket = "{socket}"\n'
        f'handover = "{tmp_path}/handover.sock"\n'
    )
    environ = {"GREYLISTING": ""}
    log = tmp_path / "log"

    def greylag(*arguments: str) -> int:
        command: list[str | Path] = [BIN / "greylag", "--config", config, "qmail", *arguments]
        command += ["--qmail-home", home]
        return subprocess.run(command, capture_output=True, timeout=120, check=False).returncode

    with running(home, env=environ, program=[str(smtpd)], log=log) as host:
        mails = [Mail(host, name) for name in "ab"]
        for mail in mails:
            mail.start()
        try:
            for _ in range(ROUNDS):
                assert greylag("install", "--edit") == 0
                time.sleep(1)
                assert greylag("install", "--native") == 0
                for _ in range(3):  # an upgrade: programs, then the daemon
                    with serving(config, socket):
                        assert greylag("install") == 0
                        time.sleep(0.5)
                assert greylag("install", "--python") == 0
                end = time.monotonic() + 60
                while greylag("uninstall") != 0:  # sessions that had read our lines are still there
                    assert time.monotonic() < end
                time.sleep(0.5)
        finally:
            for mail in mails:
                mail.over.set()
            for mail in mails:
                mail.join(60)
        kept = sorted(found.partition(b"Subject: ")[2].split()[0] for found in host.messages())
    assert [wrong for mail in mails for wrong in mail.wrong] == []
    assert kept == sorted(sender.encode() for mail in mails for sender in mail.taken)
    assert b"verdict=defer" in (tmp_path / "daemon.log").read_bytes()
    assert b"Traceback" not in log.read_bytes()
    assert all(mail.deferred and mail.sent > mail.deferred for mail in mails)
    assert (home / "control" / "smtpplugins").read_bytes() == before
    assert [path.name for path in (home / "plugins").iterdir()] == ["mine"]
