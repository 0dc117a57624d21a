"""What an admin typed for a kind of subject, and what he is told who typed something else."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greylag.core.kinds import parse_kind
from greylag.core.subject import (
    CLIENT_NAME,
    DOMAIN,
    RECIPIENT,
    SENDER,
    SENDER_DOMAIN,
    ClientName,
    Domain,
    RecipientMailbox,
    SenderDomain,
    SenderMailbox,
    Subject,
)
from tests.core.asking import refusal
from tests.strategies import PROPERTY

KINDS = (CLIENT_NAME, SENDER, SENDER_DOMAIN, RECIPIENT, DOMAIN)


@pytest.mark.parametrize(
    ("text", "kind", "below", "wanted"),
    [
        (" Mail.Example.ORG.\n", CLIENT_NAME, False, ClientName("mail.example.org")),
        ("bücher.example", CLIENT_NAME, False, ClientName("xn--bcher-kva.example")),
        ("Alice@Partner.Example", SENDER, False, SenderMailbox("alice@partner.example")),
        ("<alice@partner.example.>", SENDER, False, SenderMailbox("alice@partner.example")),
        ("prvs=12ab=alice@a.example", SENDER, False, SenderMailbox("alice@a.example")),
        ("list-bounces+x=y@a.example", SENDER, False, SenderMailbox("list-bounces+x=y@a.example")),
        ("Partner.Example", SENDER_DOMAIN, False, SenderDomain("partner.example")),
        ("partner.example", SENDER_DOMAIN, True, SenderDomain("partner.example", below=True)),
        ("xn--p1ai", SENDER_DOMAIN, True, SenderDomain("xn--p1ai", below=True)),
        ("Bob@bücher.example", RECIPIENT, False, RecipientMailbox("bob@xn--bcher-kva.example")),
        ("bob@localhost", RECIPIENT, False, RecipientMailbox("bob@localhost")),
        ("example.net", DOMAIN, True, Domain("example.net", below=True)),
        ("postmaster", DOMAIN, False, Domain("postmaster")),
    ],
)
def test_a_subject_of_a_kind(text: str, kind: str, below: bool, wanted: Subject) -> None:
    assert parse_kind(text, kind, below=below) == wanted


@pytest.mark.parametrize(
    ("text", "kind", "told"),
    [
        ("", CLIENT_NAME, "expected the name of a client"),
        ("192.0.2.1", CLIENT_NAME, "is an address"),
        ("2001:db8::1", CLIENT_NAME, "is an address"),
        ("org", CLIENT_NAME, "such as mail.example.org"),
        ("*.example.org", CLIENT_NAME, "write example.org"),
        (".example.org", CLIENT_NAME, "write example.org"),
        ("/mail.*/", CLIENT_NAME, "such as mail.example.org"),
        ("mail.example.org:25", CLIENT_NAME, "such as mail.example.org"),
        ("", SENDER, "policy.null_sender"),
        ("<>", SENDER, "policy.null_sender"),
        ("example.org", SENDER, "--sender-domain names a domain"),
        ("@example.org", SENDER, "user@example.org"),
        ("a b@example.org", SENDER, "user@example.org"),
        ("a\u202eb@example.org", SENDER, "user@example.org"),
        ("a@exa mple.org", SENDER, "user@example.org"),
        ("a@[192.0.2.1]", SENDER, "user@example.org"),
        ("a@example..org", RECIPIENT, "user@example.org"),
        ("bob", RECIPIENT, "--domain names a domain"),
        ("a@example.org", SENDER_DOMAIN, "--sender names one sender"),
        ("@example.org", SENDER_DOMAIN, "write example.org"),
        ("org", SENDER_DOMAIN, "such as example.org"),
        ("192.0.2.1", SENDER_DOMAIN, "such as example.org"),
        ("*.example.org", SENDER_DOMAIN, "such as example.org"),
        ("a@example.org", DOMAIN, "is a mailbox"),
    ],
)
def test_what_is_none_is_refused_with_what_was_expected(text: str, kind: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)) as refused:
        parse_kind(text, kind)
    assert str(refused.value).startswith("expected ")


@PROPERTY
@given(
    st.text() | st.text(alphabet="abcxyz0189.@-_*<>%! \\"), st.sampled_from(KINDS), st.booleans()
)
def test_whatever_is_typed_is_read_or_refused_p3(text: str, kind: str, below: bool) -> None:
    """P3: a subject that is read reads back; all else is a ValueError that says what it wanted."""
    below = below and kind in (DOMAIN, SENDER_DOMAIN)
    told = refusal(lambda t: parse_kind(t, kind, below=below), text)
    if told is None:
        subject = parse_kind(text, kind, below=below)
        if "\\" not in str(subject):  # an escape is the name of a byte, and not what is typed
            assert parse_kind(str(subject), kind, below=below) == subject
    else:
        assert told.startswith("expected ")
        assert len(told) < 300
