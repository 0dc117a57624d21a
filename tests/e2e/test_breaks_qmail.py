"""A qmail that `greylag setup` has set up, and 30 things of it broken, one by one.

Doctor names each, and its own advice, run as it is printed, mends it. Mail comes in all the time:
no session is refused for good, hangs or is lost.
"""

from __future__ import annotations

from collections.abc import Iterator
from shlex import quote

import pytest

from tests.e2e import breaking
from tests.e2e.breaking import Broken, Sessions
from tests.e2e.plugin import needed
from tests.e2e.setting_up import looked
from tests.e2e.test_daemon_page import CLIENT, SITE
from tests.e2e.test_setup_qmail import GUIDE
from tests.servers.machine import Machine, machine

HOME = "/var/qmail"
PLUGINS = f"{HOME}/control/smtpplugins"
RUN = f"{HOME}/supervise/qmail-smtpd/run"
TOML = "/etc/greylag/greylag.toml"
DB = "/var/lib/greylag/greylag.db"
RULES = "/home/vpopmail/etc/tcp.smtp"
# qmail-smtpd as programs: one with the patch, and one without, which calls no plugins.
SMTPD = """
cat > /opt/smtpd.c <<'END'
#include <stdlib.h>
#include <unistd.h>
#ifdef SPP
const char *reads = "control/smtpplugins";
#endif
int main(void) {
#ifndef SPP
    setenv("NOSPP", "1", 1);
#endif
    if (chdir("/var/qmail")) return 1;
    execl("/usr/bin/python3", "python3", "-I", "/opt/host/tests/host/qmail_smtpd.py", (char *)0);
    return 1;
}
END
cc -DSPP -o /var/qmail/bin/qmail-smtpd /opt/smtpd.c
cc -o /opt/qmail-smtpd.plain /opt/smtpd.c
"""
OWN_SETTINGS = f"""
mkdir -p /etc/greylag
printf '[policy]\\ndelay = "2s"\\n\\n[dns]\\nservers = "off"\\n' > {TOML}
"""
DOWN = (
    "svc -d /etc/service/greylag;"
    " until svstat /etc/service/greylag | grep -q ': down'; do sleep 0.1; done"
)

# Records that waited some days ago, and that the daemon deletes within the hour.
EXPIRED = f"""
import sqlite3, time
old = int(time.time()) - 5 * 86400
with sqlite3.connect("{DB}", timeout=20) as db:
    db.executemany("INSERT INTO records VALUES(0, ?, ?, ?, ?, ?, ?, 1, 0)", [
        (bytes((203, 0, 113, 0)), str(n) + "@example.org", "alice@example.net", old, old + 2, old)
        for n in range(200)])
"""

