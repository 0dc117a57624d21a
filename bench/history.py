"""What the history of deferred mail costs the daemon and the disk, and how fast it is read.

usage: python -m bench.history [--rounds N] [--requests N] [--records N] [--deferrals N]
           [--store sqlite|mariadb] [--only costs|large] [--folder DIR]

Each round starts a daemon with history and one without, in an order that changes, as one process
can be slower than the next for all its life. The median of the rounds' ratios is printed with the
target beside it: of rates, and of processor times, which other work on the machine disturbs less.
Then the commands and the pages are timed on a large database, in SQLite and in
MariaDB (Debian's defaults, with 128 MB for its buffer). The databases take 5 GB in the folder for
temporary files; with --folder they stay there, and the next run uses them again.
"""

from __future__ import annotations

import argparse
import contextlib
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from statistics import median

from bench.asking import Example, time_commands, time_pages
from bench.common import build, heading, load, processor, serving, target, write_config
from bench.copied import fill_mariadb
from bench.month import Month, fill_sqlite
from bench.mysql import make_database, mariadb
from greylag.core.history import Begun, Deferral, Ended, Outcome, Sought
from greylag.core.policy import Kept
from greylag.core.record import Created
from greylag.core.shortid import shown_id
from greylag.core.triplet import Triplet
from greylag.store import open_store
from greylag.store.base import Store
from greylag.store.mysql.schema import DATA, LISTS

DAY, DAYS = 86400, 30
WRITTEN = 100_000  # deferrals, to see by how much a database grows
PART = 5000  # events written at once
LOOKS = 50
STEP = 500  # of the daemon's maintenance
SETTLES = 2000  # requests before a daemon is measured
NAMES = {"sqlite": "SQLite", "mariadb": "MariaDB"}


def costs(folder: Path, store: str, rounds: int, requests: int) -> None:
    """Print the daemon's rates with history, as a share of those without."""
    settings = {"with": "", "without": '[history]\nkeep = "off"\n'}
    urls = dict.fromkeys(settings, "")
    for name in settings:
        (folder / store / name).mkdir(parents=True)
        if store == "mariadb":
            option_file = make_database(folder, f"costs_{name}", DATA, LISTS)
            urls[name] = f"mysql:?default_file={option_file}"
    found: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        for name in list(settings) if number % 2 else reversed(settings):
            place = folder / store / name
            config = write_config(place, f'{settings[name]}[dns]\nservers = "off"\n', urls[name])
            with serving(config) as pid:
                for kind, rate, used in loads(folder, f"{place}/s", pid, requests, number):
                    found.setdefault((kind, name), []).append(rate)
                    found.setdefault((f"processor, {kind}", name), []).append(used)
    heading(f"the daemon on {NAMES[store]} with history, as a share of the daemon without")
    for kind, unit, wanted in (
        ("all new", "/s", 0.95),
        ("repeats", "/s", 0.95),
        ("processor, all new", " us", 1.05),
        ("processor, repeats", " us", 1.05),
    ):
        pairs = list(zip(found[kind, "with"], found[kind, "without"], strict=True))
        many, few = (median(amounts) for amounts in zip(*pairs, strict=True))
        ratio = median(ours / theirs for ours, theirs in pairs)
        target(f"{kind}: {many:.1f}{unit} of {few:.1f}", ratio, wanted, more=wanted < 1)


def loads(
    folder: Path, place: str, pid: int, requests: int, number: int
) -> Iterator[tuple[str, float, float]]:
    """Yield the rate of each kind of load, and the microseconds of processor for each request."""
    load(folder, place, SETTLES, 10**9, f"s{number}")
    for kind, distinct, tag in (("all new", 10**9, f"n{number}"), ("repeats", 1000, "r")):
        if kind == "repeats":
            load(folder, place, distinct, distinct, tag)
        before = processor(pid)
        rate = load(folder, place, requests, distinct, tag).rate
        yield kind, rate, (processor(pid) - before) / requests * 1e6


def deferrals(number: int, now: int) -> Iterator[tuple[Deferral, Outcome, int]]:
    """Yield deferrals of the last 30 days, with what became of them, and when."""
    for row in Month(0, number, now).deferrals():
        key, signs = Triplet(row[1], row[2], row[3]), tuple(row[8].split())
        yield Deferral(key, row[4], row[5], row[6], row[7], signs), Outcome(row[13]), row[14]


def remember(store: Store, number: int, now: int) -> float:
    """Write so many deferrals and what became of them; return the seconds it took."""
    began = time.perf_counter()
    events: list[Begun | Ended] = []
    at = now
    for deferral, outcome, ended in deferrals(number, now):
        at = deferral.first_seen
        events.append(Begun(deferral))
        if ended:
            events.append(Ended(deferral.triplet, ended, outcome))
        if len(events) >= PART:
            store.remember(events, at)
            events = []
    store.remember(events, at)
    return time.perf_counter() - began


