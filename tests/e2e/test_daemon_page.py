"""P20: daemon.md for qmail, run as it stands under Debian's own daemontools and systemd."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.plugin import needed
from tests.e2e.test_postfix_page import NO_NETWORK
from tests.e2e.test_qmail_page import blocks, one, qmail_page
from tests.servers.machine import Machine, machine

HOST = Path(__file__).parents[1] / "host"
# What an admin's qmail has of its own. qmail-smtpd is the tests' host, as vpopmail under tcpserver.
SITE = f"""
groupadd vchkpw
useradd --system --gid vchkpw --shell /bin/sh vpopmail
install -d /var/qmail/control /opt/host/tests/host
install -d -o vpopmail -g vchkpw /var/qmail/queue
cp {HOST}/qmail_smtpd.py {HOST}/spp.py /opt/host/tests/host/
echo mx.example.net > /var/qmail/control/me
echo example.net > /var/qmail/control/rcpthosts
"""
QMAIL_SMTPD = """
cd /var/qmail
setsid setuidgid vpopmail tcpserver -vHRl0 192.0.2.25 2525 \\
    /usr/bin/python3 -I /opt/host/tests/host/qmail_smtpd.py > /var/log/smtpd 2>&1 < /dev/null &
"""
CLIENT = """
import smtplib, sys
with smtplib.SMTP("192.0.2.25", 2525, "mail.example.org", 30, ("192.0.2.17", 0)) as smtp:
    smtp.ehlo()
    smtp.mail(sys.argv[1])
    code, text = smtp.rcpt("alice@example.net")
    if code == 250:
        code, text = smtp.data(b"Subject: hello\\r\\n\\r\\nhello\\r\\n")
print(code, text.decode())
"""
QUESTION = """
import socket
with socket.socket(socket.AF_UNIX) as peer:
    peer.connect("/run/greylag/greylag.sock")
    peer.sendall(b"request=smtpd_access_policy\\nprotocol_state=RCPT\\nsender=asked@example.org\\n"
        b"recipient=bob@example.net\\nclient_address=192.0.2.17\\n\\n")
    print(peer.recv(4096).decode())
"""
# The packages are the tests' own, mounted there: nothing in them may be removed.
RELEASE = """
for place in $(grep -o ' /opt/greylag/[^ ]* ' /proc/mounts); do umount "$place"; done
! grep -q /opt/greylag/ /proc/mounts
"""


@dataclass(frozen=True)
class Way:
    """How a supervisor is used; the page's commands, and what a test has to know besides."""

    install: str
    look: str  # at the service
    look_there: str  # that a look shows
    log: str
    reload: str
    restart: str
    remove: str
    supervisor: str = ""  # what starts the supervisor, where it is not there from the beginning
    pid: str = ""


def daemontools() -> Way:
    pieces = blocks("docs/running/daemon.md", "daemontools and runit")
    look, log, reload, restart = one(pieces, "svstat").splitlines()
    return Way(
        one(pieces, "mkdir"),
        look,
        ": up (pid ",
        log.replace("tail", "tail -n 99"),
        reload,
        restart,
        one(pieces, "rm"),
        "systemctl start daemontools-run",
        "svstat /etc/service/greylag | sed 's/.*(pid \\([0-9]*\\)).*/\\1/'",
    )


def systemd() -> Way:
    pieces = blocks("docs/running/daemon.md", "systemd")
    look, log, reload, restart = one(pieces, "systemctl --no-pager").splitlines()
    return Way(
        one(pieces, "cat"),
        look,
        "Active: active (running)",
        log,
        reload,
        restart,
        one(pieces, "systemctl disable"),
        pid="systemctl show -P MainPID greylag",
    )


WAYS = {"daemontools": daemontools, "systemd": systemd}


