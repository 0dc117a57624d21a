"""Debian's Postfix that `greylag setup` has set up, and 30 things of it broken, one by one.

Doctor names each, and its own advice, run as it is printed, mends it. Mail comes in all the time:
no session is refused for good, hangs or is lost.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import breaking
from tests.e2e.breaking import Broken, Sessions
from tests.e2e.plugin import needed
from tests.e2e.setting_up import looked
from tests.e2e.test_breaks_qmail import BROKEN as QMAIL
from tests.e2e.test_postfix_page import MESSAGE, OUTSIDE, SITE, mail
from tests.servers.machine import Machine, machine

TOML = "/etc/greylag/greylag.toml"
DB = "/var/lib/greylag/greylag.db"
QUEUE = "/var/spool/postfix/greylag"
OWN_SETTINGS = f"""
mkdir -p /etc/greylag
printf '[policy]\\ndelay = "2s"\\n\\n[dns]\\nservers = "off"\\n' > {TOML}
"""
RCPT, DATA = "smtpd_recipient_restrictions", "smtpd_data_restrictions"
OWN, FIRST = "permit_mynetworks, permit_sasl_authenticated", "reject_unauth_destination"
PLACE = "unix:greylag/greylag.sock"
ASK = f"check_policy_service {{ {PLACE}, timeout=5s, default_action=DUNNO, try_limit=1 }}"
RELOAD = "postfix reload"
RELAY = "smtpd_relay_restrictions = permit_mynetworks, defer_unauth_destination"

BROKEN = {
    "Postfix asks before its own networks": Broken(
        "postfix-own-networks",
        f"postconf -e '{RCPT} = {FIRST}, reject_unlisted_recipient, {ASK}, {OWN}'; {RELOAD}",
    ),
    "Postfix asks before relaying is refused": Broken(
        "postfix-unauth",
        f"postconf -e '{RCPT} = {OWN}, reject_unlisted_recipient, {ASK}, {FIRST}'"
        f" 'smtpd_relay_restrictions = permit'; {RELOAD}",
    ),
    "Postfix asks about recipients who are not there": Broken(
        "postfix-unlisted",
        f"postconf -e '{RCPT} = {OWN}, {FIRST}, {ASK}, reject_unlisted_recipient'; {RELOAD}",
    ),
    "Postfix asks at DATA alone": Broken(
        "postfix-recipient", f"postconf -e '{RCPT} = {OWN}, {FIRST}'; {RELOAD}"
    ),
    "Postfix does not ask at DATA": Broken("postfix-data", f"postconf -e '{DATA} ='; {RELOAD}"),
    "Postfix does not ask": Broken(
        "nobody-asks",
        f"postconf -X {RCPT} {DATA}; postconf -e '{RELAY}'; {RELOAD}",
    ),
    "Postfix answers 451 without a daemon": Broken(
        "postfix-default-action",
        f"postconf -e '{RCPT} = {OWN}, {FIRST}, reject_unlisted_recipient,"
        f" check_policy_service {PLACE}'; {RELOAD}",
    ),
    "Postfix waits long": Broken(
        "postfix-timeout",
        f"postconf -e '{DATA} = {OWN}, {ASK.replace('timeout=5s,', '')}'; {RELOAD}",
    ),
    "Postfix defers with its own code": Broken(
        "postfix-defer-code", f"postconf -e 'access_map_defer_code = 450'; {RELOAD}"
    ),
    "Postfix asks outside of its chroot": Broken(
        "postfix-socket",
        f"postconf -e '{DATA} = {OWN}, {ASK.replace(PLACE, f'unix:{QUEUE}/greylag.sock')}';"
        f" {RELOAD}",
    ),
    "Postfix asks at another place": Broken(
        "postfix-socket",
        f"postconf -e '{RCPT} = {OWN}, {FIRST}, reject_unlisted_recipient,"
        f" {ASK.replace(PLACE, 'unix:greylag/none')}'; {RELOAD}",
    ),
    "Postfix may not enter the folder of the socket": Broken(
        "postfix-socket", f"chown root:root {QUEUE}; chmod 700 {QUEUE}"
    ),
    "the socket is closed": Broken("postfix-socket", f"chmod 0 {QUEUE}/greylag.sock"),
    "the folder of the socket is gone": Broken("daemon", f"systemctl stop greylag; rm -r {QUEUE}"),
    "the socket is gone": Broken("daemon", f"rm {QUEUE}/greylag.sock"),
    "an unknown setting": Broken("settings", f"printf 'delai = \"5m\"\\n' >> {TOML}"),
    "settings that are no TOML, at a start": Broken(
        "settings", f"echo 'oops oops' >> {TOML}; systemctl restart greylag || :"
    ),
    "settings for root alone": Broken("settings-permissions", f"chmod 600 {TOML}"),
    "settings for all to write": Broken("settings-permissions", f"chmod 666 {TOML}"),
    "a retry has no time": Broken(
        "delay-window", f"sed -i 's/^delay.*/&\\nretry_window = \"10m\"/' {TOML}"
    ),
    "greylisting is off in the settings": Broken(
        "switched-off",
        f"sed -i 's/^delay.*/&\\ngreylist = \"off\"/' {TOML}; systemctl reload greylag",
    ),
    "greylisting is switched off": Broken("switched-off", "greylag off"),
    "the folder of the database is gone": Broken(
        "db-missing", "systemctl stop greylag; rm -r /var/lib/greylag"
    ),
    "the database is root's": Broken("db-permissions", f"chown root:root {DB}; chmod 600 {DB}"),
    "the folder of the database is root's": Broken(
        "db-folder", "chown root:root /var/lib/greylag; chmod 700 /var/lib/greylag"
    ),
    "the database is open to all": Broken("db-open", f"chmod o+r {DB}"),
    "the daemon is stopped": Broken("daemon", "systemctl stop greylag"),
    "the daemon hangs": Broken("daemon", "kill -STOP $(systemctl show -P MainPID greylag)"),
    "the daemon's program is gone": Broken(
        "daemon-program",
        "sed -i 's|/usr/local/bin/greylag|/opt/gone/bin/greylag|'"
        " /etc/systemd/system/greylag.service",
    ),
    "the log is root's": Broken(
        "log",
        f"printf '\\n[log]\\nfile = \"/var/log/greylag/log\"\\n' >> {TOML};"
        " systemctl restart greylag; chown root:root /var/log/greylag/log;"
        " chmod 600 /var/log/greylag/log",
    ),
    "no name server answers": Broken(
        "resolver", f"sed -i 's/^servers.*/servers = [\"192.0.2.25:9\"]/' {TOML}"
    ),
    "no name server of the system answers": Broken(
        "resolver",
        f"sed -i '/^servers/d' {TOML}; echo nameserver 192.0.2.25 > /etc/resolv.conf;"
        " systemctl reload greylag",
    ),
    "no name server answers, and nothing is said of DNS": Broken(
        "resolver",
        f"sed -i '/^servers/d; /^.dns/d' {TOML}; echo nameserver 192.0.2.25 > /etc/resolv.conf",
    ),
    "the old clean-up runs from cron": Broken(
        "old-cleanup",
        "mkdir -p /etc/cron.d; echo '0 2 * * * root /usr/local/sbin/greylisting_cleanup.sh'"
        " > /etc/cron.d/greylisting",
    ),
    "the dashboard's passwords are open": Broken(
        "web-users", "printf '' > /var/lib/greylag/web-users; chmod 644 /var/lib/greylag/web-users"
    ),
}


# A qmail's tests have the other codes; these are mended in another way here.
CODES = {one.code for one in QMAIL.values()}
ALSO = (
    "the folder of the socket is gone",
    "settings that are no TOML, at a start",
    "no name server answers, and nothing is said of DNS",
    "the daemon hangs",
)
# What the breaking and mending changed of what is not setup's.
OWN_FILES = {
    "/etc/postfix", "/etc/postfix/main.cf",
    "/etc/cron.d", "/etc/cron.d/greylisting", "/etc/greylag",
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    needed("postfix", "postfix")
    with machine(tmp_path_factory.mktemp("machine")) as made:
        made.run(SITE + OWN_SETTINGS)
        yield made


@pytest.fixture(scope="module")
def before(server: Machine) -> list[str]:
    return looked(server)


@pytest.fixture(scope="module")
def sessions(server: Machine) -> Iterator[Sessions]:
    yield breaking.start(server, 25)
    breaking.end(server)


def sent(server: Machine, sender: str) -> str:
    return mail(server, OUTSIDE, sender, "alice@example.net", MESSAGE)


def test_setup(server: Machine, before: list[str], sessions: Sessions) -> None:
    assert "greylisting works" in server.run("greylag setup postfix --yes")
    assert "Greylisted" in sent(server, "first@example.org")
    server.run("sleep 2.1")
    assert sent(server, "first@example.org").startswith("250 ")
    assert breaking.doctor(server) == []
    after = looked(server)
    assert "nothing to do" in server.run("greylag setup postfix --yes")
    assert looked(server) == after
    server.run(f"cp -p {TOML} /opt/toml")
    assert breaking.wrong(sessions.since()) == []


@pytest.mark.parametrize("what", breaking.chosen(BROKEN, CODES, ALSO))
def test_its_own_advice_mends_what_is_broken(
    server: Machine, sessions: Sessions, what: str
) -> None:
    one = BROKEN[what]
    breaking.mended(server, what, one)
    told = sessions.since()
    assert breaking.wrong(told, one) == []
    assert "Greylisted" in breaking.deferred(lambda sender: sent(server, sender))
    assert breaking.wrong(sessions.since(), one) == []


def test_undo(server: Machine, before: list[str], sessions: Sessions) -> None:
    """What an admin did to his own files in between, as doctor told him, stays."""
    told = breaking.undone(server, sessions, "postfix")
    assert breaking.wrong(sessions.all[-5:]) == []
    accepted = sum(line.startswith("250 ") for line in sessions.all)
    assert accepted > 20
    found = f"{accepted}\n"
    assert server.eventually("grep -c '^Subject: loop' /var/mail/alice", found) == found
    changed = {line.split(" ")[0] for line in set(looked(server)) ^ set(before)}
    assert changed - OWN_FILES == set(), told
