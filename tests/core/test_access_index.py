"""The lists in memory: they answer as the store's look-up does, at a price that does not grow."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from greylag.core.accesslist import NEVER, AccessIndex, Entry, last_word
from greylag.core.client import parse_address
from greylag.core.subject import Domain, Network, Subject, parse_subject
from tests.strategies import PROPERTY

TEXTS = ["192.0.2.0/24", "192.0.2.7", "0.0.0.0/0", "198.51.100.0/24", "2001:db8::/32", "::/0"]
SUBJECTS: list[Subject] = [*map(parse_subject, TEXTS), Domain("example.net"), Domain("x.example")]
CLIENTS = [b"192.0.2.7", b"192.0.2.8", b"203.0.113.1", b"2001:db8::1", b"2001:db9::1"]


def test_an_empty_index_names_nobody() -> None:
    index = AccessIndex([])
    assert len(index) == 0
    assert index.matching(b"\xc0\x00\x02\x07", "example.net") == []


def test_several_entries_of_one_subject_are_all_there() -> None:
    """A database of somebody else may hold them; the newest has the last word."""
    entries = [Entry(SUBJECTS[1], NEVER, number=1), Entry(SUBJECTS[1], 0, number=2)]
    index = AccessIndex(entries)
    assert len(index) == 2
    assert index.matching(b"\xc0\x00\x02\x07", "") == entries


def test_it_is_filled_and_emptied_in_parts() -> None:
    """A long list is taken in, and let go of, beside the answers (T45)."""
    index = AccessIndex()
    entries = [Entry(subject, NEVER, number=n) for n, subject in enumerate(SUBJECTS)]
    broken = Entry(Network(b"\xc0\0\2\1", 24), NEVER, number=99)  # no range: ignored alone (T46)
    for start in range(0, len(entries), 3):
        index.add([*entries[start : start + 3], broken])
    again = [Entry(subject, 0, number=100) for subject in SUBJECTS[-2:]]
    index.add(again)
    assert len(index) == len(entries) + len(again)
    assert index.matching(b"\xcb\0\x71\1", "x.example") == [entries[-1], again[-1], entries[2]]
    sizes = []
    while index.take_out(3):
        sizes.append(len(index))
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) >= 2
    assert len(index) == 0


@PROPERTY
@given(
    chosen=st.lists(st.sampled_from(SUBJECTS), max_size=8),
    client=st.sampled_from(CLIENTS),
    domain=st.sampled_from(["example.net", "x.example", "other.example", ""]),
)
def test_the_index_has_the_last_word_of_all_entries(
    chosen: list[Subject], client: bytes, domain: str
) -> None:
    entries = [Entry(subject, 0, number=number) for number, subject in enumerate(chosen)]
    packed = parse_address(client)
    assert packed is not None
    found = AccessIndex(entries).matching(packed, domain)
    assert last_word(found, packed, domain, 1000) == last_word(entries, packed, domain, 1000)
