"""Work grows no faster than the input: CVE-2020-35573 and its kind, on all parsers.

Time is not measured: what Python executes is counted, which is the same on every machine. Loops
inside C calls are not seen by this; of those only regular expressions and numbers of unbounded
length are worse than linear, and tests/test_house.py keeps the first out of core and wire.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from greylag.core.address import canonical, domain_of
from greylag.core.client import parse_address
from greylag.core.duration import parse_duration
from greylag.core.sender import normalise
from greylag.core.subject import parse_subject
from greylag.wire.logline import parse_event, quote
from greylag.wire.oldplugin import read_file
from greylag.wire.reply import check_template

MOST = 80  # growth from 1 KiB to 64 KiB: 64, and something for what is done once


def steps_of(function: Callable[[Any], object], argument: object) -> int:
    """Count the bytecode instructions that a call executes, its callees' too."""
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
        function(argument)
    except ValueError:
        pass  # a refusal is an answer, too
    finally:
        sys.settrace(before)
    return steps


FUNCTIONS: list[Callable[[bytes], object]] = [
    normalise,
    canonical,
    lambda raw: canonical(normalise(raw)),
    domain_of,
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
        small, big = (steps_of(function, grown(parts, 1024 * k)) for k in (1, 64))
        assert big <= MOST * small


def test_the_count_sees_a_quadratic_function() -> None:
    def peel(raw: bytes) -> None:
        while raw:
            for _ in raw:
                pass
            raw = raw[64:]

    small, big = (steps_of(peel, bytes(512 * k)) for k in (1, 4))
    assert big > 2 * 4 * small
