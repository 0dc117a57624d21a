"""P20: the lines of README on a bare Debian, with the Debian package; then it is taken out.

As `make test-packages-in RELEASE=...` runs it, like test_packages.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.e2e.packaged import CLIENT, RELEASE, Built, left_over, put
from tests.e2e.test_qmail_page import blocks, one
from tests.e2e.test_readme import looks
from tests.servers.debian import bare_debian, chroots
from tests.servers.machine import Machine

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can use a chroot"),
    pytest.mark.skipif(
        os.environ.get("GREYLAG_SOAK") != "1", reason="GREYLAG_SOAK=1: it makes chroots of Debian"
    ),
]
QUIET = "DEBIAN_FRONTEND=noninteractive"
PURGE = f"{QUIET} apt-get purge -y greylag </dev/null"


@pytest.fixture(scope="module")
def server(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    _build, chroot = chroots(RELEASE)
    with bare_debian(chroot, tmp_path_factory.mktemp("readme")) as made:
        put(made, built)
        yield made


def installed(server: Machine) -> None:
    command = one(blocks("README.md", "Install it"), "apt-get install ./")
    command = command.replace("install", "install -y")
    server.run(f"cd /root/now; {QUIET} {command} </dev/null", timeout=300)


def set_up(server: Machine) -> None:
    dry, real = one(blocks("README.md", "Postfix"), "greylag setup").splitlines()
    assert "check_policy_service" in server.run(dry)
    assert "check_policy_service" not in server.run("postconf -n")
    assert "greylisting works" in server.run(real)


def mail(server: Machine, sender: str) -> str:
    return server.python(CLIENT, sender)


def test_the_lines_of_the_readme_greylist_mail(server: Machine) -> None:
    installed(server)
    set_up(server)
    assert mail(server, "first@example.org").startswith("451 4.7.1 ")
    looks(server, "greylag")
    shown = server.run("greylag search --sender first@example.org")
    assert "first@example.org" in shown
    assert "greylag" in server.run("greylag setup postfix --yes; dpkg -V greylag || true")


def test_mail_that_comes_again_is_accepted(server: Machine) -> None:
    server.run(r"""printf '\n[policy]\ndelay = "1s"\n[dns]\nservers = "off"\n' \
        >> /etc/greylag/greylag.toml; systemctl restart greylag""")
    server.eventually("greylag doctor >/dev/null; echo $?", "0")
    assert mail(server, "again@example.org").startswith("451 4.7.1 ")
    server.run("sleep 1.5")
    assert mail(server, "again@example.org").startswith("250 ")


def test_undone_and_purged_nothing_is_left_of_it(server: Machine) -> None:
    (undo,) = (text for text in blocks("docs/start/packages.md", "Take it out") if "undo" in text)
    told = server.run(f"{undo.strip()} --yes", check=False)  # 1: the settings were changed since
    assert "check_policy_service" not in server.run("postconf -n"), told
    server.run(PURGE)
    assert left_over(server) == ""
    assert mail(server, "after@example.org").startswith("250 ")


def test_purged_without_undo_nothing_is_left_and_mail_goes_on(server: Machine) -> None:
    installed(server)
    set_up(server)
    server.run(PURGE)
    assert left_over(server) == ""
    assert mail(server, "late@example.org").startswith("250 ")
