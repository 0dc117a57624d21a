"""Big tables: the daemon with 10 million records against 10,000, and the purge of a million.

usage: python -m bench.size [--records N] [--rounds N]

Takes some minutes and 2 GB in the folder for temporary files.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import median

from bench.common import build, heading, load, memory, serving, target, write_config
from bench.lists import ENTRIES, START, fill_sqlite, first_answer
from greylag.store import open_store

SMALL = 10_000
EXPIRED = 1_000_000
NETWORKS = 62_500  # as the load generator has them
REQUESTS = 20_000
LAST = 2_000_000_000  # these records live on


def fill(path: Path, number: int, expires: int) -> None:
    """Make a database with so many records, with addresses of usual length."""
    open_store(f"sqlite://{path}", timeout=4).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.execute("BEGIN")
        db.executemany(
            "INSERT INTO records VALUES (1, ?, ?, ?, ?, ?, ?, 3, 1)", rows(number, expires)
        )
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def forget_first_contacts(path: Path) -> None:
    """Remove what the rounds before have added, so that each meets as many records as the first."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DELETE FROM records WHERE settled = 0")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


Row = tuple[bytes, str, str, int, int, int]


def rows(number: int, expires: int) -> Iterator[Row]:
    """Return records in the order of their keys."""
    now = int(time.time())
    networks = min(NETWORKS, number)
    for net in range(networks):
        packed = bytes((10, net // 250, net % 250, 0))
        for one in range(number // networks):
            sender, recipient = (
                f"a.sender{one:06d}@example.org",
                f"recipient{net % 5000}@example.net",
            )
            yield packed, sender, recipient, now - 9000, now - 8700, expires


def compare(folder: Path, records: int, rounds: int) -> None:
    """Print rates, size and memory with few and with many records."""
    sizes = {SMALL: folder / "small", records: folder / "big"}
    rates: dict[tuple[int, str], list[float]] = {}
    for size, place in sizes.items():
        place.mkdir()
        fill(place / "greylag.db", size, LAST)
    os.sync()  # a daemon does not begin its days with a gigabyte that is still to be written
    whole = (folder / "big" / "greylag.db").stat().st_size
    held = {}
    for number in range(rounds):
        for size, place in sizes.items():
            forget_first_contacts(place / "greylag.db")
            with serving(write_config(place)) as pid:
                tag = f"n{number}"
                new = load(folder, f"{place}/s", REQUESTS, 10**9, tag).rate
                load(folder, f"{place}/s", 1000, 1000, "r")
                again = load(folder, f"{place}/s", REQUESTS, 1000, "r").rate
                rates.setdefault((size, "all new"), []).append(new)
                rates.setdefault((size, "repeats"), []).append(again)
                held[size] = memory(pid)
    heading(f"{records} records in SQLite, against {SMALL}")
    for kind in ("all new", "repeats"):
        few, many = (median(rates[size, kind]) for size in (SMALL, records))
        target(f"{kind}: {many:.0f}/s, share of {few:.0f}/s", many / few, 0.8, more=True)
    target("bytes a record", whole / records, 130)
    target(
        f"daemon's memory: {held[records]:.0f} MB, in the one of few",
        held[records] / held[SMALL],
        1.1,
    )


def start(place: Path, records: int) -> None:
    """Print how long a daemon takes to its first right answer, with long lists as well."""
    fill_sqlite(place / "greylag.db", ENTRIES)
    took = first_answer(write_config(place))
    heading(f"start with {records} records and {ENTRIES:,} list entries")
    target("first right answer, in s", took, START)


def purge(folder: Path) -> None:
    """Print the longest wait while a million records are forgotten, and without that."""
    longest = {}
    for name, expires in (("without", LAST), ("with", 1000)):
        place = folder / name
        place.mkdir()
        fill(place / "greylag.db", EXPIRED, expires)
        with serving(write_config(place)):
            time.sleep(1)
            waits = [load(folder, f"{place}/s", 5000, 10**9, f"p{n}", 4) for n in range(20)]
        longest[name] = max(found.longest for found in waits)
        with closing(sqlite3.connect(place / "greylag.db")) as db:
            left = db.execute("SELECT count(*) FROM records WHERE expires < 2000").fetchone()[0]
        if name == "with":
            print(f"  forgotten meanwhile: {EXPIRED - left}")
    heading(f"purge of {EXPIRED} expired records while serving: longest wait in ms")
    print(f"  {'without, and with it':52} {longest['without']:9.1f} {longest['with']:9.1f}")
    target("longer by", max(0.0, longest["with"] - longest["without"]), 50)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder)
        compare(folder, options.records, options.rounds)
        start(folder / "big", options.records)
        purge(folder)


if __name__ == "__main__":
    main()
