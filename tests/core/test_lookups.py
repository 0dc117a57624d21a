"""What is asked of DNS about a client, without DNS."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

import pytest

from greylag.core.lookups import confirmed_names, listing
from greylag.core.spf.questions import Answer, Query
from greylag.core.zones import DNSBL_CODES, Listing, parse_codes

T = TypeVar("T")
CLIENT, OTHER = b"\xc0\x00\x02\x11", b"\xc0\x00\x02\x12"
CLIENT6 = bytes.fromhex("20010db8") + bytes(11) + b"\x01"
REVERSE = ("17.2.0.192.in-addr.arpa", "PTR")


def told(steps: Generator[Query, Answer, T], dns: dict[tuple[str, str], Answer]) -> tuple[T, int]:
    """Return what is found where DNS has these answers and no others, and how much was asked."""
    answer, asked = None, 0
    while True:
        try:
            query = steps.send(answer)
        except StopIteration as end:
            return end.value, asked
        asked += 1
        answer = dns.get((query.name, query.kind), ())


@pytest.mark.parametrize(
    ("dns", "names"),
    [
        ({}, ()),
        ({REVERSE: None}, None),
        ({REVERSE: (b"mx.example.org",), ("mx.example.org", "A"): (CLIENT,)}, ("mx.example.org",)),
        ({REVERSE: (b"MX.Example.ORG",), ("mx.example.org", "A"): (CLIENT,)}, ("mx.example.org",)),
        ({REVERSE: (b"mx.example.org",), ("mx.example.org", "A"): (OTHER,)}, ()),
        ({REVERSE: (b"mx.example.org",), ("mx.example.org", "A"): None}, None),
        (
            {
                REVERSE: (b"a.example.org", b"b.example.org"),
                ("a.example.org", "A"): None,
                ("b.example.org", "A"): (OTHER, CLIENT),
            },
            ("b.example.org",),
        ),
        ({REVERSE: (b"", b"localhost", b"\xff.example.org", b"a..example.org")}, ()),
    ],
    ids=["none", "error", "leads back", "case", "fake", "half", "one of two", "no names"],
)
def test_confirmed_names(dns: dict[tuple[str, str], Answer], names: tuple[str, ...] | None) -> None:
    """T4: a fake PTR confirms nothing."""
    found, _asked = told(confirmed_names(CLIENT), dns)
    assert found == names


def test_a_name_of_an_ipv6_client_leads_back_by_aaaa() -> None:
    reverse = (".".join(reversed(CLIENT6.hex())) + ".ip6.arpa", "PTR")
    dns: dict[tuple[str, str], Answer] = {reverse: (b"mx.example.org",)}
    assert told(confirmed_names(CLIENT6), dns) == ((), 2)
    dns["mx.example.org", "AAAA"] = (CLIENT6,)
    assert told(confirmed_names(CLIENT6), dns) == (("mx.example.org",), 2)


def test_a_client_with_many_names_costs_few_questions() -> None:
    names = tuple(b"n%d.example.org" % number for number in range(1000))
    assert told(confirmed_names(CLIENT), {REVERSE: names}) == ((), 11)
    assert told(confirmed_names(CLIENT), {REVERSE: names[:1] * 1000}) == ((), 2)


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ((), Listing.NOT_LISTED),
        (None, Listing.UNKNOWN),
        ((b"\x7f\0\0\2",), Listing.LISTED),
        ((b"\x7f\xff\xff\xfe",), Listing.UNKNOWN),
    ],
)
def test_a_zone_is_asked_about_the_client(answer: Answer, wanted: Listing) -> None:
    dns = {("17.2.0.192.bl.example.org", "A"): answer}
    steps = listing(CLIENT, "bl.example.org", parse_codes(DNSBL_CODES))
    assert told(steps, dns) == (wanted, 1)
