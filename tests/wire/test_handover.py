"""What a hand-over says of a client: read whole, or not at all."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greylag.core.policy import Policy
from greylag.wire.handover import ACCEPTED, Opening, read_opening
from greylag.wire.policy import Request, RequestReader
from greylag.wire.tempfail import Manner
from tests.strategies import PROPERTY
from tests.wire.hostile import VALUES

PLAIN = {
    b"request": b"smtpd_access_policy",
    b"client_address": b"192.0.2.17",
    b"greylag_client": b"jgreylist",
    b"greylag_reply": b"450 GREYLIST Try again later.",
}


def read(**changes: bytes) -> Opening | None:
    fields = PLAIN | {name.encode(): text for name, text in changes.items()}
    text = b"".join(name + b"=" + value + b"\n" for name, value in fields.items())
    return read_opening(Request(text), Policy())


def opened(**changes: bytes) -> Opening:
    found = read(**changes)
    assert found is not None
    return found


def test_what_is_not_said_has_the_old_defaults() -> None:
    assert read() == Opening(
        network=b"\xc0\0\2\0",
        client_address="192.0.2.17",
        refusal=b"450 GREYLIST Try again later.\r\n",
        manner=Manner(limit=0, seconds=60, log=True, log_smtp=False),
    )


def test_everything_that_can_be_said() -> None:
    found = opened(
        client_address=b"::ffff:198.51.100.9",
        greylag_reply=b"553 DENIED no",
        greylag_limit=b"20",
        greylag_timeout=b"30",
        greylag_log=b"0",
        greylag_log_smtp=b"1",
    )
    assert found == Opening(
        b"\xc6\x33\x64\0", "198.51.100.9", b"553 DENIED no\r\n", Manner(20, 30, False, True)
    )


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [
        (b"0", 5), (b"4", 5), (b"5", 5), (b"300", 300), (b"301", 300), (b"999999999", 300),
        (b"", 60), (b"-1", 5), (b"x", 5), (b"9e9", 9), (b" 7", 7), (b"9" * 5000, 300),
        (b"\xd9\xa3", 5),
    ],
)  # fmt: skip
def test_the_time_is_clamped_and_a_number(raw: bytes, seconds: int) -> None:
    assert opened(greylag_timeout=raw).manner.seconds == seconds


@pytest.mark.parametrize(
    ("address", "network"),
    [
        (b"64:ff9b::192.0.2.17", b"\xc0\0\2\0"),
        (b"2002:c000:211::1", b"\xc0\0\2\0"),
        (b"2001:db8:1:2:3::4", b"\x20\x01\x0d\xb8\0\1\0\2" + bytes(8)),
        (b"not-an-ip", b""),
        (b"", b""),
    ],
)
def test_the_network_of_any_address(address: bytes, network: bytes) -> None:
    assert opened(client_address=address).network == network


@pytest.mark.parametrize(
    "changes",
    [
        {"greylag_client": b"qmail-spp"},
        {"greylag_client": b""},
        *({"greylag_reply": reply} for reply in (
            b"", b"450", b"450 ", b"450-more", b"45x no", b"250 ok", b"354 go", b"650 x", b"4500 x",
            b"450 a\rb", b"450 \xe9", b"450 a\tb", b"450 \x7f", b" 450 x", b"450 " + b"x" * 497,
        )),
    ],
)  # fmt: skip
def test_what_could_not_be_said_to_a_client_is_no_opening_t13(changes: dict[str, bytes]) -> None:
    assert read(**changes) is None


def test_all_that_is_printable_may_be_said() -> None:
    assert opened(greylag_reply=b"450 " + bytes(range(0x20, 0x7F))).refusal.endswith(b"~\r\n")


def test_the_longest_reply_is_one() -> None:
    assert len(opened(greylag_reply=b"450 " + b"x" * 496).refusal) == 502


@PROPERTY
@given(st.binary(max_size=520) | st.sampled_from(VALUES), st.sampled_from([b"", b"450 ", b"553 "]))
def test_whatever_is_said_the_reply_is_one_legal_line_t13(text: bytes, code: bytes) -> None:
    found = read(greylag_reply=code + text)
    if found is not None:
        assert re.fullmatch(rb"[45][0-9]{2} [ -~]{1,496}\r\n", found.refusal)


def test_the_acknowledgement_ends_like_every_answer() -> None:
    assert ACCEPTED.endswith(b"\n\n")
    assert len(RequestReader().feed(ACCEPTED)) == 1
