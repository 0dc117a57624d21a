"""A machine of a test's own: its own folders (OWN), its own loopback network.

Mount and network namespaces (unshare(1)) make it: what commands change there nobody else sees, and
it is gone with the test. So a page of the handbook can be run as it stands, for root.
systemd cannot run inside: `systemctl` is a small program that does what the unit's lines say.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

OWN = ("/etc", "/var", "/run", "/opt", "/usr/local", "/home")
START = 20.0
SETUP = """set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/packages"
mount --bind "$2" "$1/packages" # now, because its own mount may be hidden by those that follow
for place in {own}; do
    name=$(echo "$place" | tr / _)
    mkdir "$1/$name" "$1/$name.work"
    mount -t overlay overlay -o "lowerdir=$place,upperdir=$1/$name,workdir=$1/$name.work" "$place"
done
mount -t tmpfs tmpfs /run
ip link set lo up
ip address add 192.0.2.17/32 dev lo
ip address add 192.0.2.25/32 dev lo
mkdir -p /opt/greylag/.venv
/usr/bin/python3 -m venv --without-pip /opt/greylag/.venv
mount --bind "$1/packages" "$3"
printf '#!/opt/greylag/.venv/bin/python\\nfrom greylag.cli.main import main\\nmain()\\n' \
    > /opt/greylag/.venv/bin/greylag
chmod 755 /opt/greylag/.venv/bin/greylag
ln -sf /opt/greylag/.venv/bin/greylag /usr/local/bin/greylag
touch /run/ready
exec /usr/bin/python3 -c "$4"
"""
# The first process of a machine has to take leave of all that have ended.
INIT = """import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    signal.pause()
"""
SYSTEMCTL = '''#!/usr/bin/python3
"""Do what systemctl would with a service: enable --now, restart, disable --now."""
import configparser, os, pathlib, pwd, signal, subprocess, sys, time
words = [word for word in sys.argv[1:] if not word.startswith("--")]
if words == ["daemon-reload"]:
    sys.exit()
action, name = words
pid = pathlib.Path(f"/run/{name}.systemctl.pid")
unit = configparser.RawConfigParser(strict=True)
unit.optionxform = str
assert unit.read(f"/etc/systemd/system/{name}.service")
service = unit["Service"]
if pid.exists():
    os.kill(int(pid.read_text()), signal.SIGTERM)
    while pathlib.Path(f"/proc/{pid.read_text()}").exists():
        time.sleep(0.05)
    pid.unlink()
if action in ("enable", "restart"):
    user = pwd.getpwnam(service["User"])
    folder = pathlib.Path("/run") / service["RuntimeDirectory"]
    folder.mkdir(exist_ok=True)
    folder.chmod(int(service["RuntimeDirectoryMode"], 8))
    os.chown(folder, user.pw_uid, user.pw_gid)
    log = open(f"/var/log/{name}.log", "ab")
    started = subprocess.Popen(service["ExecStart"].split(), stdin=subprocess.DEVNULL, stdout=log,
        stderr=log, user=user.pw_uid, group=user.pw_gid, extra_groups=os.getgrouplist(user.pw_name,
        user.pw_gid), env={"PATH": "/usr/bin:/bin"}, start_new_session=True, cwd="/")
    pid.write_text(str(started.pid))
'''


@dataclass(frozen=True)
class Machine:
    """The processes inside see the folders and the network of this one alone."""

    pid: int

    def _inside(self, *command: str) -> list[str]:
        # Without --root a command would see the system's own files if the tests run in a chroot.
        spaces = ("--root", "--mount", "--net", "--pid")
        return ["nsenter", "--target", str(self.pid), *spaces, "--", *command]

    def run(self, script: str, *, check: bool = True, timeout: float = 60) -> str:
        """Run a shell script as root; return all that it printed."""
        done = subprocess.run(
            self._inside("/bin/sh", "-ec", script),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
            cwd="/",
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    def python(self, code: str, *arguments: str) -> str:
        """Run a Python program; return what it printed."""
        inside = self._inside("/usr/bin/python3", "-I", "-c", code, *arguments)
        return subprocess.run(
            inside, stdout=subprocess.PIPE, text=True, timeout=60, cwd="/", check=True
        ).stdout

    def eventually(self, script: str, wanted: str, seconds: float = 20.0) -> str:
        """Run a script until it prints what is wanted; return its last output either way."""
        end = time.monotonic() + seconds
        while wanted not in (shown := self.run(script, check=False)):
            if time.monotonic() > end:
                break
            time.sleep(0.1)
        return shown


@contextlib.contextmanager
def machine(scratch: Path) -> Iterator[Machine]:
    """Run a machine; all its processes end with it."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a machine of its own")
    packages = sysconfig.get_path("purelib")
    inside = packages.replace(sys.prefix, "/opt/greylag/.venv")
    command = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    setup = SETUP.format(own=" ".join(OWN))
    outer = subprocess.Popen(
        [*command, "/bin/sh", "-c", setup, "sh", str(scratch), packages, inside, INIT],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield _when_ready(outer)
    finally:
        outer.kill()
        outer.communicate()


def _when_ready(outer: subprocess.Popen[str]) -> Machine:
    end = time.monotonic() + START
    while time.monotonic() < end and outer.poll() is None:
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        if children and Path(f"/proc/{children[0]}/root/run/ready").exists():
            found = Machine(int(children[0]))
            found.run("test -e /run/ready")  # inside, and so free to change what is there
            found.run("cat > /usr/local/bin/systemctl <<'END'\n" + SYSTEMCTL + "END\n")
            found.run("chmod 755 /usr/local/bin/systemctl")
            return found
        time.sleep(0.05)
    outer.kill()
    assert outer.stdout is not None
    raise RuntimeError(outer.stdout.read())
