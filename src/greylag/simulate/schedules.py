"""When senders try again, in seconds after the first attempt.

Webmail: as measured by Pagani et al. (DSN 2016). Mail servers: as in their sources and manuals.
The last three are models of bots: one try, a burst within seconds, and retries from 300 s on, as
reported of Kelihos.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

ENDS = 2 * 86400  # RFC 5321 asks for four to five days; a record waits for two

# Who does not give up goes on in steps as long as the last known one.
GOES_ON = {
    "gmail": (362, 1742, 3396, 5924, 9723, 13784, 18545, 26086),
    "yahoo": (127, 339, 778, 1636, 3313, 6575, 13007, 25836),
    "hotmail": (61, 123, 184, 306, 487, 728, 970, 1210),
    "gmx": (301, 753, 1430, 2446, 3969, 6254, 9682, 14824, 22536),
    "qmail": (400, 1600, 3600, 6400, 10000, 14400, 19600, 25600),
    "postfix": (300, 600, 1200, 2400, 4800, 8800),
    "exim": (900, 1800, 2700, 3600, 4500, 5400, 6300, 7200, 10800, 16200, 24300),
    "exchange": (60, 120, 180, 240, 540, 840, 1140, 1440, 1740, 3540),
}
GIVES_UP = {
    "aol": (332, 692, 1292, 1892),
    "list": (300, 900, 2100, 4500, 9300),
    "once": (),
    "burst": (1, 2, 4),
    "retrying bot": (330, 480, 600, 84600),
}


def retries(schedule: str) -> Iterator[int]:
    """Yield when a sender comes again, in seconds after its first attempt."""
    return retries_of(schedule, GOES_ON, GIVES_UP)


def retries_of(
    schedule: str,
    goes_on: Mapping[str, Sequence[int]],
    gives_up: Mapping[str, Sequence[int]],
) -> Iterator[int]:
    """Yield the same of a schedule of these tables."""
    if schedule in gives_up:
        yield from gives_up[schedule]
        return
    known = goes_on[schedule]
    yield from known
    at, step = known[-1], known[-1] - known[-2]
    while (at := at + step) <= ENDS:
        yield at
