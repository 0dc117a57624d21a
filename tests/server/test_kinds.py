"""What an admin says by a command, a running daemon heeds: entries of every kind."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from itertools import count

import pytest

from tests.server.daemon import BIN, Connection, Daemon, serving

LET_IN, DEFERRED, REFUSED = b"action=DUNNO", b"action=DEFER_IF_PERMIT", b"action=553"
SEEN_WITHIN = 30  # seconds; with the other tests' load
NUMBERS = count()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with serving(tmp_path_factory.mktemp("kinds"), "policy.trapped_for = '1h'") as running:
        yield running


def admin(daemon: Daemon, words: str) -> None:
    config = daemon.folder / "greylag.toml"
    command = [str(BIN / "greylag"), "--config", str(config), *words.split()]
    subprocess.run(command, check=True, capture_output=True)


def answers(client: Connection, wanted: bytes, **asked: str) -> bool:
    """Ask for first contacts until the daemon has seen the change of the lists."""
    end = time.monotonic() + SEEN_WITHIN
    while time.monotonic() < end:
        number = next(NUMBERS)
        new = {"sender": f"s{number}@d.example", "recipient": f"u{number}@example.net"}
        found = {**new, **asked}
        if client.ask(**found).startswith(wanted):
            return True
        time.sleep(0.05)
    return False


CASES = [
    (
        "allow add --client-name mail.example.org",
        {"client_name": "mx1.mail.example.org"},
        {"client_name": "unknown", "reverse_client_name": "mx1.mail.example.org"},
        "allowlisted",
    ),
    (
        "allow add --sender friend@partner.example --spoofable",
        {"sender": "Friend@Partner.example"},
        {"sender": "other@partner.example"},
        "allowlisted",
    ),
    (
        "allow add --recipient bob@sub.example.net",
        {"recipient": "Bob@sub.example.net"},
        {"recipient": "eve@sub.example.net"},
        "allowlisted",
    ),
    (
        "allow add --domain --with-subdomains open.example",
        {"recipient": "x@a.b.open.example"},
        {"recipient": "x@notopen.example"},
        "allowlisted",
    ),
    (
        "expect code@example.net",
        {"recipient": "code@example.net"},
        {"recipient": "nocode@example.net"},
        "expected",
    ),
]


@pytest.mark.parametrize(("words", "speaks", "silent", "reason"), CASES, ids=lambda v: str(v)[:30])
def test_a_daemon_heeds_what_a_command_said(
    daemon: Daemon, words: str, speaks: dict[str, str], silent: dict[str, str], reason: str
) -> None:
    with daemon.connect() as client:
        number = next(NUMBERS)
        sender = {"sender": f"s{number}@example.com"} if "sender" not in speaks else {}
        recipient = {"recipient": f"r{number}@example.net"} if "recipient" not in speaks else {}
        before = {**speaks, **sender, **recipient}
        assert client.ask(**before).startswith(DEFERRED)
        admin(daemon, words)
        assert answers(client, LET_IN, **speaks)
        assert client.ask(**{"sender": f"v{number}@example.com", **silent}).startswith(DEFERRED)
    assert daemon.logged(f"reason={reason}")


def test_a_refused_sender_and_a_trap(daemon: Daemon) -> None:
    with daemon.connect() as client:
        admin(daemon, "deny add --sender-domain --with-subdomains bad.example --yes")
        assert answers(client, REFUSED, sender="x@a.bad.example")
        admin(daemon, "trap add trap@example.net")
        assert answers(client, REFUSED, client_address="203.0.113.9", recipient="trap@example.net")
        asked = {"sender": "y@b.example", "recipient": "w@example.net"}
        assert client.ask(**asked, client_address="203.0.113.9").startswith(REFUSED)
        assert client.ask(**asked, client_address="203.0.113.10").startswith(DEFERRED)
    assert daemon.logged("reason=trapped")


def test_expected_mail_ends(daemon: Daemon) -> None:
    with daemon.connect() as client:
        admin(daemon, "expect short@example.net")
        assert answers(client, LET_IN, recipient="short@example.net", sender="a@c.example")
        admin(daemon, "expect end short@example.net")
        end = time.monotonic() + SEEN_WITHIN
        while time.monotonic() < end:
            asked = {"recipient": "short@example.net", "sender": f"n{next(NUMBERS)}@c.example"}
            if client.ask(**asked).startswith(DEFERRED):
                return
            time.sleep(0.05)
        raise AssertionError("it is still expected")
