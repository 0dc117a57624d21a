"""Entries of the lists: when they count, whom they name, which has the last word."""

from __future__ import annotations

import random

import pytest

from greylag.core.accesslist import (
    NEVER,
    Entry,
    Seen,
    last_word,
    networks_around,
    rank_beside,
    speaking_of,
    speaks_for,
)
from greylag.core.client import parse_address
from greylag.core.subject import Domain, Network, parse_subject
from greylag.core.value import replace
from tests.core.asking import T, allow, deny

CLIENT = b"\xc0\x00\x02\x11"
SEEN = Seen(CLIENT, "example.net")
BLOCK = parse_subject("192.0.2.0/24")


def test_an_entry_only_allows_and_for_ever_if_nobody_says_otherwise() -> None:
    entry = Entry(BLOCK, 0)
    assert (entry.expires, entry.comment, entry.created, entry.number) == (NEVER, "", 0, 0)
    assert entry.live(NEVER - 1)
    assert not entry.live(NEVER)
    assert not entry.denies(0)


def test_never_is_the_last_second_of_the_year_9999() -> None:
    assert NEVER == 253402300799


@pytest.mark.parametrize(
    ("seconds", "denies", "live"), [(-1, True, True), (0, False, True), (1, False, True)]
)
def test_an_entry_denies_then_allows(seconds: int, denies: bool, live: bool) -> None:
    entry = deny("192.0.2.0/24", until=T, expires=T + 2)
    assert (entry.denies(T + seconds), entry.live(T + seconds)) == (denies, live)
    assert not entry.live(T + 2)


@pytest.mark.parametrize(("client", "number"), [(b"192.0.2.17", 33), (b"2001:db8::1", 129)])
def test_a_client_lies_in_33_or_129_networks(client: bytes, number: int) -> None:
    packed = parse_address(client)
    assert packed is not None
    networks = networks_around(packed)
    assert [n.prefix for n in networks] == list(range(number - 1, -1, -1))
    assert networks[0] == Network(packed, number - 1)
    assert networks[-1] == Network(bytes(len(packed)), 0)
    assert all(speaks_for(n, Seen(packed)) for n in networks)


@pytest.mark.parametrize(
    ("domain", "speaks"), [("example.net", True), ("mx.example.net", False), ("", False)]
)
def test_a_domain_speaks_for_itself_alone(domain: str, speaks: bool) -> None:
    assert speaks_for(Domain("example.net"), Seen(CLIENT, domain)) is speaks


def test_nobody_has_the_last_word_where_nobody_speaks() -> None:
    assert last_word([], SEEN, T) is None
    others = [allow("192.0.3.0/24"), allow("example.org"), allow("192.0.2.17", expires=T)]
    assert last_word(others, SEEN, T) is None


def test_the_last_word_does_not_depend_on_the_order() -> None:
    """Addresses before domains, the longest prefix first, then the newest."""
    subjects = ["example.net", "0.0.0.0/0", "192.0.0.0/16", "192.0.2.0/24", "192.0.2.17"]
    ranked = [
        replace(allow(subject), number=number, comment=f"{subject} {number}")
        for subject in subjects
        for number in (3, 8)
    ]
    dice = random.Random(1)
    while ranked:
        for _ in range(20):
            shuffled = dice.sample(ranked, len(ranked))
            assert last_word(shuffled, SEEN, T) == ranked[-1]
        ranked.pop()


def test_a_row_that_is_no_range_speaks_for_nobody_t46() -> None:
    assert not speaks_for(Network(b"\xc0\0\2\1", 24), Seen(CLIENT))


def test_of_entries_for_one_subject_the_highest_number_speaks() -> None:
    old, new = (replace(allow("192.0.2.0/24"), number=number) for number in (3, 8))
    other = allow("example.net")
    for entries in ([old, new, other], [new, other, old]):
        assert speaking_of(entries) == {old.key: new, other.key: other}


def test_a_row_with_address_and_domain_ranks_between_addresses_and_domains() -> None:
    """As in the old program."""
    widest = replace(deny("0.0.0.0/0"), number=1)
    beside = replace(allow("192.0.2.17"), number=2, rank=rank_beside(32))
    domain = replace(deny("example.net"), number=3)
    assert last_word([widest, beside, domain], SEEN, T) == widest
    assert last_word([beside, domain], SEEN, T) == beside
    assert rank_beside(0) < rank_beside(32)
