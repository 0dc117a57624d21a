"""The lists in memory: they answer as the store's look-up does, at a price that does not grow."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from greylag.core.accessindex import AccessIndex
from greylag.core.accesslist import (
    NEVER,
    Entry,
    Purpose,
    Seen,
    expected,
    last_word,
    provider,
    trap,
    wants,
)
from greylag.core.client import parse_address
from greylag.core.evidence import Kind
from greylag.core.subject import (
    ClientName,
    Domain,
    Network,
    RecipientMailbox,
    SenderDomain,
    SenderMailbox,
    Subject,
    parse_subject,
)
from greylag.core.value import replace
from tests.strategies import PROPERTY

TEXTS = ["192.0.2.0/24", "192.0.2.7", "0.0.0.0/0", "198.51.100.0/24", "2001:db8::/32", "::/0"]
SUBJECTS: list[Subject] = [*map(parse_subject, TEXTS), Domain("example.net"), Domain("x.example")]
CLIENTS = [b"192.0.2.7", b"192.0.2.8", b"203.0.113.1", b"2001:db8::1", b"2001:db9::1"]


def test_an_empty_index_names_nobody() -> None:
    index = AccessIndex([])
    assert len(index) == 0
    assert index.matching(Seen(b"\xc0\x00\x02\x07", "example.net")) == []


def test_several_entries_of_one_subject_are_all_there() -> None:
    """A database of somebody else may hold them; the newest has the last word."""
    entries = [Entry(SUBJECTS[1], NEVER, number=1), Entry(SUBJECTS[1], 0, number=2)]
    index = AccessIndex(entries)
    assert len(index) == 2
    assert index.matching(Seen(b"\xc0\x00\x02\x07")) == entries


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
    assert index.matching(Seen(b"\xcb\0\x71\1", "x.example")) == [
        entries[-1],
        again[-1],
        entries[2],
    ]
    sizes = []
    while index.take_out(3):
        sizes.append(len(index))
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) >= 2
    assert len(index) == 0


NAMED: list[Subject] = [
    ClientName("mail.example.org"),
    ClientName("example.org"),
    SenderMailbox("a@news.example.org"),
    SenderDomain("news.example.org"),
    SenderDomain("example.org", below=True),
    RecipientMailbox("b@example.net"),
    Domain("example.net", below=True),
    Domain("net", below=True),
]
SEEN = Seen(
    b"\xc0\x00\x02\x07",
    "sub.example.net",
    "b@sub.example.net",
    "a@news.example.org",
    ("mail.example.org",),
    spf_passed=True,
)


def test_entries_are_found_by_each_name_of_an_attempt_and_by_its_domains() -> None:
    entries = [Entry(subject, NEVER, number=n) for n, subject in enumerate(NAMED)]
    index = AccessIndex(entries)
    by_client, by_sender = entries[:2], entries[2:5]
    by_domain = entries[6:]
    assert set(index.matching(SEEN)) == {*by_client, *by_sender, *by_domain}
    other = replace(SEEN, names=("mail.example.com",), sender="c@example.org")
    assert set(index.matching(other)) == {entries[4], *by_domain}
    mailbox = replace(SEEN, domain="example.net", recipient="b@example.net", names=(), sender="")
    assert set(index.matching(mailbox)) == set(entries[5:])


def test_where_names_are_not_known_one_entry_tells_that_they_are_wanted() -> None:
    entries = [Entry(subject, NEVER, number=n) for n, subject in enumerate(NAMED[:2])]
    index = AccessIndex(entries)
    unnamed = replace(SEEN, names=None)
    found = index.matching(unnamed)
    assert len(found) == 1
    assert wants(found, unnamed, 1) == wants(entries, unnamed, 1) == {Kind.NAMES}


def test_ranges_of_big_senders_are_looked_up_apart() -> None:
    ranges = [
        Entry(subject, 0, purpose=Purpose.PROVIDER, origin="provider:example")
        for subject in SUBJECTS[:2]
    ]
    index = AccessIndex([*ranges, Entry(SUBJECTS[0], NEVER)])
    assert set(index.providers(SEEN)) == set(ranges)
    assert index.matching(SEEN) == [Entry(SUBJECTS[0], NEVER)]
    elsewhere = replace(SEEN, client=b"\xcb\0\x71\1", domain="example.com")
    assert index.providers(elsewhere) == index.matching(elsewhere) == []


def test_an_index_without_ranges_or_names_answers_for_the_rest() -> None:
    domains = AccessIndex([Entry(Domain("example.net"), NEVER)])
    assert domains.providers(SEEN) == domains.matching(SEEN) == []
    assert domains.matching(replace(SEEN, domain="example.net")) != []


ENTRIES = st.builds(
    Entry,
    st.sampled_from([*SUBJECTS, *NAMED]),
    st.sampled_from([0, NEVER]),
    st.sampled_from([NEVER, 900]),
    origin=st.sampled_from(["", "provider:example"]),
    purpose=st.sampled_from(Purpose),
    spoofable=st.booleans(),
)
SIGHTS = st.builds(
    Seen,
    st.sampled_from([parse_address(client) or b"" for client in CLIENTS]),
    st.sampled_from(["example.net", "x.example", "sub.example.net", ""]),
    st.sampled_from(["b@example.net", "c@example.net", "b@example.net.", ""]),
    st.sampled_from(["a@news.example.org", "b@news.example.org", "a@example.org.", ""]),
    st.sampled_from([None, (), ("x.mail.example.org",), ("other.example", "example.org")]),
    st.sampled_from([None, False, True]),
    st.sampled_from([b"", bytes.fromhex("20010db8") + bytes(12)]),
)


@PROPERTY
@given(st.lists(ENTRIES, max_size=12), SIGHTS)
def test_the_index_says_what_all_entries_say(chosen: list[Entry], seen: Seen) -> None:
    entries = [replace(entry, number=number) for number, entry in enumerate(chosen)]
    index = AccessIndex(entries)
    found = [*index.matching(seen), *index.providers(seen)]
    assert set(found) <= set(entries)
    for word in (last_word, wants, expected, trap, provider):
        assert word(found, seen, 1000) == word(entries, seen, 1000)


def test_a_name_that_is_empty_names_no_null_sender_t46() -> None:
    empty = [Entry(replace(subject, name=""), NEVER) for subject in NAMED]
    index = AccessIndex(empty)
    assert (len(index), index.ignored) == (0, len(empty))
    assert last_word(empty, Seen(names=("",), spf_passed=True), 1) is None
