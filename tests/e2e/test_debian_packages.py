"""`make test` as root on a live server: what it installs starts nothing, and takes nothing away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.machine import Machine, machine

TOOL = Path(__file__).parents[2] / "tools" / "debian-packages"
# Packages of the test's own in a repository of its own, for the real apt: a service, enabled and
# started as Debian's packages do, and one that conflicts with it.
REPOSITORY = r"""
mkdir -p /var/repo
mount -t tmpfs tmpfs /var/repo
mkdir /var/repo/up /var/repo/work
mount -t overlay overlay \
    -o lowerdir=/usr/sbin,upperdir=/var/repo/up,workdir=/var/repo/work /usr/sbin
rm -f /usr/sbin/policy-rc.d /usr/sbin/sendmail
rm -rf /etc/apt/sources.list.d /etc/apt/sources.list
echo 'deb [trusted=yes] file:/var/repo ./' > /etc/apt/sources.list
cd /var/repo
: > Packages
package() {
    mkdir -p "$1/DEBIAN" "$1/opt/$1" "$1/usr/lib/systemd/system"
    cat > "$1/DEBIAN/control" <<END
Package: $1
Version: 1
Architecture: all
Maintainer: nobody <nobody@example.org>
Description: for a test
$2
END
    sed -i '/^$/d' "$1/DEBIAN/control"
    printf '[Service]\nExecStart=/bin/sleep 1000\n[Install]\nWantedBy=multi-user.target\n' \
        > "$1/usr/lib/systemd/system/$1.service"
    cat > "$1/DEBIAN/postinst" <<END
#!/bin/sh
deb-systemd-helper enable $1.service
systemctl daemon-reload
deb-systemd-invoke start $1.service
END
    chmod 755 "$1/DEBIAN/postinst"
    dpkg-deb --root-owner-group -b "$1" "$1.deb" > /dev/null
    {
        cat "$1/DEBIAN/control"
        echo "Filename: ./$1.deb"
        echo "Size: $(stat -c %s "$1.deb")"
        echo "SHA256: $(sha256sum < "$1.deb" | cut -d' ' -f1)"
        echo
    } >> Packages
}
package glserver ''
package glother 'Conflicts: glserver'
"""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("machine")) as made:
        made.run(REPOSITORY)
        yield made


def test_a_service_that_comes_with_a_package_does_not_run(live: Machine) -> None:
    said = live.run(f"{TOOL} glserver:/opt/glserver")
    assert said.startswith("installing, without starting any service: glserver\n")
    assert said.endswith("installed: glserver\n")
    assert live.run("systemctl is-active glserver || true") == "inactive\n"
    assert live.run("systemctl is-enabled glserver || true") == "disabled\n"
    assert live.run("ls /usr/sbin/policy-rc.d 2>/dev/null || echo gone") == "gone\n"


def test_no_package_is_removed_for_another(live: Machine) -> None:
    said = live.run(f"{TOOL} glserver:/opt/glserver glother:/opt/glother")
    assert said.endswith("missing: glother (as root: apt-get install glother)\n")
    assert live.run("dpkg-query -W -f '${db:Status-Abbrev}' glserver") == "ii "


def test_the_sendmail_of_another_mail_server_stays(live: Machine) -> None:
    live.run("ln -s /var/qmail/bin/sendmail /usr/sbin/sendmail")
    said = live.run(f"{TOOL} postfix:/opt/nowhere")
    assert said == "not installed: postfix, because there is another /usr/sbin/sendmail\n"
    assert live.run("readlink /usr/sbin/sendmail") == "/var/qmail/bin/sendmail\n"
