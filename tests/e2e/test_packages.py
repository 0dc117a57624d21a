"""The Debian package on a bare Debian: built, installed, asked by Postfix, upgraded, taken out.

As `make test-packages-in RELEASE=...` runs it: root, and chroots of that release, made with apt.
The commands are those of docs/start/packages.md, as they stand. Those of README: in
test_packages_readme.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from greylag import __version__
from tests.e2e.packaged import CLIENT, LOG, PAGE, RELEASE, Built, installed, left_over, put
from tests.e2e.test_qmail_page import blocks, one
from tests.servers.debian import bare_debian, chroots
from tests.servers.machine import Machine

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can use a chroot"),
    pytest.mark.skipif(
        os.environ.get("GREYLAG_SOAK") != "1", reason="GREYLAG_SOAK=1: it makes chroots of Debian"
    ),
]
# New senders one after the other, and one who has passed: what each was told, until /run/enough.
LOAD = """
import os, smtplib
number = 0
with open("/run/told", "w", buffering=1) as told:
    while not os.path.exists("/run/enough"):
        number += 1
        for sender in (f"load{number}@example.org", "known@example.org"):
            try:
                with smtplib.SMTP("192.0.2.25", 25, "mail.example.org", 30, ("192.0.2.17", 0)) as s:
                    s.ehlo()
                    s.mail(sender)
                    code, text = s.rcpt("alice@example.net")
            except Exception as error:
                code, text = 0, repr(error).encode()
            told.write(f"{sender} {code} {text.decode()}\\n")
"""
DASHBOARD = """python3 -c 'import urllib.request as u
print(u.urlopen("http://127.0.0.1:8025/sign-in").status)'"""


