"""`greylag check`: what DNS said, the identity, the signs, and what was only observed."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest

from greylag.core.identity import Pool, PoolKind
from greylag.core.triplet import Triplet
from tests.cli.conftest import NOW, Greylag
from tests.servers.knot import running

MAIL = r"""@ TXT "v=spf1 ip4:192.0.2.0/24 -all"
mx A 192.0.2.1
mx A 192.0.2.77
wide TXT "v=spf1 +all"
"""
NAMES = "1 PTR mx.example.org.\n2 PTR mx.example.org.\n77 PTR mx.example.org.\n"
ZONES = {
    "example.org": MAIL,
    "2.0.192.in-addr.arpa": NAMES,
    "bl.example.net": "9.2.0.192 A 127.0.0.2\n",
}
RECIPIENT = "b@example.com"


@pytest.fixture(scope="module")
def name_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("knot"), ZONES) as (host, port):
        yield f'dns.servers = ["{host}:{port}"]\n'


SUSPICIOUS = """\
[policy]
greylist = "suspicious"
signs_needed = 2
"""


def set_up(greylag: Greylag, head: str, text: str) -> None:
    greylag.configure(f'{head}store.url = "sqlite://{greylag.database}"\n{text}')


def test_each_piece_of_evidence_and_each_sign_with_its_source(
    greylag: Greylag, name_server: str
) -> None:
    set_up(greylag, name_server + 'dns.dnsbl = ["bl.example.net"]\n', SUSPICIOUS)
    helo = ("--helo", "[192.0.2.9]")
    shown = greylag.run("check", "192.0.2.9", "a@wide.example.org", RECIPIENT, *helo).stdout
    assert (
        "confirmed names  none\n"
        "SPF              pass (+all), too wide for an identity\n"
        "DNSBL            bl.example.net\n"
        "signs            3 (suspicious from 2 on)\n"
        "  no-name        the client has no confirmed name\n"
        "  helo           HELO is an address\n"
        "  dnsbl          listed by bl.example.net\n"
    ) in shown
    found = greylag.json("check", "192.0.2.9", "a@wide.example.org", RECIPIENT, code=10)
    assert found["evidence"] == {
        "names": [],
        "spf": {"result": "pass", "terms": ["+all"], "narrow": False},
        "dnsbl": ["bl.example.net"],
    }
    assert [sign["sign"] for sign in found["signs"]] == ["no-name", "dnsbl"]
    assert found["signs_needed"] == 2


def test_what_shows_no_sign_is_let_in(greylag: Greylag, name_server: str) -> None:
    set_up(greylag, name_server, SUSPICIOUS)
    found = greylag.json("check", "192.0.2.1", "a@example.org", RECIPIENT)
    assert (found["reason"], found["signs"]) == ("unsuspicious", [])
    assert found["evidence"]["names"] == ["mx.example.org"]
    shown = greylag.run("check", "192.0.2.1", "a@example.org", RECIPIENT).stdout
    assert "SPF              pass (ip4:192.0.2.0/24)\n" in shown
    assert "signs            0 (suspicious from 2 on)\n" in shown


def test_what_is_not_known_is_said(greylag: Greylag) -> None:
    """T25: a resolver that never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        server = f'dns.servers = ["127.0.0.1:{silent.getsockname()[1]}"]\n'
        set_up(greylag, server, '[policy]\nidentity = "spf"\n')
        result = greylag.run("check", "192.0.2.1", "a@example.org", RECIPIENT)
    assert result.exit_code == 10
    assert re.search(r"^SPF +not known$", result.stdout, re.MULTILINE)


def test_the_identity_whose_record_decided(greylag: Greylag, name_server: str) -> None:
    set_up(greylag, name_server, '[policy]\nidentity = "spf"\n')
    pool = Pool(PoolKind.SPF, "example.org").packed
    greylag.remember(Triplet(pool, "a@example.org", RECIPIENT), first_seen=NOW - 100)
    shown = greylag.run("check", "192.0.2.77", "a@example.org", RECIPIENT).stdout
    assert re.search(r"^identity +spf:example.org$", shown, re.MULTILINE)
    assert shown.endswith("retry_after=200 id=GD4Q-9M6 identity=spf:example.org\n")
    found = greylag.json("check", "192.0.2.77", "a@example.org", RECIPIENT, code=10)
    assert (found["reason"], found["identity"]) == ("early", "spf:example.org")


def test_a_confirmed_name_that_the_mail_server_would_tell(greylag: Greylag) -> None:
    signs = 'signs = ["no-name"]\n[dns]\nservers = "off"\n'
    set_up(greylag, "", f'[policy]\ngreylist = "suspicious"\n{signs}')
    found = greylag.json("check", "192.0.2.1", "a@example.org", RECIPIENT, code=10)
    assert [sign["sign"] for sign in found["signs"]] == ["no-name"]
    named = ("--client-name", "mx.example.org")
    found = greylag.json("check", "192.0.2.1", "a@example.org", RECIPIENT, *named)
    assert (found["reason"], found["signs"]) == ("unsuspicious", [])


def test_what_is_only_observed_and_what_it_would_have_been(greylag: Greylag) -> None:
    set_up(greylag, "", '[policy]\ngreylist = "observe"\n')
    shown = greylag.run("check", "192.0.2.1", "a@example.org", RECIPIENT).stdout
    assert (
        "reason          observed: greylisting only observes: it would have been deferred or "
        "refused\n  instead of    new: this client network, sender and recipient were not seen "
        "together before\n"
    ) in shown
    assert "reason=observed client_address=192.0.2.1 " in shown
    assert shown.endswith(" instead=new\n")
    found = greylag.json("check", "192.0.2.1", "a@example.org", RECIPIENT)
    assert (found["verdict"], found["reason"], found["instead"]) == ("pass", "observed", "new")


def test_an_entry_of_a_sender_that_does_not_speak_is_shown_with_why(
    greylag: Greylag, name_server: str
) -> None:
    set_up(greylag, name_server, "")
    greylag.run("allow", "add", "--sender", "a@example.org")
    forged, right = ("check", "192.0.3.9", "a@example.org", RECIPIENT), ("check", "192.0.2.1")
    shown = greylag.run(*forged).stdout
    assert re.search(r"\nsilent entry +sender a@example.org on the allowlist\n", shown)
    assert re.search(r"\n  why +SPF does not vouch for the sender: fail \(-all\)\n", shown)
    found = greylag.json(*forged, code=10)
    assert (found["entry"], found["silent_entry"]["kind"]) == (None, "sender")
    found = greylag.json(*right, "a@example.org", RECIPIENT)
    assert (found["reason"], found["silent_entry"]) == ("allowlisted", None)
    assert greylag.json(*right, "b@example.org", RECIPIENT, code=10)["silent_entry"] is None
    set_up(greylag, 'dns.servers = "off"\n', "")
    shown = greylag.run(*forged).stdout
    assert re.search(r"\n  why +DNS is off \(dns.servers\), so SPF never passes\n", shown)
    greylag.run("deny", "add", "192.0.3.9")
    assert "silent entry" not in greylag.run(*forged).stdout
    greylag.run("deny", "remove", "192.0.3.9")
    greylag.run("allow", "add", "--sender", "a@example.org", "--spoofable")
    assert "silent entry" not in greylag.run(*forged).stdout
