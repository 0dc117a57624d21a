"""`greylag doctor` on a machine with qmail and Debian's Postfix: silent where all is well.

Then things are broken one by one: doctor names each by its code, and its own advice, run as it
stands, mends it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from greylag.app.contrib import Places, read
from tests.e2e.plugin import needed
from tests.e2e.test_breaks_postfix import BROKEN as POSTFIX
from tests.e2e.test_breaks_qmail import BROKEN as QMAILS
from tests.e2e.test_postfix_page import SECTIONS, SITE
from tests.servers.machine import Machine, machine

RUN = "/var/qmail/supervise/qmail-smtpd/run"
TOML = "/etc/greylag/greylag.toml"
DB = "/var/lib/greylag/greylag.db"
PLUGINS = "/var/qmail/control/smtpplugins"
QMAIL = f"""
groupadd -g 2108 vchkpw
touch /etc/crontab
useradd -u 7791 -g vchkpw --create-home --home-dir /home/vpopmail vpopmail
cd /var && mkdir -p qmail/bin qmail/control qmail/plugins qmail/supervise/qmail-smtpd
printf 'built with control/smtpplugins' > /var/qmail/bin/qmail-smtpd
chmod 755 /var/qmail/bin/qmail-smtpd
cat > {RUN} <<'END'
#!/bin/sh
QMAILDUID=`id -u vpopmail`
NOFILESGID=`id -g vpopmail`
export GREYLISTING=""
exec softlimit -m 60000000 tcpserver -v -R -l 0 -x /etc/tcp.smtp.cdb -c 40 \\
    -u "$QMAILDUID" -g "$NOFILESGID" 0 25 /var/qmail/bin/qmail-smtpd 2>&1
