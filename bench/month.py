"""A large database for a benchmark: records of years, and a month of deferred mail.

Filling is not what is measured, so it goes past the stores: rows in bulk, indexes afterwards. What
the tables hold is what the daemon and its maintenance leave: days that are over have their names
cut, and each deferral has its short id.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from greylag.core.client import format_address
from greylag.core.figures import WAITED_BUCKETS, hour_of
from greylag.core.history import By, Outcome
from greylag.core.shortid import short_id
from greylag.core.tallies import MOST_NAMES, NAMES_KEPT, day_of
from greylag.core.triplet import Triplet
from greylag.store import open_store

DAY, HOUR = 86400, 3600
DAYS, FIGURE_DAYS = 30, 400
WINDOW, LASTS = 2 * DAY, 36 * DAY  # of records: until the retry, and after it
NETWORKS, DOMAINS, RECIPIENTS, OURS = 60_000, 40_000, 20_000, 50
PASSED = 0.25  # of the deferrals
NEVER = (Outcome.LIKELY_SPAM,) * 7 + (Outcome.UNKNOWN,) * 2 + (Outcome.OTHER_WAY,)
SIGNS = ("", "no-name", "dynamic-name dnsbl")
FIGURES = (
    *("pass:known", "pass:retried", "pass:allowlisted", "pass:trusted", "defer:new"),
    *("defer:early", "reject:denylisted", "fate:stopped", "fate:delayed", "never:likely-spam"),
    *("never:unknown", "never:other-way", "waited:seconds", *WAITED_BUCKETS),
)

Row = tuple[object, ...]
# The columns of a deferral but for its number, in their order.
Facts = tuple[int, bytes, str, str, int, int, bytes, str, str, bytes, int, int, int, str, int, int]
Tallies = dict[tuple[By, int], dict[str, list[int]]]


class Month:
    """The rows of all tables, from one seed: both stores hold the same."""

    def __init__(self, records: int, deferrals: int, now: int) -> None:
        self.now = now
        self._records, self._deferrals = records, deferrals
        self.tallies: Tallies = {}  # of all names; filled by `deferrals`
        self.waiting: list[Row] = []  # records of what waits, too

    def deferrals(self) -> Iterator[Facts]:
        """Yield what became of deferred mail, the oldest first.

        A few senders, and a few recipients, have most of the mail.
        """
        chance = random.Random(7)
        draw, now = chance.random, self.now
        begin, step = now - DAYS * DAY, DAYS * DAY / self._deferrals
        for number in range(self._deferrals):
            at = int(begin + number * step)
            net = int(NETWORKS * draw() ** 2)
            network = bytes((10, net // 250, net % 250, 0))
            domain = f"d{int(DOMAINS * draw() ** 3)}.example.org"
            sender = f"a.sender{int(10**6 * draw()):06d}@{domain}"
            name = int(RECIPIENTS * draw() ** 2)
            recipient = f"recipient{name}@o{name % OURS}.example.net"
            key = Triplet(network, sender, recipient)
            outcome, ended, tries = self._end(draw(), number, at)
            of_name = f"mx{net}.example.org" if number % 3 == 1 else ""
            client, signs = network[:3] + b"\x07", SIGNS[number % 3]
            about = (at, at + 300, client, of_name, signs, b"")
            first = at + 60 if tries else 0
            yield (
                *(short_id(key), network, sender, recipient, *about),
                *(tries, first, first, outcome.value, ended, 0),
            )
            self._count(key, domain, (at, ended, outcome))
            if outcome is Outcome.WAITING:
                self.waiting.append(
                    (0, network, sender, recipient, at, at + 300, at + WINDOW, 1 + tries, 0)
                )

    def _end(self, chance: float, number: int, at: int) -> tuple[Outcome, int, int]:
        """Return what became of one, when, and how many tries came too early."""
        if chance < PASSED:
            ended = at + 310 + int(chance * 4 * 7200)
            if ended <= self.now:
                return Outcome.PASSED, ended, number % 2
        if at + WINDOW <= self.now:
            return NEVER[number % len(NEVER)], at + WINDOW, 0
        return Outcome.WAITING, 0, number % 4 // 3

    def _count(self, key: Triplet, domain: str, end: tuple[int, int, Outcome]) -> None:
        at, ended, outcome = end
        names = (
            (By.NETWORK, format_address(key.network)),
            (By.SENDER_DOMAIN, domain),
            (By.RECIPIENT_DOMAIN, key.recipient.rpartition("@")[2]),
            (By.RECIPIENT, key.recipient),
        )
        passed = outcome is Outcome.PASSED
        for by, name in names:
            day = self.tallies.setdefault((by, day_of(at)), {})
            day.setdefault(name, [0] * 5)[0] += 1
            if ended:
                last = self.tallies.setdefault((by, day_of(ended)), {})
                sums = last.setdefault(name, [0] * 5)
                if passed:
                    sums[1] += 1
                    sums[2] += ended - at
                else:
                    sums[3] += outcome is Outcome.LIKELY_SPAM
                    sums[4] += 1

    def days(self) -> Iterator[tuple[By, int, dict[str, list[int]]]]:
        """Yield the names of each day and kind as they are kept."""
        today = day_of(self.now)
        for (by, day), names in self.tallies.items():
            most = MOST_NAMES if day == today else NAMES_KEPT
            sums = sorted(names.items(), key=lambda one: -(one[1][0] + one[1][1] + one[1][4]))
            kept = dict(sums[:most])
            if len(sums) > most:
                rest = (of for _name, of in sums[most:])
                kept[""] = [sum(column) for column in zip(*rest, strict=True)]
            yield by, day, kept

    def records(self) -> Iterator[Row]:
        """Yield records in the order of their keys: those that wait, and the passed of years."""
        yield from sorted(self.waiting)
        left = max(0, self._records - len(self.waiting))
        for net in range(NETWORKS):
            network = bytes((10, net // 250, net % 250, 0))
            for one in range(left // NETWORKS + (net < left % NETWORKS)):
                sender = f"a.sender{one:06d}@d{net % DOMAINS}.example.org"
                recipient = f"recipient{net % RECIPIENTS}@o{net % OURS}.example.net"
                at = self.now - one * 40_000
                yield 1, network, sender, recipient, at, at + 300, self.now + LASTS, 2, 1 + one % 9

    def figures(self) -> Iterator[tuple[int, str, int]]:
        """Yield the figures of each hour that is kept."""
        share = self._deferrals // (DAYS * 24) + 1
        for hour in range(hour_of(self.now) - FIGURE_DAYS * DAY, self.now, HOUR):
            for number, name in enumerate(sorted(FIGURES)):
                yield hour, name, share // (number + 1) + hour // HOUR % 7


def fill_sqlite(path: Path, month: Month) -> None:
    """Fill a database of SQLite."""
    open_store(f"sqlite://{path}", timeout=4).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for setting in ("synchronous = OFF", "cache_size = -400000", "temp_store = MEMORY"):
            db.execute(f"PRAGMA {setting}")
        index = db.execute("SELECT sql FROM sqlite_master WHERE name = 'deferrals_short'")
        make_index = index.fetchone()[0]
        trigger = db.execute("SELECT sql FROM sqlite_master WHERE name = 'one_record'")
        make_trigger = trigger.fetchone()[0]
        db.execute("BEGIN")
        db.execute("DROP INDEX deferrals_short")
        db.execute("DROP TRIGGER one_record")
        _insert(db, "deferrals", 16, ((None, *row) for row in month.deferrals()))
        _insert(db, "records", 9, month.records())
        _insert(db, "figures", 3, month.figures())
        for by, day, names in month.days():
            named = sorted(names.items())
            _insert(db, "tallies", 8, ((by.value, day, name, *of) for name, of in named))
            number = len(names) - ("" in names)
            db.execute("INSERT INTO tally_days VALUES (?, ?, ?)", (by.value, day, number))
        db.execute(make_index)
        db.execute(make_trigger)
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _insert(db: sqlite3.Connection, table: str, columns: int, rows: Iterator[Row]) -> None:
    marks = ",".join("?" * (columns + (table == "deferrals")))
    db.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
