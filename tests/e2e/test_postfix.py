"""Debian's Postfix asks the daemon: smtpd with check_policy_service, by unix socket and by port."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import postfix as real
from tests.e2e.plugin import needed
from tests.e2e.postfix import Postfix
from tests.server.daemon import Daemon, serving

MESSAGE = b"Subject: hello\r\n\r\nhello\r\n"
POLICY = '[policy]\ndelay = "1s"\n[reply]\nheader = true\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for a Postfix."""
    needed("postfix", "postfix")
    if os.geteuid() != 0:
        pytest.skip("only root can start a Postfix")
    return real.opened(tmp_path)


@pytest.fixture(params=["unix", "inet"])
def both(request: pytest.FixtureRequest, folder: Path) -> Iterator[tuple[Postfix, Daemon]]:
    port = real.free_port()
    (folder / "daemon").mkdir()
    (folder / "daemon").chmod(0o755)
    place = f"unix:{folder}/daemon/s" if request.param == "unix" else f"inet:127.0.0.1:{port}"
    service = f"check_policy_service {{ {place}, timeout=5s, default_action=DUNNO, try_limit=1 }}"
    server = f'policy = ["127.0.0.1:{port}"]\nsocket_group = "postfix"'
    with (
        serving(folder / "daemon", POLICY, server) as daemon,
        real.running(folder / "postfix", service) as postfix,
    ):
        yield postfix, daemon


def test_deferred_then_let_in_with_a_header(both: tuple[Postfix, Daemon]) -> None:
    postfix, daemon = both
    with postfix.session() as smtp:
        smtp.mail("a@example.org")
        code, text = smtp.rcpt("b@example.net")
        assert code == 450
        assert b"4.7.1 <b@example.net>: Recipient address rejected: Greylisted" in text
        shown_id = text.partition(b"(id ")[2][:8].decode()
    time.sleep(2)
    with postfix.session() as smtp:
        smtp.mail("a@example.org")
        assert smtp.rcpt("b@example.net")[0] == 250
        assert smtp.data(MESSAGE)[0] == 250
    assert daemon.logged("verdict=pass reason=retried client_address=192.0.2.17")
    assert postfix.logged("X-Greylist: delayed")
    assert f"seconds by greylag (id {shown_id})" in postfix.log
    lines = [line for line in daemon.log.read_text().splitlines() if f" id={shown_id}" in line]
    assert [line.split("reason=")[1].split()[0] for line in lines] == ["new", "retried"]


def test_one_header_a_message_whatever_its_recipients(both: tuple[Postfix, Daemon]) -> None:
    """Three that have waited, for different times: the first says it. The next message anew."""
    postfix, _daemon = both
    sender, names = "three@example.org", ["b@example.net", "c@example.net", "d@example.net"]
    for name in names:
        assert postfix.rcpt(sender, name) == 450
        time.sleep(1)
    time.sleep(1)
    with postfix.session() as smtp:
        for recipients in (names, ["e@example.net"]):
            if recipients != names:
                assert postfix.rcpt(sender, recipients[0]) == 450
                time.sleep(2)
            smtp.mail(sender)
            assert [smtp.rcpt(name)[0] for name in recipients] == [250] * len(recipients)
            assert smtp.data(MESSAGE)[0] == 250
    waits = [
        int(line.partition("X-Greylist: delayed ")[2].split()[0])
        for line in postfix.log.splitlines()
        if "X-Greylist: delayed" in line and f"from=<{sender}>" in line
    ]
    assert len(waits) == 2
    assert waits[0] >= 4  # that of the first recipient


def test_a_bounce_waits_at_data_and_a_callout_succeeds(both: tuple[Postfix, Daemon]) -> None:
    postfix, _daemon = both
    with postfix.session() as smtp:
        smtp.mail("")
        assert smtp.rcpt("b@example.net")[0] == 250
        assert smtp.docmd("DATA")[0] == 450
    time.sleep(2)
    with postfix.session() as smtp:
        smtp.mail("")
        assert smtp.rcpt("b@example.net")[0] == 250
        assert smtp.data(MESSAGE)[0] == 250


@pytest.mark.parametrize("sender", ["", "double-bounce@example.org", "postmaster@example.org"])
def test_bounces_and_probes_wait_at_data_whatever_the_recipients_t32(
    both: tuple[Postfix, Daemon], sender: str
) -> None:
    """T32: Postfix names no recipient at DATA when there are several."""
    postfix, daemon = both

    def codes(command: str, recipients: list[str]) -> list[int]:
        with postfix.session() as smtp:
            smtp.mail(sender)
            found = [*(smtp.rcpt(name)[0] for name in recipients), smtp.docmd(command)[0]]
            if found[-1] == 354:
                smtp.docmd(".")  # or QUIT would be taken for a line of the message
            return found

    two = ["b@example.net", "c@example.net"]
    assert codes("DATA", two) == [250, 250, 450]
    assert codes("DATA", two[:1]) == [250, 450]
    assert codes("BDAT 0 LAST", ["d@example.net"]) == [250, 450]
    time.sleep(2)
    assert codes("DATA", two) == [250, 250, 354]
    assert codes("DATA", two[:1]) == [250, 354]
    assert "reason=incomplete" not in daemon.log.read_text()


def test_clients_that_have_logged_in_are_untouched(both: tuple[Postfix, Daemon]) -> None:
    postfix, daemon = both
    with postfix.session(login="user") as smtp:
        smtp.mail("a@example.org")
        assert smtp.rcpt("b@example.net")[0] == 250
    assert daemon.logged("reason=authenticated")


def test_ipv6_clients(both: tuple[Postfix, Daemon]) -> None:
    postfix, daemon = both
    with postfix.session("2001:db8::1") as smtp:
        smtp.mail("a@example.org")
        assert smtp.rcpt("b@example.net")[0] == 450
    assert daemon.logged("reason=new client_address=2001:db8::1")


def test_postfix_goes_on_when_the_daemon_is_killed_and_comes_back(
    both: tuple[Postfix, Daemon],
) -> None:
    postfix, daemon = both
    assert postfix.rcpt() == 450
    daemon.process.kill()
    daemon.process.wait()
    assert postfix.rcpt(sender="while-away@example.org") == 250
    config = daemon.folder / "greylag.toml"
    with serving(daemon.folder, config=config) as again:
        assert postfix.rcpt(sender="back@example.org") == 450
        assert again.logged("sender=back@example.org")
