"""Bars of characters, for terminals and mail."""

from __future__ import annotations

_FULL, _EIGHTHS = "█", "▏▎▍▌▋▊▉"
_PLAIN = "#"


def bar(number: float, most: float, width: int, *, plain: bool = False) -> str:
    """Return a bar as long as the number is beside the greatest of all.

    What is not zero is never drawn as nothing. `plain` draws with ASCII alone.
    """
    if number <= 0 or most <= 0 or width <= 0:
        return ""
    share = min(1.0, number / most)
    if plain:
        return _PLAIN * max(1, round(share * width))
    eighths = max(1, round(share * width * 8))
    rest = eighths % 8
    return _FULL * (eighths // 8) + (_EIGHTHS[rest - 1] if rest else "")