BROKEN = {
    "ifauthskip stands behind greylisting": Broken(
        "plugin-order",
        f"printf '[rcpt]\\nplugins/greylisting\\nplugins/ifauthskip\\n' > {PLUGINS}",
    ),
    "ifauthskip is not named": Broken(
        "ifauthskip-missing", f"printf '[rcpt]\\nplugins/greylisting\\n' > {PLUGINS}"
    ),
    "greylisting is not named": Broken("plugin-unnamed", f"printf '[rcpt]' > {PLUGINS}"),
    "a plugin of ours is gone": Broken(
        "plugin-missing", f"rm {HOME}/plugins/greylisting", defers=True
    ),
    "another plugin is gone": Broken(
        "plugin-missing", f"echo plugins/nosuch >> {PLUGINS}", defers=True
    ),
    "smtpplugins is gone": Broken("plugin-unnamed", f"rm {PLUGINS}", hangs_up=True),
    "a plugin is for root alone": Broken(
        "plugin-rights", f"chmod 700 {HOME}/plugins/greylisting", defers=True
    ),
    "the folder of plugins is for root alone": Broken(
        "plugin-rights", f"chmod 700 {HOME}/plugins", defers=True
    ),
    "qmail-smtpd was built anew without the patch": Broken(
        "spp-missing",
        f"cd {HOME}/bin && cp -p qmail-smtpd qmail-smtpd.spp && cp /opt/qmail-smtpd.plain new"
        " && mv new qmail-smtpd",
    ),
    "nothing sets GREYLISTING": Broken(
        "greylisting-unset",
        f"sed -i /GREYLISTING/d {RUN} && svc -t {HOME}/supervise/qmail-smtpd",
        restarts=True,
    ),
    "softlimit is low": Broken("softlimit", f"sed -i 's/90000000/8000000/' {RUN}", restarts=True),
    "tcprules are older than their source": Broken(
        "tcprules-stale", f"touch -d '1 hour ago' {RULES}.cdb"
    ),
    "the Python of the one-shot is gone": Broken(
        "python-moved",
        f"sed -i '1s|#!.* |#!/opt/gone/bin/python |' {HOME}/plugins/greylisting-oneshot",
    ),
    "greylag's files are for root alone": Broken("greylag-closed", "chmod 700 /opt/greylag"),
    "the old plugin is back": Broken(
        "old-plugin",
        f"cd {HOME}/plugins && cp -p greylisting.before-greylag new && mv new greylisting",
    ),
    "the socket moved, and the C plugin does not know it": Broken(
        "plugin-socket",
        f"printf '\\n[server]\\nsocket = \"/run/greylag/other.sock\"\\n' >> {TOML}"
        " && svc -t /etc/service/greylag",
    ),
    "an unknown setting": Broken("settings", f"printf 'delai = \"5m\"\\n' >> {TOML}"),
    "settings that are no TOML": Broken("settings", f"echo 'oops oops' >> {TOML}"),
    "settings for root alone": Broken("settings-permissions", f"chmod 600 {TOML}"),
    "settings in a folder for root alone": Broken("settings-permissions", "chmod 700 /etc/greylag"),
    "a retry has no time": Broken(
        "delay-window", f"sed -i 's/^delay.*/&\\nretry_window = \"10m\"/' {TOML}"
    ),
    "greylisting is switched off": Broken("switched-off", "greylag off"),
    "greylisting is off in the settings": Broken(
        "switched-off",
        f"sed -i 's/^delay.*/&\\ngreylist = \"off\"/' {TOML}; svc -h /etc/service/greylag",
    ),
    "the plugins read other settings": Broken(
        "other-settings",
        f"cp {TOML} /etc/greylag/o.toml; greylag --config /etc/greylag/o.toml qmail install",
    ),
    "the folder of the database is gone": Broken("db-missing", f"{DOWN}; rm -r /var/lib/greylag"),
    "the database is root's": Broken("db-permissions", f"chown root:root {DB}; chmod 600 {DB}"),
    "the folder of the database is root's": Broken(
        "db-folder", "chown root:root /var/lib/greylag; chmod 700 /var/lib/greylag"
    ),
    "the database is open to all": Broken("db-open", f"chmod o+r {DB}"),
    "a setting needs DNS, and none is asked": Broken(
        "settings-doubtful", f"sed -i 's/^delay.*/&\\nidentity = \"spf\"/' {TOML}"
    ),
    "nothing of the database can be read": Broken(
        "db-unusable", f"{DOWN}; printf %01000d 0 | dd of={DB} conv=notrunc; rm -f {DB}-*"
    ),
    "nothing deletes expired records": Broken("expiry", f"python3 -c {quote(EXPIRED)}"),
    "the daemon is stopped": Broken("daemon", DOWN),
    "the socket is closed": Broken("socket-permissions", "chmod 0 /run/greylag/*.sock"),
    "the socket's folder is root's": Broken(
        "socket-permissions", "chown root:root /run/greylag; chmod 700 /run/greylag"
    ),
    "the daemon's program is gone": Broken(
        "daemon-program",
        "sed -i 's|/usr/local/bin/greylag|/opt/gone/bin/greylag|' /etc/greylag/service/run",
    ),
    "the old clean-up runs from cron": Broken(
        "old-cleanup",
        "mkdir -p /etc/cron.d; echo '0 2 * * * root /usr/local/sbin/greylisting_cleanup.sh'"
        " > /etc/cron.d/greylisting",
    ),
    "no name server answers": Broken(
        "resolver", f"sed -i 's/^servers.*/servers = [\"192.0.2.25:9\"]/' {TOML}"
    ),
    "no name server of the system answers": Broken(
        "resolver",
        f"sed -i '/^servers/d' {TOML}; echo nameserver 192.0.2.25 > /etc/resolv.conf",
    ),
    "the dashboard's passwords are open": Broken(
        "web-users", "printf '' > /var/lib/greylag/web-users; chmod 644 /var/lib/greylag/web-users"
    ),
}


