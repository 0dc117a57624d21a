"""P20: docs/start/setup.md, run as it stands, on terminals where questions are answered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.plugin import needed
from tests.e2e.test_daemon_page import SITE as QMAIL
from tests.e2e.test_postfix_page import SITE as POSTFIX
from tests.e2e.test_setup_qmail import GUIDE
from tests.servers.machine import Machine, machine

PAGE = Path(__file__).parents[2] / "docs/start/setup.md"
# Runs a command on a terminal and answers: no to what is offered, yes to going on.
TERMINAL = """
import os, pty, re, sys
said, told = b"", 0
process, terminal = pty.fork()
if not process:
    os.execvp("sh", ["sh", "-c", sys.argv[1]])
while True:
    try:
        piece = os.read(terminal, 4096)
    except OSError:
        break
    if not piece:
        break
    said += piece
    asked = re.findall(rb"([^\\n]*)\\[y/N\\]: ", said)
    if len(asked) > told:
        told += 1
        going_on = asked[-1].startswith((b"Do this", b"Put all"))
        os.write(terminal, b"y\\n" if going_on else b"n\\n")
code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
print(said.decode(), "exit code", code, "questions", told)
"""


def commands(mta: str) -> list[str]:
    """Return the page's commands for a mail server, in their order."""
    found = re.findall(r"^    (greylag setup .*)$", PAGE.read_text(), re.MULTILINE)
    assert len(found) == 8
    return [line for line in found if f"setup {mta}" in line]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Both mail servers, one set up after the other."""
    needed("postfix", "postfix")
    needed("svscan", "daemontools")
    with machine(tmp_path_factory.mktemp("machine")) as made:
        made.run(POSTFIX)
        made.run(QMAIL + GUIDE)
        yield made


def test_qmail(server: Machine) -> None:
    dry, do, undo = commands("qmail")
    assert "nothing was written" in server.python(TERMINAL, dry)
    told = server.python(TERMINAL, do)
    assert "greylisting works" in told
    assert "exit code 0 questions 3" in told  # observe, dashboard, do this
    told = server.python(TERMINAL, undo)
    assert "/var/lib/greylag: kept (--purge deletes it)" in told
    assert "all that setup changed is as it was before" in told
    assert "exit code 0 questions 1" in told


def test_postfix(server: Machine) -> None:
    dry, do, undo, purge, image = commands("postfix")
    server.run(
        "mkdir -p /srv/image/etc/systemd/system /srv/image/var/lib; cp -a /etc/postfix \
        /etc/passwd /etc/group /etc/shadow /etc/gshadow /srv/image/etc/; \
        mkdir -p /srv/image/var/spool/postfix"
    )
    assert "nothing was started" in server.run(image)
    assert "check_policy_service" in server.run("postconf -c /srv/image/etc/postfix -n")
    assert "greylag" not in server.run("postconf -n; cat /etc/passwd")

    assert "nothing was written" in server.python(TERMINAL, dry)
    assert "greylisting works" in server.python(TERMINAL, do)
    told = server.python(TERMINAL, undo)
    assert "the user greylag stays, as the records belong to it" in told
    assert "/var/lib/greylag: kept" in told
    assert "greylag" not in server.run("postconf -n")
    assert "greylisting works" in server.python(TERMINAL, do)
    server.python(TERMINAL, purge)
    assert server.run("ls -d /var/lib/greylag* /etc/greylag 2>/dev/null || true") == ""