@pytest.fixture(scope="module", params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    return WAYS[request.param]()


@pytest.fixture(scope="module")
def server(way: Way, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The page for qmail up to the run script, this page from there on."""
    needed("svscan", "daemontools")
    needed("cc", "gcc")
    pieces = qmail_page()
    plugins, switch = one(pieces, "[rcpt]"), one(pieces, "export GREYLISTING")
    with machine(tmp_path_factory.mktemp("machine")) as made:
        made.run(SITE)
        made.run(one(pieces, "install -d") + one(pieces, "greylag qmail install"))
        made.run(f"cat > /var/qmail/control/smtpplugins <<'END'\n{plugins}END\n")
        made.run(way.supervisor)
        made.run(way.install)
        assert way.look_there in made.eventually(way.look, way.look_there)
        assert "event=started" in made.eventually(way.log, "event=started")
        made.run(switch + QMAIL_SMTPD)
        made.eventually("cat /var/log/smtpd", "status")
        yield made


def mail(server: Machine, sender: str) -> str:
    return server.python(CLIENT, sender)


def test_mail_is_greylisted_by_the_daemon(server: Machine, way: Way) -> None:
    answer = mail(server, "first@example.org")
    assert answer.startswith("451 4.7.1 Greylisted, please try again in 300 seconds")
    assert "sender=first@example.org" in server.eventually(way.log, "first@example.org")
    assert "one-shot" not in server.run("cat /var/log/smtpd")


def test_a_question_of_the_policy_protocol_is_answered(server: Machine) -> None:
    assert server.python(QUESTION).startswith("action=DEFER_IF_PERMIT 4.7.1 Greylisted")


def test_a_reload_reads_the_settings_and_the_retry_is_delivered(server: Machine, way: Way) -> None:
    server.run("""mkdir -p /etc/greylag; printf '[policy]\\ndelay = "1s"\\n' \
        > /etc/greylag/greylag.toml""")
    before = server.run(way.pid)
    server.run(way.reload)
    assert "event=reloaded" in server.eventually(way.log, "event=reloaded")
    assert server.run(way.pid) == before
    assert "again in 1 second" in mail(server, "second@example.org")
    server.run("sleep 1.2")
    assert mail(server, "second@example.org").startswith("250")


@pytest.mark.parametrize("end", ["kill", "restart"])
def test_it_is_there_again(server: Machine, way: Way, end: str) -> None:
    """P6: what has passed is known after a kill."""
    before = server.run(way.pid).strip()
    starts = server.run(way.log).count("event=started")
    server.run(f"kill -9 {before}" if end == "kill" else way.restart)
    script = f"[ $({way.log} | grep -c event=started) -gt {starts} ] && echo again"
    assert server.eventually(script, "again") == "again\n"
    assert server.run(way.pid).strip() != before
    assert mail(server, "second@example.org").startswith("250")
    assert "one-shot" not in server.run("cat /var/log/smtpd")


def test_it_has_no_right_that_it_does_not_need(server: Machine, way: Way) -> None:
    """P11: its capabilities and, under systemd, the unit's score."""
    pid = server.run(way.pid).strip()
    status = server.run(f"cat /proc/{pid}/status")
    assert "CapEff:\t0000000000000000\n" in status
    if way.supervisor:
        return
    unit = "/etc/systemd/system/greylag.service"
    assert server.run(f"systemd-analyze --man=no verify {unit}") == ""
    server.run(f"systemd-analyze security --offline=true --threshold=15 {unit}")
    assert "NoNewPrivs:\t1\n" in status


def test_an_upgrade_as_its_page_says_keeps_what_is_known(server: Machine, way: Way) -> None:
    """P19: while the daemon is stopped, the one-shot answers."""
    (commands,) = blocks("docs/everyday/upgrade.md", "qmail")
    if not way.supervisor:
        for word, name in (("-d", "stop"), ("-u", "start")):
            commands = commands.replace(
                f"svc {word} /etc/service/greylag", f"systemctl {name} greylag"
            )
    server.run(NO_NETWORK)
    server.run(f"PATH=/run/stubs:$PATH\n{commands}")
    assert server.run("cat /run/stubs/said") == "git pull\nmake install\n"
    assert mail(server, "second@example.org").startswith("250")


def test_taken_out_nothing_is_left_and_mail_goes_on(server: Machine, way: Way) -> None:
    """P19: the page's order: plugins, daemon, what they wrote, the program."""
    plugins, rest = blocks("docs/everyday/taking-out.md", "qmail")
    server.run(plugins)
    server.run(way.remove)
    still = "pgrep -f '[g]reylag.* serve' || echo none"
    assert server.eventually(still, "none") == "none\n"
    server.run(RELEASE)
    server.run(rest)
    for folder in ("/var/lib", "/var/log", "/run", "/etc", "/usr/local/bin", "/opt"):
        assert "greylag" not in server.run(f"ls {folder}")
    assert "greylag" not in server.run("ls /etc/service /etc/systemd/system /var/qmail/plugins")
    assert mail(server, "third@example.org").startswith("250")
