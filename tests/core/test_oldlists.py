"""What the lists of the old plugin can say, and what needs tables of our own."""

from __future__ import annotations

import pytest

from greylag.core.accesslist import Entry, Purpose
from greylag.core.oldlists import in_old_lists
from greylag.core.subject import (
    ClientName,
    RecipientMailbox,
    SenderDomain,
    SenderMailbox,
    Subject,
    parse_subject,
)
from tests.core.asking import allow, deny


@pytest.mark.parametrize(
    "entry",
    [
        allow("192.0.2.17"),
        allow("192.0.2.0/24"),
        allow("2001:db8::/32"),
        deny("198.51.100.0/24"),
        deny("example.net", domain=True),
        allow("example.net", domain=True),
    ],
    ids=str,
)
def test_addresses_ranges_and_recipient_domains_are_in_the_old_lists(entry: Entry) -> None:
    assert in_old_lists(entry)


@pytest.mark.parametrize("purpose", [p for p in Purpose if p is not Purpose.ACCESS])
def test_what_is_expected_provided_or_trapped_is_not(purpose: Purpose) -> None:
    """To the old plugin it would be an entry that lets in, or denies, all of it."""
    subject = parse_subject("192.0.2.17", domain=False)
    assert in_old_lists(Entry(subject, 0))
    assert not in_old_lists(Entry(subject, 0, purpose=purpose))


@pytest.mark.parametrize(
    "subject",
    [
        ClientName("mail.example.org"),
        SenderMailbox("a@example.org"),
        SenderDomain("example.org"),
        RecipientMailbox("b@example.net"),
    ],
    ids=str,
)
def test_names_of_clients_senders_and_mailboxes_are_not(subject: Subject) -> None:
    assert not in_old_lists(Entry(subject, 0))


def test_an_entry_that_holds_for_forged_senders_is_not() -> None:
    domain = parse_subject("example.net", domain=True)
    assert in_old_lists(Entry(domain, 0))
    assert not in_old_lists(Entry(domain, 0, spoofable=True))
