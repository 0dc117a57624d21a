"""The fake conversation: P4 (cut anywhere, same replies), P2 (constant memory), P3, T13."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greylag.core.verdict import Decision, Reason, Verdict
from greylag.wire import tempfail
from greylag.wire.tempfail import BANNER, KEPT, MAX_LINES, ROOM, Dialogue, End, Turn, refusal, shown
from tests.strategies import PROPERTY, SOAK
from tests.wire.hostile import VALUES

DEFER = Decision(Verdict.DEFER, Reason.NEW)
GREY = refusal(DEFER, b"", b"192.0.2.17")
REPLY_LINE = re.compile(rb"[245][0-9][0-9] [ -~]{0,500}\r\n")
NO_MAIL_TAKEN = (b"220", b"221", b"250", b"421", b"450", b"553")

RECORDED = [
    b"EHLO a.example.org\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.net>\r\nQUIT\r\n",
    b"HELO x\nmail from:<>\nrcpt to:<b@example.net>\ndata\nnoop\nrset\nquit\n",
    b"helo x\rMAIL FROM:<a@example.org>\rRCPT TO:<b@example.net>\r\rQUIT\r",
    b"\r\n\n\r\r\n\r\r\nEHLO\r\n\n" + b"x" * (2 * KEPT) + b"\r\nNOOP\tx\r\nQUIT now\r\nEHLO\r\n",
    b"RCPT\r\n" * 12 + b"DATA\r\nFrom: a\r\n\r\nbody\r\n.\r\n" + b"STARTTLS\r\nAUTH PLAIN\r\n",
    b"\0\xff\x1b[2J\r\nEHLO\0\r\n" + b"x" * KEPT + b"\r\n" + b"y" * (KEPT + 1) + b"\r\nQUIT\r\n",
    b"QUIT",
    b"",
]


def turns_of(dialogue: Dialogue, *pieces: bytes) -> list[Turn]:
    found = []
    for piece in pieces:
        for start in range(0, len(piece), ROOM):
            dialogue.feed(piece[start : start + ROOM])
            while (turn := dialogue.next_turn()) is not None:
                found.append(turn)
    return found


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"HELO a.example.org", b"250"),
        (b"EHLO a.example.org", b"250"),
        (b"ehlo", b"250"),
        (b"MAIL FROM:<a@example.org>", b"250"),
        (b"Mail\tFROM:<a@example.org>", b"250"),
        (b"RSET", b"250"),
        (b"QUIT", b"221"),
        (b"quit now", b"221"),
        (b"RCPT TO:<b@example.net>", b"450"),
        (b"DATA", b"450"),
        (b"VRFY b", b"450"),
        (b"STARTTLS", b"450"),
        (b"", b"450"),
        (b" QUIT", b"450"),
        (b"QUITE", b"450"),
        (b"QUIT\0", b"450"),
        (b"MAIL:", b"450"),
        (b"354 go ahead", b"450"),
        (b"x" * 10_000, b"450"),
    ],
)
def test_the_first_word_decides(line: bytes, code: bytes) -> None:
    (turn,) = turns_of(Dialogue(GREY), line + b"\r\n")
    assert turn.reply[:3] == code
    assert turn.end is (End.QUIT if code == b"221" else None)
    assert turn.line == line[: KEPT + 1]


def test_fault_5_noop_is_welcome() -> None:
    """RFC 5321 4.1.1.9; the old program answered 450."""
    (turn,) = turns_of(Dialogue(GREY), b"NOOP\r\n")
    assert turn.reply == b"250 ok\r\n"


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r"], ids=["CRLF", "LF", "CR"])
def test_every_line_end_ends_one_line(end: bytes) -> None:
    found = turns_of(Dialogue(GREY), end.join([b"HELO x", b"", b"RCPT", b"QUIT", b""]))
    assert [turn.line for turn in found] == [b"HELO x", b"", b"RCPT", b"QUIT"]


def test_mixed_line_ends_end_lines_each_in_its_place() -> None:
    found = turns_of(Dialogue(GREY), b"a\n\rb\r\r\nc\r\n\nd\r")
    assert [turn.line for turn in found] == [b"a", b"", b"b", b"", b"c", b"", b"d"]


@pytest.mark.parametrize("stream", RECORDED)
def test_cut_anywhere_the_same_conversation_p4(stream: bytes) -> None:
    whole = turns_of(Dialogue(GREY, 9), stream)
    for cut in range(len(stream) + 1):
        assert turns_of(Dialogue(GREY, 9), stream[:cut], stream[cut:]) == whole
    singly = [stream[at : at + 1] for at in range(len(stream))]
    assert turns_of(Dialogue(GREY, 9), *singly) == whole


def test_what_is_not_ended_is_not_answered() -> None:
    dialogue = Dialogue(GREY)
    assert turns_of(dialogue, b"RCPT TO:<b@example.net>") == []
    assert len(turns_of(dialogue, b"\r")) == 1
    assert turns_of(dialogue, b"\n") == []


def test_limit_hangs_up_at_that_many_rcpt() -> None:
    found = turns_of(Dialogue(GREY, 3), b"RCPT a\r\nNOOP\r\nRCPT b\r\nRCPT c\r\nRCPT d\r\n")
    assert [turn.reply[:3] for turn in found] == [b"450", b"250", b"450", b"421"]
    assert found[-1].end is End.TOO_MANY_RCPT


def test_the_texts_are_the_old_programs() -> None:
    """As the C program that the guide names says them, but for NOOP, which it refuses."""
    assert BANNER == b"220 jgreylist v8\r\n"
    found = turns_of(Dialogue(GREY, 2), b"HELO\nEHLO\nMAIL\nRSET\nRCPT\nRCPT\n")
    assert [turn.reply for turn in found] == [b"250 jgreylist v8\r\n"] * 4 + [
        GREY,
        b"421 Too many RCPT commands, goodbye.\r\n",
    ]
    assert turns_of(Dialogue(GREY), b"QUIT\n")[0].reply == b"221 jgreylist v8\r\n"


def test_no_limit_is_no_limit() -> None:
    assert len(turns_of(Dialogue(GREY, 0), b"RCPT\r\n" * 500)) == 500


def test_a_conversation_has_an_end_whatever_it_is_about_t7() -> None:
    found = turns_of(Dialogue(GREY), b"\n" * 5000)
    assert len(found) == MAX_LINES
    assert found[-1].reply[:3] == b"421"
    assert [turn.end for turn in found[-2:]] == [None, End.TOO_MANY_LINES]


def test_the_last_line_may_be_the_goodbye() -> None:
    found = turns_of(Dialogue(GREY), b"NOOP\n" * (MAX_LINES - 1) + b"QUIT\n")
    assert found[-1].end is End.QUIT


@pytest.mark.parametrize("end", [b"QUIT\r\n", b"RCPT\r\n"])
def test_after_the_end_nothing_is_said(end: bytes) -> None:
    found = turns_of(Dialogue(GREY, 1), end + b"EHLO x\r\nQUIT\r\n", b"EHLO x\r\n")
    assert len(found) == 1


def test_a_line_of_any_length_costs_no_memory_p2() -> None:
    dialogue = Dialogue(GREY)
    for _ in range((64 << 20) // ROOM if SOAK else (1 << 20) // ROOM):
        dialogue.feed(b"x" * ROOM)
        assert dialogue.next_turn() is None
        assert len(dialogue._held) <= KEPT + 1
    (turn,) = turns_of(dialogue, b"\r\n")
    assert turn.reply == GREY


PIECES = st.lists(
    st.binary(max_size=40)
    | st.sampled_from([b"\r", b"\n", b"\r\n", b"QUIT", b"RCPT ", b"EHLO x", b"MAIL", b"DATA"])
    | st.sampled_from(VALUES),
    max_size=30,
)


@PROPERTY
@given(PIECES, st.integers(0, 4))
def test_nothing_but_complete_reply_lines_whatever_comes_p3_t13(
    pieces: list[bytes], limit: int
) -> None:
    dialogue = Dialogue(GREY, limit)
    found = turns_of(dialogue, *pieces)
    for turn in found:
        assert REPLY_LINE.fullmatch(turn.reply)
        assert len(turn.reply) <= 512
        assert turn.reply.startswith(NO_MAIL_TAKEN)
    assert all(turn.end is None for turn in found[:-1])
    assert len(dialogue._held) <= ROOM + KEPT + 1
    stream = b"".join(pieces)
    assert turns_of(Dialogue(GREY, limit), stream) == found
    if not any(turn.end for turn in found):
        ends = len(re.findall(rb"\r\n|\r|\n", stream))
        assert len(found) == ends


@pytest.mark.parametrize(
    "line",
    [tempfail.BANNER, tempfail.TIMEOUT, tempfail.BUSY, tempfail._TOO_MANY_RCPT],
)
def test_our_own_lines_are_replies(line: bytes) -> None:
    assert REPLY_LINE.fullmatch(line)


def test_all_that_is_printable_is_said() -> None:
    text = bytes(range(0x20, 0x7F)).replace(b"%", b"")
    said = refusal(Decision(Verdict.REJECT, Reason.DENYLISTED), text, b"")
    assert said == b"553 DENIED %b\r\n" % text


def test_the_texts_of_the_old_program() -> None:
    early = Decision(Verdict.DEFER, Reason.EARLY)
    assert refusal(DEFER, b"", b"192.0.2.1") == b"450 GREYLIST Try again later.\r\n"
    assert refusal(early, b"", b"192.0.2.1") == b"450 GREYLIST I said to try later.\r\n"
    failed = Decision(Verdict.DEFER, Reason.STORE_UNAVAILABLE)
    assert refusal(failed, b"x", b"192.0.2.1") == b"450 GREYLIST Try again later.\r\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"Your address % is blocked", b"Your address 192.0.2.1 is blocked"),
        (b"%%s%", b"192.0.2.1%s%"),
        (b"no", b"no"),
        (b"", b""),
        (b"a\r\n250 ok", b"a??250 ok"),
        (b"\xff\0\x7f", b"???"),
    ],
)
def test_the_first_percent_is_the_address(text: bytes, told: bytes) -> None:
    reject = Decision(Verdict.REJECT, Reason.DENYLISTED)
    assert refusal(reject, text, b"192.0.2.1") == b"553 DENIED " + told + b"\r\n"


def test_texts_and_addresses_of_every_kind_make_one_line_t13() -> None:
    """CVE-2005-1127, OpenBSD spamd 2026-04: 500 values, each as text and as the address."""
    reject = Decision(Verdict.REJECT, Reason.DENYLISTED)
    for value in VALUES:
        for line in (refusal(reject, value, b"192.0.2.1"), refusal(reject, b"% %", value)):
            assert REPLY_LINE.fullmatch(line)
            assert line.startswith(b"553 DENIED ")
    assert len(VALUES) >= 300


@pytest.mark.parametrize("size", range(480, 520))
def test_a_long_text_is_cut_to_a_legal_line(size: int) -> None:
    reject = Decision(Verdict.REJECT, Reason.DENYLISTED)
    line = refusal(reject, b"x" * size + b"%", b"2001:db8::1")
    assert len(line) <= 502
    assert line.endswith(b"\r\n")


def test_lines_are_shown_in_printable_ascii_p13() -> None:
    assert shown(b"RCPT TO:<b@example.net>") == "RCPT TO:<b@example.net>"
    assert shown(b"\x1b[2J\\\xff\n") == "\\x1b[2J\\x5c\\xff\\x0a"
    assert shown(b"x" * KEPT) == "x" * KEPT
    assert shown(b"x" * (KEPT + 1)) == "x" * KEPT + "[...]"
    for value in VALUES:
        assert re.fullmatch(r"[ -~]*", shown(value))
