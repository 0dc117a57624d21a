"""P19: `--undo` on servers that were changed since setup, or had a greylag before it.

One machine with both mail servers, under systemd; nothing of this one's is touched.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.plugin import needed
from tests.e2e.setting_up import looked
from tests.e2e.test_daemon_page import CLIENT
from tests.e2e.test_daemon_page import SITE as QMAIL
from tests.e2e.test_postfix_page import OUTSIDE, mail
from tests.e2e.test_postfix_page import SITE as POSTFIX
from tests.e2e.test_setup_troubles import FRESH
from tests.servers.machine import Machine, machine

UNDO = "greylag setup {} --undo --yes --purge && echo code 0 || echo code $?"
BY_HAND = """
useradd --system vpopgrey
printf '[Service]\\nUser=vpopgrey\\nStateDirectory=greylag\\nRuntimeDirectory=greylag\\n\
ExecStart=/usr/local/bin/greylag serve\\n' > /etc/systemd/system/greylag.service
systemctl daemon-reload
systemctl start greylag
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    needed("postfix", "postfix")
    needed("cc", "gcc")
    with machine(tmp_path_factory.mktemp("machine")) as made:
        made.run(POSTFIX)
        made.run(QMAIL + FRESH)
        made.eventually("cat /var/log/smtpd", "status")
        yield made


def test_of_a_main_cf_that_was_edited_only_our_parts_go(server: Machine) -> None:
    """P1: Postfix asks no daemon that is gone."""
    before = set(looked(server))
    values = server.run("postconf -n")
    server.run("greylag setup postfix --yes")
    server.run("postconf -e message_size_limit=20480000")
    told = server.run(UNDO.format("postfix"))
    assert "/etc/postfix/main.cf: was changed since setup, so only greylag's own parts" in told
    ended = "all that setup changed is undone; your changes in /etc/postfix/main.cf stay"
    assert told.splitlines()[-2:] == [ended, "code 0"]
    now = server.run("postconf -n")
    assert set(now.splitlines()) ^ set(values.splitlines()) == {"message_size_limit = 20480000"}
    changed = {line.split()[0] for line in set(looked(server)) ^ before}
    assert changed <= {"/etc/postfix", "/etc/postfix/main.cf"}
    assert mail(server, OUTSIDE, "gone@example.org", "alice@example.net").startswith("250 ")
    assert "greylag" not in server.run("systemctl is-active greylag || true; cat /etc/passwd")


def test_a_list_that_was_edited_loses_the_question_alone(server: Machine) -> None:
    server.run("greylag setup postfix --yes")
    server.run(
        'postconf -e "smtpd_recipient_restrictions = reject_non_fqdn_sender, '
        '$(postconf -h smtpd_recipient_restrictions)"'
    )
    assert "code 0" in server.run(UNDO.format("postfix"))
    assert server.run("postconf -n smtpd_recipient_restrictions 2> /dev/null") == (
        "smtpd_recipient_restrictions = reject_non_fqdn_sender, permit_mynetworks, "
        "permit_sasl_authenticated, reject_unauth_destination, reject_unlisted_recipient\n"
    )
    assert "greylag" not in server.run("postconf -n")
    server.run("postconf -X smtpd_recipient_restrictions; postfix reload")


def test_nothing_goes_while_postfix_asks_elsewhere(server: Machine) -> None:
    """The manifest stays, so undo is run again when the admin has taken that line out."""
    server.run("greylag setup postfix --yes")
    server.run(
        "cp -p /etc/postfix/master.cf /run/master.cf; postconf -P 'smtp/inet/"
        "smtpd_client_restrictions=check_policy_service,unix:greylag/greylag.sock'"
    )
    told = server.run(UNDO.format("postfix"))
    assert "these lines still ask greylag" in told
    assert "/etc/postfix/master.cf:" in told
    assert "not all is undone" in told.splitlines()[-2]
    assert told.endswith("code 1\n")
    assert server.run("systemctl is-active greylag") == "active\n"
    assert "check_policy_service" in server.run("postconf -n")
    server.run("cp -p /run/master.cf /etc/postfix/master.cf; postfix reload")
    assert "as it was before\ncode 0" in server.run(UNDO.format("postfix"))


def test_a_line_that_an_admin_added_stays_and_no_recipient_is_refused(server: Machine) -> None:
    """P1: a line that names a missing plugin has qmail-spp answer 451 to all."""
    told = server.run("unset GREYLISTING; greylag setup qmail --yes")
    assert "greylisting works" not in told  # GREYLISTING is in no file
    assert "the plugin works; qmail-smtpd starts to greylist when this is done:" in told
    server.run(
        "printf '#!/bin/sh\\nexit 0\\n' > /var/qmail/plugins/own; chmod 755 /var/qmail/plugins/own;"
        "echo plugins/own >> /var/qmail/control/smtpplugins"
    )
    told = server.run(UNDO.format("qmail"))
    assert "control/smtpplugins: was changed since setup, so only greylag's own parts" in told
    assert told.endswith("stay\ncode 0\n")
    lines = server.run("cat /var/qmail/control/smtpplugins")
    assert lines == "# no plugins yet\n[rcpt]\nplugins/own\n"
    assert server.run("ls /var/qmail/plugins") == "own\n"
    assert server.python(CLIENT, "gone@example.org").startswith("250")
    server.run("rm -r /var/qmail/plugins; echo '# no plugins yet' > /var/qmail/control/smtpplugins")


def test_plugins_stay_while_a_run_script_names_them(server: Machine) -> None:
    server.run("greylag setup qmail --yes --by jgreylist --oneshot")
    server.run(
        "mkdir -p /etc/sv/smtp; printf '#!/bin/sh\\nexec /var/qmail/plugins/jgreylist "
        "/var/qmail/bin/qmail-smtpd\\n' > /etc/sv/smtp/run"
    )
    told = server.run(UNDO.format("qmail"))
    assert "/etc/sv/smtp/run:2: exec /var/qmail/plugins/jgreylist" in told
    assert told.endswith("code 1\n")
    assert server.run("ls /var/qmail/plugins/jgreylist")
    server.run("rm -r /etc/sv/smtp")
    assert "as it was before\ncode 0" in server.run(UNDO.format("qmail"))


def test_a_daemon_that_ran_before_runs_again(server: Machine) -> None:
    server.run(BY_HAND)
    unit = server.run("cat /etc/systemd/system/greylag.service")
    server.run("greylag setup postfix --yes")
    assert "User=greylag" in server.run("systemctl cat greylag")
    assert "code 0" in server.run(UNDO.format("postfix"))
    assert server.run("cat /etc/systemd/system/greylag.service") == unit
    assert server.run("systemctl is-active greylag || true") == "active\n"
    assert "vpopgrey" in server.run("ps -o user= -p $(systemctl show -P MainPID greylag)")
    server.run(
        "systemctl stop greylag; rm /etc/systemd/system/greylag.service; systemctl daemon-reload"
    )
