r"""Canonical addresses: T11, nothing but ASCII case makes two of them one."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from greylag.core.address import (
    MAX_LENGTH,
    Spelling,
    canonical,
    canonical_domain,
    domain_of,
    recipient_of,
)
from tests.evil import EVIL
from tests.strategies import PROPERTY, raw_addresses

VISIBLE = frozenset(string.ascii_letters + string.digits + string.punctuation)
ASCII_CASE = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        pytest.param(b"", "", id="empty"),
        pytest.param(b"A@Example.ORG", "a@example.org", id="ASCII case"),
        pytest.param(b"!#$%&'*+-/=?^_`{|}~.@x", "!#$%&'*+-/=?^_`{|}~.@x", id="RFC 5322 atoms"),
        pytest.param(b"\x20", r"\x20", id="below the visible"),
        pytest.param(b"!~", "!~", id="first and last visible"),
        pytest.param(b"!~\xff", r"!~\xff", id="the same, beside an odd byte"),
        pytest.param(b"\x7f", r"\x7f", id="above the visible"),
        pytest.param(b"\x00\t\r\n\x1b", r"\x00\x09\x0d\x0a\x1b", id="controls"),
        pytest.param(b"q s@x", r"q\x20s@x", id="space"),
        pytest.param(b"\\", r"\x5c", id="backslash"),
        pytest.param(rb"\x41", r"\x5cx41", id="an escape spelled out"),
        pytest.param(b"\xc3\x89\xff", r"\xc3\x89\xff", id="8 bits, no case among them"),
    ],
)
def test_canonical(raw: bytes, wanted: str) -> None:
    assert canonical(raw) == wanted


@pytest.mark.parametrize("odd", [b"", b"\xff"])
def test_the_width_is_used_up_and_no_more(odd: bytes) -> None:
    fits = odd + b"a" * (MAX_LENGTH - 4 * len(odd))
    assert len(canonical(fits)) == MAX_LENGTH
    assert "\\#" not in canonical(fits)
    over = canonical(fits + b"a")
    assert len(over) == MAX_LENGTH
    text, digest = over[:-42], over[-42:]
    assert canonical(fits).startswith(text)
    assert digest[:2] == "\\#"
    assert set(digest[2:]) <= set("0123456789abcdef")


def test_the_digest_of_long_addresses_is_of_the_whole_without_case() -> None:
    long = b"a" * 600
    assert canonical(long) == canonical(long.upper())
    assert canonical(long) != canonical(long + b"a")
    assert canonical(long + b"b@x") != canonical(long + b"c@x")


def test_the_form_is_the_same_in_every_release() -> None:
    """Records are found by it: a change would greylist everybody again."""
    wanted = "a" * 213 + "\\#c9c4a2f8df7d9546fad021510f72ee0ae1b15058"
    assert canonical(b"A" * 300) == wanted


@PROPERTY
@given(raw_addresses)
@example(b"\xff" * 65536)
@example(b"\\" * 64)
def test_canonical_is_visible_ascii_of_bounded_length_t11(raw: bytes) -> None:
    text = canonical(raw)
    assert len(text) <= MAX_LENGTH
    assert set(text) <= VISIBLE
    assert not set(text) & set(string.ascii_uppercase)
    assert canonical(raw.translate(ASCII_CASE)) == text


@PROPERTY
@given(st.binary(max_size=63))
def test_a_short_canonical_form_can_be_read_back_t11(raw: bytes) -> None:
    assume(b"@" not in raw or raw.rpartition(b"@")[2].isascii())
    first, *escaped = canonical(raw).split("\\x")
    back = first.encode() + b"".join(bytes.fromhex(e[:2]) + e[2:].encode() for e in escaped)
    assert back == raw.translate(ASCII_CASE)


def near_pairs(number: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield pairs of addresses that some database, locale or cut would take for one."""
    dice = random.Random(11)
    letters = "aeiounyAEIOUNYßÉéÈèÑñÖöİıſKk"  # noqa: RUF001 - look-alikes are the point
    for _ in range(number // 10):
        name = "".join(dice.choices(letters, k=dice.randint(1, 8)))
        raw = f"{name}@example.org".encode()
        plain = name.encode("ascii", "ignore") + b"@example.org"
        long = raw * 30
        yield raw, f"{name.swapcase()}@example.org".encode()
        yield raw, plain  # accents left out
        yield raw, f"{name}@example.org".encode("cp1252", "replace")
        yield raw, raw + dice.choice([b" ", b".", b"\t", b"\r", b"\xc2\xa0"])
        yield long[: dice.randint(240, 260)], long[:255]
        yield long + b"1", long + b"2"
        yield raw, canonical(raw).encode()  # escapes spelled out
        yield long, canonical(long).encode()  # a digest spelled out
        junk = bytes(dice.randint(1, 255) for _ in range(dice.randint(1, 300)))
        flipped = bytearray(junk)
        flipped[dice.randrange(len(junk))] ^= 1 << dice.randrange(8)
        yield junk, bytes(flipped)
        yield junk, junk.swapcase()


def test_10_000_near_pairs_do_not_collide_t11() -> None:
    """T11: alike if and only if they differ in the case of ASCII letters alone."""
    seen = alike = 0
    for one, other in near_pairs(10_000):
        same = one.translate(ASCII_CASE) == other.translate(ASCII_CASE)
        assert (canonical(one) == canonical(other)) is same, (one, other)
        seen += 1
        alike += same
    assert seen == 10_000
    assert 500 < alike < 9_000


def test_evil_values_do_not_collide_t11() -> None:
    """T11, and SQL payloads among them: as many forms as there are values."""
    values = {raw.translate(ASCII_CASE) for raw in EVIL}
    assert len({canonical(raw) for raw in EVIL}) == len(values)


CLEAR, LOCAL, AMBIGUOUS = Spelling.CLEAR, Spelling.LOCAL, Spelling.AMBIGUOUS
DOMAINS = [
    (b"b@example.net", "example.net", CLEAR),
    (b"b@EXAMPLE.Net", "example.net", CLEAR),
    (b"b@example.net.", "example.net", CLEAR),
    (b"b+x=y/z@example.net", "example.net", CLEAR),
    ("b@b\u00fccher.example".encode(), "xn--bcher-kva.example", CLEAR),
    ("b@B\u00dcCHER.example.".encode(), "xn--bcher-kva.example", CLEAR),
    (b"b@xn--BCHER-kva.example", "xn--bcher-kva.example", CLEAR),
    (b"b@example.net..", "example.net.", AMBIGUOUS),
    ("b@example.net\u3002".encode(), "example.net", CLEAR),
    ("b@example.net\u3002.".encode(), "example.net.", AMBIGUOUS),
    ("b@stra\u00dfe.example".encode(), "xn--strae-oqa.example", AMBIGUOUS),
    ("b@\uff45xample.net".encode(), r"\xef\xbd\x85xample.net", AMBIGUOUS),
    ("b@example\u034f.net".encode(), r"example\xcd\x8f.net", AMBIGUOUS),
    (b"b@.example.net", ".example.net", AMBIGUOUS),
    (b"b@a..example.net", "a..example.net", AMBIGUOUS),
    (b"b@[127.0.0.1]", "[127.0.0.1]", AMBIGUOUS),
    (b"b@[IPv6:::1]", "[ipv6:::1]", AMBIGUOUS),
    (b"b@#2130706433", "#2130706433", AMBIGUOUS),
    (b"b@example.net ", r"example.net\x20", AMBIGUOUS),
    (b"b@exa\xffmple.net", r"exa\xffmple.net", AMBIGUOUS),
    (b"b%example.net@example.com", "example.com", AMBIGUOUS),
    (b"example.net!b@example.com", "example.com", AMBIGUOUS),
    (b"a@b@example.net", "example.net", AMBIGUOUS),
    (b'"b@example.net"@example.com', "example.com", AMBIGUOUS),
    (b"b\\@example.net@example.com", "example.com", AMBIGUOUS),
    (b"@example.org,@example.com:b@example.net", "example.net", AMBIGUOUS),
    (b"@example.net", "example.net", AMBIGUOUS),
    (b"b@", "", AMBIGUOUS),
    (b"b@.", "", AMBIGUOUS),
    (b"@", "", AMBIGUOUS),
    (b"", "", LOCAL),
    (b"postmaster", "postmaster", LOCAL),
    (b"example.net", "", LOCAL),
    (b"b@localhost", "localhost", LOCAL),
]


@pytest.mark.parametrize(("recipient", "wanted", "spelling"), DOMAINS)
def test_domain_of(recipient: bytes, wanted: str, spelling: Spelling) -> None:
    """T40: one rule for what domain a recipient belongs to."""
    assert domain_of(recipient) == (wanted, spelling)


@pytest.mark.parametrize("recipient", [recipient for recipient, _, _ in DOMAINS])
def test_what_is_read_in_one_go_is_read_alike(recipient: bytes) -> None:
    assert recipient_of(recipient) == (canonical(recipient), *domain_of(recipient))


@PROPERTY
@given(st.text("aB0-_.@%+\u00fc", max_size=20).map(str.encode) | raw_addresses)
@example(b"b@" + b"a." * 126 + b"a")
@example(b"b" * 64 + b"@" + b"a." * 126 + b"a")
def test_a_recipient_read_in_one_go_is_read_alike_t40(recipient: bytes) -> None:
    assert recipient_of(recipient) == (canonical(recipient), *domain_of(recipient))


@pytest.mark.parametrize(
    ("domain", "wanted"),
    [
        ("b\u00fccher.example", "xn--bcher-kva.example"),
        ("bu\u0308cher.example", "xn--bcher-kva.example"),
        ("B\u00dcCHER\u3002EXAMPLE", "xn--bcher-kva.example"),
        ("stra\u00dfe.example", "xn--strae-oqa.example"),  # IDNA 2003 made strasse of it
        ("\u4f8b\u3048.example", "xn--r8jz45g.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("b\u00fc cher.example", r"b\xc3\xbc\x20cher.example"),
        ("b\u00fc\u2603.example", r"b\xc3\xbc\xe2\x98\x83.example"),
    ],
)
def test_a_domain_has_one_form_in_every_script(domain: str, wanted: str) -> None:
    raw = domain.encode()
    assert canonical_domain(raw) == wanted
    assert canonical(b"b@" + raw) == f"b@{wanted}"


def test_a_domain_in_another_script_takes_bounded_time() -> None:
    """Labels and domains that can be no name are not encoded: that would take quadratic time."""
    label = "".join(chr(0x4E00 + number) for number in range(64)).encode()
    assert "xn--" not in canonical_domain(label)
    assert "xn--" not in canonical(b"b@" + "\u00fc.".encode() * 20_000)
    assert "xn--" not in canonical_domain("\u00fc\u4e00".encode() * 30)


def test_a_domain_in_another_script_fits_the_name_it_becomes() -> None:
    """RFC 1035: 253 bytes are the longest name; one that is longer stays as it came."""
    fits = "\u00fc." * 31 + "abcde"
    assert len(canonical_domain(fits.encode())) == 253
    over = canonical_domain(f"{fits}f".encode())
    assert over.startswith(r"\xc3\xbc.\xc3\xbc.")
