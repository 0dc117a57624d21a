"""`greylag setup` where things go wrong, or are unusual, while mail comes.

One machine with both mail servers, under systemd; nothing of this one's is touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

import pytest

from tests.e2e.plugin import needed
from tests.e2e.setting_up import end_loop, looked, problems, start_loop
from tests.e2e.test_daemon_page import SITE as QMAIL
from tests.e2e.test_postfix_page import OUTSIDE
from tests.e2e.test_postfix_page import SITE as POSTFIX
from tests.e2e.test_service_files import RUNIT
from tests.servers.machine import Machine, machine
from tests.servers.mariadb import MariaDb

# A qmail that never had a plugin. Its process has the name of the real one, by which it is found.
FRESH = """
install -d -m 755 /var/qmail/bin
ln -s /usr/bin/python3 /opt/host/qmail-smtpd
printf '#!/bin/sh\\ncd /var/qmail # and then control/smtpplugins is read\\n
exec /opt/host/qmail-smtpd -I /opt/host/tests/host/qmail_smtpd.py\\n' > /var/qmail/bin/qmail-smtpd
chmod 755 /var/qmail/bin/qmail-smtpd
echo '# no plugins yet' > /var/qmail/control/smtpplugins
cd /var/qmail
GREYLISTING= setsid setuidgid vpopmail tcpserver -vHRl0 192.0.2.25 2525 \\
    /var/qmail/bin/qmail-smtpd > /var/log/smtpd 2>&1 < /dev/null &
"""
# A session that is open while undo runs: it has read the lines that name our plugins.
OPEN = """
import smtplib, time, os
with smtplib.SMTP("192.0.2.25", 2525, "mail.example.org", 30, ("192.0.2.17", 0)) as smtp:
    smtp.ehlo()
    open("/run/session-open", "w").close()
    while not os.path.exists("/run/session-goes-on"):
        time.sleep(0.05)
    smtp.mail("open@example.org")
    print(*smtp.rcpt("alice@example.net"), file=open("/run/session-said", "w"))
"""
SIGN_IN = """python3 -c 'import urllib.request as u
print(u.urlopen("http://127.0.0.1:8025/sign-in").status)'"""
DEFERRED = "451 4.7.1 Greylisted"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    needed("postfix", "postfix")
    needed("cc", "gcc")
    with machine(tmp_path_factory.mktemp("machine")) as made:
        made.run(POSTFIX)
        made.run(QMAIL + FRESH)
        made.eventually("cat /var/log/smtpd", "status")
        yield made


def not_good(sessions: list[str]) -> list[str]:
    """Return what was neither accepted nor deferred by us."""
    assert len(sessions) > 5
    return [line for line in sessions if not line.startswith("250 ") and "Greylisted" not in line]


def there(server: Machine) -> set[str]:
    return set(looked(server))


def test_a_daemon_that_does_not_start_takes_all_back(server: Machine) -> None:
    """P1: main.cf is changed when the daemon answers, not before."""
    server.run(
        "mkdir -p /etc/systemd/system/greylag.service.d; "
        "printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' "
        "> /etc/systemd/system/greylag.service.d/broken.conf"
    )
    before = there(server)
    start_loop(server, 25, OUTSIDE)
    told = server.run("greylag setup postfix --yes && exit 9 || echo code $?")
    assert "`systemctl restart greylag` failed with exit code 1" in told
    assert "all that was changed is as it was before" in told
    assert "code 1" in told
    assert there(server) ^ before == set()
    server.run("rm -r /etc/systemd/system/greylag.service.d; systemctl daemon-reload")
    assert not_good(end_loop(server)) == []
    assert "greylag" not in server.run("cat /etc/passwd; ls /var/lib /var/spool/postfix")


def test_the_tables_of_an_empty_database_are_made(server: Machine, mariadb: MariaDb) -> None:
    """Without them the daemon would defer no mail."""
    database = mariadb.database()
    there = f"/run/mysqld/{mariadb.socket.name}"
    options = database.option_file.read_text().replace(str(mariadb.socket), there)
    server.run(
        f"mkdir -p /run/mysqld; mount --bind {mariadb.socket.parent} /run/mysqld; "
        f"printf %s {quote(options)} > /etc/greylag.cnf; chmod 644 /etc/greylag.cnf"
    )
    told = server.run("greylag setup postfix --yes --mysql-options /etc/greylag.cnf")
    assert "greylisting works" in told
    assert "the tables are in the database" in told
    assert [list(r) for r in database.rows("SHOW TABLES LIKE '%g_data'")] == [["greylisting_data"]]
    server.run("greylag setup postfix --undo --yes --purge; umount /run/mysqld")


@pytest.mark.parametrize("seconds", [0.7, 1.4, 2.1])
def test_a_setup_that_is_killed_is_undone(server: Machine, seconds: float) -> None:
    before = there(server)
    start_loop(server, 25, OUTSIDE)
    server.run(f"timeout -s KILL {seconds} greylag setup postfix --yes > /dev/null || true")
    server.run("greylag setup postfix --undo --yes --purge || true")
    assert not_good(end_loop(server)) == []
    assert there(server) ^ before == set()
    assert "greylag" not in server.run("cat /etc/passwd; ls /var/lib /var/spool/postfix")


