"""When senders try again, in seconds after the first attempt.

Most are those of `greylag demo`; the others are of the same source (`greylag.simulate.schedules`).
"""

from __future__ import annotations

from collections.abc import Iterator

from greylag.simulate.schedules import GIVES_UP, GOES_ON, retries_of

_GOOD = {
    **GOES_ON,
    "mail.ru": (78, 1155, 2953, 4789, 6800, 9258, 11273, 14120, 16263, 18350, 20438, 22425),
    "yandex": (65, 178, 413, 895, 1828, 2741, 3661),
    "mail.com": (302, 757, 1439, 2463, 3998, 6305, 9755, 14936, 22708),
}
# These give up after the last.
_ENDS = {
    **GIVES_UP,
    "qq.com": (305, 311, 317, 379, 502, 745, 1229, 3151, 5075, 8682, 12296),
    "burst, then later": (1, 2, 4, 330, 480, 600),
}


def retries(schedule: str) -> Iterator[int]:
    """Yield when a sender comes again."""
    return retries_of(schedule, _GOOD, _ENDS)


def first_after(schedule: str, delay: int) -> int:
    """Return when a sender comes for the first time after a delay."""
    return next(at for at in retries(schedule) if at >= delay)
