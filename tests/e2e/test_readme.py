"""P20: the ten lines of the README for qmail and for Postfix, run as they stand."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.plugin import needed
from tests.e2e.test_daemon_page import CLIENT
from tests.e2e.test_daemon_page import SITE as QMAIL
from tests.e2e.test_postfix_page import OUTSIDE, mail
from tests.e2e.test_postfix_page import SITE as POSTFIX
from tests.e2e.test_qmail_page import blocks, one
from tests.e2e.test_setup_qmail import GUIDE
from tests.servers.machine import Machine, machine


def looks(server: Machine, as_whom: str) -> None:
    """Run what the README says to look with; a mail that would be deferred exits with 10."""
    (commands,) = blocks("README.md", "See that it works")
    doctor, check, stats = commands.splitlines()
    assert "The daemon answers." in server.run(f"({doctor}\n) || [ $? = 11 ]")  # no name server
    asked = server.run(f"(runuser -u {as_whom} -- {check}\n) || [ $? = 10 ]")
    assert "verdict" in asked
    assert "never came back" in server.run(stats)


def test_the_lines_for_postfix(tmp_path: Path) -> None:
    needed("postfix", "postfix")
    dry, real = one(blocks("README.md", "Postfix"), "greylag setup").splitlines()
    with machine(tmp_path) as made:
        made.run(POSTFIX)
        assert "check_policy_service" in made.run(dry)
        assert "check_policy_service" not in made.run("postconf -n")
        assert "greylisting works" in made.run(real)
        answer = mail(made, OUTSIDE, "first@example.org", "alice@example.net")
        assert answer.startswith("451 4.7.1")
        looks(made, "greylag")


def test_the_lines_for_qmail(tmp_path: Path) -> None:
    needed("svscan", "daemontools")
    needed("cc", "gcc")
    dry, real = one(blocks("README.md", "qmail"), "greylag setup").splitlines()
    assert f"{dry}\n{real}\n" in blocks("docs/start/qmail.md", "With one command")
    with machine(tmp_path) as made:
        made.run(QMAIL + GUIDE)
        made.eventually("cat /var/log/smtpd", "status")
        assert "plugins/ifauthskip" in made.run(dry)
        made.run(real)
        assert made.python(CLIENT, "first@example.org").startswith("451 4.7.1 Greylisted")
        looks(made, "vpopmail")
