"""sqlgrey: rows of its tables connect, from_awl and domain_awl.

`src` is an address, or the first numbers of one: 192.0.2 is a /24, and four groups are a /64. What
passed once is in an AWL alone: a sender, or a domain, that may come from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, tzinfo

from greylag.admin.imports import Item, Items, Left, Mail, NoNumber, Trusted, client, seconds
from greylag.admin.imports.rows import Row

COLUMNS = ({"sender_domain", "src", "first_seen"},)
_NOTHING = b"-undef-"  # of the null sender
_HOSTS = 256


def read(rows: Iterator[tuple[int, Row | Left]], zone: tzinfo | None) -> Items:
    """Yield what the rows say. `zone`: of times; None is this machine's."""
    for number, row in rows:
        if isinstance(row, Left):
            yield row
            continue
        try:
            yield _item(number, row, zone)
        except NoNumber as error:
            yield Left(number, str(error))


def _item(number: int, row: Row, zone: tzinfo | None) -> Item:
    domain, first = row["sender_domain"], _moment(row["first_seen"], zone)
    name = row.get("sender_name", b"")
    if "rcpt" in row:
        sender = b"" if domain == _NOTHING else name + b"@" + domain
        return Mail(_clients(row["src"])[0], sender, row["rcpt"], first, first, passed=False)
    if "last_seen" not in row:
        return Left(number, "the row is of none of connect, from_awl and domain_awl")
    if domain == _NOTHING or not domain:
        return Left(number, "the null sender is trusted by no domain")
    return Trusted(_clients(row["src"]), domain, first, _moment(row["last_seen"], zone))


def _clients(text: bytes) -> tuple[bytes, ...]:
    """Return the addresses that `src` stands for; of an IPv6 /64 the first."""
    numbers = text.split(b".")
    if len(numbers) == 3 and b":" not in text:
        start = client(text + b".0")
        return tuple(start[:3] + bytes((host,)) for host in range(_HOSTS))
    groups = text.split(b":")
    if b"::" not in text and 1 < len(groups) < 8:
        return (client(text + b"::"),)
    return (client(text),)


def _moment(text: bytes, zone: tzinfo | None) -> int:
    """Return Unix seconds: SQLite has them as numbers, others as `2027-01-15 08:00:00`."""
    if text.isdigit():
        return seconds(text)
    try:
        moment = datetime.fromisoformat(text.decode("ascii"))
        if moment.tzinfo is None and zone is not None:
            moment = moment.replace(tzinfo=zone)
        return seconds(str(int(moment.timestamp())).encode())
    except (ValueError, OverflowError, OSError):
        raise NoNumber("a time is no date") from None