@pytest.fixture(scope="module")
def server(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    _build, chroot = chroots(RELEASE)
    with bare_debian(chroot, tmp_path_factory.mktemp("debian")) as made:
        put(made, built)
        yield made


def mail(server: Machine, sender: str) -> str:
    return server.python(CLIENT, sender)


def test_lintian_has_nothing_to_say(built: Built) -> None:
    assert (built.now.parent / "lintian").read_text() == ""


def test_it_is_installed_and_runs(server: Machine) -> None:
    installed(server, "before")
    assert "event=started" in server.eventually(LOG, "event=started")
    assert server.run("systemctl is-enabled greylag").strip() == "enabled"
    assert "disabled" in server.run("systemctl is-enabled greylag-web || true")
    assert server.run("stat -c '%U:%G %a' /var/lib/greylag") == "greylag:greylag 2770\n"
    assert "greylag" in server.run("greylag --version; greylag config --check; dpkg -V greylag")


def test_postfix_in_its_chroot_greylists_mail(server: Machine) -> None:
    server.run("grep -Eq '^smtp +inet +n +- +y' /etc/postfix/master.cf")
    server.run(one(blocks(PAGE, "Postfix"), "postconf"))
    assert mail(server, "first@example.org").startswith("451 4.7.1 ")
    assert "sender=first@example.org" in server.eventually(LOG, "first@example.org")
    server.run("""printf '\\n[policy]\\ndelay = "1s"\\n[dns]\\nservers = "off"\\n' \
        >> /etc/greylag/greylag.toml; systemctl restart greylag""")
    assert mail(server, "known@example.org").startswith("451 4.7.1 ")
    server.run("sleep 1.5")
    assert mail(server, "known@example.org").startswith("250 ")


def test_the_dashboard_answers(server: Machine) -> None:
    first, start = one(blocks(PAGE, "The dashboard"), "runuser").splitlines()
    # Without a user it ends with what to do, and systemd does not start it again and again.
    server.run("systemctl start greylag-web || true")
    assert "exit-code" in server.eventually("systemctl show -P Result greylag-web", "exit-code")
    ended = server.run("systemctl show -p ExecMainStatus -p NRestarts --value greylag-web")
    assert sorted(ended.split()) == ["0", "78"]
    assert "web passwd" in server.run("journalctl -u greylag-web -o cat")
    server.run(f"echo a-long-pass-phrase | {first}")
    server.run(start)
    assert server.eventually(DASHBOARD, "200").endswith("200\n")


def test_the_report_comes_each_week(server: Machine) -> None:
    server.run(one(blocks(PAGE, "Report by mail"), "systemctl"))
    assert server.run("systemctl is-active greylag-report.timer").strip() == "active"


def test_manual_pages_and_completion_are_there(server: Machine) -> None:
    listed = server.run("dpkg -L greylag")
    for name in ("man1/greylag.1", "man5/greylag.toml.5", "completions/greylag"):
        assert name in listed


def kept(server: Machine) -> set[tuple[str, str]]:
    """Return sender and network of each record, from an export."""
    lines = server.run("runuser -u greylag -- greylag export -").splitlines()
    rows = [row for line in lines if line[0] == "{" and "passed" in (row := json.loads(line))]
    return {(row["sender"], row["network"]) for row in rows}


def test_an_upgrade_under_load_loses_nothing(server: Machine) -> None:
    """Each question is answered, no mail is refused for good, all records and settings stay."""
    pids = "systemctl show -P MainPID greylag greylag-web"
    pids_before, records = server.run(pids), kept(server)
    assert len(records) >= 2
    path = Path(f"/proc/{server.pid}/root/root/load.py")
    path.write_text(LOAD)
    server.run("(setsid python3 /root/load.py </dev/null >/dev/null 2>&1 &)")
    server.eventually("wc -l < /run/told", "8")
    installed(server, "now")
    assert server.run("dpkg-query -W -f '${Version}' greylag") == __version__
    server.run("sleep 2; touch /run/enough; sleep 1")
    told = [line.split(" ", 2) for line in server.run("cat /run/told").splitlines()]
    assert {code for _sender, code, _text in told} <= {"250", "451"}
    assert {code for sender, code, _text in told if sender == "known@example.org"} == {"250"}
    new = [code for sender, code, _text in told if sender != "known@example.org"]
    assert new[0] == new[-1] == "451"
    deferred = {sender for sender, code, _text in told if code == "451"}
    assert not set(pids_before.split()) & set(server.run(pids).split())
    now = kept(server)
    assert records <= now
    assert deferred <= {sender for sender, _network in now}
    server.run("runuser -u greylag -- greylag db check")
    assert 'delay = "1s"' in server.run("cat /etc/greylag/greylag.toml")
    dashboard = server.eventually(DASHBOARD, "200")
    assert dashboard.endswith("200\n"), server.run("journalctl -n 50; systemctl status greylag-web")
    assert "Traceback" not in server.run(f"{LOG}; journalctl -u greylag-web -o cat")


def test_mail_goes_on_when_it_is_removed_and_records_stay(server: Machine) -> None:
    _undo, remove, purge = (block.strip() for block in blocks(PAGE, "Take it out"))
    assert purge == "apt-get purge greylag"
    server.run(f"DEBIAN_FRONTEND=noninteractive {remove} -y </dev/null")
    assert mail(server, "gone@example.org").startswith("250 ")
    server.run("test -s /var/lib/greylag/greylag.db; test -e /etc/greylag/greylag.toml")
    still = "pgrep -f '[g]reylag.* (serve|web)' || echo none"
    assert server.run(still) == "none\n"


def test_installed_again_it_knows_who_passed(server: Machine) -> None:
    installed(server, "now")
    server.eventually(LOG, "event=started")
    assert mail(server, "known@example.org").startswith("250 ")
    assert mail(server, "unknown@example.org").startswith("451 ")


def test_purge_leaves_nothing(server: Machine) -> None:
    _undo, _remove, purge = (block.strip() for block in blocks(PAGE, "Take it out"))
    server.run(f"DEBIAN_FRONTEND=noninteractive {purge} -y </dev/null")
    assert left_over(server) == ""
    assert mail(server, "after@example.org").startswith("250 ")


PLUGIN = """cd /var/qmail
setpriv --reuid vpopmail --regid vchkpw --clear-groups env -i GREYLISTING= TCPREMOTEIP=192.0.2.17 \\
    SMTPMAILFROM={sender} SMTPRCPTTO=bob@example.net plugins/greylisting 2>&1 <&-
"""


def test_the_plugins_in_c_ask_the_daemon_and_start_the_one_shot(server: Machine) -> None:
    server.run("groupadd vchkpw; useradd --system --gid vchkpw vpopmail")
    installed(server, "now")
    server.run("""printf '\\n[dns]\\nservers = "off"\\n' >> /etc/greylag/greylag.toml""")
    server.run(one(blocks(PAGE, "qmail"), "mkdir"))
    server.eventually("test -S /run/greylag/greylag.sock && echo there", "there")
    asked = server.run(PLUGIN.format(sender="asked@example.org"))
    assert asked.startswith("E451 4.7.1 Greylisted")
    assert "one-shot" not in asked
    made = server.run(
        "! command -v gcc; mkdir -p /root/q/control; "
        "greylag qmail install --native --force --qmail-home /root/q"
    )  # there is no compiler here
    assert "compiled with Debian's compiler, in /usr/lib/greylag" in made
    server.run("systemctl stop greylag")
    alone = server.run(PLUGIN.format(sender="alone@example.org"))
    assert "E451 4.7.1 Greylisted" in alone
    assert "one-shot" in alone


def test_it_stays_while_qmail_smtpd_runs_its_plugins(server: Machine) -> None:
    """P1: without the program that a line of smtpplugins names, qmail-smtpd defers all mail."""
    server.run(
        "mkdir -p /var/qmail/control; "
        "printf '[rcpt]\\nplugins/ifauthskip\\nplugins/greylisting\\n' "
        "> /var/qmail/control/smtpplugins"
    )
    remove = "DEBIAN_FRONTEND=noninteractive apt-get remove -y greylag </dev/null 2>&1"
    told = server.run(f"{remove} && exit 9 || true")
    assert "still names plugins/greylisting, which this would remove" in told
    server.run("test -x /var/qmail/plugins/greylisting")
    server.run("sed -i /plugins/d /var/qmail/control/smtpplugins")
    server.run(remove)
