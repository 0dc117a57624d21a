"""jgreylist under tcpserver before a real SMTP server on stdin and stdout: Debian's Postfix."""

from __future__ import annotations

import os
import smtplib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import postfix as real
from tests.e2e.plugin import needed
from tests.e2e.test_jgreylist import HOLD, WAYS, set_up_as
from tests.host.server import Host

MESSAGE = b"Subject: hello\r\n\r\nhello\r\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that Postfix's own user can enter: pytest's are for root alone."""
    needed("postfix", "postfix")
    needed("tcpserver", "ucspi-tcp")
    if os.geteuid() != 0:
        pytest.skip("only root can start a Postfix")
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid() and str(parent) not in ("/", "/tmp"):
            parent.chmod(0o755)
    return tmp_path


@pytest.fixture(params=WAYS)
def both(request: pytest.FixtureRequest, folder: Path) -> Iterator[tuple[Host, real.Postfix]]:
    with real.running(folder / "postfix", "permit") as postfix:
        # What `sendmail -bs` runs; on a socket it insists on Postfix's own user.
        owner = ["setpriv", "--reuid=postfix", "--regid=postfix", "--clear-groups"]
        place = ["env", f"MAIL_CONFIG={postfix.home}/conf"]
        server = [*owner, *place, "/usr/lib/postfix/sbin/smtpd", "-S"]
        with set_up_as(request.param, folder, server) as setup:
            yield setup.host, postfix


def send(port: int) -> int:
    """Send a mail; return the code that ends the attempt."""
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as smtp:
        smtp.ehlo("mail.example.org")
        smtp.mail("a@example.org")
        code, _ = smtp.rcpt("b@example.net")
        return smtp.data(MESSAGE)[0] if code == 250 else code


def test_a_whole_mail_after_the_hold(both: tuple[Host, real.Postfix]) -> None:
    host, postfix = both
    assert [send(host.port), send(host.port)] == [450, 450]
    assert "example.net" not in postfix.log, "nothing reached the server behind"
    time.sleep(HOLD + 1)
    assert send(host.port) == 250
    assert postfix.logged("to=<b@example.net>, relay=none")
    assert postfix.logged("status=sent")
    log = host.log.read_text()
    fates = [line.partition("]: ")[2] for line in log.splitlines() if "greylist[" in line]
    expected = ["GREY first time", "GREY too soon", "OK known"]
    assert fates == [f"127.0.0.1: {fate}" for fate in expected]
