"""P20: docs/start/qmail.md, its own lines run as they stand, at the places that they name.

In a mount namespace of its own /var, /run and /usr/local are empty folders in memory, and the users
of the text exist, so that nothing outside is seen or changed. qmail-smtpd's part is the least there
is: the plugins that control/smtpplugins lists, run one after the other as vpopmail without stdin.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from textwrap import dedent

import pytest

from greylag.cli.plugins import unreachable
from greylag.core.shortid import short_id, shown_id
from greylag.core.triplet import Triplet
from tests.e2e.plugin import BIN, needed

ID = shown_id(short_id(Triplet(b"\xc0\0\2\0", "sender@example.org", "you@example.net")))
ROOT = Path(__file__).parent.parent.parent
QMAIL = ROOT / "docs" / "start" / "qmail.md"
TIMEOUT = 120
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has mounts of its own")

PLACES = """
set -eu
mount -t tmpfs t /var; mkdir -p /var/lib /var/qmail/control /var/tmp
mount -t tmpfs t /run; mount -t tmpfs t /usr/local; mkdir /usr/local/bin
[ ! -d /etc/greylag ] || mount -t tmpfs t /etc/greylag
for file in passwd group; do cp /etc/$file /run/$file; done
echo vpopmail:x:7899:7899::/:/bin/sh >>/run/passwd; echo vchkpw:x:7899: >>/run/group
for file in passwd group; do mount --bind /run/$file /etc/$file; done
cat >/usr/local/bin/setuidgid <<'END'
#!/bin/sh
user=$1; shift
exec setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups "$@"
END
chmod 755 /usr/local/bin/setuidgid
PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unset GREYLAG_CONFIG GREYLISTING
rcpt() {
    cd /var/qmail
    sed -n 's#^plugins/#./&#p' control/smtpplugins | while read -r plugin; do
        setuidgid vpopmail env TCPREMOTEIP=192.0.2.17 SMTPMAILFROM=sender@example.org \\
            SMTPRCPTTO=you@example.net "$plugin" <&- 2>&1
    done
}
"""
START = """
chmod 755 /run/service; /run/service >/run/log & daemon=$!
for _ in $(seq 200); do [ -S /run/greylag/greylag.sock ] && break; sleep 0.1; done
"""


def blocks(page: str, heading: str) -> list[str]:
    """Return what is indented in a section, each piece by itself."""
    text = (ROOT / page).read_text()
    section = re.split(r"\n##+ ", text.partition(f"# {heading}\n")[2])[0]
    pieces = re.findall(r"(?:^    .*\n(?:\n(?=    ))*)+", section, re.MULTILINE)
    return [dedent(piece) for piece in pieces]


def one(pieces: list[str], beginning: str) -> str:
    (piece,) = (piece for piece in pieces if piece.startswith(beginning))
    return piece


def qmail_page() -> list[str]:
    """Return what an admin of qmail runs and writes, in the order of the page."""
    page = "docs/start/qmail.md"
    return [*blocks(page, "Install by hand"), *blocks(page, "See that it works")]


def write(path: str, text: str) -> str:
    return f"printf %s {shlex.quote(text)} >{path}\n"


def run(scenario: str) -> str:
    """Run a shell script in a world of its own; return all that it said."""
    needed("cc", "gcc")
    if unreachable(Path("/nowhere")):
        pytest.skip("other users cannot reach this installation")
    alone = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
    done = subprocess.run(
        [*alone, "sh", "-c", PLACES + scenario],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_the_five_minutes() -> None:
    pieces = qmail_page()
    link = re.search(r"^ln -s \S+ (\S+)$", one(pieces, "apt-get"), re.MULTILINE)
    assert link is not None
    plugins, switch = one(pieces, "[rcpt]"), one(pieces, "export GREYLISTING")
    script = one(pieces, "#!/bin/sh")
    said = run(
        f"ln -s {BIN}/greylag {link[1]}\n"
        + one(pieces, "install -d")
        + one(pieces, "greylag qmail install --native")
        + write("/run/service", script)
        + START
        + write("/var/qmail/control/smtpplugins", plugins)
        + switch
        + "echo FIRST; rcpt; echo LOOK\nset +e\n"
        + one(pieces, "greylag check")
        + "set -e; echo AWAY; kill $daemon; wait $daemon || true; rcpt\n"
    )
    first, look = said.partition("FIRST\n")[2].split("LOOK\n")
    look, away = look.split("AWAY\n")
    assert first == f"E451 4.7.1 Greylisted, please try again in 300 seconds (id {ID})\n"
    assert "verdict" in look
    assert "you@example.net" in look
    assert "192.0.2.0/24" in look
    assert "Error" not in look
    assert "the daemon cannot be reached: using the one-shot" in away
    assert "reason=allowed" in away or "reason=allowlisted" in away


def test_without_a_daemon() -> None:
    pieces = qmail_page()
    cron = re.search(r"`[\d* ]+ (/\S+ expire)`", QMAIL.read_text())
    assert cron is not None
    native = one(pieces, "greylag qmail install --native")
    plugins, switch = one(pieces, "[rcpt]"), one(pieces, "export GREYLISTING")
    said = run(
        f"ln -s {BIN}/greylag /usr/local/bin/greylag\n"
        + one(pieces, "install -d")
        + native.replace(" --native", "")
        + write("/var/qmail/control/smtpplugins", plugins)
        + switch
        + f"echo FIRST; rcpt; echo CRON; {cron[1]}\n"
    )
    first, expired = said.partition("FIRST\n")[2].split("CRON\n")
    assert first.startswith(f"E451 4.7.1 Greylisted, please try again in 300 seconds (id {ID})\n")
    assert "reason=new" in first
    assert "Error" not in expired


def test_the_daemon_by_hand() -> None:
    """What the page of the daemon says to try; tests/e2e/test_daemon_page.py has the rest."""
    pieces = blocks("docs/running/daemon.md", "With qmail")
    by_hand = one(pieces, "install -d").replace("greylag serve", "greylag serve >/run/log 2>&1 &")
    native = one(pieces, "apt-get").partition("\n")[2]
    start = START.partition("\n")[2].partition("\n")[2]  # without the run script
    said = run(
        f"ln -s {BIN}/greylag /usr/local/bin/greylag\n"
        "install -d -o vpopmail -g vchkpw -m 2770 /var/lib/greylag\n"
        + write("/var/qmail/control/smtpplugins", "plugins/greylisting\n")
        + "export GREYLISTING=''\n"
        + native
        + by_hand
        + "daemon=$!\n"
        + start
        + "echo FIRST; rcpt; kill $daemon; wait $daemon || true\n"
    )
    assert said.endswith(
        f"FIRST\nE451 4.7.1 Greylisted, please try again in 300 seconds (id {ID})\n"
    )