END
chmod 755 {RUN}
printf '127.:allow,RELAYCLIENT=""\\n:allow\\n' > /etc/tcp.smtp
tcprules /etc/tcp.smtp.cdb /etc/tcp.smtp.tmp < /etc/tcp.smtp
mkdir -p /etc/greylag
printf '[dns]\\nservers = "off"\\n[server]\\npolicy = ["127.0.0.1:10023"]\\n[policy]\\n' > {TOML}
greylag qmail install --native --edit
"""
RCPT, DATA = "smtpd_recipient_restrictions", "smtpd_data_restrictions"
OWN, FIRST = "permit_mynetworks, permit_sasl_authenticated", "reject_unauth_destination"
PORT = "inet:127.0.0.1:10023"
ASK = f"check_policy_service {{ {PORT}, timeout=5s, default_action=DUNNO }}"

# What is broken, by which code it is named, and how.
BROKEN = {
    "ifauthskip stands behind greylisting": (
        "plugin-order",
        f"printf '[rcpt]\\nplugins/greylisting\\nplugins/ifauthskip\\n' > {PLUGINS}",
    ),
    "ifauthskip is not named": (
        "ifauthskip-missing",
        f"printf '[rcpt]\\nplugins/greylisting\\n' > {PLUGINS}",
    ),
    "greylisting is not named": ("plugin-unnamed", f"printf '[rcpt]' > {PLUGINS}"),
    "greylisting is named in another section": (
        "plugin-unnamed",
        f"printf '[mail]\\nplugins/ifauthskip\\nplugins/greylisting\\n' > {PLUGINS}",
    ),
    "a plugin of ours is gone": ("plugin-missing", "rm /var/qmail/plugins/ifauthskip"),
    "another plugin is gone": ("plugin-missing", f"echo plugins/nosuch >> {PLUGINS}"),
    "a plugin is for root alone": ("plugin-rights", "chmod 700 /var/qmail/plugins/greylisting"),
    "the folder of plugins is for root alone": ("plugin-rights", "chmod 700 /var/qmail/plugins"),
    "qmail-smtpd was built anew without the patch": (
        "spp-missing",
        "cd /var/qmail/bin && cp -p qmail-smtpd qmail-smtpd.spp && printf plain > qmail-smtpd",
    ),
    "qmail-smtpd wants ENABLE_SPP": (
        "spp-disabled",
        "printf ENABLE_SPP >> /var/qmail/bin/qmail-smtpd",
    ),
    "nothing sets GREYLISTING": ("greylisting-unset", f"sed -i /GREYLISTING/d {RUN}"),
    "softlimit is low": ("softlimit", f"sed -i 's/60000000/8000000/' {RUN}"),
    "jgreylist has no tree": (
        "jgreylist",
        (
            f"sed -i 's|/var/qmail/bin/qmail-smtpd|/var/qmail/plugins/jgreylist &|;"
            f" 2iexport JGREYLIST_DIR=/var/qmail/jgreylist' {RUN}"
        ),
    ),
    "jgreylist's tree is root's": (
        "jgreylist",
        (
            f"sed -i 's|/var/qmail/bin/qmail-smtpd|/var/qmail/plugins/jgreylist &|;"
            f" 2iexport JGREYLIST_DIR=/var/qmail/tree' {RUN}; install -d -m 0700 /var/qmail/tree"
        ),
    ),
    "tcprules are older than their source": (
        "tcprules-stale",
        "touch -d '1 hour ago' /etc/tcp.smtp.cdb",
    ),
    "the Python of the one-shot is gone": (
        "python-moved",
        "sed -i '1s|#!.* |#!/opt/gone/bin/python |' /var/qmail/plugins/greylisting-oneshot",
    ),
    "the old plugin is back": (
        "old-plugin",
        "cp /bin/true /var/qmail/plugins/greylisting",
    ),
    "the socket moved, and the C plugin does not know it": (
        "plugin-socket",
        (
            f"sed -i 's|^policy|socket = \"/run/greylag/other.sock\"\\n&|' {TOML}"
            " && systemctl restart greylag"
        ),
    ),
    "an unknown setting": ("settings", f"printf 'delai = \"5m\"\\n' >> {TOML}"),
    "settings that are no TOML": ("settings", f"echo 'oops oops' >> {TOML}"),
    "settings for root alone": ("settings-permissions", f"chmod 600 {TOML}"),
    "settings in a folder for root alone": ("settings-permissions", "chmod 700 /etc/greylag"),
    "a retry has no time": (
        "delay-window",
        f"printf 'retry_window = \"10m\"\\n' >> {TOML}",
    ),
    "greylisting is switched off": ("switched-off", "greylag off"),
    "greylisting is off in the settings": (
        "switched-off",
        f"printf 'greylist = \"off\"\\n' >> {TOML}",
    ),
    "the plugins read other settings": (
        "other-settings",
        f"cp {TOML} /etc/greylag/o.toml; greylag --config /etc/greylag/o.toml qmail install",
    ),
    "the folder of the database is gone": (
        "db-missing",
        "systemctl stop greylag; rm -r /var/lib/greylag",
    ),
    "the database is root's": ("db-permissions", f"chown root:root {DB}; chmod 600 {DB}"),
    "the folder of the database is root's": (
        "db-folder",
        "chown root:root /var/lib/greylag; chmod 700 /var/lib/greylag",
    ),
    "the database is open to all": ("db-open", f"chmod o+r {DB}"),
    "the option file is open to all": (
        "mysql-cnf",
        (
            "printf '[client]\\nuser=a\\npassword=b\\ndatabase=c\\n' > /etc/greylag/my.cnf"
            f" && printf '[store]\\nurl = \"mysql:?default_file=/etc/greylag/my.cnf\"\\n' >> {TOML}"
        ),
    ),
    "the option file is root's": (
        "mysql-cnf",
        (
            "printf '[client]\\nuser=a\\npassword=b\\ndatabase=c\\n' > /etc/greylag/my.cnf"
            f" && printf '[store]\\nurl = \"mysql:?default_file=/etc/greylag/my.cnf\"\\n' >> {TOML}"
            " && chmod 600 /etc/greylag/my.cnf"
        ),
    ),
    "the daemon is stopped": ("daemon", "systemctl stop greylag"),
    "the socket is closed": ("socket-permissions", "chmod 0 /run/greylag/greylag.sock"),
    "the socket's folder is root's": (
        "socket-permissions",
        "chown root:root /run/greylag; chmod 700 /run/greylag",
    ),
    "the daemon's program is gone": (
        "daemon-program",
        (
            "sed -i 's|/usr/local/bin/greylag|/opt/gone/bin/greylag|'"
            " /etc/systemd/system/greylag.service"
        ),
    ),
    "the old clean-up runs from cron": (
        "old-cleanup",
        "echo '0 2 * * * root /usr/local/sbin/greylisting_cleanup.sh' > /etc/cron.d/greylisting",
    ),
    "jgreylist's clean-up runs from cron": (
        "old-cleanup",
        "echo '0 2 * * * root /usr/local/sbin/jgreylist_clean >> /var/log/cron' >> /etc/crontab",
    ),
    "no name server answers": (
        "resolver",
        f"sed -i 's/^servers.*/servers = [\"192.0.2.25:9\"]/' {TOML}",
    ),
    "the dashboard's passwords are open": (
        "web-users",
        "printf '' > /var/lib/greylag/web-users; chmod 644 /var/lib/greylag/web-users",
    ),
    "Postfix asks before its own networks": (
        "postfix-own-networks",
        f"postconf -e '{RCPT} = {FIRST}, reject_unlisted_recipient, {ASK}, {OWN}'",
    ),
    "Postfix asks before relaying is refused": (
        "postfix-unauth",
        (
            f"postconf -e 'smtpd_relay_restrictions = permit'"
            f" '{RCPT} = {OWN}, reject_unlisted_recipient, {ASK}, {FIRST}'"
        ),
    ),
    "Postfix asks about recipients who are not there": (
        "postfix-unlisted",
        f"postconf -e '{RCPT} = {OWN}, {FIRST}, {ASK}, reject_unlisted_recipient'",
    ),
    "Postfix asks at DATA alone": ("postfix-recipient", f"postconf -e '{RCPT} = {OWN}, {FIRST}'"),
    "Postfix does not ask at DATA": ("postfix-data", f"postconf -e '{DATA} ='"),
    "Postfix answers 451 without a daemon": (
        "postfix-default-action",
        f"postconf -e '{DATA} = {OWN}, {ASK.replace('default_action=DUNNO', '')}'",
    ),
    "Postfix waits long": (
        "postfix-timeout",
        f"postconf -e '{DATA} = {OWN}, {ASK.replace('timeout=5s,', '')}'",
    ),
    "Postfix defers with its own code": (
        "postfix-defer-code",
        "postconf -e 'access_map_defer_code = 450'",
    ),
    "Postfix asks outside of its chroot": (
        "postfix-socket",
        f"postconf -e '{DATA} = {OWN}, {ASK.replace(PORT, 'unix:/run/greylag/greylag.sock')}'",
    ),
    "Postfix may not enter the folder of the socket": (
        "postfix-socket",
        (
            "install -d -o vpopmail -g vchkpw -m 0700 /var/spool/postfix/greylag;"
            f" sed -i 's|^policy|socket = \"/var/spool/postfix/greylag/greylag.sock\"\\n&|' {TOML};"
            " systemctl restart greylag;"
            f" postconf -e '{DATA} = {OWN}, {ASK.replace(PORT, 'unix:greylag/greylag.sock')}'"
        ),
    ),
    "Postfix asks at another place": (
        "postfix-socket",
        f"postconf -e '{DATA} = {OWN}, {ASK.replace(PORT, 'unix:greylag/none')}'",
    ),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    needed("postfix", "postfix")
    needed("tcprules", "ucspi-tcp")
    unit = read("systemd/greylag.service", Places(user="vpopmail", group="vchkpw")).decode()
    with machine(tmp_path_factory.mktemp("machine")) as made:
        made.run(SITE)
        made.run(QMAIL)
        made.run(f"cat > /etc/systemd/system/greylag.service <<'END'\n{unit}END\n")
        made.run("systemctl daemon-reload && systemctl start greylag")
        made.run(SECTIONS["Postfix asks it"])
        made.run(SAVE)
        yield made


SAVED = "etc/greylag etc/postfix/main.cf etc/crontab etc/tcp.smtp.cdb etc/systemd/system var/qmail"
SAVE = f"tar -C / -cpf /opt/saved.tar {SAVED}"
RESTORE = """
systemctl stop greylag
rm -rf /var/qmail /etc/greylag /etc/cron.d/greylisting /var/lib/greylag
tar -C / -xpf /opt/saved.tar
systemctl daemon-reload
systemctl start greylag
postfix reload
"""


def looked(place: Machine) -> dict[str, dict[str, str]]:
    """Return the problems that doctor tells, by their codes."""
    told = json.loads(place.run("greylag doctor --json 2>&1 || :"))
    assert not [one for one in told["checks"] if one["level"] == "skipped"], told
    return {one["code"]: one for one in told["checks"] if one["level"] != "ok"}


def test_it_is_silent_where_all_is_well(place: Machine) -> None:
    assert looked(place) == {}
    shown = place.run("greylag doctor")
    assert {line.split()[0] for line in shown.splitlines()} == {"ok"}
    assert place.run("greylag doctor --changes") == ""


def test_a_full_disk_is_told(place: Machine) -> None:
    place.run(
        "mkdir -p /opt/small && mount -t tmpfs -o size=4m tmpfs /opt/small && chmod 777 /opt/small"
        f" && printf '[store]\nurl = \"sqlite:///opt/small/greylag.db\"\n' >> {TOML}"
    )
    try:
        assert looked(place)["disk"]["level"] == "error"
    finally:
        place.run(f"{RESTORE} umount /opt/small")


def test_without_roots_rights_it_judges_by_modes_and_finds_nothing_wrong(place: Machine) -> None:
    told = json.loads(place.run("runuser -u vpopmail -- greylag doctor --json 2> /dev/null"))
    assert {one["level"] for one in told["checks"]} <= {"ok", "skipped"}
    stranger = json.loads(place.run("runuser -u nobody -- greylag doctor --json 2> /dev/null || :"))
    assert {one["code"] for one in stranger["checks"] if one["level"] == "error"} <= {"daemon"}


def once_a_code() -> list[str]:
    """Return the first of each code that other tests do not have; all where there is time."""
    if os.environ.get("GREYLAG_SOAK"):
        return list(BROKEN)
    others = {one.code for broken in (POSTFIX, QMAILS) for one in broken.values()}
    first = {code: what for what, (code, _how) in reversed(BROKEN.items()) if code not in others}
    return [what for what in BROKEN if what in first.values()]


@pytest.mark.parametrize("what", once_a_code())
def test_its_own_advice_mends_what_is_broken(place: Machine, what: str) -> None:
    code, breaking = BROKEN[what]
    place.run(breaking)
    whole = False
    try:
        found = looked(place)
        assert code in found, found
        place.run(found[code]["mend"])
        after = looked(place)
        assert code not in after, after
        if code == "mysql-cnf":  # no server is there
            return
        for one in after.values():
            place.run(one["mend"])
        whole = not after or looked(place) == {}
        assert whole, looked(place)
    finally:
        if not whole or code == "jgreylist":
            place.run(RESTORE)
