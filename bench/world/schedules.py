"""When senders try again, in seconds after the first attempt.

Webmail: as measured by Pagani et al. (DSN 2016). Mail servers: as in their sources and manuals.
What is known of a schedule is written out. Who does not give up goes on in steps as long as the
last known one; `ENDS` bounds it.
"""

from __future__ import annotations

from collections.abc import Iterator

ENDS = 2 * 86400  # RFC 5321 asks for four to five days; a record waits for two

_GOOD = {
    "gmail": (362, 1742, 3396, 5924, 9723, 13784, 18545, 26086),
    "yahoo": (127, 339, 778, 1636, 3313, 6575, 13007, 25836),
    "hotmail": (61, 123, 184, 306, 487, 728, 970, 1210),
    "mail.ru": (78, 1155, 2953, 4789, 6800, 9258, 11273, 14120, 16263, 18350, 20438, 22425),
    "yandex": (65, 178, 413, 895, 1828, 2741, 3661),
    "mail.com": (302, 757, 1439, 2463, 3998, 6305, 9755, 14936, 22708),
    "gmx": (301, 753, 1430, 2446, 3969, 6254, 9682, 14824, 22536),
    "qmail": (400, 1600, 3600, 6400, 10000, 14400, 19600, 25600),
    "postfix": (300, 600, 1200, 2400, 4800, 8800),
    "exim": (900, 1800, 2700, 3600, 4500, 5400, 6300, 7200, 10800, 16200, 24300),
    "exchange": (60, 120, 180, 240, 540, 840, 1140, 1440, 1740, 3540),
}
# These give up after the last.
_ENDS = {
    "qq.com": (305, 311, 317, 379, 502, 745, 1229, 3151, 5075, 8682, 12296),
    "aol": (332, 692, 1292, 1892),
    "once": (),
    "burst": (1, 2, 4),
    "retrying bot": (330, 480, 600, 84600),  # from 300 s on, as reported of Kelihos
    "burst, then later": (1, 2, 4, 330, 480, 600),
}


def retries(schedule: str) -> Iterator[int]:
    """Yield when a sender comes again."""
    if schedule in _ENDS:
        yield from _ENDS[schedule]
        return
    known = _GOOD[schedule]
    yield from known
    at, step = known[-1], known[-1] - known[-2]
    while (at := at + step) <= ENDS:
        yield at


def first_after(schedule: str, delay: int) -> int:
    """Return when a sender comes for the first time after a delay."""
    return next(at for at in retries(schedule) if at >= delay)