@pytest.mark.parametrize("name", ["INT", "TERM", "HUP"])
def test_a_setup_that_is_interrupted_takes_all_back(server: Machine, name: str) -> None:
    """A connection that is lost ends it by SIGHUP, and nobody may be there to undo it."""
    slow = "/etc/systemd/system/greylag.service.d"
    server.run(
        f"mkdir -p {slow}; printf '[Service]\\nExecStartPre=/bin/sleep 9\\n' > {slow}/slow.conf"
    )
    before = there(server)
    server.run(
        "setsid /usr/bin/env --default-signal=INT greylag setup postfix --yes "
        "> /var/log/interrupted 2>&1 < /dev/null & echo $! > /run/setup.pid"
    )
    started = server.eventually("systemctl is-active greylag || true", "activating")
    assert started == "activating\n"
    server.run(f"kill -{name} $(cat /run/setup.pid)")
    still = "kill -0 $(cat /run/setup.pid) 2>/dev/null && echo runs || echo ended"
    assert server.eventually(still, "ended") == "ended\n"
    assert "interrupted" in server.run("cat /var/log/interrupted")
    assert there(server) ^ before == set()
    server.run(f"rm -r {slow}; systemctl daemon-reload")


def test_postfix_has_to_run_before_anything_is_changed(server: Machine) -> None:
    server.run("postfix stop")
    before = there(server)
    told = server.run("greylag setup postfix --yes || true")
    assert "Postfix is not running: start it first" in told
    assert there(server) ^ before == set()
    server.run("INVOCATION_ID=test postfix start")


def test_dashboard_and_completion(server: Machine) -> None:
    listening = (
        "setsid /usr/bin/python3 -Im http.server --bind 127.0.0.1 8025 >/dev/null 2>&1 & echo $!"
    )
    pid = server.run(listening).strip()
    server.eventually("ss -ltn", "127.0.0.1:8025")
    before = there(server)
    told = server.run("greylag setup postfix --yes --dashboard || echo code $?")
    assert "the dashboard cannot listen at 127.0.0.1:8025" in told
    assert there(server) ^ before == set()
    server.run(f"kill {pid}; while kill -0 {pid} 2>/dev/null; do sleep 0.1; done")

    told = server.run("greylag setup postfix --yes --dashboard")
    assert told.endswith("  greylag web passwd admin\n  systemctl start greylag-web\n")
    failed = server.eventually("systemctl is-active greylag-web || true", "failed")
    assert failed == "failed\n"  # it is not started again and again
    (told_by_doctor,) = [one for one in problems(server) if "web-no-user" in str(one)]
    server.run(f"echo a-long-pass-phrase | ({told_by_doctor['mend']})")
    assert "200" in server.eventually(f"{SIGN_IN} 2>/dev/null", "200")
    assert "web-no-user" not in str(problems(server))
    assert "User=greylag" in server.run("systemctl cat greylag-web")
    completed = server.run(
        "bash -c '. /usr/local/share/bash-completion/completions/greylag; "
        "COMP_WORDS=(greylag se) COMP_CWORD=1; _greylag_completion greylag; "
        'echo "${COMPREPLY[@]}"\''
    )
    assert "setup" in completed.split()
    server.run("greylag setup postfix --undo --yes --purge")
    assert there(server) ^ before == set()


def test_sessions_that_know_the_plugins_keep_them(server: Machine) -> None:
    """P19: undo waits for a session that has read our lines, and no recipient is refused."""
    before = there(server)
    start_loop(server, 2525, OUTSIDE)
    told = server.run("greylag setup qmail --yes")
    assert "the daemon, under systemd" in told
    assert "the plugin works" in told
    server.run(f"cat > /opt/open.py <<'END'\n{OPEN}\nEND\n")
    server.run("setsid /usr/bin/python3 -I /opt/open.py > /dev/null 2>&1 < /dev/null &")
    assert server.eventually("ls /run/session-open", "session-open")
    told = server.run("greylag setup qmail --undo --yes --purge || echo code $?", timeout=120)
    assert "1 sessions of qmail-smtpd may still call the plugins" in told
    assert "code 1" in told
    assert server.run("ls /var/qmail/plugins/greylisting")
    server.run("touch /run/session-goes-on")
    said = server.eventually("cat /run/session-said", "451")
    assert said.startswith("451 b'4.7.1 Greylisted")
    server.run("greylag setup qmail --undo --yes --purge")
    sessions = end_loop(server)
    assert not_good(sessions) == []
    assert there(server) ^ before == set()


def test_jgreylist(server: Machine) -> None:
    before = there(server)
    told = server.run("greylag setup qmail --yes --by jgreylist --oneshot")
    assert "the plugin works" in told
    assert "GREY" in told
    assert "left to you: put /var/qmail/plugins/jgreylist before" in told
    server.run("greylag setup qmail --undo --yes --purge")
    assert there(server) ^ before == set()


def test_runit(server: Machine) -> None:
    if not (RUNIT / "runsvdir").exists():
        needed("runsvdir", "runit")
    server.run(f"cp {RUNIT}/* /usr/local/bin/; mkdir -p /etc/service")
    server.run("setsid runsvdir -P /etc/service > /dev/null 2>&1 < /dev/null &")
    before = there(server)
    start_loop(server, 2525, OUTSIDE)
    told = server.run("greylag setup qmail --yes --supervisor runit")
    assert "the daemon, under runit" in told
    assert "the plugin works" in told
    assert "verdict=defer" in server.eventually("cat /var/log/greylag/current", "verdict=defer")
    assert "nothing to do" in server.run("greylag setup qmail --yes --supervisor runit")
    server.run("greylag setup qmail --undo --yes --purge")
    assert not_good(end_loop(server)) == []
    assert there(server) ^ before == set()
    assert server.run("pgrep -f '[g]reylag.* serve' || echo none") == "none\n"
