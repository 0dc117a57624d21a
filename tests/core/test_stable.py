"""Senders that change with each mail, as programs write them, and senders that must stay apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greylag.core.address import canonical
from greylag.core.stable import LONGEST, mailbox_of, stable
from tests.strategies import PROPERTY, raw_addresses

USER = "user@example.net"  # the recipient
UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
OTHER_UUID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"

# What writes such senders; two of its senders; what stays.
FORMS = [
    # Signatures against bounces that nobody caused
    ("BATV, tag first", "prvs=1234abcd56=bob@example.org", "prvs=7890efab12=bob@example.org",
     "bob@example.org"),
    ("BATV, user first", "prvs=bob/1234abcd56@example.org", "prvs=bob/7890efab12@example.org",
     "bob@example.org"),
    ("BATV with ==", "btv1==1234ab==bob@example.org", "btv1==98cdef==bob@example.org",
     "bob@example.org"),
    ("a bulk sender's BATV", "msprvs1=19123abCdEfG=bounces-244-7@m.example.org",
     "msprvs1=19124hIjKlMn=bounces-244-7@m.example.org", "bounces-#@m.example.org"),
    ("BATV around VERP", "prvs=1234abcd56=list-bounces+user=example.net@example.org",
     "prvs=7890efab12=list-bounces+user=example.net@example.org", "list-bounces@example.org"),
    # Forwarders
    ("SRS0", "SRS0=HhHh=TT=example.org=bob@f.example", "SRS0=4zxc=UV=example.org=bob@f.example",
     "srs0=example.org=bob@f.example"),
    ("SRS0 with +", "SRS0+HhHh=TT=example.org=bob@f.example",
     "SRS0+a/b+=2A=example.org=bob@f.example", "srs0=example.org=bob@f.example"),
    ("SRS0 with -", "SRS0-HhHh=TT=example.org=bob@f.example",
     "SRS0-x9Yz=U7=example.org=bob@f.example", "srs0=example.org=bob@f.example"),
    ("SRS0, small letters", "srs0=hhhh=tt=example.org=bob@f.example",
     "srs0=zxcv=uv=example.org=bob@f.example", "srs0=example.org=bob@f.example"),
    ("SRS0, long hash", "SRS0=HhHhHhHhHhHhHhHhHhHh=TT=example.org=bob@f.example",
     "SRS0=ZzZzZzZzZzZzZzZzZzZz=UV=example.org=bob@f.example", "srs0=example.org=bob@f.example"),
    ("SRS0 of VERP", "SRS0=HhHh=TT=example.org=list-bounces+old=example.com@f.example",
     "SRS0=ZzZz=UV=example.org=list-bounces+old=example.com@f.example",
     "srs0=example.org=list-bounces+old=example.com@f.example"),
    ("SRS0 of BATV", "SRS0=HhHh=TT=example.org=prvs=1234abcd56=bob@f.example",
     "SRS0=ZzZz=UV=example.org=prvs=7890efab12=bob@f.example", "srs0=example.org=bob@f.example"),
    ("SRS0 of a number", "SRS0=HhHh=TT=bounces.example.org=123456@f.example",
     "SRS0=ZzZz=UV=bounces.example.org=345678@f.example",
     "srs0=bounces.example.org=#@f.example"),
    ("SRS1", "SRS1=HhHh=f.example==ZzZz=TT=example.org=bob@g.example",
     "SRS1=4zxc=f.example==Vv9v=UV=example.org=bob@g.example",
     "srs1=f.example=example.org=bob@g.example"),
    ("SRS1 of SRS0+", "SRS1=HhHh=f.example=+ZzZz=TT=example.org=bob@g.example",
     "SRS1=4zxc=f.example=+Vv9v=UV=example.org=bob@g.example",
     "srs1=f.example=example.org=bob@g.example"),
    ("SRS1 of something else", "SRS1=HhHh=f.example==bob@g.example",
     "SRS1=4zxc=f.example==bob@g.example", "srs1=f.example=bob@g.example"),
    ("SRS behind a user", "bob+SRS=44ldt=IX=example.org=amy@f.example",
     "bob+SRS=9xYz1=JA=example.org=amy@f.example", "bob+srs=example.org=amy@f.example"),
    ("SRS of the forwarder's own", "bounces+SRS=44ldt=IX@f.example",
     "bounces+SRS=9xYz1=JA@f.example", "bounces@f.example"),
    ("forwarding that names the target", "bob+caf_=user=example.net@example.org",
     "bob@example.org", "bob@example.org"),
    # Tags
    ("a person's tags", "bob+shop@example.org", "bob+bank@example.org", "bob@example.org"),
    ("a tag of several words", "bob+a+b=c@example.org", "bob+a.b-c@example.org", "bob@example.org"),
    ("a ticket", "support+id12345@example.org", "support+id67890@example.org",
     "support@example.org"),
    ("a group's random tag", "group+bncBAABBXYZ7QLKGAMGQE@example.org",
     "group+bncBCD5HWOXIXBRBQ@example.org", "group@example.org"),
    ("a reply tag", "replies+verp-0a1b2c3d4e5f60718293a4b5c6d7e8f9@example.org",
     "replies+verp-ffee2c3d4e5f60718293a4b5c6d7e8f9@example.org", "replies@example.org"),
    ("numbers with +", "bounce+12345+678+9012345+1234567@example.org",
     "bounce+12345+679+9012399+1234568@example.org", "bounce@example.org"),
    ("a bulk sender's account, tag and recipient",
     "bounces+12345-ab12-user=example.net@example.org",
     "bounces+12345-cd34-user=example.net@example.org", "bounces@example.org"),
    ("the same for another subscriber", "bounces+12345-ab12-old=example.com@example.org",
     "bounces+12345-cd34-old=example.com@example.org", "bounces+#-old=example.com@example.org"),
    ("a base64 tag", "bounces+dXNlckBleGFtcGxl==@example.org", "bounces+YW5vdGhlcg==@example.org",
     "bounces@example.org"),
    # Mailing lists
    ("VERP with +", "list-bounces+user=example.net@example.org", "list-bounces@example.org",
     "list-bounces@example.org"),
    ("VERP with + alone", "list+user=example.net@example.org", "list+USER=Example.NET@example.org",
     "list@example.org"),
    ("VERP with -", "list-owner-user=example.net@example.org",
     "list-owner-User=Example.net@example.org", "list-owner-#@example.org"),
    ("a message number and the recipient", "list-return-1-user=example.net@example.org",
     "list-return-23-user=example.net@example.org", "list-return-#-#@example.org"),
    ("a message number of another subscriber", "list-return-1-old=example.com@example.org",
     "list-return-9876-old=example.com@example.org", "list-return-#-old=example.com@example.org"),
    ("a message number and a tag", "list-return-1.abc1d2-user=example.net@example.org",
     "list-return-23.fff9e8-user=example.net@example.org", "list-return-#-#@example.org"),
    ("bounces with a number", "list+bounces-123-user=example.net@example.org",
     "list+bounces-4567-user=example.net@example.org", "list@example.org"),
    ("the same for another subscriber", "list+bounces-123-old=example.com@example.org",
     "list+bounces-4567-old=example.com@example.org",
     "list+bounces-#-old=example.com@example.org"),
    ("list and recipient with =", "bounce-list=user=example.net@example.org",
     "bounce-list=USER=example.net@example.org", "bounce-list=#@example.org"),
    ("an @ as ==a==", "bounce+user==a==example.net==list@example.org",
     "bounce@example.org", "bounce@example.org"),
    ("an @ as **", "owner-list*user**example.net@example.org",
     "owner-list*USER**EXAMPLE.NET@example.org", "owner-list*#@example.org"),
    ("an @ as *, dots as -", "owner-list*user*EXAMPLE-NET@example.org",
     "owner-list*user*example-net@example.org", "owner-list*#@example.org"),
    ("an @ as -at-", "bounce-123-user-at-example.net@example.org",
     "bounce-456-user-at-example.net@example.org", "bounce-#-#@example.org"),
    ("an @ as ===", "n12345678-3f2a71-user===example.net@bounce.example.org",
     "n98765432-91bc02-user===example.net@bounce.example.org", "#-#@bounce.example.org"),
    ("dots as _", "sent_12345678_user_example_net@example.org",
     "sent_87654321_user_example_net@example.org", "sent_#_#@example.org"),
    ("the domain first", "bounce-77-example.net=user@example.org",
     "bounce-78-example.net=user@example.org", "bounce-#-#@example.org"),
    ("a list server's groups", "sentto-1234-567-1270000000-user=example.net@returns.example.org",
     "sentto-1234-568-1270009999-user=example.net@returns.example.org",
     "sentto-#-#@returns.example.org"),
    # Bulk senders
    ("many numbers", "bounce-123456_HTML-987654321-1234567-7001234-0@example.org",
     "bounce-123457_HTML-987654999-1234888-7001234-0@example.org", "bounce-#_html-#@example.org"),
    ("numbers with dots", "bounce-mc.us1_12345678.987654-user=example.net@example.org",
     "bounce-mc.us1_12345678.987655-user=example.net@example.org",
     "bounce-mc.us1_#-#@example.org"),
    ("numbers and a word", "bounce-mc.us14_71234567.6789012-a1b2c3d4e5@example.org",
     "bounce-mc.us14_71234567.6789999-f6a7b8c9d0@example.org", "bounce-mc.us14_#@example.org"),
    ("time, UUID and count", f"0100018f0a1b2c3d-{UUID}-000000@example.org",
     f"0100018fffeeddcc-{OTHER_UUID}-000000@example.org", "#@example.org"),
    ("a UUID of bounces", f"bounce-{UUID}@example.org", f"bounce-{OTHER_UUID}@example.org",
     "bounce-#@example.org"),
    ("a UUID in a domain of bounces", f"{UUID}@bounces.example.org",
     f"{OTHER_UUID}@bounces.example.org", "#@bounces.example.org"),
    ("a UUID of letters and digits", "bounce-abcdefab-1234-5678-abcd-123456789012@example.org",
     "bounce-12345678-abcd-4bcd-8bcd-abcdefabcdef@example.org", "bounce-#@example.org"),
    ("a ULID", "bounce-01ARZ3NDEKTSV4RRFFQ69G5FAV@example.org",
     "bounce-01BX5ZZKBKACTAV9WEVGEMMVRZ@example.org", "bounce-#@example.org"),
    ("base32", "bounce.mzxw6ytboi2q7d3k@example.org", "bounce.gezdgnbvgy3tqojq@example.org",
     "bounce.#@example.org"),
    ("base64 that its own signs cut", "v-1aB2c3D4_c3D4e5F6g@bounce.example.org",
     "v-9zY8xW7v.6uT5sR4q-1a2b3c@bounce.example.org", "v-#@bounce.example.org"),
    ("letters before a number", "m12345678@bounce.example.org", "m98765432@bounce.example.org",
     "#@bounce.example.org"),
    ("a hexadecimal word of bounces", "bounces-0a1b2c3d4e5f@example.org",
     "bounces-ffee2c3d4e5f@example.org", "bounces-#@example.org"),
    ("a digest and a recipient", "1axbn5a1bz1a1hb8wfpn-user=example.net@example.org",
     "2bxzq7c9de4f5gh6jklm-user=example.net@example.org", "#-#@example.org"),
    ("a random word in a domain of bounces", "m-1a2b3c4d5e6f@bounce.example.org",
     "m-9z8y7x6w5v4u@bounce.example.org", "m-#@bounce.example.org"),
    ("a numbered domain of bounces", "0a1b2c3d.aeqaax12bd34@a123456.bnc3.example.org",
     "f0e1d2c3.zzqaax56bd78@a123456.bnc3.example.org", "#@a123456.bnc3.example.org"),
    ("numbers in a bulk sender's domain",
     "123-ABC-456.0.7890.0.0.12345.9.1234567-890@e.mktomail.com",
     "123-ABC-456.0.7891.0.0.12346.9.1234567-890@e.mktomail.com",
     "#-abc-#.0.#.0.0.#.9.#@e.mktomail.com"),
    ("a number of days", "news-bounce-20261127@example.org", "news-bounce-20261128@example.org",
     "news-bounce-#@example.org"),
    ("a time stamp before the word", "1795772000-bounce@example.org",
     "1795773000-bounce@example.org", "#-bounce@example.org"),
    ("a digest before the word", "0a1b2c3d4e5f-bounce@example.org",
     "ffee2c3d4e5f-bounce@example.org", "#-bounce@example.org"),
    ("a number beside the recipient", "news-123456-user=example.net@example.org",
     "news-123457-user=example.net@example.org", "news-#-#@example.org"),
    ("an error address", "verp-17-user.example.net@example.org",
     "verp-18-user.example.net@example.org", "verp-#-#@example.org"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other", "wanted"), [form[1:] for form in FORMS],
                         ids=[form[0] for form in FORMS])  # fmt: skip
def test_what_stays(one: str, other: str, wanted: str) -> None:
    found = [canonical(stable(sender.encode(), USER.encode())) for sender in (one, other)]
    assert found == [wanted, wanted]
    for recipient in (USER.encode(), b""):  # as when records are copied
        assert stable(wanted.encode(), recipient) == wanted.encode()


# Two mailboxes that are not the same: people, roles, lists.
APART = [
    ("john.smith1980@example.org", "john.smith1981@example.org"),
    ("sales-2@example.org", "sales-3@example.org"),
    ("4711@example.org", "4712@example.org"),
    ("1234567890@example.org", "1234567891@example.org"),
    ("+4930123456@fax.example.org", "+4930123457@fax.example.org"),
    ("49-30-1234-567-89@fax.example.org", "49-30-1234-567-90@fax.example.org"),
    ("2026-11-27@example.org", "2026-11-28@example.org"),
    ("192.0.2.7@example.org", "192.0.2.8@example.org"),
    ("anna_1990@example.org", "anna_1991@example.org"),
    ("a1b2c3d4@example.org", "a1b2c3d5@example.org"),
    ("x7k2m9q4w1@relay.example.org", "z8j3n1p5v2@relay.example.org"),
    ("deadbeef@example.org", "deadbee1@example.org"),
    ("bea19801231@example.org", "bea19801230@example.org"),
    (f"{UUID}@example.org", f"{OTHER_UUID}@example.org"),
    (f"reply-{UUID}@example.org", f"reply-{OTHER_UUID}@example.org"),
    ("0a1b2c3d4e5f60718293a4b5c6d7e8f9@example.org",
     "ffee2c3d4e5f60718293a4b5c6d7e8f9@example.org"),
    ("01ARZ3NDEKTSV4RRFFQ69G5FAV@example.org", "01BX5ZZKBKACTAV9WEVGEMMVRZ@example.org"),
    ("12345678+bob@users.example.org", "12345679+bob@users.example.org"),
    ("bob+tag@example.org", "bop+tag@example.org"),
    ("bob+tag@example.org", "bob+tag@example.com"),
    ("c++@example.org", "c@example.org"),
    ("c+@example.org", "c@example.org"),
    ("cs101-bounces@example.org", "cs102-bounces@example.org"),
    ("lv-123456-bounces@example.org", "lv-123457-bounces@example.org"),
    ("list-2-bounces@example.org", "list-3-bounces@example.org"),
    ("list2-return-17@example.org", "list3-return-17@example.org"),
    ("list-a-bounces-17@example.org", "list-b-bounces-17@example.org"),
    ("list-a+user=example.net@example.org", "list-b+user=example.net@example.org"),
    ("list+amy=example.com@example.org", "list+bob=example.com@example.org"),
    ("list-return-1-amy=example.com@example.org", "list-return-1-bob=example.com@example.org"),
    ("list-2-user=example.net@example.org", "list-3-user=example.net@example.org"),
    ("xuser=example.net@example.org", "yuser=example.net@example.org"),
    ("user=example.netx@example.org", "user=example.nety@example.org"),
    ("bouncer-12@example.org", "bouncer-13@example.org"),
    ("returns-4711@example.org", "returns-4712@example.org"),
    ("sales-2@bounces.example.org", "sales-3@bounces.example.org"),
    ("bob99@bounces.example.org", "bob98@bounces.example.org"),
    ("team1@rebounce.example.org", "team2@rebounce.example.org"),
    ("SRS0=HhHh=TT=example.org=amy@f.example", "SRS0=HhHh=TT=example.org=bob@f.example"),
    ("SRS0=HhHh=TT=example.org=bob@f.example", "SRS0=HhHh=TT=example.com=bob@f.example"),
    ("SRS0=HhHh=TT=example.org=bob1@f.example", "SRS0=HhHh=TT=example.org=bob2@f.example"),
    ("SRS0=HhHh=TT=example.org=bob@f.example", "SRS0=HhHh=TT=example.org=bob@g.example"),
    ("SRS1=HhHh=f.example==ZzZz=TT=example.org=bob@g.example",
     "SRS1=HhHh=h.example==ZzZz=TT=example.org=bob@g.example"),
    ("bob+SRS=44ldt=IX=example.org=amy@f.example", "bob+SRS=44ldt=IX=example.org=eve@f.example"),
    ("SRS0=HhHh=TTT=example.org=bob@f.example", "SRS0=ZzZz=TTT=example.org=bob@f.example"),
    ("SRS0=Hh%h=TT=example.org=bob@f.example", "SRS0=Zz%z=TT=example.org=bob@f.example"),
    ("SRS0=HhHh=TT=example=bob@f.example", "SRS0=ZzZz=TT=example=bob@f.example"),
    ("SRS0=HhHh=TT=example.org=@f.example", "SRS0=ZzZz=TT=example.org=@f.example"),
    ("SRS0=a@example.org", "SRS0=b@example.org"),
    ("SRS1=HhHh=f==bob@g.example", "SRS1=ZzZz=f==bob@g.example"),
    ("SRS1=HhHh=f.example=bob@g.example", "SRS1=ZzZz=f.example=bob@g.example"),
    ("srs1980@example.org", "srs1981@example.org"),
    ("prvs=bob@example.org", "prvs=amy@example.org"),
    ("btv1==@example.org", "btv1@example.org"),
    ("btv1==a-b==bob@example.org", "btv1==c-d==bob@example.org"),
    ("msprvs1=x@example.org", "msprvs1=y@example.org"),
    ('"bob+1"@example.org', '"bob+2"@example.org'),
    ("123456", "123457"),
    ("@example.org", ""),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), APART)
def test_what_must_stay_apart(one: str, other: str) -> None:
    for recipient in (USER.encode(), b"", b"user", b"@example.net"):
        assert canonical(stable(one.encode(), recipient)) != canonical(
            stable(other.encode(), recipient)
        )


@pytest.mark.parametrize(
    "sender",
    ["", "@", "bob@example.org", "Bob@Example.ORG", "sales-2@example.org", "bob",
     "news-20261127@example.org", "order-99@example.org",  # as docs/everyday/which-mail.md says
     "SRS0@example.org", "+SRS=a=bb@example.org", "bob+SRS=a@example.org",
     "bob+SRS=a=bb=example=c@example.org",
     "1-xuser=example.net@example.org", "1-user=example.netx@example.org",
     "list-bounces@example.org", "bounce@example.org", '"bounce-1"@example.org',
     "x" * LONGEST + "+tag@example.org", "bounce-" + "1" * LONGEST + "@example.org"],
)  # fmt: skip
def test_what_is_left_as_it_came(sender: str) -> None:
    if "srs=" not in sender.lower():
        assert stable(sender.encode(), USER.encode()) == sender.encode()
    else:
        assert b"#" not in stable(sender.encode(), USER.encode())


def test_tables_are_as_long_as_they_were() -> None:
    assert len(FORMS) >= 60
    assert len(APART) >= 30


words = st.sampled_from(
    ["bounce", "list", "user=example.net", "0a1b2c3d4e5f", "123456", "7", "SRS0", "srs1", "prvs",
     "=", "==", "-", "+", ".", "_", "TT", "abcd", "example.org", "user", "example.net", UUID]
)  # fmt: skip
made = st.lists(words, max_size=12).map(lambda parts: "".join(parts).encode() + b"@example.org")


@PROPERTY
@given(made | raw_addresses)
def test_what_is_stable_stays_so(sender: bytes) -> None:
    """The domain stays, the case of letters means nothing, and nothing grows."""
    found = stable(sender, USER.encode())
    assert found.rpartition(b"@")[1:] == sender.rpartition(b"@")[1:]
    assert len(found) <= len(sender)
    swapped = stable(sender.swapcase(), USER.encode())
    assert canonical(swapped) == canonical(found)
    assert bool(found.rpartition(b"@")[0]) == bool(sender.rpartition(b"@")[0])


@pytest.mark.parametrize(
    ("recipient", "separator", "wanted"),
    [
        ("user+tag@example.net", "+", "user@example.net"),
        ("User+Tag+more@Example.net", "+", "User@Example.net"),
        ("user@example.net", "+", "user@example.net"),
        ("user+@example.net", "+", "user@example.net"),
        ("+tag@example.net", "+", "+tag@example.net"),
        ("user-tag@example.net", "+", "user-tag@example.net"),
        ("user-tag-more@example.net", "-", "user@example.net"),
        ("user+tag@example.net", "-", "user+tag@example.net"),
        ("user@example-1.net", "-", "user@example-1.net"),
        ("user--tag@example.net", "--", "user@example.net"),
        ("a@b+c@example.net", "+", "a@b@example.net"),
        ("user+tag", "+", "user"),
        ("user", "+", "user"),
        ("", "+", ""),
        ("@", "+", "@"),
    ],
)
def test_the_mailbox_of_a_recipient(recipient: str, separator: str, wanted: str) -> None:
    assert mailbox_of(recipient.encode(), separator.encode()) == wanted.encode()
