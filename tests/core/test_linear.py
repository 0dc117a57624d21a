"""Work grows no faster than the input: CVE-2020-35573 and its kind, on all parsers.

Time is not measured: what Python executes is counted, which is the same on every machine. Loops
inside C calls are not seen by this; of those only regular expressions and numbers of unbounded
length are worse than linear, and tests/test_house.py keeps the first out of core and wire.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from greylag.core.address import canonical, canonical_domain, normalise, recipient_of
from greylag.core.client import parse_address
from greylag.core.duration import parse_duration
from greylag.core.dynamic import looks_dynamic
from greylag.core.names import helo_of
from greylag.core.stable import LONGEST, mailbox_of, stable
from greylag.core.subject import parse_subject
from greylag.core.zones import parse_codes
from greylag.wire.logline import parse_event, quote
from greylag.wire.oldplugin import read_file
from greylag.wire.reply import check_template

MOST = 80  # growth from 1 KiB to 64 KiB: 64, and something for what is done once


def steps_of(function: Callable[[Any], object], argument: object) -> int:
    """Count the bytecode instructions that a call executes, its callees' too.

    It is called twice, and the second call counts: Python 3.13 gives the events of a function only
    from the call after the one in which they were first asked for.
    """
    steps = 0

    def trace(frame: FrameType, event: str, _arg: object) -> Any:
        nonlocal steps
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        steps += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for _ in range(2):
            steps = 0
            with contextlib.suppress(ValueError):  # a refusal is an answer, too
                function(argument)
    finally:
        sys.settrace(before)
    return steps


def grows_linearly(function: Callable[[Any], object], parts: tuple[bytes, bytes, bytes]) -> bool:
    small, big = (steps_of(function, grown(parts, 1024 * k)) for k in (1, 64))
    assert small > 0, "the work was not seen, so nothing is known of its growth"
    return big <= MOST * small


FUNCTIONS: list[Callable[[bytes], object]] = [
    normalise,
    canonical,
    lambda raw: canonical(normalise(raw)),
    lambda raw: stable(raw, b"user@example.net"),
    lambda raw: stable(b"list-bounces-1-user=example.net@example.org", raw),
    lambda raw: stable(raw, raw),
    mailbox_of,
    lambda raw: helo_of(raw, ()),
    lambda raw: looks_dynamic(raw.decode("latin-1"), b"\xc0\0\2\7"),
    lambda raw: parse_codes(raw.decode("latin-1")),
    canonical_domain,
    recipient_of,
    parse_address,
    quote,
    lambda raw: parse_subject(raw.decode("latin-1")),
    lambda raw: parse_subject(raw.decode("latin-1"), domain=True),
    lambda raw: parse_duration(raw.decode("latin-1")),
    lambda raw: parse_event(raw.decode("latin-1")),
    lambda raw: check_template(raw.decode("latin-1"), "4"),
    lambda raw: read_file(raw, "greylisting"),
]
# A beginning, what is repeated up to the size, and an end.
HOSTILE = [
    (b"prvs=", b"=", b"@example.org"),
    (b"prvs=", b"a=", b"@example.org"),
    (b"", b"prvs=", b"@example.org"),
    (b"prvs=a", b"/", b"@example.org"),
    (b"prvs=", b"a/", b"=@example.org"),
    (b"prvs=1=", b"/a", b"@example.org"),
    (b"prvs=", b"1", b""),
    (b"prvs=", b"1", b"=a@example.org"),
    (b"prvs=", b"@", b"example.org"),
    (b"", b"@", b""),
    (b"", b"=", b""),
    (b"", b"a=1 ", b""),
    (b'a="', b"\\x41", b'"'),
    (b"", b"\xff", b""),
    (b"", b"\\", b""),
    (b"", b"A", b""),
    (b"", b" ", b"x"),
    (b"", b"1.", b""),
    (b"", b"1", b""),
    (b"", b"1:", b""),
    (b"", b"::", b"%eth0"),
    (b"::1%", b"%", b""),
    (b"192.0.2.0/", b"0", b"24"),
    (b"", b"a.", b"example"),
    (b"b@", b"a.", b"example"),
    (b"b@", b"A", b".example"),
    (b"b@", b".", b""),
    (b"b@", b"\xc3\xbc.", b"example"),
    (b"b@", b"\xc3\xbc", b""),
    (b"b@", b"\xe3\x80\x82", b""),
    (b"b@", b"u\xcc\x88.", b"example"),
    (b"", b"%", b"@example.net"),
    (b"", b"\xff@", b"example.net"),
    (b"", b"1s", b""),
    (b"451 ", b"{retry_after}", b""),
    (b"451 ", b"{", b""),
    (b"", b"block_expire=1\n", b""),
    (b"block_expire=", b"9", b""),
]


def grown(parts: tuple[bytes, bytes, bytes], size: int) -> bytes:
    begin, repeated, end = parts
    times = (size - len(begin) - len(end)) // len(repeated)
    return begin + repeated * times + end


@pytest.mark.parametrize("parts", HOSTILE, ids=lambda parts: repr(b"..".join(parts))[2:-1])
def test_64_times_the_input_is_64_times_the_work_cve_2020_35573(
    parts: tuple[bytes, bytes, bytes],
) -> None:
    """CVE-2020-35573 and PostSRSd 1.11: a long tag made the normaliser superlinear."""
    for function in FUNCTIONS:
        assert grows_linearly(function, parts)


@pytest.mark.parametrize("parts", HOSTILE, ids=lambda parts: repr(b"..".join(parts))[2:-1])
def test_an_address_that_is_over_long_takes_as_long_as_the_longest(
    parts: tuple[bytes, bytes, bytes],
) -> None:
    """What is cut is read as far as the cut; the digest is made in C."""
    for function in (canonical, recipient_of):
        longest, over = (steps_of(function, grown(parts, size)) for size in (1024, 65536))
        assert over <= 2 * longest + 100


@pytest.mark.parametrize(
    "repeated",
    [b"user=example.net-", b"1-", b"a1", b"bounce-", b"=", b"+", b"0f8fad5b-d9cb-469f-a165-"],
)
def test_the_longest_sender_that_is_reduced_costs_little(repeated: bytes) -> None:
    """64 KiB take less than 5 ms; what is that long is left as it is, so this is the most."""
    for start in (b"bounce-", b"SRS0=abcd=ab=example.org=", b"SRS1=abcd=a.example==abcd=ab="):
        sender = (start + repeated * LONGEST)[:LONGEST] + b"@bounces.example.org"
        assert steps_of(lambda raw: stable(raw, b"user@example.net"), sender) < 40_000


def in_a_loop(raw: bytes) -> None:
    """Look through all that is left, again and again."""
    while raw:
        for _ in raw:
            pass
        raw = raw[4096:]


def in_a_callee(raw: bytes) -> None:
    def look_through(rest: bytes) -> None:
        for _ in rest:
            pass

    for start in range(0, len(raw), 4096):
        look_through(raw[start:])


def in_a_comprehension(raw: bytes) -> None:
    for start in range(0, len(raw), 4096):
        [byte for byte in raw[start:]]  # noqa: C416 (the loop is meant)


def in_what_is_long_alone(raw: bytes) -> None:
    """What a short input never reaches."""
    if len(raw) > 4096:
        in_a_loop(raw)


@pytest.mark.parametrize(
    "quadratic", [in_a_loop, in_a_callee, in_a_comprehension, in_what_is_long_alone]
)
def test_a_quadratic_function_is_found(quadratic: Callable[[bytes], object]) -> None:
    """Whatever the Python: the events of 3.11, 3.12 and 3.13 differ."""
    assert not grows_linearly(quadratic, (b"prvs=", b"a=", b"@example.org"))
