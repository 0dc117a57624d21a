"""T46: stores with hostile content, read by every command: no traceback, no control character."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress

import pytest

from greylag.cli.common import CONFIG_ERROR, DEFER, INTERNAL_ERROR, REJECT, STORE_ERROR
from tests.cli.conftest import CLIENT, EVIL, KEY, NETWORK, NOW, RECIPIENT, SENDER, Greylag

SOAK = os.environ.get("GREYLAG_SOAK") == "1"
BIGGEST = 2**63 - 1
NUMBERS = (
    0, -1, BIGGEST, -BIGGEST - 1, 2**31, 2**32, 253402300800, -62135596801, 4e300, -1.5,
    float("inf"), None, "", "text", EVIL, b"", b"\xff\x00", b"7",
)  # fmt: skip
TEXTS = (
    EVIL, "", None, 7, -1.5, b"\xff\xfe\x00", "x" * 100_000, "\0", "a\nb@c", "\ud7ff", "[/red]",
)  # fmt: skip
PACKED = (
    b"", b"\0", b"\xff" * 4, b"\xff" * 16, b"\x01" * 5, b"\x01" * 100, "text", EVIL, None, 7, 1.5,
    b"\0" * 4, NETWORK,
)  # fmt: skip
COMMANDS = (
    ("check", CLIENT, SENDER, RECIPIENT), ("check", CLIENT, SENDER, RECIPIENT, "--json"),
    ("search",), ("search", "--json"), ("search", "--waiting", "--client", "192.0.0.0/8"),
    ("search", "--csv"), ("search", "--history"), ("search", "--history", "--csv"),
    ("search", "--sign", "helo", "--json"), ("whatif", "--delay", "15m", "--since", "36500d"),
    ("stats",), ("stats", "--by-hour", "--since", "36500d"), ("stats", "--json", "--by-hour"),
    ("stats", "--by", "week", "--since", "36500d"), ("stats", "--by", "network"),
    ("stats", "--by", "recipient", "--json"), ("top",), ("top", "--json", "--since", "36500d"),
    ("report",), ("report", "--html", "-"), ("report", "--json", "--since", "36500d"),
    ("expire", "--dry-run"), ("expire", "--yes"), ("expire", "--json"),
    ("allow", "list", "--all"), ("allow", "list", "--json"), ("deny", "list", "--all", "--json"),
    ("expect", "list"), ("expect", RECIPIENT), ("expect", "end", RECIPIENT),
    ("trap", "list", "--json"), ("trap", "add", RECIPIENT), ("trap", "remove", RECIPIENT),
    ("trap", "release", CLIENT), ("distrust", "--correspondent", SENDER, RECIPIENT),
    ("deny", "add", "--client-name", "mail.example.org"),
    ("allow", "add", CLIENT), ("deny", "remove", CLIENT), ("allow", "remove", "example.net"),
    ("forget", CLIENT, SENDER, RECIPIENT), ("forget", "--sender", "a", "--dry-run"),
    ("forget", "--client", "0.0.0.0/0", "--yes"),
    ("db", "check"), ("db", "check", "--json"), ("db", "init"),
    ("db", "copy", "STORE", "COPY"), ("db", "copy", "STORE", "TREE"),
    ("db", "copy", "COPY", "STORE"),
    ("config",),
)  # fmt: skip
CODES = {0, 1, 2, DEFER, REJECT, STORE_ERROR, STORE_ERROR + 1, CONFIG_ERROR}
COLUMNS = {
    "records": (PACKED, TEXTS, TEXTS, *[NUMBERS] * 5),
    "entries": (
        *(("access", "trap", *TEXTS), ("network", "domain", "sender", *TEXTS)),
        *(PACKED, NUMBERS, TEXTS, *[NUMBERS] * 3, TEXTS, TEXTS, NUMBERS),
    ),
    "figures": (NUMBERS, ("pass:known", "waited:60", "fate:stopped", *TEXTS), NUMBERS),
}
LOOSE = """
    DROP TABLE records;
    CREATE TABLE records (settled, network, sender, recipient, first_seen, defer_until, expires,
        blocked, passed);
    DROP TABLE entries;
    CREATE TABLE entries (number INTEGER PRIMARY KEY, purpose, kind, network, prefix, name,
        denied_until, expires, created, comment, origin, spoofable,
        UNIQUE (network, prefix, purpose), UNIQUE (name, kind, purpose));
    DROP TABLE figures;
    CREATE TABLE figures (hour, name, number, PRIMARY KEY (hour, name));
    INSERT OR REPLACE INTO state VALUES ('lists', 9223372036854775807);
