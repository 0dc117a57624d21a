"""P20: postfix.md, run as it stands, on Postfix as Debian installs it, with its chroot."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.plugin import needed
from tests.e2e.test_qmail_page import blocks
from tests.servers.machine import Machine, machine

PAGE = Path(__file__).parents[2] / "docs/start/postfix.md"
# What an admin's Postfix has of its own: a name, a domain, a mailbox.
SITE = """
useradd --create-home alice
cp /usr/share/postfix/main.cf.debian /etc/postfix/main.cf
cp /usr/share/postfix/master.cf.dist /etc/postfix/master.cf
echo mx.example.net > /etc/mailname
postconf -e 'compatibility_level = 3.6' 'myhostname = mx.example.net' \
    'mydestination = example.net, localhost' 'alias_maps = hash:/etc/aliases' \
    'smtpd_relay_restrictions = permit_mynetworks, defer_unauth_destination' \
    'mynetworks = 127.0.0.0/8 [::1]/128' 'maillog_file = /var/log/mail.log' \
    'smtpd_peername_lookup = no' 'disable_dns_lookups = yes'
printf 'postlog unix-dgram n - n - 1 postlogd\\n' >> /etc/postfix/master.cf
echo 'root: alice' > /etc/aliases
newaliases
rm -rf /var/spool/postfix/pid/* /var/mail/alice
# What the chroot needs, `postfix start` puts there from Debian 13 on, and until 12 the unit.
grep -qs configure-instance /usr/lib/postfix/sbin/post-install ||
    /usr/lib/postfix/configure-instance.sh -
# Without a unit of its own: Debian 13 hands the start to systemd, unless it comes from there.
INVOCATION_ID=test postfix start
"""
CLIENT = """
import smtplib, sys
client, sender, recipient, data = sys.argv[1:]
with smtplib.SMTP("192.0.2.25", 25, "mail.example.org", 30, (client, 0)) as smtp:
    smtp.ehlo()
    smtp.mail(sender)
    code, text = smtp.rcpt(recipient)
    if code == 250 and data:
        code, text = smtp.data(data.encode()) if data != "DATA" else smtp.docmd("DATA")
print(code, text.decode())
"""
# What an upgrade calls, and cannot do without a network.
NO_NETWORK = """
mkdir -p /run/stubs
for name in git make; do
    printf '#!/bin/sh\\necho %s "$@" >> /run/stubs/said\\n' $name > /run/stubs/$name
    chmod 755 /run/stubs/$name
done
rm -f /run/stubs/said
"""
LOG = "journalctl -u greylag -o cat"
MESSAGE = "Subject: hello\r\n\r\nhello\r\n"
OUTSIDE, INSIDE = "192.0.2.17", "127.0.0.1"


def sections() -> dict[str, str]:
    """Return the commands of each section of the page, word for word."""
    found = {}
    for part in PAGE.read_text().split("\n## ")[1:]:
        title, _, text = part.partition("\n")
        blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, re.MULTILINE)
        found[title] = "\n".join(
            re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in blocks
        )
    return found


SECTIONS = sections()


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    needed("postfix", "postfix")
    with machine(tmp_path_factory.mktemp("machine")) as made:
        made.run(SITE)
        made.run(SECTIONS["The daemon"])
        made.eventually(LOG, "event=started")
        made.run(SECTIONS["Postfix asks it"])
        yield made


def mail(debian: Machine, client: str, sender: str, recipient: str, data: str = "") -> str:
    return debian.python(CLIENT, client, sender, recipient, data)


def set_delay(debian: Machine, delay: str) -> None:
    debian.run(f"""printf '[policy]\\ndelay = "{delay}"\\n' >> /etc/greylag/greylag.toml""")
    debian.run("systemctl restart greylag")


def test_smtpd_is_in_its_chroot(debian: Machine) -> None:
    assert re.search(
        r"^smtp\s+inet\s+n\s+-\s+y\s", debian.run("cat /etc/postfix/master.cf"), re.MULTILINE
    )


def test_the_page_names_the_unit_that_runs_postfix_here() -> None:
    """Until Debian 12 it is an instance, and postfix.service runs nothing."""
    needed("postfix", "postfix")
    runs = "Type=forking" in Path("/usr/lib/systemd/system/postfix.service").read_text()
    unit = "postfix" if runs else "postfix@-"
    (journal,) = re.findall(r"journalctl.*-g Greylisted", SECTIONS["See that it works"])
    assert f" -u {unit} " in journal
    (before,) = re.findall(r"^Before=(.*)", SECTIONS["The daemon"], re.MULTILINE)
    assert f"{unit}.service" in before.split()


def test_mail_is_greylisted_and_both_logs_say_so(debian: Machine) -> None:
    answer = mail(debian, OUTSIDE, "first@example.org", "alice@example.net", MESSAGE)
    assert answer.startswith("451 4.7.1 <alice@example.net>: Recipient address rejected: Greylis")
    ours = debian.eventually(LOG, "verdict=defer")
    assert f"verdict=defer reason=new client_address={OUTSIDE} sender=first@example.org" in ours
    theirs = debian.eventually("cat /var/log/mail.log", "NOQUEUE: reject: RCPT from")
    assert "Greylisted" in theirs
    assert "warning: connect to" not in theirs


def test_own_clients_pass_and_are_not_asked_about(debian: Machine) -> None:
    answer = mail(debian, INSIDE, "own@example.net", "alice@example.net", MESSAGE)
    assert answer.startswith("250")
    bounce = mail(debian, INSIDE, "", "alice@example.net", MESSAGE)
    assert bounce.startswith("250")
    assert "own@example.net" not in debian.run(LOG)
    assert debian.eventually("cat /var/mail/alice", "hello")


def test_unknown_recipients_and_relaying_are_refused_for_good(debian: Machine) -> None:
    assert mail(debian, OUTSIDE, "a@example.org", "nobody-here@example.net").startswith("550")
    assert mail(debian, OUTSIDE, "a@example.org", "b@example.com").startswith("454 4.7.1")
    assert "nobody-here" not in debian.run(LOG)


def test_a_bounce_waits_at_data(debian: Machine) -> None:
    assert mail(debian, OUTSIDE, "", "alice@example.net").startswith("250")
    assert mail(debian, OUTSIDE, "", "alice@example.net", "DATA").startswith("451")


def test_the_pages_own_questions_are_answered(debian: Machine) -> None:
    commands = SECTIONS["See that it works"].splitlines()
    asked = [line for line in commands if line.startswith("runuser")]
    assert len(asked) == 3
    shown = debian.run(f"{asked[0]} || [ $? -eq 10 ]\n{asked[1]}\n{asked[2]}")
    assert "verdict" in shown
    assert "first@example.org" in shown


def test_a_retry_is_delivered(debian: Machine) -> None:
    set_delay(debian, "1s")
    assert mail(debian, OUTSIDE, "b@example.org", "alice@example.net").startswith("451")
    debian.run("sleep 1.2")
    answer = mail(debian, OUTSIDE, "b@example.org", "alice@example.net", MESSAGE)
    assert answer.startswith("250")
    assert "From: " not in debian.run(LOG)
    assert "b@example.org" in debian.eventually("cat /var/mail/alice", "From b@example.org")


def test_mail_goes_on_without_a_daemon(debian: Machine) -> None:
    """P1: the page says so of default_action=DUNNO."""
    debian.run("systemctl stop greylag")
    assert mail(debian, OUTSIDE, "c@example.org", "alice@example.net").startswith("250")
    debian.run("systemctl start greylag")


def test_an_upgrade_as_its_page_says_keeps_what_is_known(debian: Machine) -> None:
    """P19: docs/everyday/upgrade.md; there is no network to fetch and install anything from."""
    (commands,) = blocks("docs/everyday/upgrade.md", "Postfix")
    debian.run(NO_NETWORK)
    debian.run(f"PATH=/run/stubs:$PATH\n{commands}")
    assert debian.run("cat /run/stubs/said") == "git pull\nmake install\n"
    assert mail(debian, OUTSIDE, "b@example.org", "alice@example.net").startswith("250")


def test_the_socket_in_the_place_of_the_port(debian: Machine) -> None:
    debian.run(SECTIONS["A unix socket instead of the port"])
    answer = mail(debian, OUTSIDE, "by-socket@example.org", "alice@example.net")
    assert answer.startswith("451")
    nobody = "runuser -u alice -- test -e /var/spool/postfix/greylag/greylag.sock"
    assert debian.run(f"{nobody} || echo hidden") == "hidden\n"


def test_taking_it_out(debian: Machine) -> None:
    """P19: the restrictions go first, so that no mail meets a daemon that has gone."""
    debian.run(SECTIONS["Taking it out"])
    assert mail(debian, OUTSIDE, "d@example.org", "alice@example.net", MESSAGE).startswith("250")
    assert "check_policy_service" not in debian.run("postconf -n")
    assert debian.run("find /etc/systemd /var/spool/postfix -name '*greylag*'") == ""
