"""When a line of a log was written: what stands before the text of each line.

Known are multilog's TAI64N stamps, syslog's and journald's times (`short`, `short-precise`,
`short-iso`), `YYYY-MM-DD HH:MM:SS` as Exim writes it, and what `docker logs -t` and `docker
compose logs` put before any of these.
"""

from __future__ import annotations

import re
from calendar import timegm
from datetime import datetime, timedelta
from time import mktime, strptime

_TAI_EPOCH = 2**62 + 10  # what a TAI64 label has at Unix time 0; spec: multilog's t
_AHEAD = timedelta(days=1)  # a clock elsewhere may be so much before ours

_COLOUR = r"(?:\x1b\[[0-9;]{0,8}m)?"
_CONTAINER = re.compile(rf"{_COLOUR}[A-Za-z0-9][\w.-]{{0,127}} {{0,64}}\| {{0,2}}{_COLOUR} ?")
_STAMPS = (
    re.compile(r"@(?P<tai>[0-9a-f]{16})[0-9a-f]{8} "),
    re.compile(
        r"(?P<iso>\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(?:[.,]\d{1,9})?"
        r"(?:(?P<zone>Z| ?[+-]\d\d:?\d\d)(?= ))? "
    ),
    re.compile(r"(?P<day>[A-Z][a-z]{2} +\d{1,2}) (?P<clock>\d\d:\d\d:\d\d)(?:\.\d{1,9})? "),
)

Stamp = re.Match[str]


def split_stamp(line: str) -> tuple[Stamp, str] | None:
    """Return the stamp of a line and what follows it, or None where there is none.

    Of two (a container's own lines have one, and `docker logs -t` adds another) the first counts.
    """
    prefix = _CONTAINER.match(line)
    start = prefix.end() if prefix else 0
    first = _stamp(line, start)
    if first is None:
        return None
    # What multilog stamps is qmail-smtpd's, which writes no time of its own.
    second = None if is_multilog(first) else _stamp(line, first.end())
    return first, line[(second or first).end() :]


def is_multilog(stamp: Stamp) -> bool:
    """Tell a stamp that multilog wrote."""
    return stamp.re is _STAMPS[0]


def _stamp(line: str, start: int) -> Stamp | None:
    for kind in _STAMPS:
        found = kind.match(line, start)
        if found:
            return found
    return None


def seconds_of(stamp: Stamp, now: int) -> int | None:
    """Return the Unix seconds that a stamp means, or None where no calendar has such a time.

    A year that is left out is that which puts the line last before now. A time without a zone is
    this machine's.
    """
    given = stamp.groupdict()
    try:
        if "tai" in given:
            return int(given["tai"], 16) - _TAI_EPOCH
        if "day" in given:
            return _this_or_last_year(f"{given['day']} {given['clock']}", now)
        moment = strptime(given["iso"].replace("T", " "), "%Y-%m-%d %H:%M:%S")
        zone = given["zone"]
        return int(mktime(moment)) if zone is None else timegm(moment) - _offset(zone)
    except (ValueError, OverflowError):
        return None


def _offset(zone: str) -> int:
    if zone == "Z":
        return 0
    digits = zone.strip().replace(":", "")
    seconds = (int(digits[1:3]) * 60 + int(digits[3:])) * 60
    return -seconds if digits[0] == "-" else seconds


def _this_or_last_year(text: str, now: int) -> int:
    latest = datetime.fromtimestamp(now) + _AHEAD  # noqa: DTZ006 - syslog writes local time
    for year in (latest.year, latest.year - 1):
        seconds = mktime(strptime(f"{year} {text}", "%Y %b %d %H:%M:%S"))
        if seconds <= latest.timestamp():
            return int(seconds)
    raise ValueError("no such day")
