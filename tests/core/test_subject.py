"""What an entry of the lists may name, and what an admin is told who typed something else."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from greylag.core.client import network
from greylag.core.subject import EXPECTED, Domain, Network, Subject, parse_subject
from tests.core.asking import refusal
from tests.strategies import PROPERTY, packed_addresses

FOUR, SIX = b"\xc0\x00\x02\x00", bytes.fromhex("20010db8") + bytes(12)
LABEL = "a" * 63


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("192.0.2.0", Network(FOUR, 32)),
        ("192.0.2.0/32", Network(FOUR, 32)),
        ("192.0.2.0/24", Network(FOUR, 24)),
        ("192.0.2.0/024", Network(FOUR, 24)),
        (" 192.0.2.0/24\n", Network(FOUR, 24)),
        ("0.0.0.0/0", Network(bytes(4), 0)),
        ("2001:db8::", Network(SIX, 128)),
        ("2001:DB8::/32", Network(SIX, 32)),
        ("::/0", Network(bytes(16), 0)),
        ("::ffff:192.0.2.0", Network(FOUR, 32)),
        ("::ffff:192.0.2.0/128", Network(FOUR, 32)),
        ("::FFFF:192.0.2.0/120", Network(FOUR, 24)),
        ("::ffff:0:0/96", Network(bytes(4), 0)),
        ("example.org", Domain("example.org")),
        (" Example.ORG ", Domain("example.org")),
        ("xn--bcher-kva.example", Domain("xn--bcher-kva.example")),
        ("_dmarc.example.org", Domain("_dmarc.example.org")),
        ("4.example", Domain("4.example")),
        (f"{LABEL}.{LABEL}.{LABEL}.{'b' * 63}", Domain(f"{LABEL}.{LABEL}.{LABEL}.{'b' * 63}")),
    ],
)
def test_parse_subject(text: str, wanted: Subject) -> None:
    assert parse_subject(text) == wanted


@pytest.mark.parametrize("text", ["postmaster", "localhost", "example.org", "192.0.2.1", "4"])
def test_any_name_is_a_domain_if_the_admin_says_so(text: str) -> None:
    assert parse_subject(text.upper(), domain=True) == Domain(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("192.168.1.77/24", Network(bytes((192, 168, 1, 0)), 24)),
        ("192.168.1.0/24", Network(bytes((192, 168, 1, 0)), 24)),
        ("192.168.1.77", Network(bytes((192, 168, 1, 77)), 32)),
        ("2001:db8::1/32", Network(bytes.fromhex("20010db8") + bytes(12), 32)),
        ("::ffff:192.0.2.1/120", Network(bytes((192, 0, 2, 0)), 24)),
    ],
)
def test_host_bits_are_cleared_if_the_admin_says_so(text: str, wanted: Subject) -> None:
    assert parse_subject(text, mask=True) == wanted


NO_ADDRESS, HOST_BITS = "no complete IPv4 or IPv6 address", "without host bits"
NAME = "letters, digits and hyphens"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("", "got an empty text", id="empty (fault 6)"),
        pytest.param(" \t", "got an empty text", id="blank"),
        pytest.param("foo", EXPECTED, id="no dot (fault 6)"),
        pytest.param(".foo.", EXPECTED, id="no dot inside"),
        pytest.param("10.1.2/24", NO_ADDRESS, id="three octets (fault 6)"),
        pytest.param("10.1.2", NO_ADDRESS, id="three octets, no slash"),
        pytest.param("10.1.2.256", NO_ADDRESS, id="over 255"),
        pytest.param("10.1.2.²", NO_ADDRESS, id="a digit that is none"),
        pytest.param("example.org/24", NO_ADDRESS, id="a range of a name"),
        pytest.param("/24", NO_ADDRESS, id="no address"),
        pytest.param("fe80::1%eth0", NO_ADDRESS, id="a zone"),
        pytest.param("fe80::1%eth0/64", NO_ADDRESS, id="a zone and a slash"),
        pytest.param("2001:db8::g", NO_ADDRESS, id="no hexadecimal"),
        pytest.param("é:\udcff", NO_ADDRESS, id="not even text"),
        pytest.param("192.0.2.0/33", "from 0 to 32", id="/33 (fault 6)"),
        pytest.param("192.0.2.0/", "from 0 to 32", id="an empty prefix"),
        pytest.param("192.0.2.0/-1", "from 0 to 32", id="a negative prefix"),
        pytest.param("192.0.2.0/+8", "from 0 to 32", id="a signed prefix"),
        pytest.param("192.0.2.0/24/24", "from 0 to 32", id="two slashes"),
        pytest.param("192.0.2.0/255.255.255.0", "from 0 to 32", id="a mask"),
        pytest.param("192.0.2.0/0024", "from 0 to 32", id="four digits"),
        pytest.param("192.0.2.0/²", "from 0 to 32", id="a prefix that is no digit"),
        pytest.param("192.0.2.0/٢", "from 0 to 32", id="a prefix in other digits"),
        pytest.param("2001:db8::/129", "from 0 to 128", id="/129"),
        pytest.param("::ffff:192.0.2.0/95", "from 96 to 128", id="mapped, wider than IPv4"),
        pytest.param("::ffff:192.0.2.0/129", "from 96 to 128", id="mapped, /129"),
        pytest.param("192.168.1.77/24", HOST_BITS, id="host bits (fault 6)"),
        pytest.param("2001:db8::1/127", HOST_BITS, id="IPv6 host bits"),
        pytest.param("::ffff:192.0.2.1/120", HOST_BITS, id="mapped host bits"),
        pytest.param("b@example.org", "is a mailbox", id="a mailbox"),
        pytest.param("@example.org", "is a mailbox", id="an @ alone"),
        pytest.param("*.example.org", NAME, id="a wildcard"),
        pytest.param(".example.org", NAME, id="a dot first"),
        pytest.param("example.org.", NAME, id="a dot last"),
        pytest.param("example..org", NAME, id="two dots"),
        pytest.param("exa mple.org", NAME, id="a space"),
        pytest.param("bü☃cher.example", NAME, id="no letter of any script"),
        pytest.param("a\x1b.example", NAME, id="an escape character"),
        pytest.param("a\\x41.example", NAME, id="a backslash"),
        pytest.param("a." * 128, NAME, id="256 characters"),
        pytest.param(f"{'a' * 254}.b", NAME, id="256 characters, no dot last"),
        pytest.param("a.\udcff", NAME, id="a stray byte"),
        pytest.param("a.\ud800", NAME, id="a lone surrogate"),
    ],
)
def test_a_wrong_subject_is_refused_with_what_was_expected(text: str, told: str) -> None:
    """Fault 6: the old program stored such rows, and they never matched."""
    with pytest.raises(ValueError, match=re.escape(told)):
        parse_subject(text)


def test_host_bits_come_with_both_ways_out() -> None:
    with pytest.raises(ValueError, match=r"range 192\.0\.2\.0/24 or the address 192\.0\.2\.77"):
        parse_subject("192.0.2.77/24")


@pytest.mark.parametrize(
    "text", ["é" * 900, "1" * 900 + ".1", "2001:db8::/" + "9" * 900, "@" * 900]
)
def test_an_error_quotes_80_characters_and_no_more(text: str) -> None:
    with pytest.raises(ValueError, match="expected") as refused:
        parse_subject(text)
    assert repr(text[:80]) in str(refused.value)
    assert len(str(refused.value)) < 300


@PROPERTY
@given(packed_addresses, st.data())
def test_networks_are_read_back(packed: bytes, data: st.DataObject) -> None:
    prefix = data.draw(st.integers(0, 8 * len(packed)))
    subject = Network(network(packed, prefix), prefix)
    assert parse_subject(str(subject)) == subject
    assert ("/" in str(subject)) is (prefix < 8 * len(packed))


@PROPERTY
@given(st.lists(st.text("abcxyz0189_-", min_size=1, max_size=20), min_size=1, max_size=9))
def test_domains_are_read_back(labels: list[str]) -> None:
    name = ".".join(labels)
    assert parse_subject(str(Domain(name)), domain=True) == Domain(name)


@PROPERTY
@given(st.text() | st.text(alphabet="0123456789abcdef:./%@ *-"), st.booleans())
@example("\ud800.example", False)
def test_whatever_is_typed_is_read_or_refused_p3(text: str, domain: bool) -> None:
    """P3: a subject that is read reads back; all else is a ValueError that says what it wanted."""
    told = refusal(lambda t: parse_subject(t, domain=domain), text)
    if told is None:
        subject = parse_subject(text, domain=domain)
        assert parse_subject(str(subject), domain=isinstance(subject, Domain)) == subject
    else:
        assert told.startswith("expected ")
