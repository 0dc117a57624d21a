"""What the tests of `greylag setup` share: a loop of sessions, and the files of a machine."""

from __future__ import annotations

import json

from tests.servers.machine import Machine

# Mail comes in all the time. Each line of the log is what became of one session; a mail that was
# accepted is counted, to be found in a mailbox.
LOOP = """
import os, smtplib, sys, time
port, client, message = int(sys.argv[1]), sys.argv[2], b"Subject: loop\\r\\n\\r\\nin the loop\\r\\n"
number = 0
with open("/var/log/loop", "a", buffering=1) as log:
    while not os.path.exists("/run/loop-end"):
        number += 1
        try:
            with smtplib.SMTP("192.0.2.25", port, "mail.example.org", 30, (client, 0)) as smtp:
                smtp.ehlo()
                smtp.mail(f"loop{number}@example.org")
                code, text = smtp.rcpt("alice@example.net")
                if code == 250:
                    code, text = smtp.data(message)
            print(code, text.decode(), file=log)
        except Exception as error:
            print("LOST", repr(error), file=log)
        time.sleep(0.02)
os.remove("/run/loop-end") # the last session is told, too
"""
# All that setup may touch: kind, mode, owner, time of change and content of each path. The rest of
# the system belongs to others, who may install packages meanwhile.
LOOK = """
import hashlib, os, stat, sys
def show(path):
    found = os.lstat(path)
    line = [path, oct(found.st_mode), found.st_uid, found.st_gid]
    if stat.S_ISREG(found.st_mode):
        content = open(path, "rb").read()
        line += [found.st_mtime_ns, hashlib.sha256(content).hexdigest()]
    elif stat.S_ISLNK(found.st_mode):
        line.append(os.readlink(path))
    print(*line)
for top in sys.argv[1:]:
    if os.path.lexists(top):
        show(top)
    for folder, names, files in os.walk(top):
        watched = "supervise" if "run" in files else "queue" # what others keep there changes
        names[:] = sorted(name for name in names if name != watched)
        for name in sorted([*names, *files]):
            show(os.path.join(folder, name))
"""
_USERS = ("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid", "/etc/subgid")
PLACES = (
    *_USERS,
    *("/etc/greylag", "/etc/postfix", "/etc/systemd", "/etc/service", "/etc/cron.d"),
    *("/var/qmail", "/usr/local/bin", "/usr/local/sbin", "/usr/local/share"),
    *("/var/spool/postfix/greylag", "/var/lib/greylag-setup", "/home/vpopmail"),
)


def looked(machine: Machine) -> list[str]:
    """Return a line for each path that setup may touch."""
    rows = [line.split(" ") for line in machine.python(LOOK, *PLACES).splitlines()]
    # useradd and userdel write these anew: the same bytes, at another time.
    return [" ".join(row[:4] + row[5:] if row[0] in _USERS else row) for row in rows]


def start_loop(machine: Machine, port: int, client: str) -> None:
    machine.run(f"cat > /opt/loop.py <<'END'\n{LOOP}\nEND\n")
    machine.run("rm -f /run/loop-end; : > /var/log/loop")
    machine.run(
        f"setsid /usr/bin/python3 -I /opt/loop.py {port} {client} </dev/null >/dev/null 2>&1 &"
    )


def end_loop(machine: Machine) -> list[str]:
    """Return what became of each session."""
    machine.run(
        "touch /run/loop-end; "
        "for n in $(seq 400); do [ -e /run/loop-end ] || exit 0; sleep 0.1; done; exit 1"
    )
    return machine.run("cat /var/log/loop").splitlines()


def problems(server: Machine) -> list[dict[str, str]]:
    """Return what `greylag doctor` finds; a machine of a test's own has no name server."""
    told = json.loads(server.run("greylag doctor --json || :"))
    good = ("ok", "skipped")
    return [one for one in told["checks"] if one["level"] not in good and one["code"] != "resolver"]
