"""Rows of the old tables, and what they mean: records, list entries, times.

Everything that comes from the database is looked at again: it may have been written by the old
program, by an admin's hand, or by a server that is not what it seems.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from time import gmtime, strftime

from greylag.core.accesslist import NEVER, Entry, rank_beside
from greylag.core.address import canonical_domain
from greylag.core.client import IPV4_BYTES, network
from greylag.core.oldname import name_of, text_of
from greylag.core.record import Record
from greylag.core.subject import Domain, Network, parse_subject
from greylag.core.triplet import Triplet
from greylag.core.value import replace, value
from greylag.store.base import Filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PREFIX = {IPV4_BYTES: 24, 16: 64}  # the networks of the old program, which wrote whole addresses
# What an import writes before a comment: the name of its file.
_BROUGHT = re.compile(r"\[([^\[\]]{1,64})\](?: (.*)|)", re.DOTALL)
_LONGEST_COMMENT = 255  # characters: varchar(255)
_MOST = 2**32 - 1  # that the column of a count holds
_FURTHEST = 2**63 - 1  # of a number, as SQLite has them and our own tables
_HIGHEST = b"\xff" * 16
_LONG_AGO = 1  # '1970-01-01 00:00:01': for an entry that only allows, where others write zero dates


@value
class Row:
    """One row of greylisting_data."""

    number: int
    relay: bytes
    sender: str
    recipient: str
    record: Record

    @property
    def triplet(self) -> Triplet:
        """The row's own key: with the address as it stands there, host bits and all."""
        return Triplet(self.relay, name_of(self.sender), name_of(self.recipient))


def whole(found: object) -> int:
    """Return a number of 64 bits, whatever a column holds that somebody gave another type."""
    return min(max(int(found), -_FURTHEST), _FURTHEST)  # type: ignore[call-overload,no-any-return]


def read_row(found: tuple[Any, ...]) -> Row | None:
    """Return a row, or None for one that means nothing."""
    number, relay, sender, recipient, *numbers = found
    if not isinstance(relay, bytes) or len(relay) not in _PREFIX or recipient is None:
        return None
    try:
        record = Record(*(int(x or 0) for x in numbers))
    except (ValueError, TypeError, OverflowError):  # a column that is no number any more
        return None
    few, many = sorted((record.blocked, record.passed))
    if few < -_FURTHEST or many > _FURTHEST:
        record = replace(record, blocked=whole(record.blocked), passed=whole(record.passed))
    return Row(int(number), relay, str(sender or ""), str(recipient), record)


def read_rows(found: Iterable[tuple[Any, ...]]) -> list[Row]:
    """Return those rows that mean something."""
    return [row for row in map(read_row, found) if row is not None]


def until_enough_stopped(rows: list[Row], now: int, most: int) -> list[Row]:
    """Return the first rows, with no more than so many that never passed and whose time is over."""
    stopped = [n for n, row in enumerate(rows) if not (row.record.passed or row.record.live(now))]
    return rows[: stopped[most]] if len(stopped) > most else rows


def addresses_of(net: bytes) -> tuple[bytes, bytes]:
    """Return the lowest and highest relay_ip of rows that belong to a client network.

    The old program wrote whole addresses, so a /24 (or /64) has any of its addresses; a network
    with host bits, as under a longer prefix, has just its own.
    """
    if net != network(net, _PREFIX[len(net)]):
        return net, net
    host = len(net) - _PREFIX[len(net)] // 8
    return net, net[:-host] + b"\xff" * host


def belongs(row: Row, triplet: Triplet) -> bool:
    """Tell whether a row is about a triplet: collations find more than bytes that are alike."""
    low, high = addresses_of(triplet.network)
    return (
        len(row.relay) == len(low)
        and low <= row.relay <= high
        and triplet.sender in (row.sender, name_of(row.sender))
        and triplet.recipient in (row.recipient, name_of(row.recipient))
    )


def keys_of(row: Row) -> tuple[Triplet, ...]:
    """Return the keys that a row may be of: of the address as it stands there, or its network.

    The old program wrote whole addresses, so which of them it is the row alone does not tell.
    """
    own = row.triplet
    net = network(row.relay, _PREFIX[len(row.relay)])
    return (own,) if net == row.relay else (own, Triplet(net, own.sender, own.recipient))


def merged(rows: list[Row]) -> tuple[Record, Row]:
    """Return the one record that several rows of a triplet mean, and the row that stands for it.

    Facts merge: first seen is the earliest, expiry the latest, counts are sums. Rows that had
    expired before the latest one began are its dead predecessors, which nobody removed yet.
    """
    latest = max(rows, key=lambda row: (row.record.expires, -row.number))
    began = latest.record.first_seen
    group = [row.record for row in rows if row.record.expires > began or row is latest]
    record = Record(
        min(one.first_seen for one in group),
        min(one.defer_until for one in group),
        latest.record.expires,
        min(sum(one.blocked for one in group), _FURTHEST),
        min(sum(one.passed for one in group), _FURTHEST),
    )
    return record, latest


