"""Lengths of time in words, such as `2 h 5 min`."""

from __future__ import annotations

_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def in_words(seconds: float) -> str:
    """Return the two largest units of a length of time, as long as they count: `2 h 5 min`.

    What is left of the smaller one is cut off. Less than a second is `0 s`.
    """
    rest, parts = max(0, int(seconds)), list[str]()
    for unit, size in _UNITS:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count} {unit}")
        if len(parts) > 1 or (parts and not count):
            break  # `2 d 5 min` says more than is known of it
    return " ".join(parts) or "0 s"