def growth(store: str, url: str, size: Callable[[], int]) -> None:
    """Print by how much a database grows."""
    with closing(open_store(url, timeout=60)) as opened:
        before = size()
        took = remember(opened, WRITTEN, int(time.time()))
        kilobytes = (size() - before) / WRITTEN
    heading(f"growth of the database in {NAMES[store]}")
    print(f"  {'kB for 1,000 deferrals, with the figures by name':52} {kilobytes:9.1f}")
    print(f"  {'microseconds to write one, in large parts':52} {took / WRITTEN * 1e6:9.1f}")


def size_of_file(path: Path) -> int:
    """Return the bytes of a database, with all folded in."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path.stat().st_size


def size_of_tables(folder: Path, name: str) -> int:
    """Return the bytes of the tables of a database."""
    return sum(path.stat().st_size for path in (folder / "db/data" / name).glob("greylag_*.ibd"))


def timed(what: str, wanted: float, look: Callable[[], object]) -> None:
    """Print the median and the longest of some looks, in milliseconds."""
    times = []
    for _ in range(LOOKS):
        began = time.perf_counter()
        look()
        times.append((time.perf_counter() - began) * 1000)
    target(f"{what}, longest of {LOOKS} (median {median(times):.2f})", max(times), wanted)


def steps(folder: Path, now: int) -> None:
    """Print how long a step of the expiry, where all of it goes, and of the history takes.

    The daemon makes its steps smaller where one takes long.
    """
    with closing(open_store(f"sqlite://{folder}/steps.db", timeout=4)) as store:
        remember(store, 2 * WRITTEN, now)
        found = store.deferrals(Sought(), STEP * LOOKS).deferrals
        store.apply([Created(one.triplet, now, now + 300, now + 999) for one in found], {}, now)
        heading(f"steps of maintenance, of {STEP}")
        timed("ms for records that never came back", 50, lambda: store.expire(now + 10**6, STEP))
        half = Kept(DAYS * DAY // 2, 10**9)
        timed("ms to delete deferrals", 50, lambda: store.forget_history(half, now, STEP))


def large(folder: Path, options: argparse.Namespace) -> None:
    """Time commands and pages on large databases."""
    source = folder / "large" / "greylag.db"
    if not source.exists():
        source.parent.mkdir()
        began = time.perf_counter()
        month = Month(options.records, options.deferrals, int(time.time()))
        fill_sqlite(source, month)
        print(f"filled in {time.perf_counter() - began:.0f} s", flush=True)
    off = '[dns]\nservers = "off"\n'
    told = f"with {options.records:,} records and {options.deferrals:,} deferrals"
    example = example_of(f"sqlite://{source}")
    if options.store in (None, "sqlite"):
        heading(f"SQLite {told}")
        ask(write_config(source.parent, off), example)
    if options.store in (None, "mariadb"):
        heading(f"MariaDB {told}")
        place = folder / "large-mariadb"
        place.mkdir(exist_ok=True)
        with mariadb(folder) as server:
            option_file = folder / "large.cnf"
            if not option_file.exists():
                began = time.perf_counter()
                fill_mariadb(folder, "large", source)
                print(f"filled in {time.perf_counter() - began:.0f} s", flush=True)
            ask(write_config(place, off, f"mysql:?default_file={option_file}"), example, server)


def ask(config: Path, example: Example, server: int | None = None) -> None:
    """Time all that admins ask."""
    time_commands(config, example, server)
    time_pages(config, example, server)


def example_of(url: str) -> Example:
    """Return a deferral of some days ago."""
    with closing(open_store(url, timeout=4)) as store:
        newest = store.deferrals(Sought(), 1).deferrals[0].number
        (one,) = store.deferrals(Sought(), 1, newest - newest // 10).deferrals
    key = one.triplet
    client = ".".join(map(str, one.client))
    return Example(shown_id(one.id), key.sender, key.recipient, client)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=40_000)
    parser.add_argument("--records", type=int, default=5_000_000)
    parser.add_argument("--deferrals", type=int, default=5_000_000)
    parser.add_argument("--store", choices=NAMES)
    parser.add_argument("--only", choices=("costs", "large"))
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        if options.only != "large":
            with tempfile.TemporaryDirectory() as name:
                small(Path(name), options)
        if options.only != "costs":
            large(folder, options)


def small(folder: Path, options: argparse.Namespace) -> None:
    """Print what the history costs."""
    folder.chmod(0o755)
    build(folder)
    if options.store in (None, "sqlite"):
        costs(folder, "sqlite", options.rounds, options.requests)
        path = folder / "growth.db"
        growth("sqlite", f"sqlite://{path}", lambda: size_of_file(path))
        steps(folder, int(time.time()))
    if options.store in (None, "mariadb"):
        with mariadb(folder):
            costs(folder, "mariadb", options.rounds, options.requests)
            url = f"mysql:?default_file={make_database(folder, 'growth', DATA, LISTS)}"
            growth("mariadb", url, lambda: size_of_tables(folder, "growth"))


if __name__ == "__main__":
    main()
