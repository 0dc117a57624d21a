"""Durations as admins write them: `"5m"`, `"36d"`, `"1h30m"`; in seconds inside."""

from __future__ import annotations

UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
EXPECTED = 'a duration with its unit (s, m, h, d or w), such as "5m" or "36d"'
LONGEST = 100 * 366 * 86400  # a century: calendars and 32-bit columns end not much later
_MOST_DIGITS = 10  # a longer number is over LONGEST in any unit


def parse_duration(text: str) -> int:
    """Return the seconds of a text such as `90s`, `5m` or `1h30m`.

    Raises ValueError with what was expected. A number without a unit is refused, and so are signs,
    fractions, repeated or unordered units, and more than a century.
    """
    total, rest, units = 0, text.strip(), "wdhms"
    if not rest:
        raise ValueError(f"expected {EXPECTED}")
    while rest:
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        unit, rest = rest[len(digits) : len(digits) + 1], rest[len(digits) + 1 :]
        if not digits or len(digits) > _MOST_DIGITS or not unit or unit not in units:
            raise ValueError(f"expected {EXPECTED}")
        units = units[units.index(unit) + 1 :]
        total += int(digits) * UNITS[unit]
    if total > LONGEST:
        raise ValueError("expected at most 36600 days")
    return total


def format_duration(seconds: int) -> str:
    """Return a text that `parse_duration` reads back: 90 is `1m30s`, 36 days are `36d`."""
    parts = []
    for unit, size in UNITS.items():
        count, seconds = divmod(seconds, size)
        if count and not (unit == "w" and seconds):
            parts.append(f"{count}{unit}")
        elif count:
            seconds += count * size  # 36d rather than 5w1d
    return "".join(parts) or "0s"
