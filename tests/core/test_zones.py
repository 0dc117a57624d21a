"""Answers of DNSBL and DNSWL: which count, and which are errors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greylag.core.client import parse_address
from greylag.core.zones import (
    DNSBL_CODES,
    DNSWL_CODES,
    Listing,
    Zone,
    listing_of,
    parse_codes,
    parse_zone,
)
from tests.strategies import PROPERTY

SOME = "127.0.0.[2..4;10], 127.0.1.2 127.1.[0;5..7].9"


def answer_of(text: str) -> tuple[bytes, ...]:
    return tuple(parse_address(word.encode()) or b"" for word in text.split())


@pytest.mark.parametrize(
    ("codes", "answer", "wanted"),
    [
        (DNSBL_CODES, "", "not-listed"),
        (DNSBL_CODES, "127.0.0.2", "listed"),
        (DNSBL_CODES, "127.0.0.254", "listed"),
        (DNSBL_CODES, "127.0.1.4", "listed"),
        (DNSBL_CODES, "127.0.0.0", "not-listed"),
        (DNSBL_CODES, "127.1.0.2", "not-listed"),
        # no answers
        (DNSBL_CODES, "127.0.0.1", "unknown"),
        (DNSBL_CODES, "127.0.0.255", "unknown"),
        (DNSBL_CODES, "127.255.255.252", "unknown"),
        (DNSBL_CODES, "127.255.255.254", "unknown"),
        (DNSBL_CODES, "127.255.255.255", "unknown"),
        (DNSBL_CODES, "127.255.255.2", "unknown"),
        (DNSBL_CODES, "192.0.2.1", "unknown"),
        (DNSBL_CODES, "0.0.0.0", "unknown"),
        (DNSBL_CODES, "2001:db8::1", "unknown"),
        (DNSBL_CODES, "127.0.0.2 127.255.255.254", "unknown"),
        (DNSBL_CODES, "127.0.0.2 192.0.2.1", "unknown"),
        (DNSBL_CODES, "127.0.0.2 nonsense", "unknown"),
        # trust of a DNSWL
        (DNSWL_CODES, "127.0.5.0", "not-listed"),
        (DNSWL_CODES, "127.0.5.1", "listed"),
        (DNSWL_CODES, "127.0.15.3", "listed"),
        (DNSWL_CODES, "127.0.5.4", "not-listed"),
        (DNSWL_CODES, "127.0.0.255", "unknown"),
        (DNSWL_CODES, "127.0.0.1", "unknown"),
        # an admin's own
        (SOME, "127.0.0.2", "listed"),
        (SOME, "127.0.0.4", "listed"),
        (SOME, "127.0.0.5", "not-listed"),
        (SOME, "127.0.0.10", "listed"),
        (SOME, "127.0.1.2", "listed"),
        (SOME, "127.1.6.9", "listed"),
        (SOME, "127.1.4.9", "not-listed"),
        (SOME, "127.0.0.5 127.0.0.10", "listed"),
    ],
)
def test_which_answers_count(codes: str, answer: str, wanted: str) -> None:
    assert listing_of(answer_of(answer), parse_codes(codes)).value == wanted


def test_an_error_of_dns_is_no_answer() -> None:
    assert listing_of(None, parse_codes(DNSBL_CODES)) is Listing.UNKNOWN


@pytest.mark.parametrize(
    "text",
    ["", ",", "127", "127.0.0", "127.0.0.2.3", "127.0.0.256", "127.0.0.-1", "127.0.0.x", "127.0.0.",
     "127.0.0.[2..]", "127.0.0.[4..2]", "127.0.0.[2", "127.0.0.2]", "127.0.0.[]", "127.0.0.[2;]",
     "10.0.0.2", "[126..127].0.0.2", "127.0.0.0002", "127.0.0.\u0662", "127.0.0.2 nonsense",
     "127.0.0.[[2]]"],
)  # fmt: skip
def test_patterns_that_say_nothing(text: str) -> None:
    with pytest.raises(ValueError, match=r"127|would count|no range"):
        parse_codes(text)


@PROPERTY
@given(st.lists(st.binary(max_size=17), max_size=4).map(tuple))
def test_any_answer_is_judged(answer: tuple[bytes, ...]) -> None:
    """An answer that may be an error never lists anybody."""
    for codes in (DNSBL_CODES, DNSWL_CODES, "127.[0..255].[0..255].[0..255]"):
        found = listing_of(answer, parse_codes(codes))
        if any(not code.startswith(b"\x7f") or code.startswith(b"\x7f\xff\xff") for code in answer):
            assert found is Listing.UNKNOWN


def test_a_zone_with_its_own_codes_or_those_of_its_kind() -> None:
    usual = parse_codes(DNSBL_CODES)
    assert parse_zone("List.Example.ORG.", DNSBL_CODES) == Zone("list.example.org", usual)
    own = parse_codes("127.0.0.[2..11]")
    assert parse_zone("list.example.org=127.0.0.[2..11]", DNSBL_CODES).codes == own


@pytest.mark.parametrize(
    "text",
    [
        *("", "list", "192.0.2.1", "a b.example.org", "=127.0.0.2", "list.example.org="),
        *(
            "list.example.org=10.0.0.2",
            "list.example.org=127.0.0.[3..2]",
            "x" * 70 + ".example.org",
        ),
    ],
)
def test_what_is_no_zone(text: str) -> None:
    with pytest.raises(ValueError, match=r'^expected zones such as "list\.example\.org'):
        parse_zone(text, DNSBL_CODES)
