"""One rule for bytes in printable ASCII (P13, T12): addresses, log and conversations keep to it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from greylag.core.address import escaped
from greylag.core.escape import PRINTABLE, QUESTION_MARKS, escapes, unescaped
from greylag.wire.logline import quote
from greylag.wire.tempfail import shown
from tests.evil import EVIL
from tests.strategies import PROPERTY

BYTES = [bytes((byte,)) for byte in range(256)]


def logged(raw: bytes) -> str:
    return quote(raw).strip('"')


@pytest.mark.parametrize("write", [escaped, logged, shown])
@pytest.mark.parametrize("raw", BYTES, ids=bytes.hex)
def test_a_byte_stands_as_it_is_or_as_its_escape_p13(
    write: Callable[[bytes], str], raw: bytes
) -> None:
    assert write(raw) in (raw.lower().decode("latin-1"), raw.decode("latin-1"), f"\\x{raw.hex()}")
    assert re.fullmatch(r"[ -~]+", write(raw))


@pytest.mark.parametrize("write", [escaped, logged, shown])
def test_what_is_written_is_read_back(write: Callable[[bytes], str]) -> None:
    for value in EVIL:
        raw = value[:60].lower()
        assert unescaped(write(raw).encode("ascii")) == raw


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (b"", b""),
        (b"plain", b"plain"),
        (rb"\x0a", b"\n"),
        (rb"a\x5cx41b", rb"a\x41b"),  # once only
        (rb"\x", rb"\x"),
        (rb"\x4", rb"\x4"),
        (rb"\x4\x41", rb"\x4A"),
        (rb"\x\x41", rb"\xA"),
        (rb"\xzz\n", rb"\xzz\n"),
        (rb"\x0A", rb"\x0A"),  # nothing writes capitals
        (b"\\x 1", b"\\x 1"),
        (b"\xff\\xff", b"\xff\xff"),
    ],
)
def test_what_is_no_escape_stays_as_it_is(text: bytes, wanted: bytes) -> None:
    assert unescaped(text) == wanted


@PROPERTY
@given(st.lists(st.sampled_from([b"\\", b"x", b"4", b"1", b"A", b"f", b"\xff"])).map(b"".join))
@example(rb"\x\x4\x41")
def test_escapes_are_read_as_a_regular_expression_would(text: bytes) -> None:
    found = re.sub(rb"\\x([0-9a-f]{2})", lambda it: bytes.fromhex(it[1].decode()), text)
    assert unescaped(text) == found


def test_a_table_has_a_text_for_each_byte() -> None:
    table = escapes(b"a~")
    assert len(table) == 256
    assert [byte for byte in range(256) if table[byte] == chr(byte)] == [ord("a"), ord("~")]
    assert escapes(b"") == [f"\\x{byte:02x}" for byte in range(256)]


def test_replies_have_question_marks_for_what_is_not_printable() -> None:
    for raw in BYTES:
        assert raw.translate(QUESTION_MARKS) == (raw if raw in PRINTABLE else b"?")
