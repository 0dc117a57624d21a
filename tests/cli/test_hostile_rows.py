"""T46: rows of MySQL and trees of files that no greylag wrote, read by every command."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pymysql
import pytest

from greylag.cli.common import INTERNAL_ERROR
from greylag.core.identity import Pool, PoolKind
from greylag.core.shortid import short_id
from greylag.core.triplet import Triplet
from greylag.store.mysql.schema import TABLES
from tests.cli.conftest import EVIL, NETWORK, NOW, RECIPIENT, SENDER, Greylag
from tests.cli.test_hostile_store import CODES, COMMANDS, SOAK
from tests.servers.mariadb import Database

OURS = [statement for name, statement in TABLES.items() if name.startswith("greylag_")]
KEY = Triplet(NETWORK, SENDER, RECIPIENT)
DATES = ("0000-00-00 00:00:00", "1000-01-01 00:00:00", "9999-12-31 23:59:59", "2026-00-00", None)
COUNTS = (0, 4294967295, 18446744073709551615, -1, None, "text", b"\xff")
PACKED = (b"", b"0", NETWORK, b"\xc0\0\2\1", b"\xff" * 16, b"\xff" * 5, "text", None)
IDENTITIES = (*PACKED, Pool(PoolKind.SPF, "example.org").packed, b"\1" * 17, b"\xff" * 255)
TEXTS = (EVIL, "", None, b"\xff\xfe\x1b[2J", "x" * 255, "a\nb@c", "[/red]", "\0", SENDER, RECIPIENT)
TIMES = (*COUNTS, NOW, NOW - NOW % 86400, -(2**63))
KINDS = ("network", "recipient", "sender-domain", *TEXTS)
RANGES = ("192.0.2.1", "192.0.2.1/99", "foo", "::/0", "2001:db8::1/129", *TEXTS)
ROWS: dict[str, tuple[tuple[object, ...], ...]] = {
    "greylisting_data": (PACKED, TEXTS, TEXTS, DATES, DATES, COUNTS, COUNTS, COUNTS, DATES, DATES),
    "greylisting_lists": (
        RANGES, PACKED, PACKED, COUNTS, TEXTS, DATES, DATES, DATES, DATES, TEXTS,
    ),
    "greylag_entries": (
        ("access", "trap", *TEXTS), ("network", "domain", "client-name", *TEXTS), IDENTITIES,
        COUNTS, TEXTS, COUNTS, COUNTS, COUNTS, TEXTS, TEXTS, COUNTS,
    ),
    "greylag_records": (IDENTITIES, TEXTS, TEXTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS),
    "greylag_deferrals": (
        (*COUNTS, short_id(KEY)), PACKED, TEXTS, TEXTS, TIMES, TIMES, PACKED, TEXTS,
        ("helo spf", *TEXTS), IDENTITIES, COUNTS, COUNTS, COUNTS, ("waiting", "passed", *TEXTS),
        TIMES, TIMES,
    ),
    "greylag_tallies": (KINDS, TIMES, COUNTS, TEXTS, *[COUNTS] * 5),
    "greylag_days": (KINDS, TIMES, COUNTS, COUNTS),
    "greylag_actions": (TIMES, TEXTS, ("release", *TEXTS), TEXTS),
    "greylag_figures": (COUNTS, ("pass:known", "waited:60", *TEXTS), COUNTS),
}  # fmt: skip
# Types that a foreign hand may have given to the columns: what they then hold is anything.
TYPES = ("", "VARBINARY(300) NULL", "VARCHAR(300) CHARACTER SET latin1 NULL", "DOUBLE NULL")


def fill(database: Database, number: int) -> None:
    """Put rows in, as an admin can who has no strict mode."""
    source = random.Random(number)
    kind = TYPES[number % len(TYPES)]
    with database.server.connect(database.name) as cursor:
        cursor.execute("SET SESSION sql_mode = ''")
        for statement in OURS:
            cursor.execute(statement)
        for table, columns in ROWS.items():
            cursor.execute(f"SHOW COLUMNS FROM {table}")
            names = [row[0] for row in cursor.fetchall() if row[0] != "id"]
            if kind:
                name = source.choice(names)
                with suppress(pymysql.MySQLError):
                    cursor.execute(f"ALTER TABLE {table} MODIFY {name} {kind}")
            marks = ", ".join(["%s"] * len(columns))
            for _ in range(40):
                row = [source.choice(values) for values in columns]
                with suppress(pymysql.MySQLError):
                    cursor.execute(
                        f"INSERT INTO {table} ({', '.join(names[: len(row)])}) VALUES ({marks})",
                        row,
                    )


def read_all(greylag: Greylag, url: str) -> None:
    greylag.configure(f'store.url = "{url}"\n')
    (greylag.home / "copies").mkdir(mode=0o700)
    places = {
        "STORE": url,
        "COPY": f"sqlite://{greylag.home}/copy.db",
        "TREE": f"tree://{greylag.home}/copies",
    }
    for arguments in COMMANDS:
        result = greylag.run(*(places.get(word, word) for word in arguments))
        assert result.exit_code != INTERNAL_ERROR, (arguments, result.stderr)
        assert result.exit_code in CODES, (arguments, result.exit_code, result.stderr)


@pytest.mark.parametrize("number", range(60) if SOAK else [0, 1, 2, 3, 25])
def test_every_command_with_hostile_rows_of_mysql_t46(
    greylag: Greylag, database: Database, number: int
) -> None:
    fill(database, number)
    read_all(greylag, database.url)


def _listening(place: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as bound:
        handle = os.open(place.parent, os.O_RDONLY)
        bound.bind(f"/proc/self/fd/{handle}/{place.name}")
        os.close(handle)


def _file(place: Path, accessed: int = NOW, changed: int = NOW, owner: int = -1) -> None:
    place.touch()
    os.utime(place, (accessed, changed))
    os.chown(place, owner, owner)


THINGS: dict[str, Callable[[Path], object]] = {
    "a link to nothing": lambda place: place.symlink_to("/nonexistent"),
    "a link to a file": lambda place: place.symlink_to("/etc/passwd"),
    "a link to itself": lambda place: place.symlink_to(place),
    "a link to a folder": lambda place: place.symlink_to("/etc"),
    "a fifo": os.mkfifo,
    "a socket": _listening,
    "a file with content": lambda place: place.write_text(EVIL),
    "a file": lambda place: place.touch(),
    "a file of another user": lambda place: _file(place, owner=65534),
    "an old file": lambda place: _file(place, NOW - 900, NOW - 9000),
    "a file of the far future": lambda place: _file(place, 2**33, 2**33),
    "a file of before": lambda place: _file(place, -(2**31), -(2**31)),
    "a deep folder": lambda place: (place / "/".join(["x" * 9] * 300)[:3000]).mkdir(parents=True),
    "a folder for nobody": lambda place: place.mkdir(mode=0),
}
NAMES = (
    "192", "192/000", "192/000/002", "192/000/002/001", "192/000/002/000", "999", "192/000/256",
    "192/000/02", "1e3", EVIL.replace("/", "?"), os.fsdecode(b"\xff\x1b[2J"), "ipv6", "ipv6/2001",
    "ipv6/2001/0db8/00000000", "ipv6/zzzz", "ipv6/2001/0db8/00000000/x", "-", "\u0663\u0663\u0663",
)  # fmt: skip


def plant(tree: Path, number: int) -> None:
    """Put things of all kinds at places of all kinds."""
    source = random.Random(number)
    for name in source.sample(NAMES, 6):
        place = tree / name
        with suppress(OSError):
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            THINGS[source.choice(list(THINGS))](place)


@pytest.mark.parametrize("number", range(500 if SOAK else 12))
def test_every_command_with_hostile_trees_t46(greylag: Greylag, number: int) -> None:
    tree = greylag.home / "tree"
    tree.mkdir(mode=0o700)
    plant(tree, number)
    read_all(greylag, f"tree://{tree}")
