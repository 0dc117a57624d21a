"""Times, and lengths of time, in words."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from greylag.core.accesslist import NEVER

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def moment(seconds: int) -> str:
    """Return a time as `2026-01-31 12:00:00 UTC`; what no calendar holds, as its number."""
    if seconds >= NEVER:
        return "never"
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"{seconds} (no time)"


def when(seconds: int, now: int) -> str:
    """Return a time with how far away it is: `2026-01-31 12:00:00 UTC (in 4m)`."""
    shown = moment(seconds)
    return f"{shown} ({relative(seconds - now)})" if shown.endswith("UTC") else shown


def relative(seconds: int) -> str:
    """Return `in 4m`, `3m ago` or `now`.

    A time to come is rounded up, so that nobody is told to come back too early; a past one, down.
    """
    if not seconds:
        return "now"
    return f"in {span(seconds, up=True)}" if seconds > 0 else f"{span(-seconds)} ago"


def span(seconds: float, *, up: bool = False) -> str:
    """Return a length of time in the largest unit that it holds twice: 90 is `90s`, 125 `2m`."""
    unit, size = next((u for u in _UNITS if seconds >= 2 * u[1]), _UNITS[-1])
    return f"{math.ceil(seconds / size) if up else math.floor(seconds / size)}{unit}"
