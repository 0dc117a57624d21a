"""Bars of characters, and lengths of time in words."""

from __future__ import annotations

import pytest

from greylag.show.bars import bar
from greylag.show.durations import in_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0 s"), (0, "0 s"), (0.9, "0 s"), (59, "59 s"), (60, "1 min"), (61, "1 min 1 s"),
        (3600, "1 h"), (3601, "1 h"), (7500, "2 h 5 min"), (86399, "23 h 59 min"),
        (86400, "1 d"), (90000, "1 d 1 h"), (172800 + 300, "2 d"), (2_592_000, "30 d"),
    ],
)  # fmt: skip
def test_a_length_of_time_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.mark.parametrize(
    ("number", "plain", "drawn"),
    [
        (0, False, ""), (-1, False, ""), (8, False, "████"), (4, False, "██"), (5, False, "██▌"),
        (1, False, "▌"), (0.01, False, "▏"), (99, False, "████"),
        (8, True, "####"), (0.01, True, "#"), (0, True, ""), (5, True, "##"),
    ],
)  # fmt: skip
def test_a_bar_is_as_long_as_its_number(number: float, plain: bool, drawn: str) -> None:
    assert bar(number, 8, 4, plain=plain) == drawn


@pytest.mark.parametrize(("most", "width"), [(0, 4), (8, 0), (-1, 4)])
def test_there_is_no_bar_without_room(most: float, width: int) -> None:
    assert not bar(1, most, width)
