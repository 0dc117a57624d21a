"""P20: the unit of jgreylist.md, run as it stands: a first connection hears to come back."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.plugin import needed
from tests.e2e.test_daemon_page import CLIENT, SITE
from tests.e2e.test_qmail_page import blocks, one
from tests.servers.machine import machine

# The page's own numbers for user and group; qmail-smtpd is the tests' host.
NUMBERS = """
groupmod -g 2108 vchkpw
usermod -u 7791 vpopmail
install -d -o vpopmail -g vchkpw -m 2770 /var/lib/greylag
mkdir /var/qmail/bin
printf '#!/bin/sh\\nexec /usr/bin/python3 -I /opt/host/tests/host/qmail_smtpd.py\\n' \\
    > /var/qmail/bin/qmail-smtpd
chmod 755 /var/qmail/bin/qmail-smtpd
touch /var/qmail/control/smtpplugins
echo ':allow' | tcprules /etc/tcp.smtp.cdb /etc/tcp.smtp.tmp
"""


def test_the_unit_greylists_connections(tmp_path: Path) -> None:
    needed("cc", "gcc")
    needed("tcpserver", "ucspi-tcp")
    with machine(tmp_path) as made:
        made.run(SITE + NUMBERS)
        made.run(one(blocks("docs/start/jgreylist.md", "Install"), "greylag qmail install"))
        made.run(one(blocks("docs/start/jgreylist.md", "systemd"), "cat"))
        verify = "systemd-analyze --man=no verify /etc/systemd/system/qmail-smtpd.service"
        assert made.run(verify) == ""
        made.eventually("journalctl -u qmail-smtpd", "status: 0/40")
        answer = made.python(CLIENT.replace("2525", "25"), "first@example.org")
        assert answer.startswith("450 GREYLIST Try again later."), made.run("journalctl -n 20")
