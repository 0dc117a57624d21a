"""Whole SMTP sessions through real tcpserver and the real plugin, as a client meets them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e.plugin import Plugin, at, needed
from tests.host.server import Client, Host, bare, make_home, running

PLUGINS = ("plugins/ifauthskip", "plugins/greylisting")
RULES = '127.0.0.2:allow,RELAYCLIENT=""\n127.0.0.3:allow\n:allow,GREYLISTING=""\n'
DEFERRED = (451, b"4.7.1 Greylisted, please try again in 300 seconds")
QUOTES = b"'" * 700


@contextmanager
def server(plugin: Plugin, **environ: str) -> Iterator[Host]:
    """Run the host over the plugin's home."""
    needed("tcpserver", "ucspi-tcp")
    make_home(
        plugin.home,
        PLUGINS,
        rcpthosts=["example.net"],
        users={"user@example.net": "secret"},
    )
    config = {"GREYLAG_CONFIG": str(plugin.home / "greylag.toml")}
    with running(
        plugin.home, rules=RULES, env={**config, **environ}, log=plugin.home / "log"
    ) as host:
        yield host


@pytest.fixture
def host(plugin: Plugin) -> Iterator[Host]:
    with server(plugin) as running_host:
        yield running_host


@contextmanager
def session(host: Host, source: str = "127.0.0.1") -> Iterator[Client]:
    with host.connect(source) as client:
        assert client.banner[0] == 220
        client.ehlo()
        yield client


def try_mail(host: Host, source: str = "127.0.0.1", recipient: str = "b@example.net") -> int:
    """Send a whole mail; return the code of the reply that decided about it."""
    with session(host, source) as client:
        client.mail("a@example.org")
        code = client.rcpt(recipient)[0]
        return client.data("Subject: hello\n\nhello\n")[0] if code == 250 else code


def test_first_early_and_after_the_delay(plugin: Plugin, host: Host) -> None:
    with session(host) as client:
        client.mail("a@example.org")
        assert bare(client.rcpt("b@example.net")) == DEFERRED
        code, text = client.rcpt("b@example.net")
        assert (code, text[:16]) == (451, b"4.7.1 Greylisted")
        assert client.quit()[0] == 221
    with server(plugin, **{name: str(text) for name, text in at("+5m").items()}) as later:
        assert try_mail(later) == 250
        assert b"Subject: hello" in later.messages()[0]
    assert try_mail(host) == 250  # known, and time runs as before


def test_a_header_tells_of_the_wait_once_in_a_message(plugin: Plugin) -> None:
    plugin.write_toml("[reply]\nheader = true\n")
    with server(plugin) as host, session(host) as client:
        client.mail("a@example.org")
        codes = [client.rcpt(f"{name}@example.net")[0] for name in "bcd"]
        assert codes == [451, 451, 451]
    with server(plugin, **{name: str(text) for name, text in at("+412s").items()}) as later:
        with session(later) as client:
            client.mail("a@example.org")
            codes = [client.rcpt(f"{name}@example.net")[0] for name in "bcd"]
            assert codes == [250, 250, 250]
            assert client.data("Subject: hello\n\nhello\n")[0] == 250
        (message,) = later.messages()
        assert try_mail(later) == 250, "and known mail has none"
        (known,) = (text for text in later.messages() if text != message)
    (told,) = re.findall(rb"(?m)^X-Greylist: (.*)$", message)
    assert re.fullmatch(rb"delayed 41\d seconds by greylag \(id \w{4}-\w{3}\)", told)
    assert b"X-Greylist" not in known


def test_authenticated_clients_are_untouched(plugin: Plugin, host: Host) -> None:
    with session(host) as client:
        assert client.auth_plain("user@example.net", "secret")[0] == 235
        client.mail("user@example.net")
        assert client.rcpt("b@example.net")[0] == 250
    assert plugin.untouched()


def test_relaying_clients_are_untouched(plugin: Plugin, host: Host) -> None:
    assert try_mail(host, "127.0.0.2") == 250
    assert try_mail(host, "127.0.0.2", "anyone@example.org") == 250
    assert plugin.untouched()


def test_greylisting_is_switched_on_by_tcprules(host: Host) -> None:
    assert try_mail(host, "127.0.0.3") == 250
    assert try_mail(host, "127.0.0.4") == 451


def test_relay_attempts_get_qmails_own_refusal_and_leave_no_record(
    plugin: Plugin, host: Host
) -> None:
    """Fault 9, through the host that sets SMTPRCPTHOSTSOK."""
    assert try_mail(host, recipient="b@example.org") == 553
    assert plugin.untouched()


def test_each_recipient_is_a_triplet_of_its_own(plugin: Plugin, host: Host) -> None:
    """R1, R2, R13: a known recipient gets its mail at once, its neighbours wait."""
    plugin.run(TCPREMOTEIP="127.0.0.1", **at("-10m"))
    with session(host) as client:
        client.mail("a@example.org")
        assert client.rcpt("c@example.net")[0] == 451
        assert client.rcpt("b@example.net")[0] == 250
        assert client.rcpt("d@example.net")[0] == 451
        assert client.data("Subject: x\n\nx\n")[0] == 250


