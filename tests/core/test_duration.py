"""Durations: read, written, and read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greylag.core.duration import LONGEST, UNITS, format_duration, parse_duration
from tests.core.asking import refusal
from tests.strategies import PROPERTY


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0),
        ("1s", 1),
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("2h", 7200),
        ("36d", 36 * 86400),
        ("1w", 604800),
        ("1w1d1h1m1s", 694861),
        ("007m", 420),
        (" 5m\n", 300),
        ("36600d", LONGEST),
        ("3162240000s", LONGEST),
    ],
)
def test_parse_duration(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "5", "m", "5 m", "5M", "-5m", "+5m", "1.5h", "5mm", "5m5m", "1m1h", "1s1s", "5y",
        "5m5", "five", "00000000005m", "\u0665m", "\u00b2m", "5m,", "5m 3s", "5\x00m",
        "1e3s", "0x5m",
    ],
)  # fmt: skip
def test_a_wrong_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match='such as "5m" or "36d"'):
        parse_duration(text)


@pytest.mark.parametrize("text", ["3162240001s", "36601d", "36600d1s", "9999999999w"])
def test_more_than_a_century_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="at most 36600 days"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (1, "1s"),
        (60, "1m"),
        (90, "1m30s"),
        (3600, "1h"),
        (86399, "23h59m59s"),
        (86400, "1d"),
        (604800, "1w"),
        (2 * 604800, "2w"),
        (36 * 86400, "36d"),
        (604801, "7d1s"),
        (LONGEST, "36600d"),
    ],
)
def test_format_duration(seconds: int, text: str) -> None:
    assert format_duration(seconds) == text


@PROPERTY
@given(st.integers(0, LONGEST) | st.integers(0, 5000).map(lambda hours: 3600 * hours))
def test_what_is_written_is_read_back(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@PROPERTY
@given(st.text(alphabet="0123456789wdhms -.") | st.text())
def test_whatever_is_typed_is_read_or_refused_p3(text: str) -> None:
    told = refusal(parse_duration, text)
    if told is None:
        assert 0 <= parse_duration(text) <= LONGEST
        assert set(text.strip()) <= set("0123456789") | set(UNITS)
    else:
        assert told.startswith("expected ")
