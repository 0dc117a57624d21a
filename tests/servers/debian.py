"""A bare Debian of a test's own: a chroot of tools/package-chroot, with systemd as first process.

The chroot is only read: what is written lies in memory, and is gone with the test. Of its units
those stay that a service builds upon; the others look after devices, file systems and the kernel,
which are not its own.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.machine import ALONE, START, UNITS, Machine

ROOT = Path(__file__).parents[2]
CHROOTS = Path(os.environ.get("GREYLAG_CHROOTS", "/var/cache/greylag"))
SETUP = """set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/up" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/up,workdir=$1/work" "$1/root"
cd "$1/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup
rm -f usr/sbin/policy-rc.d
mkdir kept
for unit in {units}; do mv "usr/lib/systemd/system/$unit" kept/; done
rm -rf usr/lib/systemd/system usr/lib/systemd/system-generators etc/systemd/system
mkdir -p usr/lib/systemd/system-generators etc/systemd/system
mv kept usr/lib/systemd/system
mkdir usr/lib/systemd/system/sysinit.target.wants
ln -s /usr/lib/systemd/system/systemd-journald.socket usr/lib/systemd/system/sysinit.target.wants/
printf '[Journal]\nStorage=volatile\nReadKMsg=no\n' > etc/systemd/journald.conf
ip link set lo up
ip address add 192.0.2.17/32 dev lo
ip address add 192.0.2.25/32 dev lo
mkdir -p mnt
pivot_root . mnt
umount --lazy /mnt
touch /run/ready
exec env -i container=machine PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
    /lib/systemd/systemd --system --unit=multi-user.target --log-target=null --show-status=no
"""


def chroots(release: str) -> tuple[Path, Path]:
    """Return the chroots that build and that run the package; make them where they are missing."""
    made = subprocess.run(
        [ROOT / "tools" / "package-chroot", release],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=1800,
    )
    build, run = made.stdout.split()[-2:]
    return Path(build), Path(run)


@contextlib.contextmanager
def bare_debian(chroot: Path, scratch: Path) -> Iterator[Machine]:
    """Run it; all its processes end with it."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a machine of its own")
    setup = SETUP.format(units=" ".join(UNITS))
    outer = subprocess.Popen(
        [*ALONE, "/bin/sh", "-c", setup, "sh", str(scratch), str(chroot)],
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
            booted = found.eventually("systemctl is-system-running --wait", "running")
            assert booted == "running\n", booted
            return found
        time.sleep(0.05)
    outer.kill()
    assert outer.stdout is not None
    raise RuntimeError(outer.stdout.read())