def test_a_callout_of_the_null_sender_succeeds_and_a_bounce_waits(host: Host) -> None:
    """R18."""
    with session(host) as client:
        client.mail("")
        assert client.rcpt("b@example.net")[0] == 250
        assert bare(client.data("Subject: bounce\n\nx\n")) == DEFERRED


def test_a_callout_of_the_null_sender_succeeds(host: Host) -> None:
    for _ in range(2):
        with session(host) as client:
            client.mail("")
            assert client.rcpt("b@example.net")[0] == 250
            client.quit()


def test_in_the_section_pass_a_callout_succeeds_too(plugin: Plugin) -> None:
    """There the host has already counted the recipient that is asked about."""
    needed("tcpserver", "ucspi-tcp")
    make_home(plugin.home, [], sections={"pass": ["plugins/greylisting"]})
    env = {"GREYLAG_CONFIG": str(plugin.home / "greylag.toml")}
    with running(plugin.home, rules=RULES, env=env, log=plugin.home / "log") as host:
        with session(host) as client:
            client.mail("")
            assert client.rcpt("b@example.net")[0] == 250
            assert client.rcpt("c@example.net")[0] == 451
            assert bare(client.command("DATA")) == DEFERRED
        assert try_mail(host) == 451


def test_a_bounce_to_several_is_answered_once_at_data(host: Host) -> None:
    """A host answers a DATA once for each LD: two would put the client out of step."""
    with session(host) as client:
        client.mail("")
        assert client.rcpt("b@example.net")[0] == 250
        assert client.rcpt("c@example.net")[0] == 451
        assert bare(client.command("DATA")) == DEFERRED
        assert client.command("NOOP")[0] == 250
        assert client.quit()[0] == 221


def test_the_denylist_refuses_and_the_allowlist_lets_in(plugin: Plugin, host: Host) -> None:
    assert plugin.greylag("deny", "add", "127.0.0.0/8").returncode == 0
    assert plugin.greylag("allow", "add", "127.0.0.9").returncode == 0
    with session(host) as client:
        client.mail("a@example.org")
        wanted = (553, b"5.7.1 Mail from 127.0.0.1 is not accepted here")
        assert client.rcpt("b@example.net") == wanted
    assert try_mail(host, "127.0.0.9") == 250


def test_fault_1_through_real_smtp(host: Host) -> None:
    """700 quotes in sender and recipient crashed the old plugin: 451 qmail-spp failure."""
    with session(host) as client:
        client.mail(QUOTES + b"@example.org")
        assert bare(client.rcpt(QUOTES + b"@example.net")) == DEFERRED
        client.rset()
        client.mail(b"a@example.org")
        assert client.rcpt(QUOTES + b"x@example.net")[0] == 451
        assert client.quit()[0] == 221


def test_fault_2_raw_bytes_through_real_smtp(host: Host) -> None:
    with session(host) as client:
        client.mail(b"\xe9\xff\x1b[31m@example.org")
        assert bare(client.rcpt("\U0001f4a9@example.net")) == DEFERRED
    assert b"\x1b" not in host.log.read_bytes()


def test_bytes_cut_anywhere_give_the_same_replies_p4(host: Host) -> None:
    """A whole session in one piece, and one byte at a time, are answered alike."""
    script = (
        b"EHLO c.example.org\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<cut@example.net>\r\n"
        b"RCPT TO:<b@example.org>\r\nRSET\r\nMAIL FROM:<>\r\nRCPT TO:<b@example.net>\r\nQUIT\r\n"
    )
    with host.connect() as whole:
        whole.send(script)
        wanted = without_time(whole.rest())
    assert wanted.count(b"451 4.7.1") == 1
    with host.connect() as bytewise:
        for at_byte in range(len(script)):
            bytewise.send(script[at_byte : at_byte + 1])
        assert without_time(bytewise.rest()) == wanted


def without_time(replies: bytes) -> bytes:
    """A retry some seconds later has that much less to wait."""
    return re.sub(rb"in \d+ seconds", b"soon", replies)


def test_the_old_setup_through_real_smtp(plugin: Plugin) -> None:
    plugin.write_old("block_expire=2\nrecord_expire=2000\nloglevel=4\n")
    with server(plugin) as host, session(host) as client:
        client.mail("a@example.org")
        assert client.rcpt("b@example.net") == (451, b"temporary failure (#4.3.0)")
        client.rset()
        client.mail("")
        assert client.rcpt("b@example.net") == (451, b"temporary failure (#4.3.0)")


@pytest.mark.sqlite
def test_a_database_that_fails_lets_mail_in(plugin: Plugin, host: Host) -> None:
    plugin.database.mkdir()
    assert try_mail(host) == 250
    assert b"reason=store-unavailable" in host.log.read_bytes()


def test_the_log_is_one_line_an_event(plugin: Plugin, host: Host) -> None:
    try_mail(host)
    lines = [line for line in host.log.read_text().splitlines() if line.startswith("greylisting: ")]
    assert len(lines) == 1
    assert len(plugin.records()) == 1
