"""A machine of a test's own: its own folders (OWN), its own loopback network.

Mount and network namespaces (unshare(1)) make it: what commands change there nobody else sees, and
it is gone with the test. So a page of the handbook can be run as it stands, for root.

Debian's own systemd is its first process, with the few units that a service builds upon: those that
look after devices, file systems, temporary files and the kernel's settings would reach outside.
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
# What the units of a service are ordered by and log to.
UNITS = (
    "basic.target",
    "multi-user.target",
    "network.target",
    "shutdown.target",
    "sysinit.target",
    "systemd-journald.service",
    "systemd-journald.socket",
)
# What Debian's packages bring, where they are installed.
BROUGHT = ("daemontools-run.service",)
START = 60.0
# The root as well: in a chroot that of the namespace is outside, and there all would be real.
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
ENTER = ("nsenter", "--root", "--wd", "--mount", "--net", "--pid", "--cgroup")
ALONE = (
    "unshare",
    "--mount",
    "--net",
    "--pid",
    "--cgroup",
    "--ipc",
    "--uts",
    "--fork",
    "--kill-child",
    "--mount-proc",
)
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
mount -o remount,bind,ro "$3"
printf '#!/opt/greylag/.venv/bin/python\\nfrom greylag.cli.main import main\\nmain()\\n' \
    > /opt/greylag/.venv/bin/greylag
chmod 755 /opt/greylag/.venv/bin/greylag
ln -sf /opt/greylag/.venv/bin/greylag /usr/local/bin/greylag
units=/usr/lib/systemd/system
mkdir "$1/units"
for unit in {units}; do cp "$units/$unit" "$1/units/"; done
for unit in {brought}; do [ ! -e "$units/$unit" ] || cp "$units/$unit" "$1/units/"; done
mkdir "$1/units/sysinit.target.wants"
ln -s "$units/systemd-journald.socket" "$1/units/sysinit.target.wants/"
mount --bind "$1/units" "$units"
mount -t tmpfs tmpfs /usr/lib/systemd/system-generators
mount -t tmpfs tmpfs /etc/systemd
mkdir /etc/systemd/system
printf '[Journal]\nStorage=volatile\nReadKMsg=no\n' > /etc/systemd/journald.conf
mount -t tmpfs tmpfs /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
touch /run/ready
exec env -i container=machine PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=multi-user.target --log-target=null --show-status=no
"""


@dataclass(frozen=True)
class Machine:
    """The processes inside see the folders and the network of this one alone."""

    pid: int

    def _inside(self, *command: str) -> list[str]:
        return [*ENTER, "--target", str(self.pid), "--", *command]

    def run(self, script: str, *, check: bool = True, timeout: float = 60) -> str:
        """Run a shell script as root; return all that it printed."""
        done = subprocess.run(
            self._inside("/bin/sh", "-ec", script),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            env=ENVIRONMENT,
            cwd="/",
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    def python(self, code: str, *arguments: str) -> str:
        """Run a Python program; return what it printed."""
        inside = self._inside("/usr/bin/python3", "-I", "-c", code, *arguments)
        return subprocess.run(
            inside,
            stdout=subprocess.PIPE,
            text=True,
            timeout=120,
            env=ENVIRONMENT,
            cwd="/",
            check=True,
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
    setup = SETUP.format(own=" ".join(OWN), units=" ".join(UNITS), brought=" ".join(BROUGHT))
    outer = subprocess.Popen(
        [*ALONE, "/bin/sh", "-c", setup, "sh", str(scratch), packages, inside],
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
            booted = found.eventually("systemctl is-system-running --wait", "running")
            assert booted == "running\n", booted
            return found
        time.sleep(0.05)
    outer.kill()
    assert outer.stdout is not None
    raise RuntimeError(outer.stdout.read())
