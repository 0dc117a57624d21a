"""Building the Debian package, and a bare Debian to try it on: chroots made with apt."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from greylag import __version__
from tests.e2e.test_dist import LINTIAN
from tests.e2e.test_qmail_page import blocks, one
from tests.servers.debian import chroots
from tests.servers.machine import Machine

ROOT = Path(__file__).parents[2]
RELEASE = os.environ.get("GREYLAG_RELEASE", "bookworm")
PAGE = "docs/start/packages.md"
BEFORE = "~before"  # a version that ends so is lower than that without it
POSTFIX = """
useradd --create-home alice
cp /usr/share/postfix/main.cf.debian /etc/postfix/main.cf
cp /usr/share/postfix/master.cf.dist /etc/postfix/master.cf
echo mx.example.net > /etc/mailname
postconf -e 'compatibility_level = 3.6' 'myhostname = mx.example.net' \\
    'mydestination = example.net, localhost' 'alias_maps =' \\
    'smtpd_relay_restrictions = permit_mynetworks, defer_unauth_destination' \\
    'mynetworks = 127.0.0.0/8 [::1]/128' 'maillog_file = /var/log/mail.log' \\
    'smtpd_peername_lookup = no' 'disable_dns_lookups = yes'
printf 'postlog unix-dgram n - n - 1 postlogd\\n' >> /etc/postfix/master.cf
grep -qs configure-instance /usr/lib/postfix/sbin/post-install ||
    /usr/lib/postfix/configure-instance.sh -
INVOCATION_ID=test postfix start
"""
CLIENT = """
import smtplib, sys
with smtplib.SMTP("192.0.2.25", 25, "mail.example.org", 30, ("192.0.2.17", 0)) as smtp:
    smtp.ehlo()
    smtp.mail(sys.argv[1])
    code, text = smtp.rcpt("alice@example.net")
    if code == 250:
        code, text = smtp.data(b"Subject: hello\\r\\n\\r\\nhello\\r\\n")
print(code, text.decode())
"""
LOG = "journalctl -u greylag -o cat"


@dataclass(frozen=True)
class Built:
    """A package that was there before, and the one of this source."""

    before: Path
    now: Path


def build(chroot: Path, sdist: Path, folder: Path, suffix: str) -> Path:
    """Build in the chroot, which is only read: a copy in memory is what is written to."""
    script = f"""set -e
    mount -t tmpfs tmpfs "$1"; mkdir "$1/up" "$1/work" "$1/root"
    mount -t overlay o -o "lowerdir=$2,upperdir=$1/up,workdir=$1/work" "$1/root"
    mkdir "$1/root/in" "$1/root/out"
    tar -xzf "$3" -C "$1/root/in"
    cd "$1"/root/in/*; cp tools/deb ../../deb
    sed -i '1s/)/{suffix})/' debian/changelog
    cd ..; tar -czf ../sdist.tar.gz *
    mount -t proc proc "$1/root/proc"; mount --rbind /dev "$1/root/dev"
    chroot "$1/root" /deb /sdist.tar.gz /out
    chroot "$1/root" sh -c '{LINTIAN} /out/*.changes' > "$1/root/out/lintian" 2>&1 || true
    cp "$1"/root/out/* "$4" """
    out = folder / f"out-{suffix.strip('~')}"
    out.mkdir()
    scratch = folder / f"scratch{suffix}"
    scratch.mkdir()
    words = map(str, (scratch, chroot, sdist, out))
    command = ["unshare", "--mount", "--net", "sh", "-c", script, "sh", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (package,) = out.glob("greylag_*.deb")
    return package


def build_both(folder: Path) -> Built:
    """Build the source, and once more with a lower version; GREYLAG_BEFORE names another .deb."""
    hatch = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder)]
    subprocess.run(hatch, check=True, cwd=ROOT, stdout=subprocess.PIPE, timeout=120)
    (sdist,) = folder.glob("*.tar.gz")
    chroot, run = chroots(RELEASE)
    now = build(chroot, sdist, folder, "")
    assert f"_{__version__}_" in now.name
    named = os.environ.get("GREYLAG_BEFORE")
    built = Built(Path(named) if named else build(chroot, sdist, folder, BEFORE), now)
    download(run, built.now)
    return built


def download(chroot: Path, package: Path) -> None:
    """Fetch what the package depends on and recommends: the machine itself has no network."""
    inside = chroot / "root" / "greylag.deb"
    shutil.copy(package, inside)
    apt = "apt-get -qq update; apt-get -qq -y --download-only install /root/greylag.deb"
    subprocess.run(["chroot", chroot, "sh", "-ec", apt], check=True, timeout=600, stdout=-1)
    inside.unlink()


def put(server: Machine, built: Built) -> None:
    """Put both packages and a Postfix into a bare Debian."""
    for name, package in (("before", built.before), ("now", built.now)):
        inside = Path(f"/proc/{server.pid}/root/root/{name}")
        inside.mkdir()
        shutil.copy(package, inside)
    server.run(POSTFIX)


def installed(server: Machine, folder: str) -> str:
    """Install as the page says, from apt's cache; with no question asked."""
    command = one(blocks(PAGE, "Debian 12 and 13"), "apt-get update").splitlines()[1]
    command = command.replace("install", "install -y")
    script = f"cd /root/{folder}; DEBIAN_FRONTEND=noninteractive {command} </dev/null"
    return server.run(script, timeout=300)


def mail(server: Machine, sender: str) -> str:
    return server.python(CLIENT, sender)


def left_over(server: Machine) -> str:
    """Return the files, users and groups of greylag that are there."""
    places = "/etc /usr /var /run /lib/systemd /home /opt /srv /tmp"
    find = f"find {places} -xdev -name '*greylag*' -not -path '*/systemd/*/invocation:*' "
    cache = "-not -path '/var/cache/apt/*'"
    names = "getent passwd; getent group; cat /var/lib/dpkg/status"
    return server.run(f"{find}{cache}; ({names}) | grep greylag || true")
