"""P20: `greylag setup qmail` on a qmail home as the guide leaves it, while mail comes.

The guide's plugins, MySQL tables and run script under Debian's own daemontools, in a machine of the
test's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e.plugin import needed
from tests.e2e.postfix import opened
from tests.e2e.setting_up import end_loop, looked, problems, start_loop
from tests.e2e.test_daemon_page import CLIENT, SITE
from tests.servers.machine import Machine, machine
from tests.servers.mariadb import Database, MariaDb

# What the guide leaves: the old programs (these let all mail in), and the files that it tells.
GUIDE = """
install -d -m 755 /var/qmail/bin /var/qmail/plugins
printf '#!/bin/sh\\ncd /var/qmail # and then control/smtpplugins is read\\n
exec /usr/bin/python3 -I /opt/host/tests/host/qmail_smtpd.py\\n' > /var/qmail/bin/qmail-smtpd
printf '#!/bin/sh\\nexit 0\\n' > /var/qmail/plugins/greylisting
printf '#!/bin/sh\\nexit 0\\n' > /var/qmail/plugins/skipifauth
chmod 755 /var/qmail/bin/qmail-smtpd /var/qmail/plugins/*
cat > /var/qmail/control/smtpplugins <<'END'
# smtpplugins sample file

# other lines here

[rcpt]
plugins/skipifauth
plugins/greylisting
END
install -d /home/vpopmail/etc
echo ':allow' > /home/vpopmail/etc/tcp.smtp
tcprules /home/vpopmail/etc/tcp.smtp.cdb /home/vpopmail/etc/tmp < /home/vpopmail/etc/tcp.smtp
install -d /var/qmail/supervise/qmail-smtpd
cat > /var/qmail/supervise/qmail-smtpd/run <<'END'
#!/bin/sh
QMAILDUID=`id -u vpopmail`
NOFILESGID=`id -g vpopmail`
export GREYLISTING=""
exec softlimit -m 90000000 \\
    tcpserver -vHRl0 -x /home/vpopmail/etc/tcp.smtp.cdb -c 40 \\
    -u "$QMAILDUID" -g "$NOFILESGID" 192.0.2.25 2525 \\
    /var/qmail/bin/qmail-smtpd > /var/log/smtpd 2>&1
END
chmod 755 /var/qmail/supervise/qmail-smtpd/run
ln -s /var/qmail/supervise/qmail-smtpd /etc/service/qmail-smtpd
systemctl start daemontools-run
"""
MYSQL = """
cat > /var/qmail/control/mysql.cnf <<'END'
[client]
socket={socket}
user={user}
password={password}
database={database}
END
chown vpopmail:vchkpw /var/qmail/control/mysql.cnf
chmod 600 /var/qmail/control/mysql.cnf
printf 'mysql_default_file=control/mysql.cnf\\nblock_expire=2\\nrecord_expire=2000\\n\
record_expire_good=36\\nloglevel=4\\n' > /var/qmail/control/greylisting
"""
BY_HAND = """
mkdir -p /etc/greylag/service
install -d -o vpopmail -g vchkpw -m 2770 /var/lib/greylag
cat > /etc/greylag/service/run <<'END'
#!/bin/sh
install -d -o vpopmail -g vchkpw /run/greylag
BY=hand exec setuidgid vpopmail /usr/local/bin/greylag --qmail-home /var/qmail serve 2>&1
END
chmod 755 /etc/greylag/service/run
ln -s /etc/greylag/service /etc/service/greylag
"""
OUTSIDE = "192.0.2.17"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    needed("svscan", "daemontools")
    needed("cc", "gcc")
    with machine(tmp_path_factory.mktemp("machine")) as made:
        made.run(SITE + GUIDE)
        made.eventually("cat /var/log/smtpd", "status")
        yield made


def mail(server: Machine, sender: str) -> str:
    return server.python(CLIENT, sender)


def messages(server: Machine) -> int:
    return int(server.run("find /var/qmail/queue/new -type f 2>/dev/null | wc -l"))


def test_from_the_guide_to_greylisting_and_back_while_mail_comes(
    server: Machine, mariadb: MariaDb, database: Database
) -> None:
    """P1, P19: no session is refused, a second run changes no byte, undo leaves what was there."""
    opened(mariadb.folder)
    with mariadb.connect() as cursor:
        cursor.execute("CREATE USER guide IDENTIFIED BY 'secret'")
        cursor.execute("GRANT ALL ON *.* TO guide")
    server.run(
        MYSQL.format(socket=mariadb.socket, user="guide", password="secret", database=database.name)
    )
    # The old settings also bring the old program's text.
    deferral = "451 temporary failure (#4.3.0)"
    kept = messages(server)
    before = looked(server)
    start_loop(server, 2525, OUTSIDE)
    dry = server.run("greylag setup qmail --dry-run")
    assert "as vpopmail:vchkpw" in dry
    assert looked(server) == before

    told = server.run("greylag setup qmail --yes")
    assert "the daemon, under daemontools" in told
    assert "records: MySQL, as control/greylisting says" in told
    assert "greylisting works" in told
    assert problems(server) == []
    assert mail(server, "first@example.org").startswith(deferral)
    assert "one-shot" not in server.run("cat /var/log/smtpd")

    after = looked(server)
    assert "nothing to do" in server.run("greylag setup qmail --yes")
    assert looked(server) == after

    assert "as it was before" in server.run("greylag setup qmail --undo --yes --purge")
    sessions = end_loop(server)
    assert sorted(set(looked(server)) ^ set(before)) == []
    bad = [
        line for line in sessions if not line.startswith("250 ") and not line.startswith(deferral)
    ]
    assert bad == []
    assert len(sessions) > 20
    accepted = sum(line.startswith("250 ") for line in sessions)
    assert messages(server) - kept == accepted
    assert any(line.startswith(deferral) for line in sessions)
    assert mail(server, "first@example.org").startswith("250")
    assert server.run("ls -d /var/lib/greylag /var/log/greylag 2>/dev/null || true") == ""


def test_json(server: Machine) -> None:
    document = json.loads(server.run("greylag setup qmail --dry-run --json"))
    assert document["changed"] is False
    assert "/var/qmail/plugins/greylisting" in [one["path"] for one in document["changes"]]


def test_a_service_that_ran_before_runs_again(server: Machine) -> None:
    """P19: its own run script is back, and what runs is what that script starts."""
    server.run("rm -f /var/qmail/control/greylisting")
    server.run(BY_HAND)
    by_hand = "tr '\\0' '\\n' < /proc/$(pgrep -u vpopmail -f '[g]reylag.* serve')/environ | grep BY"
    assert server.eventually(by_hand, "BY=hand") == "BY=hand\n"
    server.run("greylag setup qmail --yes")
    ours = by_hand.replace("grep BY", "grep -q BY || echo ours")
    assert "ours" in server.eventually(ours, "ours")
    told = server.run("greylag setup qmail --undo --yes")
    assert "as it was before" in told
    assert server.eventually(by_hand, "BY=hand") == "BY=hand\n"
    assert "up (pid" in server.run("svstat /etc/greylag/service")
