"""Lines of a mail server's log: when, and whose accepted mail.

Two kinds are known by how they begin: multilog's TAI64N stamp before what qmail-smtpd said, and
syslog's time before what Postfix said. What comes out was in the log of an accepted mail, and still
anybody may have written parts of that line: an address is taken from a named place, or where it is
the only one in the line. Source: spec/jgreylist.md "Seeding from logs".
"""

from __future__ import annotations

import re
from calendar import timegm
from datetime import datetime, timedelta
from time import mktime, strptime

from greylag.core.client import parse_address

_TAI_EPOCH = 2**62 + 10  # what a TAI64 label has at Unix time 0; spec: multilog's t
_STAMP = re.compile(r"@([0-9a-f]{16})[0-9a-f]{8} ")
_ISO = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(Z|[+-]\d\d:?\d\d) ")
_SYSLOG = re.compile(r"([A-Z][a-z]{2}) +(\d{1,2}) (\d\d:\d\d:\d\d) ")
_AHEAD = timedelta(days=1)  # a clock elsewhere may be so much before ours

_ADDRESS = r"\[?(?P<address>[0-9a-fA-F:.]{2,45})"
ACCEPTED = re.compile(r"(?:^|\s)result=accepted\s+code=250(?:\s|$)")
NAMED = re.compile(
    r"(?:^|\s)(?:(?:tcp)?(?:remote|client|peer)(?:_?(?:ip|addr|address))?|ip|addr|address)"
    rf"=[\"']?{_ADDRESS}"
)
# Bounded, or a line of colons would take quadratic time.
ANY = re.compile(
    r"(?<![\w.:@-])[0-9a-fA-F]{0,4}:[0-9a-fA-F:.]{1,40}(?![\w:-])"
    r"|(?<![\w.@-])\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\w)"
)
POSTFIX = re.compile(
    rf"^\S+ \S*/smtpd\[\d+\]: [0-9A-Za-z]+: client=[^\[\s,]*{_ADDRESS}\](?!.*sasl_method=)"
)


def time_of(line: str, now: int) -> tuple[int, str] | None:
    """Return when a line was written (Unix seconds) and what follows its stamp, or None.

    A year that syslog leaves out is that which puts the line last before now.
    """
    found = _STAMP.match(line)
    if found:
        return int(found[1], 16) - _TAI_EPOCH, line[found.end() :]
    found = _ISO.match(line)
    try:
        if found:
            zone = "+0000" if found[2] == "Z" else found[2].replace(":", "")
            seconds = timegm(strptime(found[1], "%Y-%m-%dT%H:%M:%S"))
            hours, minutes = int(zone[1:3]), int(zone[3:])
            offset = (hours * 60 + minutes) * 60 * (-1 if zone[0] == "-" else 1)
            return seconds - offset, line[found.end() :]
        found = _SYSLOG.match(line)
        if found:
            return _this_or_last_year(found, now), line[found.end() :]
    except (ValueError, OverflowError):
        pass
    return None


def _this_or_last_year(found: re.Match[str], now: int) -> int:
    latest = datetime.fromtimestamp(now) + _AHEAD  # noqa: DTZ006 - syslog writes local time
    text = f"{found[1]} {found[2]} {found[3]}"
    for year in (latest.year, latest.year - 1):
        seconds = mktime(strptime(f"{year} {text}", "%Y %b %d %H:%M:%S"))
        if seconds <= latest.timestamp():
            return int(seconds)
    raise ValueError("no such day")


def client_of(rest: str, pattern: re.Pattern[str] | None) -> bytes | None:
    """Return the packed address of the client whose mail a line says was accepted, or None.

    `pattern`, with a group named address, stands in the place of the known kinds of lines.
    """
    if pattern is not None:
        return _parsed(pattern.search(rest))
    if not ACCEPTED.search(rest):
        return _parsed(POSTFIX.search(rest))
    texts = [found["address"] for found in NAMED.finditer(rest)] or ANY.findall(rest)
    first = ANY.search(rest)
    if first and first[0].rstrip(".") not in [text.rstrip(".") for text in texts]:
        return None  # the named one comes after another: the client may have written it
    addresses = {parse_address(text.rstrip(".").encode()) for text in texts} - {None}
    return addresses.pop() if len(addresses) == 1 else None


def _parsed(found: re.Match[str] | None) -> bytes | None:
    return parse_address(found["address"].encode()) if found and found["address"] else None