"""


def fill(greylag: Greylag) -> None:
    """Make a database of some pages, as greylag writes them."""
    keys = [KEY, *(KEY.__class__(NETWORK, f"u{n}@example.org", RECIPIENT) for n in range(300))]
    greylag.remember(*keys, first_seen=NOW - 500)
    assert greylag.run("allow", "add", "198.51.100.0/24").exit_code == 0


def loosen(greylag: Greylag) -> None:
    """Take the types away, as a foreign hand can: our marks stay."""
    with closing(sqlite3.connect(greylag.database)) as db, db:
        db.executescript(LOOSE)


def rows_with(source: random.Random, count: int) -> Callable[[Greylag], None]:
    def make(greylag: Greylag) -> None:
        fill(greylag)
        loosen(greylag)
        with closing(sqlite3.connect(greylag.database)) as db, db:
            for table, columns in COLUMNS.items():
                lead = {"records": 1, "entries": 1, "figures": 0}[table]
                marks = ", ".join("?" * (len(columns) + lead))
                for number in range(count):
                    first = [source.randrange(2) if table == "records" else number] * lead
                    row = [*first, *(source.choice(values) for values in columns)]
                    with suppress(sqlite3.IntegrityError):
                        db.execute(f"INSERT INTO {table} VALUES ({marks})", row)

    return make


def one_column(table: str, column: int, value: object) -> Callable[[Greylag], None]:
    """One thing is wrong, in a row that everybody meets."""

    def make(greylag: Greylag) -> None:
        fill(greylag)
        loosen(greylag)
        good: dict[str, list[object]] = {
            "records": [0, NETWORK, SENDER, RECIPIENT, NOW - 500, NOW - 200, NOW + 9999, 1, 0],
            "entries": [
                *(1, "access", "network", NETWORK, 24, None, 0, NOW + 9999, NOW, "comment", "", 0)
            ],
            "figures": [NOW - NOW % 3600, "pass:known", 1],
        }
        row = good[table]
        row[column] = value
        with closing(sqlite3.connect(greylag.database)) as db, db:
            db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)

    return make


def cut(size: int) -> Callable[[Greylag], None]:
    def make(greylag: Greylag) -> None:
        fill(greylag)
        os.truncate(greylag.database, size)

    return make


def scratched(source: random.Random) -> Callable[[Greylag], None]:
    def make(greylag: Greylag) -> None:
        fill(greylag)
        data = bytearray(greylag.database.read_bytes())
        for _ in range(200):
            at = source.randrange(100, len(data))
            data[at : at + 8] = source.randbytes(8)
        greylag.database.write_bytes(data)

    return make


def _folder(greylag: Greylag) -> None:
    greylag.database.mkdir()


def _pipe(greylag: Greylag) -> None:
    os.mkfifo(greylag.database)


def _text(greylag: Greylag) -> None:
    greylag.database.write_text(EVIL * 1000)


def _foreign(greylag: Greylag) -> None:
    with closing(sqlite3.connect(greylag.database)) as db, db:
        db.execute("CREATE TABLE x (y)")


def _no_tables(greylag: Greylag) -> None:
    fill(greylag)
    with closing(sqlite3.connect(greylag.database)) as db, db:
        for table in ("records", "entries", "figures", "state"):
            db.execute(f"DROP TABLE {table}")


def _views(greylag: Greylag) -> None:
    fill(greylag)
    with closing(sqlite3.connect(greylag.database)) as db, db:
        db.execute("ALTER TABLE records RENAME TO kept")
        db.execute("CREATE VIEW records AS SELECT * FROM kept UNION ALL SELECT * FROM records")


STORES: dict[str, Callable[[Greylag], None]] = {
    "a folder": _folder,
    "a pipe": _pipe,
    "text": _text,
    "another program's": _foreign,
    "no tables": _no_tables,
    "a view of itself": _views,
    **{f"cut to {size}": cut(size) for size in (1, 100, 4096, 5000, 12_288, 20_000)},
    **{f"scratched {n}": scratched(random.Random(n)) for n in range(200 if SOAK else 3)},
    **{f"rows {n}": rows_with(random.Random(n), 60) for n in range(200 if SOAK else 3)},
}
SINGLE = {
    f"{table} {number}: {str(value)[:20]!r}": one_column(table, number, value)
    for table, columns in COLUMNS.items()
    for number, values in enumerate(columns, 0 if table == "figures" else 1)
    for value in values
}


def read_all(greylag: Greylag, make: Callable[[Greylag], None]) -> None:
    make(greylag)
    kept = greylag.home / "kept.db"
    plain = greylag.database.is_file()
    if plain:
        shutil.copy(greylag.database, kept)
    (greylag.home / "tree").mkdir(mode=0o700)
    places = {
        "STORE": f"sqlite://{greylag.database}",
        "COPY": f"sqlite://{greylag.home}/copy.db",
        "TREE": f"tree://{greylag.home}/tree",
    }
    for arguments in COMMANDS:
        result = greylag.run(*(places.get(word, word) for word in arguments))
        assert result.exit_code != INTERNAL_ERROR, (arguments, result.stderr)
        assert result.exit_code in CODES, (arguments, result.exit_code, result.stderr)
        if plain and kept.read_bytes() != greylag.database.read_bytes():
            for ending in ("-wal", "-shm"):
                greylag.database.with_name(greylag.database.name + ending).unlink(missing_ok=True)
            shutil.copy(kept, greylag.database)


@pytest.mark.parametrize("name", STORES)
def test_every_command_with_every_hostile_database_t46(greylag: Greylag, name: str) -> None:
    read_all(greylag, STORES[name])


SAMPLE = list(SINGLE) if SOAK else random.Random(46).sample(list(SINGLE), 12)


@pytest.mark.parametrize("name", SAMPLE)
def test_every_command_with_one_wrong_value_t46(greylag: Greylag, name: str) -> None:
    read_all(greylag, SINGLE[name])
