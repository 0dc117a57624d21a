"""What is a host name, what a client says in HELO, and where its own name stands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greylag.core.client import parse_address
from greylag.core.names import below_zone, helo_of, host_name, is_below, reverse_name
from tests.strategies import PROPERTY

OURS = frozenset(("mx.example.net", "example.net", "intern", "203.0.113.5", "2001:db8::5"))


@pytest.mark.parametrize(
    ("helo", "wanted"),
    [
        ("mail.example.org", "name"),
        ("Mail.Example.ORG.", "name"),
        ("example.org", "name"),
        ("a_b.example.org", "name"),
        ("1.example.org", "name"),
        ("198-51-100-7.example.org", "name"),
        ("b\xfccher.example.org", "name"),
        ("xn--bcher-kva.example.org", "name"),
        ("sub.example.net", "name"),
        ("mail.home.example.org", "name"),
        ("", "no-name"),
        (" ", "no-name"),
        ("friend", "no-name"),
        ("localhost", "no-name"),
        ("localhost.localdomain", "no-name"),
        ("pc.local", "no-name"),
        ("PC.Lan", "no-name"),
        ("7.100.51.198.in-addr.arpa", "no-name"),
        ("198.51.100.7", "no-name"),
        ("2001:db8::7", "no-name"),
        ("1.2.3", "no-name"),
        ("mail..example.org", "no-name"),
        (".example.org", "no-name"),
        ("mail.example.org..", "no-name"),
        ("-mail.example.org", "no-name"),
        ("mail-.example.org", "no-name"),
        ("mail example.org", "no-name"),
        ("mail@example.org", "no-name"),
        ("mail.example.org\0", "no-name"),
        ("x" * 64 + ".example.org", "no-name"),
        ("x." * 130 + "example.org", "no-name"),
        ("[mail.example.org]", "no-name"),
        ("[]", "no-name"),
        ("[198.51.100.7", "no-name"),
        ("[198.51.100]", "no-name"),
        ("[198.51.100.7]", "literal"),
        ("[IPv6:2001:db8::7]", "literal"),
        ("[ipv6:2001:DB8:0::7]", "literal"),
        ("[2001:db8::7]", "literal"),
        ("mx.example.net", "ours"),
        ("MX.Example.Net.", "ours"),
        (" example.net ", "ours"),
        ("Intern", "ours"),
        ("203.0.113.5", "ours"),
        ("[203.0.113.5]", "ours"),
        ("[::ffff:203.0.113.5]", "ours"),
        ("[IPv6:2001:db8:0::5]", "ours"),
        ("2001:db8::5", "ours"),
    ],
)
def test_helo(helo: str, wanted: str) -> None:
    assert helo_of(helo.encode(), OURS).value == wanted


@PROPERTY
@given(st.binary(max_size=300))
def test_any_bytes_may_be_a_helo(raw: bytes) -> None:
    helo_of(raw, OURS)
    name = host_name(raw)
    assert name is None or host_name(name.encode()) == name


def test_where_the_names_of_a_client_stand() -> None:
    ipv4, ipv6 = parse_address(b"192.0.2.7"), parse_address(b"2001:db8::7")
    assert ipv4 is not None
    assert ipv6 is not None
    assert reverse_name(ipv4) == "7.2.0.192.in-addr.arpa"
    digits = "7." + "0." * 23 + "8.b.d.0.1.0.0.2"
    assert reverse_name(ipv6) == f"{digits}.ip6.arpa"
    assert below_zone(ipv4, "list.example.org") == "7.2.0.192.list.example.org"
    assert below_zone(ipv6, "list.example.org") == f"{digits}.list.example.org"


def test_what_is_below_a_domain() -> None:
    assert is_below("example.org", "example.org")
    assert is_below("a.example.org", "example.org")
    assert not is_below("example.org", "a.example.org")
    assert not is_below("anexample.org", "example.org")
