"""Times in words."""

from __future__ import annotations

import pytest

from greylag.admin.moments import moment, relative, span, when
from greylag.core.accesslist import NEVER

NOW = 1_800_000_000


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "now"), (1, "in 1s"), (119, "in 119s"), (121, "in 3m"), (240, "in 4m"), (7200, "in 2h"),
     (172800, "in 2d"), (-1, "1s ago"), (-239, "3m ago"), (-7201, "2h ago"), (-86400, "24h ago")],
)  # fmt: skip
def test_relative_times(seconds: int, text: str) -> None:
    assert relative(seconds) == text


def test_moments() -> None:
    assert when(NOW + 240, NOW) == "2027-01-15 08:04:00 UTC (in 4m)"
    assert when(NEVER, NOW) == moment(NEVER + 1) == "never"
    assert moment(-(10**15)) == "-1000000000000000 (no time)"
    assert span(0) == "0s"
