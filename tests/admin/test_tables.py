"""Other programs' lists: what is taken for what, and what is no entry at all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from greylag.admin.lists import ALLOW, DENY
from greylag.admin.tables import PostfixTable, postgrey_clients, postgrey_recipients
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
    parse_subject,
)

DEBIAN = Path("/etc/postgrey/whitelist_clients")
MAIL = ClientName("mail.example.org")


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("Mail.Example.org", MAIL),
        ("  mail.example.org  # 2004-05-20: no retry", MAIL),
        (r"/^mail\.example\.org$/", MAIL),
        (r"/\.mail\.example\.org$/", MAIL),
        (r"/^.*\.mail\.example\.org$/", MAIL),
        (r"/(^|\.)mail\.example\.org$/", MAIL),
        (r"/(?:^|\.)mail\.example\.org$/", MAIL),
        ("/^mail.example.org$/", MAIL),
        ("192.0.2.7", parse_subject("192.0.2.7")),
        ("192.0.2.0/24", parse_subject("192.0.2.0/24")),
        ("192.0.2", parse_subject("192.0.2.0/24")),
        ("2001:db8:1:0800::/64", parse_subject("2001:db8:1:800::/64")),
    ],
)
def test_a_line_of_postgreys_clients(line: str, wanted: Subject) -> None:
    found = postgrey_clients(line)
    assert found is not None
    assert found[0] == wanted


@pytest.mark.parametrize("line", ["", "   ", "# a comment", "  # another"])
def test_a_line_that_says_nothing(line: str) -> None:
    assert postgrey_clients(line) is None
    assert postgrey_recipients(line) is None
    assert PostfixTable(ALLOW, None)(line) is None


@pytest.mark.parametrize(
    "line",
    [
        r"/^mail\d+\.example\.org$/",
        r"/^ms-smtp.*\.example\.org$/",
        r"/^mta[12].example.org$/",
        r"/^(?:mail|mx)\.example\.org$/",
        r"/^p?smtp\.example\.org$/",
        r"/^mail\./",
        r"/^mail\.example\.org/",
        r"/mail/",
        r"/^\d+$/",
        "//",
        "/example/",
        "192.0",
        "10",
        "192.0.2.300",
        "192.0.2.0/33",
        "unknown",
        "*.example.org",
        "mail example.org",
    ],
)
def test_what_no_entry_can_say_is_an_error(line: str) -> None:
    with pytest.raises(ValueError, match="expected "):
        postgrey_clients(line)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("user@example.net", RecipientMailbox("user@example.net")),
        ("Example.net # all of it", Domain("example.net", below=True)),
        (r"/^user@example\.net$/", RecipientMailbox("user@example.net")),
        (r"/^a\.user\+tag@example\.net$/", RecipientMailbox("a.user+tag@example.net")),
        (r"/@example\.net$/", Domain("example.net")),
        (r"/[@.]example\.net$/", Domain("example.net", below=True)),
        (r"/(?:@|\.)example\.net$/", Domain("example.net", below=True)),
    ],
)
def test_a_line_of_postgreys_recipients(line: str, wanted: Subject) -> None:
    found = postgrey_recipients(line)
    assert found is not None
    assert found[0] == wanted


@pytest.mark.parametrize(
    "line",
    ["postmaster@", "abuse@", r"/^user@/", r"/user/", r"/^.*@example\.net$/", "a b@c.example"],
)
def test_recipients_that_no_entry_can_name(line: str) -> None:
    with pytest.raises(ValueError, match="expected "):
        postgrey_recipients(line)


@pytest.mark.skipif(not DEBIAN.exists(), reason="Debian's postgrey is not installed")
def test_debians_own_file_is_guessed_nowhere() -> None:
    """Each line that is read means names that postgrey's own reading of the line takes, too."""
    read, refused = 0, []
    for line in DEBIAN.read_text().splitlines():
        text = line.partition("#")[0].strip()
        try:
            found = postgrey_clients(line)
        except ValueError:
            refused.append(text)
            continue
        assert (found is None) == (not text)
        if found is None or not isinstance(found[0], ClientName):
            continue
        read += 1
        pattern = text[1:-1] if text[0] == "/" else rf"(?:^|\.){re.escape(text)}$"
        assert re.search(pattern, found[0].name, re.IGNORECASE)
    assert read > 80
    assert refused
    assert all(text.startswith("/") for text in refused)


ACCESS = """\
# an access table
192.0.2.5   OK
192.0.2.0/24    REJECT noise
            and the text goes on
198.51.100  permit
203.0.113.9 550 5.7.1 not here
203.0.113.8 1234
203.0.113.7 DUNNO
"""


def test_an_access_table_has_lines_for_both_lists() -> None:
    allow, deny = PostfixTable(ALLOW, None), PostfixTable(DENY, None)
    let_in = [str(found[0]) for line in ACCESS.splitlines() if (found := allow(line))]
    refused = [str(found[0]) for line in ACCESS.splitlines() if (found := deny(line))]
    assert let_in == ["192.0.2.5", "198.51.100.0/24", "203.0.113.8"]
    assert refused == ["192.0.2.0/24", "203.0.113.9"]
    assert (allow.others, deny.others) == (2, 3)


