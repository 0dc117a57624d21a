"""The service files of `contrib/`, run under Debian's own systemd, daemontools and runit.

systemd here is a machine's first process (tests/servers/machine.py), so the units run with all of
their sandbox.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from greylag.app.contrib import FILES, Places, read
from tests.e2e.plugin import needed
from tests.servers.machine import Machine, machine

ROOT = Path(__file__).parents[2]
RUNIT = ROOT / "build" / "packages" / "runit" / "usr" / "bin"
PLACES = Places(mail="postmaster@example.org")
SITE = """
useradd --system --user-group --home-dir /var/lib/greylag --shell /usr/sbin/nologin greylag
mkdir -p /etc/greylag
printf '[dns]\\nservers = "off"\\n' > /etc/greylag/greylag.toml
"""
QUESTION = """
import socket
with socket.socket(socket.AF_UNIX) as peer:
    peer.connect("/run/greylag/greylag.sock")
    peer.sendall(b"request=smtpd_access_policy\\nprotocol_state=RCPT\\nsender=asked@example.org\\n"
        b"recipient=bob@example.net\\nclient_address=192.0.2.17\\n\\n")
    print(peer.recv(4096).decode())
"""
DEFERRED = "action=DEFER_IF_PERMIT 4.7.1 Greylisted"
# A sendmail that needs its set-gid bit, as Postfix's does.
SENDMAIL = """
mkdir -p /var/sendmail
mount -t tmpfs tmpfs /var/sendmail
mkdir /var/sendmail/up /var/sendmail/work
mount -t overlay overlay \\
    -o lowerdir=/usr/sbin,upperdir=/var/sendmail/up,workdir=/var/sendmail/work /usr/sbin
rm -f /usr/sbin/sendmail
cat > /usr/sbin/sendmail <<'END'
#!/bin/sh
{ echo "to $3"; grep NoNewPrivs /proc/self/status; cat; } > /var/lib/greylag/mailed
END
chmod 755 /usr/sbin/sendmail
"""


def put(server: Machine, name: str, path: str) -> None:
    text = base64.b64encode(read(name, PLACES)).decode()
    folder = path.rpartition("/")[0]
    server.run(f"mkdir -p {folder}; echo {text} | base64 -d > {path}; chmod {FILES[name]:o} {path}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("machine")) as made:
        made.run(SITE)
        for name in FILES:
            if name.startswith("systemd/"):
                put(made, name, f"/etc/systemd/system/{name.partition('/')[2]}")
        made.run("systemctl daemon-reload")
        yield made


def test_the_unit_runs_the_daemon(server: Machine) -> None:
    server.run("systemctl start greylag")
    assert server.python(QUESTION).startswith(DEFERRED)
    pid = server.run("systemctl show -P MainPID greylag").strip()
    status = server.run(f"cat /proc/{pid}/status")
    assert "CapEff:\t0000000000000000\n" in status
    assert "NoNewPrivs:\t1\n" in status
    server.run("systemctl reload greylag")
    of_mail = "journalctl -u greylag --facility=mail"
    assert "event=reloaded" in server.eventually(of_mail, "event=reloaded")


def test_however_often_the_daemon_ends_it_is_started_again(server: Machine) -> None:
    """systemd gives up after five starts in ten seconds, unless the unit says otherwise."""
    server.run("systemctl start greylag")
    for _ in range(7):
        before = server.run("systemctl show -P MainPID greylag").strip()
        server.run(f"kill -9 {before}")
        again = f"""p=$(systemctl show -P MainPID greylag); s=$(systemctl is-active greylag)
        [ $p != {before} ] && [ $s = active ] && echo again"""
        assert server.eventually(again, "again") == "again\n"
    assert server.python(QUESTION).startswith(DEFERRED)


def test_the_unit_runs_the_dashboard_on_the_daemons_records(server: Machine) -> None:
    server.run("systemctl start greylag; systemctl start greylag-web")
    none = server.eventually("journalctl -u greylag-web", "nobody can sign in")
    assert "nobody can sign in" in none
    server.run(
        "echo a-long-pass-phrase | runuser -u greylag -- /usr/local/bin/greylag web passwd alice"
        "; systemctl start greylag-web"
    )
    look = """python3 -c 'import urllib.request as u
print(u.urlopen("http://127.0.0.1:8025/sign-in").status)'"""
    assert server.eventually(look, "200").endswith("200\n")
    server.run("systemctl stop greylag-web")


def test_the_report_is_mailed_by_a_sendmail_that_needs_its_rights(server: Machine) -> None:
    server.run(SENDMAIL)
    server.run("systemctl start greylag; systemctl start greylag-report")
    mailed = server.run("cat /var/lib/greylag/mailed")
    assert mailed.startswith("to postmaster@example.org\nNoNewPrivs:\t0\n")
    assert "Subject: greylag on " in mailed


@pytest.mark.parametrize("name", ["greylag-report", "greylag-doctor"])
def test_a_timer_knows_when_it_comes_next(server: Machine, name: str) -> None:
    server.run(f"systemctl enable --now {name}.timer")
    shown = server.run(f"systemctl show -P NextElapseUSecRealtime {name}.timer")
    assert shown.strip()
    server.run(f"systemctl disable --now {name}.timer")


def test_problems_that_were_found_are_no_failure_of_the_check(server: Machine) -> None:
    """They are in its journal; a failed unit would be told again every day."""
    toml = "/etc/greylag/greylag.toml"
    server.run(f"echo 'oops oops' >> {toml}")
    server.run("systemctl start greylag-doctor")  # ends with 0, or this fails
    server.run(f"sed -i /oops/d {toml}")
    assert "error   settings" in server.run("journalctl -u greylag-doctor -o cat")
    assert server.run("systemctl is-failed greylag-doctor || true") == "inactive\n"


def supervised(server: Machine, kind: str, start: str, stop: str) -> None:
    """Run the scripts; the daemon answers, its log is written, and a HUP reaches it."""
    server.run("systemctl stop greylag; rm -rf /run/greylag /var/log/greylag /var/lib/greylag")
    folder = f"/etc/greylag/{kind}"
    put(server, f"{kind}/run", f"{folder}/run")
    put(server, f"{kind}/log/run", f"{folder}/log/run")
    server.run(f"cd {folder}; (setsid {start} </dev/null >/dev/null 2>&1 &)")
    log = "cat /var/log/greylag/current"
    assert "event=started" in server.eventually(log, "event=started")
    assert server.python(QUESTION).startswith(DEFERRED)
    owners = "stat -c '%U:%G %a' /run/greylag /var/lib/greylag /var/log/greylag"
    own = ["greylag:greylag 750", "greylag:greylag 2770", "greylag:greylag 750"]
    assert server.run(owners).splitlines() == own
    server.run(stop)
    still = "pgrep -f '[g]reylag.* serve' || echo none"
    assert server.eventually(still, "none") == "none\n"


def test_the_run_scripts_under_daemontools(server: Machine) -> None:
    needed("svscan", "daemontools")
    supervised(
        server,
        "daemontools",
        "sh -c 'mkdir /run/scan; ln -s $PWD /run/scan/greylag; exec svscan /run/scan'",
        "rm /run/scan/greylag; svc -dx /etc/greylag/daemontools /etc/greylag/daemontools/log",
    )


def test_the_run_scripts_under_runit(server: Machine) -> None:
    if not (RUNIT / "runsv").exists():
        needed("runsv", "runit")
    path = f"PATH={RUNIT}:$PATH"
    supervised(
        server,
        "runit",
        f"env {path} runsv /etc/greylag/runit",
        f"{path} sv exit /etc/greylag/runit",
    )