# What the breaking and mending changed of what is not setup's.
OWN_FILES = {
    f"{HOME}/bin", f"{HOME}/bin/qmail-smtpd", f"{HOME}/bin/qmail-smtpd.spp",
    f"{HOME}/plugins", f"{HOME}/control", PLUGINS, f"{RULES}.cdb", RUN,
    f"{HOME}/supervise/qmail-smtpd", "/home/vpopmail/etc",
    "/etc/cron.d", "/etc/cron.d/greylisting", "/etc/greylag", "/etc/greylag/o.toml",
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    needed("svscan", "daemontools")
    needed("cc", "gcc")
    with machine(tmp_path_factory.mktemp("machine")) as made:
        made.run(SITE + GUIDE)
        made.run(SMTPD + OWN_SETTINGS)
        made.eventually("cat /var/log/smtpd", "status")
        yield made


@pytest.fixture(scope="module")
def sessions(server: Machine) -> Iterator[Sessions]:
    yield breaking.start(server, 2525)
    breaking.end(server)


@pytest.fixture(scope="module")
def before(server: Machine) -> list[str]:
    return looked(server)


def mail(server: Machine, sender: str) -> str:
    return server.python(CLIENT, sender)


def test_setup(server: Machine, before: list[str], sessions: Sessions) -> None:
    assert "greylisting works" in server.run("greylag setup qmail --yes")
    assert mail(server, "first@example.org").startswith("451 4.7.1 Greylisted")
    server.run("sleep 2.1")
    assert mail(server, "first@example.org").startswith("250 ")
    assert breaking.doctor(server) == []
    after = looked(server)
    assert "nothing to do" in server.run("greylag setup qmail --yes")
    assert looked(server) == after
    server.run(f"cp -p {TOML} /opt/toml")
    assert breaking.wrong(sessions.since()) == []


@pytest.mark.parametrize("what", breaking.chosen(BROKEN))
def test_its_own_advice_mends_what_is_broken(
    server: Machine, sessions: Sessions, what: str
) -> None:
    one = BROKEN[what]
    breaking.mended(server, what, one)
    told = sessions.since()
    assert breaking.wrong(told, one) == []
    assert "Greylisted" in breaking.deferred(lambda sender: mail(server, sender))
    assert breaking.wrong(sessions.since(), one) == []


def test_undo(server: Machine, before: list[str], sessions: Sessions) -> None:
    """What an admin did to his own files in between, as doctor told him, stays."""
    told = breaking.undone(server, sessions, "qmail")
    assert breaking.wrong(sessions.all[-5:]) == []
    accepted = sum(line.startswith("250 ") for line in sessions.all)
    assert accepted > 20
    loop = "grep -rl '^Subject: loop' /var/qmail/queue/new | wc -l"
    assert server.run(loop) == f"{accepted}\n"
    changed = {line.split(" ")[0] for line in set(looked(server)) ^ set(before)}
    assert changed - OWN_FILES == set(), told