@pytest.mark.parametrize(
    ("kind", "line", "wanted"),
    [
        (CLIENT_NAME, "mail.example.org OK", MAIL),
        (CLIENT_NAME, ".mail.example.org OK", MAIL),
        (CLIENT_NAME, "10 OK", parse_subject("10.0.0.0/8")),
        (SENDER, "alice@partner.example OK", SenderMailbox("alice@partner.example")),
        (SENDER, "partner.example OK", SenderDomain("partner.example", below=True)),
        (SENDER_DOMAIN, ".partner.example OK", SenderDomain("partner.example", below=True)),
        (RECIPIENT, "bob@example.net OK", RecipientMailbox("bob@example.net")),
        (DOMAIN, "example.net OK", Domain("example.net", below=True)),
    ],
)
def test_names_are_what_the_option_says(kind: str, line: str, wanted: Subject) -> None:
    found = PostfixTable(ALLOW, kind)(line)
    assert found is not None
    assert found[0] == wanted


@pytest.mark.parametrize(
    ("kind", "line", "told"),
    [
        (None, "mail.example.org OK", "--client-name"),
        (None, "192.0.2.1", "expected OK or REJECT"),
        (None, "192.0.2.1 DEFER later", "expected OK or REJECT"),
        (None, "192.0.2.1 450 later", "expected OK or REJECT"),
        (None, "192.0.2.1 PREPEND X: y", "expected OK or REJECT"),
        (None, "!192.0.2.1 OK", "expected "),
        (None, "if 192.0.2.0/24", "expected OK or REJECT"),
        (SENDER, "<> OK", "expected "),
        (SENDER, "alice@ OK", "expected "),
        (RECIPIENT, "postmaster@ OK", "a mailbox of any domain"),
    ],
)
def test_a_line_of_a_table_that_no_entry_can_say(kind: str | None, line: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        PostfixTable(ALLOW, kind)(line)


def test_a_line_that_a_wider_range_hides_is_an_error() -> None:
    """There the first line decides, and here the narrowest range would."""
    table = PostfixTable(ALLOW, None)
    assert table("192.0.2.0/24 REJECT") is None
    with pytest.raises(ValueError, match="hidden by a range"):
        table("192.0.2.0/28 OK")
    assert table("198.51.100.0/28 OK") is not None
    assert table("198.51.100.0/24 REJECT") is None


@pytest.mark.parametrize(
    ("before", "line"),
    [
        ("203.0.113.0/24 OK", "203.0.113.5 REJECT"),
        ("203.0.113.0/24 DUNNO", "203.0.113.5 REJECT"),
        ("203.0.113.0/24 DUNNO", "203.0.113.0/28 REJECT"),
        ("203.0.113.0/24 DUNNO", "203.0.113.0/24 REJECT"),
        ("203.0.113.0/24 OK", "203.0.113.0/24 REJECT"),
        ("203.0.113.5/32 OK", "203.0.113.5 REJECT"),
        ("2001:db8::/32 OK", "2001:db8::5 REJECT"),
    ],
)
def test_what_a_range_hides_is_an_error_however_it_is_written(before: str, line: str) -> None:
    """An address behind a range of a cidr table is hidden, also where that says nothing."""
    table = PostfixTable(DENY, None)
    assert table(before) is None
    with pytest.raises(ValueError, match="hidden by a range"):
        table(line)
    assert table("198.51.100.5 REJECT") is not None


@pytest.mark.parametrize(
    ("before", "line"),
    [
        ("203.0.113.5 DUNNO", "203.0.113.0/24 REJECT"),
        ("203.0.113.0/28 DUNNO", "203.0.113.0/24 REJECT"),
        ("203.0.113.5 DUNNO", "203.0.113 REJECT"),
        ("203.0.113 REJECT", "203.0.113.5 DUNNO"),  # as for hash: the narrowest decides
        ("2001:db8::5 DUNNO", "2001:db8::/32 REJECT"),
    ],
)
def test_a_range_with_an_exception_is_an_error(before: str, line: str) -> None:
    """Without it, mail that Postfix leaves alone would be refused for good."""
    table = PostfixTable(DENY, None)
    table(before)
    with pytest.raises(ValueError, match="exception"):
        table(line)
    assert table("198.51.100.0/24 REJECT") is not None


@pytest.mark.parametrize(
    "lines",
    [
        ["203.0.113.5 REJECT", "203.0.113.0/24 OK"],
        ["203.0.113.5 DUNNO", "203.0.113.0/24 OK", "203.0.114.0/24 REJECT"],
        ["203.0.113.0/24 REJECT", "203.0.113.5 DUNNO"],  # the first decides in a cidr table
        ["203.0.113.0/24 REJECT", "203.0.113.5 REJECT"],
        ["203.0.113 OK", "203.0.113.5 REJECT"],  # as for hash: the narrowest decides there, too
        ["203.0.113.0/24 OK", "203.0.113.0/28 DUNNO", "203.0.114.5 REJECT"],
        ["mail.example.org DUNNO", "203.0.113.5 REJECT"],
    ],
)
def test_what_no_range_hides_is_read(lines: list[str]) -> None:
    table = PostfixTable(DENY, None)
    assert "REJECT" in "".join(lines)
    assert len([found for line in lines if (found := table(line))]) == len(
        [line for line in lines if "REJECT" in line]
    )
