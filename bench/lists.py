"""Long lists: the first right answer after a start, and how long a change of them takes to count.

usage: python -m bench.lists [--entries N]

Those who ask meanwhile are answered by the entries of before, so their waits are printed, too.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench.common import build, heading, load, processor, serving, target, write_config
from bench.mysql import admin, in_parts, make_database, mariadb
from greylag.core.accesslist import NEVER
from greylag.store import open_store
from greylag.store.mysql.schema import DATA, LISTS

ENTRIES = 300_000
START = 2.0  # seconds until the first right answer
DENIED, LATER = "198.51.100.66", "198.51.100.77"  # from the start on; by the change
SOME = 5000  # requests in a row while a change is read
FOREVER = "9999-12-31"
IDLE = 0.1  # seconds of the processor in a second
PATIENCE = 300.0  # seconds


@dataclass
class Lists:
    """A store with long lists: the settings of its daemon, and what denies one client more."""

    name: str
    config: Path
    deny: Callable[[str], None]


def packed(n: int) -> bytes:
    """Return the address of the n-th entry."""
    return (int.from_bytes(socket.inet_aton("10.0.0.0"), "big") + n).to_bytes(4, "big")


def ask(place: str, client: str) -> bytes:
    """Ask about a client that is new in all else."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(place)
        connection.sendall(
            b"request=smtpd_access_policy\nprotocol_state=RCPT\nclient_address=%s\n"
            b"sender=a@example.org\nrecipient=b@example.net\n\n" % client.encode()
        )
        return connection.recv(4096)


def denied(place: str, client: str) -> float:
    """Return how many seconds pass until a client is rejected."""
    began = time.perf_counter()
    while not ask(place, client).startswith(b"action=5"):
        if time.perf_counter() - began > PATIENCE:
            raise SystemExit(f"{client} is not denied")
        time.sleep(0.02)
    return time.perf_counter() - began


def first_answer(config: Path) -> float:
    """Return the seconds from the start of a daemon until it answers rightly."""
    began = time.perf_counter()
    with serving(config):
        if not ask(f"{config.parent}/s", DENIED).startswith(b"action=5"):
            raise SystemExit("the first answer was wrong")
        return time.perf_counter() - began


def rest(pid: int) -> None:
    """Wait until a daemon has read its lists, and has nothing to do."""
    quiet = 0
    while quiet < 3:
        before = processor(pid)
        time.sleep(1)
        quiet = quiet + 1 if processor(pid) - before < IDLE else 0


def fill_sqlite(database: Path, number: int) -> Callable[[str], None]:
    """Put entries into a database; return what denies one client more."""
    put = (
        "INSERT INTO entries (purpose, kind, network, prefix, denied_until, expires, created,"
        " comment, origin, spoofable) VALUES ('access', 'network', ?, 32, ?, ?, 0, '', '', 0)"
    )
    open_store(f"sqlite://{database}", timeout=4).close()
    with closing(sqlite3.connect(database)) as db, db:
        db.executemany(put, ((packed(n), 0, NEVER) for n in range(number)))

    def deny(client: str) -> None:
        with closing(sqlite3.connect(database, timeout=20)) as db, db:
            db.execute(put, (socket.inet_aton(client), NEVER, NEVER))
            db.execute("UPDATE state SET number = number + 1 WHERE name = 'lists'")

    deny(DENIED)
    return deny


def fill_mysql(folder: Path, name: str, number: int) -> Callable[[str], None]:
    """The same."""
    put = (
        "INSERT INTO greylisting_lists (ipaddr, ipaddr_start, ipaddr_end, ipaddr_prefixsize,"
        " block_expires, record_expires) VALUES (%s, %s, %s, %s, %s, %s)"
    )  # so written the driver puts many rows into one statement

    def row(address: bytes, denied_until: str) -> tuple[object, ...]:
        return socket.inet_ntoa(address), address, address, 32, denied_until, FOREVER

    with admin(folder, name) as cursor:
        in_parts(cursor, put, (row(packed(n), "2000-01-01") for n in range(number)))

    def deny(client: str) -> None:
        with admin(folder, name) as cursor:
            cursor.execute(put, row(socket.inet_aton(client), FOREVER))

    deny(DENIED)
    return deny


@contextlib.contextmanager
def stores(folder: Path, entries: int) -> Iterator[list[Lists]]:
    """Make a database of SQLite and one of MariaDB."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(mariadb(folder))
        places = {name: folder / name for name in ("SQLite", "MariaDB")}
        for place in places.values():
            place.mkdir()
        option_file = make_database(folder, "lists", DATA, LISTS)
        url = f"mysql:?default_file={option_file}"
        yield [
            Lists(
                "SQLite",
                write_config(places["SQLite"]),
                fill_sqlite(places["SQLite"] / "greylag.db", entries),
            ),
            Lists(
                "MariaDB",
                write_config(places["MariaDB"], url=url),
                fill_mysql(folder, "lists", entries),
            ),
        ]


def measure(folder: Path, store: Lists, entries: int) -> None:
    """Start a daemon on them, change them, and print how long it all took."""
    heading(f"{store.name}: lists of {entries:,} entries")
    target("first right answer after a start, in s", first_answer(store.config), START)
    place = f"{store.config.parent}/s"
    with serving(store.config) as pid:
        rest(pid)
        quiet = load(folder, place, SOME, 10**9, "quiet", 8)
        began = time.perf_counter()
        store.deny(LATER)
        busy = load(folder, place, SOME, 10**9, "busy", 8)
        denied(place, LATER)
        seconds = time.perf_counter() - began
    print(f"  a change counts after {seconds:.1f} s")
    print(
        f"  8 connections, all new, 99th percentile {quiet.high:.1f} ms, meanwhile {busy.high:.1f}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=ENTRIES)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        build(folder)
        with stores(folder, options.entries) as found:
            for store in found:
                measure(folder, store, options.entries)


if __name__ == "__main__":
    main()