class Known:
    """What a transaction knows of a triplet: its record before and now, and the row of it."""

    __slots__ = ("before", "client", "gone", "now", "row", "rows")

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self.gone: list[int] = []  # rows of a record that expired
        self.client = b""  # that a new record is of
        self.before: Record | None = None
        self.row: Row | None = None
        if rows:
            self.before, self.row = merged(rows)
        self.now = self.before

    def start_anew(self) -> None:
        """Forget the rows that are there: what comes now is another record."""
        self.gone += [row.number for row in self.rows]
        self.rows, self.before, self.row, self.now = [], None, None, None


def assigned(rows: Iterable[Row], triplets: Iterable[Triplet]) -> dict[Triplet, Known]:
    """Return what rows mean for each triplet; those of none are left out."""
    named: dict[str, list[Row]] = {}
    for row in rows:
        for name in {row.recipient, name_of(row.recipient)}:
            named.setdefault(name, []).append(row)
    return {
        triplet: Known([row for row in named.get(triplet.recipient, ()) if belongs(row, triplet)])
        for triplet in triplets
    }


@lru_cache(maxsize=1024)  # those of a batch are all alike
def date(seconds: int) -> str:
    """Return a DATETIME in UTC; times that a column cannot hold become its first or last."""
    return strftime("%Y-%m-%d %H:%M:%S", gmtime(min(max(seconds, _LONG_AGO), NEVER)))


def new_row(triplet: Triplet, record: Record, client: bytes) -> tuple[object, ...]:
    """Return what is inserted for a record of this client, if it is told.

    The row has the client's whole address, as the old program's have, where look-ups find that.
    """
    low, high = addresses_of(triplet.network)
    relay = client if len(client) == len(low) and low <= client <= high else low
    dates = (date(record.first_seen), date(record.defer_until), date(record.expires))
    names = (triplet.sender, triplet.recipient)
    return (relay, *names, *dates, min(record.blocked, _MOST), min(record.passed, _MOST))


def conditions(wanted: Filter) -> tuple[object, ...]:
    """Return the parameters of a search but for where it begins and ends."""
    low, high = wanted.first_network, wanted.last_network
    size = 0 if low is None else len(low)
    if low is not None and high is not None:
        low, high = addresses_of(low)[0], addresses_of(high)[1]
    passed = None if wanted.passed is None else int(wanted.passed)
    return (
        *(low or b"", high or _HIGHEST, size, size),
        *(wanted.sender, text_of(wanted.sender), wanted.recipient, text_of(wanted.recipient)),
        *(int(wanted.null_sender), passed, passed),
    )


def read_entries(found: tuple[Any, ...]) -> list[Entry]:
    """Return what a row of greylisting_lists says: nothing, one thing, or two for a row of both.

    Of rows for one subject the first decides, as in the old program: so it has the highest number.
    """
    number, text, start, prefix, domain, denied_until, expires, created, comment = found
    subjects: list[Domain | Network] = []
    net = None if text is None else _network(str(text), start, prefix)
    if net is not None:
        subjects.append(net)
    name = str(domain or "").rstrip(" ")  # the server compares without blanks at the end
    if name:
        subjects.append(Domain(canonical_domain(name.encode())))
    rank = rank_beside(net.prefix) if net is not None and name else None
    denied = int(denied_until or 0)
    brought = _BROUGHT.fullmatch(str(comment or ""))
    origin, rest = brought.groups("") if brought else ("", str(comment or ""))
    return [
        Entry(
            subject,
            denied if denied > _LONG_AGO else 0,
            min(int(expires or 0), NEVER),
            rest,
            int(created or 0),
            -int(number),
            rank,
            origin=origin,
        )
        for subject in subjects
    ]


def comment_of(entry: Entry) -> str:
    """Return the comment of a row: it begins with the origin, which has no column of its own."""
    return (
        f"[{entry.origin}] {entry.comment}".strip()[:_LONGEST_COMMENT]
        if entry.origin
        else entry.comment
    )


def _network(text: str, start: object, prefix: object) -> Network | None:
    """Read the range of an entry; host bits, which the old triggers left in, are masked."""
    if isinstance(start, bytes) and len(start) in _PREFIX and isinstance(prefix, int):
        if not 0 <= prefix <= 8 * len(start):
            return None
        return Network(network(start, prefix), prefix)
    try:
        subject = parse_subject(text)
    except ValueError:
        return None  # `foo`: it never matched, and `greylag db check` tells of it
    return subject if isinstance(subject, Network) else None
