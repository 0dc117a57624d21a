"""The table of reasons.md, "The lists": whom an entry speaks for, and which one decides."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from greylag.core.accesslist import (
    NEVER,
    Entry,
    Purpose,
    Seen,
    expected,
    last_word,
    provider,
    speaks_for,
    trap,
    wants,
)
from greylag.core.attempt import Attempt
from greylag.core.client import parse_address
from greylag.core.engine import precheck
from greylag.core.evidence import Kind
from greylag.core.policy import Policy
from greylag.core.question import Question
from greylag.core.subject import (
    ClientName,
    Domain,
    RecipientMailbox,
    SenderDomain,
    SenderMailbox,
    Subject,
    parse_subject,
)
from greylag.core.value import replace

PAGE = Path(__file__).parents[2] / "docs/reference/reasons.md"
NOW = 1_700_000_000


def subject_of(kind: str, text: str) -> Subject:
    below = kind.endswith(" and those below")
    match kind.removesuffix(" and those below"):
        case "client address" | "client range":
            return parse_subject(text)
        case "client name":
            return ClientName(text)
        case "sender":
            return SenderMailbox(text)
        case "sender domain":
            return SenderDomain(text, below)
        case "recipient":
            return RecipientMailbox(text)
        case "recipient domain":
            return Domain(text, below)
    raise AssertionError(kind)


def seen_of(text: str) -> Seen:
    what, name = text.split()
    match what:
        case "client":
            return Seen(parse_address(name.encode()) or b"")
        case "name":
            return Seen(bytes(4), names=(name,))
        case "sender":
            return Seen(bytes(4), sender=name, spf_passed=True)
        case "recipient":
            return Seen(bytes(4), recipient=name, domain=name.partition("@")[2])
    raise AssertionError(text)


def table() -> list[tuple[Subject, Seen, Seen]]:
    """Return the rows: what is named, whom it speaks for, and whom not."""
    lines = PAGE.read_text().partition("## The lists")[2].partition("So addresses go")[0]
    found = [line.replace("`", "").strip("| ").split(" | ") for line in lines.splitlines()]
    rows = [row for row in found if len(row) == 4][2:]
    return [
        (subject_of(kind, text), seen_of(some), seen_of(other)) for kind, text, some, other in rows
    ]


TABLE = table()
ALL = Seen(
    bytes((192, 0, 2, 7)),
    "sub.example.net",
    "bob@sub.example.net",
    "alice@news.partner.example",
    ("mx.mail.example.org", "other.example"),
    spf_passed=True,
)


def test_every_kind_is_in_the_table() -> None:
    assert {subject.kind for subject, _, _ in TABLE} == {
        "network",
        "client-name",
        "sender",
        "sender-domain",
        "sender-domain-and-below",
        "recipient",
        "domain",
        "domain-and-below",
    }


@pytest.mark.parametrize(("subject", "some", "other"), TABLE, ids=lambda value: str(value)[:60])
def test_an_entry_speaks_for_what_it_names_alone(subject: Subject, some: Seen, other: Seen) -> None:
    for entry in (Entry(subject, 0), Entry(subject, NEVER)):
        assert last_word([entry], some, NOW) == entry
        assert last_word([entry], other, NOW) is None
        assert last_word([entry], Seen(bytes((10, 0, 0, 1))), NOW) is None


def test_of_two_rows_the_upper_one_decides() -> None:
    subjects = [subject for subject, _, _ in TABLE]
    for first, second in combinations(subjects, 2):
        for denied in (0, NEVER):
            entries = [Entry(first, denied, number=1), Entry(second, NEVER - denied, number=2)]
            for order in (entries, entries[::-1]):
                assert last_word(order, ALL, NOW) == entries[0]


@pytest.mark.parametrize(
    ("subject", "seen"),
    [
        (ClientName("mail.example.org"), replace(ALL, names=None)),
        (ClientName("mail.example.org"), replace(ALL, names=())),
        (SenderMailbox("alice@news.partner.example"), replace(ALL, spf_passed=None)),
        (SenderMailbox("alice@news.partner.example"), replace(ALL, spf_passed=False)),
        (SenderDomain("partner.example", below=True), replace(ALL, spf_passed=None)),
    ],
)
def test_what_is_not_known_lets_nobody_in_t4(subject: Subject, seen: Seen) -> None:
    """T4: a name that is not confirmed, a sender that SPF does not vouch for."""
    assert last_word([Entry(subject, 0)], ALL, NOW) is not None
    assert last_word([Entry(subject, 0)], seen, NOW) is None


@pytest.mark.parametrize("passed", [None, False, True])
def test_a_sender_is_refused_whatever_spf_says(passed: bool | None) -> None:
    seen = replace(ALL, spf_passed=passed)
    for subject in (SenderMailbox(ALL.sender), SenderDomain("news.partner.example")):
        denial, spoofable = Entry(subject, NEVER), Entry(subject, 0, spoofable=True)
        assert last_word([denial], seen, NOW) == denial
        assert last_word([spoofable], seen, NOW) == spoofable


def test_a_denial_that_has_become_an_allowance_needs_spf() -> None:
    entry = Entry(SenderMailbox(ALL.sender), NOW, NEVER)
    unknown = replace(ALL, spf_passed=None)
    assert last_word([entry], unknown, NOW - 1) == entry
    assert last_word([entry], unknown, NOW) is None
    assert last_word([entry], ALL, NOW) == entry


@pytest.mark.parametrize("name", ["alice@news.partner.example.", "bob@sub.example.net."])
def test_a_dot_at_the_end_makes_no_other_mailbox(name: str) -> None:
    seen = Seen(bytes(4), "sub.example.net", name, name)
    mailbox = name.removesuffix(".")
    for subject in (SenderMailbox(mailbox), RecipientMailbox(mailbox)):
        assert speaks_for(subject, seen)


NOTHING: frozenset[Kind] = frozenset()
NAMES, SPF = frozenset([Kind.NAMES]), frozenset([Kind.SPF])
NAME, SENDER = Entry(ClientName("example.com"), 0), Entry(SenderMailbox(ALL.sender), 0)
UNKNOWN = replace(ALL, names=None, spf_passed=None)


@pytest.mark.parametrize(
    ("entries", "seen", "wanted"),
    [
        ([], UNKNOWN, NOTHING),
        ([NAME], UNKNOWN, NAMES),
        ([NAME], replace(UNKNOWN, names=()), NOTHING),
        ([SENDER], UNKNOWN, SPF),
        ([SENDER], replace(UNKNOWN, spf_passed=False), NOTHING),
        ([SENDER, NAME], UNKNOWN, NAMES | SPF),
        ([replace(SENDER, spoofable=True)], UNKNOWN, NOTHING),
        ([replace(SENDER, denied_until=NEVER)], UNKNOWN, NOTHING),
        ([replace(SENDER, expires=NOW)], UNKNOWN, NOTHING),
        ([replace(SENDER, subject=SenderMailbox("eve@partner.example"))], UNKNOWN, NOTHING),
        # An entry that decides already and goes before: nothing else matters.
        ([SENDER, NAME, Entry(parse_subject("192.0.2.0/24"), 0)], UNKNOWN, NOTHING),
        ([SENDER, NAME, Entry(Domain("sub.example.net"), 0)], UNKNOWN, NAMES | SPF),
        ([SENDER, NAME, replace(SENDER, denied_until=NEVER)], UNKNOWN, NAMES),
    ],
)
def test_what_is_worth_asking_dns_for(
    entries: list[Entry], seen: Seen, wanted: frozenset[Kind]
) -> None:
    assert wants(entries, seen, NOW) == wanted


def test_entries_for_another_purpose_are_no_word_of_the_lists() -> None:
    box, block = RecipientMailbox(ALL.recipient), parse_subject("192.0.2.0/24")
    entries = [
        Entry(box, 0, purpose=Purpose.EXPECTED),
        Entry(box, 0, purpose=Purpose.TRAP),
        Entry(block, 0, purpose=Purpose.PROVIDER, origin="provider:wide"),
        Entry(parse_subject("192.0.2.7"), 0, purpose=Purpose.PROVIDER, origin="provider:narrow"),
    ]
    assert last_word(entries, ALL, NOW) is None
    assert expected(entries, ALL, NOW) == entries[0]
    assert trap(entries, ALL, NOW) == entries[1]
    assert provider(entries, ALL, NOW) == entries[3]
    other = replace(ALL, client=bytes((192, 0, 3, 7)), recipient="eve@sub.example.net")
    ended = [replace(entry, expires=NOW) for entry in entries]
    for find in (expected, trap, provider):
        assert find(entries, other, NOW) is None
        assert find(ended, ALL, NOW) is None


def test_an_address_inside_another_is_a_provider_behind_nat64_alone() -> None:
    """Anybody can run a relay of 6to4, and use addresses of others."""
    entry = Entry(parse_subject("192.0.2.0/24"), 0, purpose=Purpose.PROVIDER)
    nat64, relay = (parse_address(text) for text in (b"64:ff9b::c000:207", b"2002:c000:207::1"))
    assert nat64 is not None
    assert relay is not None
    assert provider([entry], replace(ALL, carrier=nat64), NOW) == entry
    assert provider([entry], replace(ALL, carrier=relay), NOW) is None


RAW_SENDER, RAW_RECIPIENT = "Alice@b\u00fccher.example".encode(), "Bob@caf\u00e9.example".encode()


@pytest.mark.parametrize("policy", [Policy(), Policy(old_tables=True), Policy(normalise=True)])
def test_a_domain_in_another_script_is_found_whatever_its_key_says(policy: Policy) -> None:
    """On the old plugin's tables keys keep a domain in the script that it came in."""
    question = precheck(Attempt(b"192.0.2.7", RAW_SENDER, RAW_RECIPIENT), policy)
    assert isinstance(question, Question)
    for subject in (
        SenderMailbox("alice@xn--bcher-kva.example"),
        SenderDomain("xn--bcher-kva.example"),
        RecipientMailbox("bob@xn--caf-dma.example"),
        Domain("xn--caf-dma.example"),
    ):
        assert speaks_for(subject, question), subject


def test_a_sender_is_found_with_what_its_key_leaves_out() -> None:
    raw = b"list-bounces+bob=example.net@lists.example"
    attempt = Attempt(b"192.0.2.7", raw, b"bob@example.net")
    question = precheck(attempt, Policy(normalise=True))
    assert isinstance(question, Question)
    assert question.triplet.sender != raw.decode()
    assert speaks_for(SenderMailbox(raw.decode()), question)
