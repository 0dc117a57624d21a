"""Which table of settings holds for a recipient."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greylag.core.recipients import Recipients, Table, pattern_of
from tests.strategies import PROPERTY


def table(*match: str) -> Table:
    return Table(tuple(map(pattern_of, match)), (), "here")


TABLES = Recipients(
    [
        table("User@Example.org"),
        table("postmaster@", "abuse@"),
        table("example.org"),
        table(".example.net"),
        table("deep.example.net", "user@example.org", "bücher.example"),
    ]
)


@pytest.mark.parametrize(
    ("recipient", "number"),
    [
        ("user@example.org", 0),
        ("USER@EXAMPLE.ORG", 0),
        ("user@example.org.", 0),
        ("user+tag@example.org", 2),
        ("postmaster@example.org", 1),
        ("Postmaster@anywhere.example", 1),
        ("postmaster", 1),
        ("postmaster@", None),
        ("abuse@mail.example.net", 1),
        ("notabuse@example.com", None),
        ("abuser@example.com", None),
        ("other@example.org", 2),
        ("other@sub.example.org", None),
        ("other@notexample.org", None),
        ("a@example.net", 3),
        ("a@deep.example.net", 3),
        ("a@very.deep.example.net", 3),
        ("a@notexample.net", None),
        ("a@net", None),
        ("a@bücher.example", 4),
        ("a@xn--bcher-kva.example", 4),
        ("", None),
        ("@", None),
        ("example.org", None),
        ("@example.org", None),  # what follows may mean another mailbox or domain
        ("a@example.com@example.org", None),
        ("a%example.com@example.org", None),
        ("@example.com:a@example.org", None),
        ("a!b@example.org", None),
    ],
)
def test_the_first_table_that_names_a_recipient_holds(recipient: str, number: int | None) -> None:
    assert TABLES.find(recipient.encode()) == number


@pytest.mark.parametrize("recipient", ["postmaster@a.example", "ABUSE@b.example", "abuse"])
def test_where_mailboxes_of_any_domain_alone_are_named(recipient: str) -> None:
    tables = Recipients([table("postmaster@", "abuse@")])
    assert tables.find(recipient.encode()) == 0
    for other in ("", "@", "user@example.org", "postmaste@x.example", "a@abuse", "abuse%x@y.z"):
        assert tables.find(other.encode()) is None


def test_a_tag_is_no_part_of_a_mailbox_where_a_separator_is_set() -> None:
    tables = Recipients([table("user@example.org", "abuse@")], "+")
    assert tables.find(b"user+tag@example.org") == 0
    assert tables.find(b"abuse+tag@example.com") == 0
    assert tables.find(b"user-tag@example.org") is None
    assert tables.find(b"+@example.org") is None


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("Example.NET", "example.net"),
        ("example.net.", "example.net"),
        (".Example.net", ".example.net"),
        ("localhost", "localhost"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("Postmaster@", "postmaster@"),
        ("user+tag@Example.org", "user+tag@example.org"),
        ("a@bücher.example", "a@xn--bcher-kva.example"),
    ],
)
def test_what_a_table_may_name(text: str, pattern: str) -> None:
    assert pattern_of(text) == pattern


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "@", "@example.org", "a b@example.org", "a b@", "ä@example.org", "ä@"),
        *("a@b@example.org", "a@b@", "example..org", "*.example.org", "a@exa mple.org", "a@."),
        *("..example.org", "a%b@example.org", "a!b@example.org", "\n@example.org", "\ud800"),
        *("*@example.org", "info-*@", "192.0.2.1", "a@192.0.2.1", "2001:db8::1", "bob"),
    ],
)
def test_what_a_table_cannot_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"^names no (mailbox|domain)( \(|$)"):
        pattern_of(text)


@PROPERTY
@given(st.binary(max_size=300))
def test_any_bytes_are_answered(recipient: bytes) -> None:
    found = TABLES.find(recipient)
    assert found is None or 0 <= found < len(TABLES.tables)


def test_a_name_of_many_labels_costs_little() -> None:
    """In steps of one label, as long as an address may be in SMTP; and a longer one ends, too."""
    assert TABLES.find(b"a@" + b"a." * 120 + b"example.net") == 3
    assert TABLES.find(b"a@" + b"a." * 30_000 + b"example.net") is None


def test_what_a_table_sets() -> None:
    of_delay = Table(("example.org",), (("delay", 60), ("trust_after", 0)), "here")
    assert of_delay.sets("delay")
    assert of_delay.sets("signs", "trust_after")
    assert not of_delay.sets("signs", "lifetime")
    assert not Table(("example.org",), (), "here").sets("delay")
