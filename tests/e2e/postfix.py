"""A private Postfix for a test: its own folders, a loopback port, no delivery."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import smtplib
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

START = 20.0
MAIN = """
compatibility_level = 3.6
queue_directory = {home}/spool
data_directory = {home}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file_prefixes = {home}
maillog_file = {home}/mail.log
inet_interfaces = 127.0.0.1
inet_protocols = all
myhostname = mx.example.org
mydestination =
mynetworks =
alias_maps =
relay_domains = example.net
relay_transport = discard:
default_transport = error:disabled
smtpd_peername_lookup = no
disable_dns_lookups = yes
smtpd_authorized_xclient_hosts = 127.0.0.0/8
smtpd_client_connection_count_limit = 0
header_checks = regexp:{home}/conf/header_checks
smtpd_recipient_restrictions = reject_unauth_destination, {policy}
smtpd_data_restrictions = {policy}
"""
MASTER = """
127.0.0.1:{port} inet n - n - 50 smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass
class Postfix:
    """A running Postfix."""

    home: Path
    port: int

    @property
    def log(self) -> str:
        return (self.home / "mail.log").read_text(errors="replace")

    def logged(self, text: str, seconds: float = 10.0) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if text in self.log:
                return True
            time.sleep(0.05)
        return False

    @contextlib.contextmanager
    def session(self, client: str = "192.0.2.17", login: str = "") -> Iterator[smtplib.SMTP]:
        """Speak as a client of this address would, logged in or not (XCLIENT)."""
        with smtplib.SMTP("127.0.0.1", self.port, timeout=30) as smtp:
            smtp.ehlo("mail.example.org")
            address = f"IPV6:{client}" if ":" in client else client
            who = f"ADDR={address} NAME=mail.example.org" + (f" LOGIN={login}" if login else "")
            assert smtp.docmd(f"XCLIENT {who}")[0] == 220
            smtp.ehlo("mail.example.org")
            yield smtp

    def rcpt(self, sender: str = "a@example.org", recipient: str = "b@example.net") -> int:
        """Return the code of one RCPT."""
        with self.session() as smtp:
            smtp.mail(sender)
            return smtp.rcpt(recipient)[0]


def opened(folder: Path) -> Path:
    """Return a folder that Postfix's own user can enter now: pytest's are for root alone."""
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.geteuid() and str(parent) not in ("/", "/tmp"):
            parent.chmod(0o755)
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(home: Path, policy: str) -> Iterator[Postfix]:
    """Run Postfix with a restriction that asks a policy service."""
    port = free_port()
    for folder in ("conf", "spool", "data"):
        (home / folder).mkdir(parents=True)
    shutil.chown(home / "data", "postfix")
    (home / "conf" / "main.cf").write_text(MAIN.format(home=home, policy=policy))
    (home / "conf" / "master.cf").write_text(MASTER.format(port=port))
    (home / "conf" / "header_checks").write_text("/^X-Greylist:/ WARN seen\n")
    command = ["postfix", "-c", str(home / "conf")]
    started = subprocess.run(
        [*command, "start"], capture_output=True, text=True, timeout=START, check=False
    )
    assert started.returncode == 0, started.stderr
    postfix = Postfix(home, port)
    try:
        wait_for_banner(postfix)
        yield postfix
    finally:
        pid = int((home / "spool" / "pid" / "master.pid").read_text())
        os.kill(pid, signal.SIGTERM)
        wait_for_end(pid)


def wait_for_banner(postfix: Postfix) -> None:
    end = time.monotonic() + START
    while time.monotonic() < end:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", postfix.port), 5) as probe,
        ):
            if probe.recv(100).startswith(b"220"):
                return
        time.sleep(0.05)
    raise RuntimeError(postfix.log)


def wait_for_end(pid: int) -> None:
    end = time.monotonic() + START
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
